use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Agent, AttachCommand, Page};
use ccm_core::id::{AgentId, ProjectId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Id, Query, Routes, openapi, whole};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_agents))
        .routes(routes!(get_agent))
        .routes(routes!(get_attach_command))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only of this project.
    project_id: Option<ProjectId>,
}

/// All agents
///
/// By name, with what they do, how that is known, their window and what they use.
#[utoipa::path(
    get,
    path = "/agents",
    operation_id = "list_agents",
    tag = "agents",
    params(Filter),
    responses(
        (status = 200, description = "The agents", body = Page<Agent>),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn list_agents(
    State(app): State<Arc<App>>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Agent>>> {
    Ok(Json(whole(app.agents(filter.project_id).await?)))
}

/// One agent
///
/// What it does, how that is known, its window and what it uses.
#[utoipa::path(
    get,
    path = "/agents/{id}",
    operation_id = "get_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_agent(State(app): State<Arc<App>>, Id(id): Id<AgentId>) -> Answer<Json<Agent>> {
    Ok(Json(app.agent(id).await?))
}

/// How to join an agent's terminal
///
/// The command for a person to run on this machine, in a view of their own: ending it ends nothing else.
#[utoipa::path(
    get,
    path = "/agents/{id}/attach",
    operation_id = "get_attach_command",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id")),
    responses(
        (status = 200, description = "The command", body = AttachCommand),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unsupported, openapi::Unavailable,
    ),
)]
async fn get_attach_command(
    State(app): State<Arc<App>>,
    Id(id): Id<AgentId>,
) -> Answer<Json<AttachCommand>> {
    Ok(Json(app.attach_command(id).await?))
}
