use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Reload, Shutdown, ShutdownReport, Status};
use utoipa_axum::routes;

use super::{Answer, App, Json as Body, Routes, openapi};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_status))
        .routes(routes!(reload))
        .routes(routes!(shut_down))
}

/// The daemon at a glance
///
/// Version, address, queue, the end of the event log, and what is wrong now.
#[utoipa::path(
    get,
    path = "/status",
    operation_id = "get_status",
    tag = "daemon",
    responses((status = 200, description = "How the daemon does", body = Status), openapi::Unavailable),
)]
async fn get_status(State(app): State<Arc<App>>) -> Answer<Json<Status>> {
    Ok(Json(app.status().await?))
}

/// Read the config file again
///
/// What can change in a running daemon does, and what needs a restart is named. A file with errors changes nothing, and
/// `errors` has all of them; a pointer there is a key's name in JSON Pointer's form.
#[utoipa::path(
    post,
    path = "/reload",
    operation_id = "reload",
    tag = "daemon",
    responses((status = 200, description = "What changed", body = Reload), openapi::Invalid),
)]
async fn reload(State(app): State<Arc<App>>) -> Answer<Json<Reload>> {
    Ok(Json(app.reload().await??))
}

/// Stop the daemon
///
/// Runs go on, and the next daemon adopts them, unless `agents` is set: then they are stopped first. Answers when the
/// engine has stopped; the daemon ends right after.
#[utoipa::path(
    post,
    path = "/shutdown",
    operation_id = "shut_down",
    tag = "daemon",
    request_body = Shutdown,
    responses(
        (status = 200, description = "What it leaves behind", body = ShutdownReport),
        openapi::BadRequest, openapi::Timeout, openapi::TooLarge, openapi::UnsupportedMediaType, openapi::Invalid,
    ),
)]
async fn shut_down(
    State(app): State<Arc<App>>,
    Body(how): Body<Shutdown>,
) -> Answer<Json<ShutdownReport>> {
    Ok(Json(app.shutdown(how.agents).await))
}
