use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Health, Readiness};
use utoipa_axum::routes;

use super::{Answer, App, Routes, openapi};

const OK: &str = "ok";

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
    Json(Health {
        status: OK.to_owned(),
    })
}

/// Whether work can be accepted
///
/// It can once everything that goes on was adopted, and as long as the database can be written and its disk has room.
/// What was looked at is in the answer; it is no older than `daemon.health_check_interval`.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "get_ready",
    tag = "daemon",
    responses((status = 200, description = "It can", body = Readiness), openapi::Unavailable),
)]
async fn get_ready(State(app): State<Arc<App>>) -> Answer<Json<Readiness>> {
    Ok(Json(Readiness {
        status: OK.to_owned(),
        checks: app.ready().await?,
    }))
}
