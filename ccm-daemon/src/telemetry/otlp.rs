//! Traces for an OpenTelemetry collector, over HTTP with protobuf. Off unless the environment names a collector.
//!
//! Spans wait in a bounded queue and are sent by a thread of its own: a collector that is slow or gone costs spans and
//! nothing else.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::HeaderMap;
use ccm_core::{Error, Result};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The variables that name a collector. The exporter reads them, and those about headers and time, itself.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// What a daemon is called unless `OTEL_SERVICE_NAME` says otherwise.
const NAME: &str = "ccm-daemon";
/// How long the end of the daemon may take longer, so that the last spans get to their collector.
const LAST_WORDS: Duration = Duration::from_secs(2);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// What sends spans, if they are wanted. Must not be called on a runtime.
///
/// # Errors
/// `Invalid` when the environment names a collector that can't be one.
pub(super) fn layer<S>() -> Result<Option<impl Layer<S> + Send + Sync>>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_off =
        std::env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off.eq_ignore_ascii_case("true"));
    if is_off || !ENDPOINTS.into_iter().any(is_set) {
        return Ok(None);
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .build()
        .map_err(|error| {
            Error::invalid("spans can't be sent to what OTEL_EXPORTER_OTLP_ENDPOINT names")
                .with_source(error)
        })?;
    let mut resource = Resource::builder();
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(NAME);
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let tracer = provider.tracer(NAME);
    // There is one log, so this is the first time.
    let _ = PROVIDER.set(provider);
    // Our own alone: those of the exporter would be about themselves.
    let ours = Targets::new().with_target("ccm", LevelFilter::INFO);
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    Ok(Some(spans.with_filter(ours)))
}

/// Sends what is left. Must not be called on a runtime.
pub(super) fn end() {
    if let Some(provider) = PROVIDER.get() {
        // What could not be sent in time is lost, and that is in the log.
        let _ = provider.shutdown_with_timeout(LAST_WORDS);
    }
}

/// The trace that the current span is a part of, as a `traceparent`.
pub(crate) fn context() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        let flags = span.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
    })
}

/// Makes a request's span a part of the trace that the request names.
pub(crate) fn go_on(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") && PROVIDER.get().is_some() {
        let context = TraceContextPropagator::new().extract(&Headers(headers));
        // Only one that was begun already can't be given a parent.
        let _ = span.set_parent(context);
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
