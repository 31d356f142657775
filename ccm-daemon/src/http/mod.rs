//! The HTTP API: security and problems in front, thin handlers behind, the event stream straight from the log.

mod auth;
mod error;
mod etag;
mod extract;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod listen;
mod observe;
mod openapi;
mod page;
mod reference;
mod routes;
mod serve;
mod sse;
mod terminal;
mod web;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;

pub use auth::AllowedHosts;
pub(crate) use etag::IfMatch;
pub(crate) use extract::Keyed;
pub use listen::Listeners;
pub use openapi::{OPENAPI_PATH, document};
pub(crate) use serve::DESCRIPTORS;
pub use serve::{Capacity, serve};
pub(crate) use sse::Streams;
pub(crate) use web::SIGN_IN as SIGN_IN_PATH;

use crate::app::App;

/// The whole API over `app`.
pub fn router(app: Arc<App>) -> Router {
    let (routes, _) = openapi::routes().split_for_parts();
    routes
        .merge(web::routes())
        .merge(reference::routes())
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        // The last layer is the first that a request meets.
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            auth::identify,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            auth::check_host,
        ))
        .layer(middleware::from_fn(harden))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            observe::observe,
        ))
        .with_state(app)
}

/// Headers of every answer: nothing here is to be guessed at, or kept by a browser or a proxy unless its route says so.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let kept = headers.entry(header::CACHE_CONTROL);
    kept.or_insert(HeaderValue::from_static("no-store"));
    response
}
