//! What Prometheus gets: readable by a parser of its own people, with figures that are right and labels that stay few.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use ccm_core::engine::EngineLimits;
use ccm_daemon::metrics::{self, MAX_PROJECTS};
use reqwest::Method;
use serde_json::json;

use crate::harness::Server;

/// One sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a scrape with the parser of Prometheus's Python client.
fn parse(text: &str) -> Vec<(String, String, Vec<Sample>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tool = Command::new(root.join("scripts/tools"))
        .args(["--where", "prometheus-client"])
        .output()
        .unwrap();
    let python = String::from_utf8(tool.stdout).unwrap();
    let script = "import json, sys\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        print(json.dumps([[f.name, f.type, [[s.name, s.labels, str(s.value)] for s in f.samples]] for f in read(sys.stdin.read())]))";
    let mut child = Command::new(python.trim())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("`scripts/tools prometheus-client` installs the parser ({error})")
        });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    type Raw = Vec<(
        String,
        String,
        Vec<(String, BTreeMap<String, String>, String)>,
    )>;
    let families: Raw = serde_json::from_slice(&output.stdout).unwrap();
    let family = |(name, kind, samples): (_, _, Vec<_>)| {
        let sample = |(name, labels, value): (_, _, String)| (name, labels, value.parse().unwrap());
        (name, kind, samples.into_iter().map(sample).collect())
    };
    families.into_iter().map(family).collect()
}

async fn scrape(server: &Server) -> String {
    let reply = server.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    String::from_utf8(reply.body).unwrap()
}

/// The value on the line that begins with `series`.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let values: Vec<f64> = lines.map(|value| value.parse().unwrap()).collect();
    assert_eq!(values.len(), 1, "{series} in\n{text}");
    values[0]
}

#[tokio::test]
async fn a_parser_of_prometheus_reads_all_of_it() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = server.task(project, "x").await;
    server.task_in(task.id, "succeeded").await;
    scrape(&server).await;
    let text = scrape(&server).await;
    let families = parse(&text);
    let table = metrics::table();
    for (name, kind, samples) in &families {
        let row = table.iter().find(|row| {
            // The parser leaves the suffix of counters out.
            let full = row.name();
            full == *name || full.strip_suffix("_total") == Some(name)
        });
        let row = row.unwrap_or_else(|| panic!("{name} is in no table"));
        assert_eq!(row.kind.as_str(), kind, "{name}");
        assert!(!samples.is_empty(), "{name}");
        for (sample, labels, value) in samples {
            let labels = labels.keys().filter(|label| *label != "le");
            let mut wanted = row.labels.to_vec();
            wanted.sort_unstable();
            assert_eq!(labels.collect::<Vec<_>>(), wanted, "{sample}");
            assert!(value.is_finite() && *value >= 0.0, "{sample} is {value}");
        }
    }
    // What has labels is there once it has something to say.
    for row in table.iter().filter(|row| row.labels.is_empty()) {
        assert!(text.contains(&format!("# TYPE {} {}", row.name(), row.kind.as_str())));
    }
}

