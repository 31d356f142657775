use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Agent, AgentCleanup, AttachCommand, CleanUpAgents, Page};
use ccm_core::id::{AgentId, ProjectId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, Client, Id, Json as Body, Query, Routes, openapi, whole};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_agents))
        .routes(routes!(get_agent))
        .routes(routes!(get_attach_command))
        .routes(routes!(start_agent))
        .routes(routes!(stop_agent))
        .routes(routes!(restart_agent))
        .routes(routes!(take_over_agent))
        .routes(routes!(hand_back_agent))
        .routes(routes!(clean_up_agents))
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
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable,
    ),
)]
async fn list_agents(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Agent>>> {
    let project = caller.project(filter.project_id)?;
    Ok(Json(whole(app.agents(project).await?)))
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
/// The command for a person to run on this machine, in a view of their own: ending it ends nothing else. An agent that
/// sleeps is woken; one that was stopped is not.
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

/// Start an agent
///
/// It has its place and gets tasks from then on. Starting one that is up is harmless; one that was taken over has to be handed
/// back. One that can't be started says why in its state.
#[utoipa::path(
    post,
    path = "/agents/{id}/start",
    operation_id = "start_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id"), Client),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn start_agent(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AgentId>,
) -> Answer<Json<Agent>> {
    Ok(Json(app.start_agent(id, &by).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Force {
    /// Also when it has a run in hand, which is stopped then and ends as `lost`, or does not answer.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    force: bool,
}

/// Stop an agent
///
/// Its place is taken away, and it gets no task until somebody starts it, also over restarts of daemon and machine.
/// Refused while it has a run in hand, unless forced: then that is stopped and ends as `lost`, and its task is tried
/// again only if it has retries left. Stopping twice is harmless.
#[utoipa::path(
    post,
    path = "/agents/{id}/stop",
    operation_id = "stop_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id"), Force, Client),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn stop_agent(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AgentId>,
    Query(how): Query<Force>,
) -> Answer<Json<Agent>> {
    Ok(Json(app.stop_agent(id, how.force, &by).await?))
}

/// Restart an agent
///
/// It gets a new host and a new window, and is up whatever it was. Refused while it has a run in hand, unless forced:
/// then that is stopped and ends as `lost`.
#[utoipa::path(
    post,
    path = "/agents/{id}/restart",
    operation_id = "restart_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id"), Force, Client),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn restart_agent(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AgentId>,
    Query(how): Query<Force>,
) -> Answer<Json<Agent>> {
    Ok(Json(app.restart_agent(id, how.force, &by).await?))
}

/// Take an agent over
///
/// The agent gets no task from then on, and its terminal runs the coding CLI for a person to type into, in the agent's last
/// conversation, or in a new one. That lasts, also over restarts of daemon and machine, until it is handed back. Refused while
/// it has a run in hand. Taking over twice is harmless.
#[utoipa::path(
    post,
    path = "/agents/{id}/take-over",
    operation_id = "take_over_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id"), Client),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unsupported, openapi::Unavailable,
        openapi::DiskFull,
    ),
)]
async fn take_over_agent(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AgentId>,
) -> Answer<Json<Agent>> {
    Ok(Json(app.take_over_agent(id, &by).await?))
}

/// Hand an agent back
///
/// Ends the coding CLI in its terminal, with everything that it started, and lets the agent go on with its tasks. One that
/// nobody has taken over stays as it is.
#[utoipa::path(
    post,
    path = "/agents/{id}/hand-back",
    operation_id = "hand_back_agent",
    tag = "agents",
    params(("id" = AgentId, Path, description = "The agent's id"), Client),
    responses(
        (status = 200, description = "The agent", body = Agent),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn hand_back_agent(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AgentId>,
) -> Answer<Json<Agent>> {
    Ok(Json(app.hand_back_agent(id, &by).await?))
}

/// Put idle agents to sleep
///
/// Each gives its place back until its next task. Who works, waits, is parked or looked at is left alone. Without a
/// choice of agents, places that belong to no project are taken away as well.
#[utoipa::path(
    post,
    path = "/agents/cleanup",
    operation_id = "clean_up_agents",
    tag = "agents",
    request_body = CleanUpAgents,
    params(Client),
    responses(
        (status = 200, description = "Who sleeps now, and who was left alone", body = AgentCleanup),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::TooLarge, openapi::UnsupportedMediaType,
        openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn clean_up_agents(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Body(request): Body<CleanUpAgents>,
) -> Answer<Json<AgentCleanup>> {
    Ok(Json(app.clean_up_agents(&request, &by).await?))
}
