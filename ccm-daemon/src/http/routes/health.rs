use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::Health;
use utoipa_axum::routes;

use super::{Answer, App, Routes, openapi};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_health))
        .routes(routes!(get_ready))
}

/// Whether the daemon answers
///
/// Needs no token and tells nothing else.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "get_health",
    tag = "daemon",
    responses((status = 200, description = "It does", body = Health)),
)]
async fn get_health() -> Json<Health> {
    Json(ok())
}

/// Whether work can be accepted
///
/// It can once everything that goes on was adopted, and as long as the store answers.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "get_ready",
    tag = "daemon",
    responses((status = 200, description = "It can", body = Health), openapi::Unavailable),
)]
async fn get_ready(State(app): State<Arc<App>>) -> Answer<Json<Health>> {
    app.ready().await?;
    Ok(Json(ok()))
}

fn ok() -> Health {
    Health {
        status: "ok".to_owned(),
    }
}