#[tokio::test]
async fn tasks_and_runs_are_counted_once_each() {
    let server = Server::with_limits(EngineLimits {
        max_queued: 7,
        ..EngineLimits::default()
    })
    .await;
    let before = scrape(&server).await;
    assert_eq!(value(&before, "ccm_tasks_created_total"), 0.0);
    let runs = server.project("runs").await;
    let waits = server.paused_project("waits").await;
    for _ in 0..3 {
        let task = server.task(runs, "x").await;
        server.task_in(task.id, "succeeded").await;
    }
    let held = server.task(runs, "hold").await;
    server.task_in(held.id, "running").await;
    let waiting = server.task(waits, "x").await;
    server.task(waits, "y").await;
    server
        .poke(&format!("/api/v1/tasks/{}/cancel", waiting.id))
        .await;
    for _ in 0..2 {
        let text = scrape(&server).await;
        for (series, wanted) in [
            ("ccm_tasks_created_total", 6.0),
            (
                r#"ccm_tasks_ended_total{state="succeeded",reason="none"}"#,
                3.0,
            ),
            (
                r#"ccm_tasks_ended_total{state="cancelled",reason="none"}"#,
                1.0,
            ),
            (
                r#"ccm_runs_ended_total{state="succeeded",reason="none"}"#,
                3.0,
            ),
            ("ccm_run_duration_seconds_count", 3.0),
            (r#"ccm_tasks{state="queued"}"#, 1.0),
            (r#"ccm_tasks{state="running"}"#, 1.0),
            ("ccm_queue_limit", 7.0),
            ("ccm_asks_open", 0.0),
            (r#"ccm_health_check{check="database"}"#, 0.0),
            ("ccm_event_readers", 0.0),
        ] {
            assert_eq!(value(&text, series), wanted, "{series}");
        }
        assert!(value(&text, "ccm_runs_started_total") >= 3.0);
        assert!(value(&text, "ccm_events_head") >= 10.0);
        assert!(value(&text, "process_resident_memory_bytes") > 1e6);
        assert!(value(&text, "process_cpu_seconds_total") > 0.0);
    }
}

#[tokio::test]
async fn requests_are_counted_by_their_template_and_never_by_what_was_sent() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let task = server.task(project, "x").await;
    for _ in 0..2 {
        server.get(&format!("/api/v1/tasks/{}", task.id)).await;
    }
    for n in 0..5 {
        server.get(&format!("/no/such/{n}")).await;
        let method = Method::from_bytes(format!("NONSENSE{n}").as_bytes()).unwrap();
        server.send(server.request(method, "/api/v1/tasks")).await;
    }
    let mut without = server
        .request(Method::GET, "/api/v1/tasks")
        .build()
        .unwrap();
    without.headers_mut().remove("authorization");
    reqwest::Client::new().execute(without).await.unwrap();
    let text = scrape(&server).await;
    let requests = |labels: &str| value(&text, &format!("ccm_http_requests_total{{{labels}}}"));
    assert_eq!(
        requests(r#"route="/api/v1/tasks/{id}",method="GET",status="200""#),
        2.0
    );
    assert_eq!(
        requests(r#"route="/api/v1/tasks",method="POST",status="201""#),
        1.0
    );
    assert_eq!(requests(r#"route="(none)",method="GET",status="404""#), 5.0);
    assert_eq!(
        requests(r#"route="/api/v1/tasks",method="OTHER",status="405""#),
        5.0
    );
    assert_eq!(
        requests(r#"route="/api/v1/tasks",method="GET",status="401""#),
        1.0
    );
    assert!(
        !text.contains("NONSENSE") && !text.contains("/no/such"),
        "{text}"
    );
    assert!(!text.contains(&task.id.to_string()));
    let timed =
        r#"ccm_http_request_duration_seconds_count{route="/api/v1/tasks/{id}",method="GET"}"#;
    assert_eq!(value(&text, timed), 2.0);
}

#[tokio::test]
async fn an_open_stream_is_a_reader() {
    let server = Server::start().await;
    let stream = server
        .request(Method::GET, "/api/v1/events")
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(value(&scrape(&server).await, "ccm_event_readers"), 1.0);
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = Server::start().await;
    let mut seen = Vec::new();
    for path in ["/health", "/ready", "/nowhere", "/api/v1/tasks/x"] {
        let request = server
            .request(Method::GET, path)
            .header("x-request-id", "forged\u{e9}");
        let reply = server.send(request).await;
        seen.push(reply.headers["x-request-id"].to_str().unwrap().to_owned());
    }
    let body = json!({});
    seen.push(
        server.post("/api/v1/tasks", &body).await.headers["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned(),
    );
    let mut different = seen.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
    assert!(
        seen.iter()
            .all(|id| id.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    );
}

#[test]
fn the_page_about_metrics_has_every_one_of_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let mut table = "| name | kind | labels | what |\n| --- | --- | --- | --- |\n".to_owned();
    let mut rows = metrics::table();
    rows.sort_by_key(metrics::Row::name);
    for row in rows {
        let labels = row.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let (name, kind) = (row.name(), row.kind.as_str());
        table.push_str(&format!(
            "| `{name}` | {kind} | {labels} | {} |\n",
            row.help
        ));
    }
    let begin = "<!-- metrics, made by the tests -->\n";
    let from = kept.find(begin).unwrap() + begin.len();
    let to = from + kept[from..].find("<!-- end -->").unwrap();
    let mut made = kept.clone();
    made.replace_range(from..to, &table);
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    } else {
        assert!(
            kept == made,
            "{} is not what the code says; run this test with CCM_BLESS=1 and look at the difference",
            path.display()
        );
    }
    assert!(kept.contains(&format!("first {MAX_PROJECTS} projects")));
    // What alerts are made of is there.
    let names: Vec<String> = metrics::table().iter().map(metrics::Row::name).collect();
    let words = kept.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("ccm_") || word.starts_with("process_")) {
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        let is_known = |word: &str| names.iter().any(|name| name == word);
        assert!(
            is_known(word) || base.is_some_and(is_known),
            "{word} is no metric"
        );
    }
}
