use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Page, System};
use ccm_core::id::SystemId;
use utoipa_axum::routes;

use super::{Answer, App, Id, Routes, openapi, whole};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_systems))
        .routes(routes!(get_system))
}

/// All machines
///
/// Those that share this queue, the one that answers first; without an account, that one alone. `last_seen` says how fresh
/// what is told of another one can be.
#[utoipa::path(
    get,
    path = "/systems",
    operation_id = "list_systems",
    tag = "systems",
    responses(
        (status = 200, description = "The machines", body = Page<System>),
        openapi::Unavailable,
    ),
)]
async fn list_systems(State(app): State<Arc<App>>) -> Answer<Json<Page<System>>> {
    Ok(Json(whole(app.systems().await?)))
}

/// One machine
///
/// What it is called, what it is for and what it has.
#[utoipa::path(
    get,
    path = "/systems/{id}",
    operation_id = "get_system",
    tag = "systems",
    params(("id" = SystemId, Path, description = "The machine's id")),
    responses(
        (status = 200, description = "The machine", body = System),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_system(State(app): State<Arc<App>>, Id(id): Id<SystemId>) -> Answer<Json<System>> {
    Ok(Json(app.system(id).await?))
}
