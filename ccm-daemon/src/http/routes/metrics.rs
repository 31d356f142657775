use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::routes;

use super::{Answer, App, Routes, openapi};
use crate::metrics;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_metrics))
}

/// Figures for Prometheus
///
/// In Prometheus's text format. `docs/metrics.md` lists them.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "get_metrics",
    tag = "daemon",
    responses(
        (status = 200, description = "The figures", content_type = "text/plain", body = String),
        openapi::Unavailable,
    ),
)]
async fn get_metrics(State(app): State<Arc<App>>) -> Answer<Response> {
    let mut response = app.metrics().scrape(&app).await?.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(metrics::CONTENT_TYPE),
    );
    Ok(response)
}
