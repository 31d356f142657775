use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Trust, TrustProject};
use ccm_core::id::ProjectId;
use utoipa_axum::routes;

use super::{Answer, App, Id, Json as Body, Routes, openapi};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(get_trust, trust_project))
}

/// Whether a project's settings are trusted
///
/// With what they say now, as far as it can run code, and what was trusted last.
#[utoipa::path(
    get,
    path = "/projects/{id}/trust",
    operation_id = "get_trust",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The settings", body = Trust),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn get_trust(State(app): State<Arc<App>>, Id(id): Id<ProjectId>) -> Answer<Json<Trust>> {
    Ok(Json(app.trust(id).await?))
}

/// Trust a project's settings
///
/// Only those with the digest that was shown: if they changed meanwhile, nothing is trusted. Trusting twice is
/// harmless.
#[utoipa::path(
    post,
    path = "/projects/{id}/trust",
    operation_id = "trust_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    request_body = TrustProject,
    responses(
        (status = 200, description = "The settings, trusted", body = Trust),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn trust_project(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
    Body(what): Body<TrustProject>,
) -> Answer<Json<Trust>> {
    Ok(Json(app.trust_project(id, what.digest).await?))
}
