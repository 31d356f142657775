//! Counts requests, and gives each a name that is in its answer and in every line of the log about it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use ccm_core::id::Epoch;
use tracing::Instrument;

use crate::app::App;

/// The header of an answer that names its request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The route of a path that is none.
const UNMATCHED: &str = "(none)";

/// Names a request: which start of the daemon, and which request since then.
struct RequestId {
    epoch: Epoch,
    number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.0, self.number)
    }
}

/// Stands around everything else.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let begun = Instant::now();
    let id = RequestId {
        epoch: app.facts().epoch,
        number: NUMBER.fetch_add(1, Ordering::Relaxed),
    };
    let method = name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    // At the level at which whatever is logged has it.
    let span = tracing::error_span!("request", %id, method, route);
    #[cfg(feature = "otlp")]
    crate::telemetry::otlp::go_on(&span, request.headers());
    span.in_scope(|| {
        tracing::debug!(
            path = request.uri().path(),
            client = client(&request).as_deref(),
            "asked"
        )
    });
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    app.metrics()
        .answered(route, method, status, begun.elapsed());
    span.in_scope(|| tracing::debug!(status, took = ?begun.elapsed(), "answered"));
    // What it is made of is allowed in a header.
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// What a client calls itself.
fn client(request: &Request) -> Option<Cow<'_, str>> {
    let name = request.headers().get("x-ccm-client")?;
    Some(String::from_utf8_lossy(name.as_bytes()))
}

/// A method's name. There are endless names that somebody may send, and few that mean something.
fn name(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| method == *known);
    known.unwrap_or("OTHER")
}
