//! The web UI's place: what a browser is shown at `/`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use ccm_core::api::ProblemCode;

use super::error::ApiError;
use crate::app::App;

/// Where browsers begin. Answers without a token, and tells nothing that needs one.
pub(super) const PATH: &str = "/";

pub(super) async fn page(State(app): State<Arc<App>>) -> Response {
    match app.web_ui().why_not() {
        None => served(),
        Some(reason) => ApiError::new(
            ProblemCode::NotFound,
            format!("there is no web page here: {reason}"),
        )
        .into_response(),
    }
}

#[cfg(feature = "web-ui")]
fn served() -> Response {
    use axum::http::header;

    const HEADERS: [(header::HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    const PAGE: &str = include_str!("web.html");
    (
        HEADERS,
        PAGE.replace("{{version}}", env!("CARGO_PKG_VERSION")),
    )
        .into_response()
}

/// `WebUi` never says that it is served in this build.
#[cfg(not(feature = "web-ui"))]
fn served() -> Response {
    ApiError::new(ProblemCode::NotFound, "there is no web page here").into_response()
}
