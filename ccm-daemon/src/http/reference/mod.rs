//! What people read about the API: the reference and the page of problems, as plain HTML that needs no script.
//!
//! Both are made from the description of the API and tell nothing of this machine, so they are open.

mod curl;
mod html;
mod operations;
mod page;
mod problems;
mod schemas;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Where the reference is.
pub(super) const PATH: &str = "/api/v1/reference";
/// Where the problems are, to which `type` of every problem points.
pub(super) const PROBLEMS_PATH: &str = "/problems";
/// What both look like.
pub(super) const STYLE_PATH: &str = "/api/v1/reference.css";

/// No script, nothing from elsewhere, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(PATH, get(reference))
        .route(PROBLEMS_PATH, get(problems))
        .route(STYLE_PATH, get(style))
}

async fn reference() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(|| page::reference(&super::document()));
    answer(&PAGE)
}

async fn problems() -> Response {
    static PAGE: LazyLock<String> = LazyLock::new(problems::page);
    answer(&PAGE)
}

async fn style() -> Response {
    const TYPE: [(header::HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (TYPE, include_str!("style.css")).into_response()
}

fn answer(page: &'static str) -> Response {
    const HEADERS: [(header::HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (HEADERS, page).into_response()
}
