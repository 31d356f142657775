//! Traces, as a collector gets them, and what becomes of work when there is none.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

use crate::support::Machine;

const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that keeps what it gets.
struct Collector {
    address: SocketAddr,
    requests: Receiver<ExportTraceServiceRequest>,
}

/// A span, as far as it is looked at.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    attributes: HashMap<String, String>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    while let Some(request) = read(&mut stream) {
                        let _ = sender.send(request);
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come once there is a span for each of `names`.
    fn spans(&self, names: &[&str]) -> Vec<Span> {
        let mut spans = Vec::new();
        let until = Instant::now() + PATIENCE;
        while !names
            .iter()
            .all(|name| spans.iter().any(|span: &Span| span.name == *name))
        {
            let left = until.saturating_duration_since(Instant::now());
            let request = self.requests.recv_timeout(left);
            spans.extend(spans_of(
                request.unwrap_or_else(|_| panic!("{names:?} are not all in {spans:#?}")),
            ));
        }
        spans
    }
}

/// The next request of a connection; it is answered as a collector does.
fn read(stream: &mut BufReader<TcpStream>) -> Option<ExportTraceServiceRequest> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf\r\n"),
        "{head}"
    );
    let length = head
        .split("content-length: ")
        .nth(1)?
        .lines()
        .next()?
        .parse()
        .ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    stream.get_mut().write_all(answer.as_bytes()).ok()?;
    Some(ExportTraceServiceRequest::decode(&*body).unwrap())
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(values: &[KeyValue]) -> HashMap<String, String> {
    let pairs = values.iter();
    pairs
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref())))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let about = attributes(&resource.resource.unwrap_or_default().attributes);
        for span in resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            spans.push(Span {
                service: about["service.name"].clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(&span.attributes),
            });
        }
    }
    spans
}

#[test]
fn a_run_is_one_trace_that_its_program_goes_on_with() {
    let collector = Collector::start();
    let machine = Machine::new();
    let daemon = machine.daemon_with(|daemon| {
        daemon
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
            .env("OTEL_SERVICE_NAME", "my-ccm")
            .env(
                "TRACEPARENT",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
    });
    let project = machine.project("a", &["sh", "-c", "echo trace=$TRACEPARENT."]);
    let task = project.task("x");
    machine.ccm(&["task", "wait", &task]).ok();
    let info = machine.info().unwrap();
    let mut stream = TcpStream::connect(info.address).unwrap();
    let request = format!(
        "GET /ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        info.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let said = machine.ccm(&["task", "logs", &task]).ok();
    assert!(daemon.stop().success());

    let spans = collector.spans(&["run", "launch", "finish", "request"]);
    assert!(
        spans.iter().all(|span| span.service == "my-ccm"),
        "{spans:#?}"
    );
    let one = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (run, launch, finish) = (one("run"), one("launch"), one("finish"));
    assert_eq!(run.attributes["task"], task);
    assert_eq!(run.parent, "");
    for part in [launch, finish] {
        assert_eq!((&part.trace, &part.parent), (&run.trace, &run.id));
    }
    let context = format!("trace=00-{}-{}-01.", run.trace, launch.id);
    assert!(said.contains(&context), "{context} is not in {said}");
    let theirs = spans
        .iter()
        .find(|span| span.trace == "4bf92f3577b34da6a3ce929d0e0e4736");
    let theirs = theirs.unwrap_or_else(|| panic!("{spans:#?}"));
    assert_eq!(
        (&*theirs.name, &*theirs.parent),
        ("request", "00f067aa0ba902b7")
    );
}

#[test]
fn without_a_collector_that_answers_work_goes_on() {
    // Nobody listens, and somebody who never answers.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let machine = Machine::new();
        let endpoint = format!("http://{address}");
        let daemon =
            machine.daemon_with(|daemon| daemon.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
        let project = machine.project("a", &["cat"]);
        let task = project.task("x");
        machine.ccm(&["task", "wait", &task]).ok();
        assert!(daemon.stop().success());
    }
}

#[test]
fn nothing_is_traced_unless_an_endpoint_is_named() {
    for (name, value) in [
        ("OTEL_SERVICE_NAME", "x"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        let machine = Machine::new();
        let daemon = machine.daemon_with(|daemon| {
            if name == "OTEL_SDK_DISABLED" {
                daemon.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
            }
            daemon.env(name, value)
        });
        let project = machine.project("a", &["sh", "-c", "echo trace=$TRACEPARENT."]);
        let task = project.task("x");
        machine.ccm(&["task", "wait", &task]).ok();
        let said = machine.ccm(&["task", "logs", &task]).ok();
        assert!(said.contains("trace=."), "{name}: {said}");
        assert!(daemon.stop().success());
    }
}
