use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ccm_core::api::{CreateProject, Machines, Page, Project, RegisteredProject};
use ccm_core::id::ProjectId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, Client, Id, Json as Body, Query, Routes, openapi, whole};
use crate::http::error::ApiError;

/// The longest text that is looked for among the names: clients ask about what may be a folder as well.
const MOST_NAME: usize = 4096;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_projects, register_project))
        .routes(routes!(get_project, remove_project))
        .routes(routes!(pause_project))
        .routes(routes!(resume_project))
        .routes(routes!(refresh_project))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only the one of exactly this name.
    #[param(max_length = 4096)]
    name: Option<String>,
    /// Whose projects; those of the machine that answers without it.
    #[serde(default)]
    #[param(value_type = Option<Machines>)]
    machine: Machines,
}

/// All projects
///
/// By name, with what waits and runs in each. Those of other machines come after the ones of the machine that answers, and
/// are as those told them last.
#[utoipa::path(
    get,
    path = "/projects",
    operation_id = "list_projects",
    tag = "projects",
    params(Filter),
    responses(
        (status = 200, description = "The projects", body = Page<Project>),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn list_projects(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Project>>> {
    let name = filter.name.as_deref();
    if name.is_some_and(|name| name.chars().count() > MOST_NAME) {
        return Err(ApiError::bad_request(format!(
            "name has more than {MOST_NAME} characters"
        )));
    }
    let own = caller.project(None)?;
    let mut projects = app.projects_of(filter.machine, name).await?;
    projects.retain(|project| own.is_none_or(|own| project.id == own));
    Ok(Json(whole(projects)))
}

/// Register a folder
///
/// The folder was set up by `ccm init`, and its id is what counts: registering again finds the project, also at a new
/// place, so the request is harmless to repeat. Nothing in the folder is trusted by it.
#[utoipa::path(
    post,
    path = "/projects",
    operation_id = "register_project",
    tag = "projects",
    request_body = CreateProject,
    responses(
        (status = 201, description = "Registered by this request", body = RegisteredProject, headers(
            ("Location" = String, description = "The project's path"),
        )),
        (status = 200, description = "Found, or found again at another place", body = RegisteredProject),
        openapi::BadRequest, openapi::Timeout, openapi::Conflict, openapi::TooLarge, openapi::UnsupportedMediaType,
        openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn register_project(
    State(app): State<Arc<App>>,
    Body(request): Body<CreateProject>,
) -> Answer<Response> {
    let registered = app.register_project(request).await?;
    if !registered.created {
        return Ok(Json(registered).into_response());
    }
    let location = format!("/api/v1/projects/{}", registered.project.id);
    let mut response = (StatusCode::CREATED, Json(registered)).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// One project
///
/// Where it is, whether its queue moves, and why not.
#[utoipa::path(
    get,
    path = "/projects/{id}",
    operation_id = "get_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The project", body = Project),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_project(State(app): State<Arc<App>>, Id(id): Id<ProjectId>) -> Answer<Json<Project>> {
    Ok(Json(app.project(id).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// Also when tasks wait or run: they fail as `project_removed`.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    force: bool,
}

/// Remove a project
///
/// Its folder stays as it is, and its tasks stay readable. Refused while tasks wait or run, unless forced.
#[utoipa::path(
    delete,
    path = "/projects/{id}",
    operation_id = "remove_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id"), Removal, Client),
    responses(
        (status = 204, description = "It is removed"),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn remove_project(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<ProjectId>,
    Query(how): Query<Removal>,
) -> Answer<StatusCode> {
    app.remove_project(id, how.force, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a project's queue
///
/// What runs goes on; nothing else starts. Pausing twice is harmless.
#[utoipa::path(
    post,
    path = "/projects/{id}/pause",
    operation_id = "pause_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The project", body = Project),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn pause_project(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
) -> Answer<Json<Project>> {
    Ok(Json(app.pause_project(id, true).await?))
}

/// Let a project's queue go on
///
/// Resuming twice is harmless.
#[utoipa::path(
    post,
    path = "/projects/{id}/resume",
    operation_id = "resume_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The project", body = Project),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn resume_project(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
) -> Answer<Json<Project>> {
    Ok(Json(app.pause_project(id, false).await?))
}

/// Look at a project's settings again
///
/// Holds its queue, or lets it go, according to what they say now.
#[utoipa::path(
    post,
    path = "/projects/{id}/refresh",
    operation_id = "refresh_project",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The project", body = Project),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn refresh_project(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
) -> Answer<Json<Project>> {
    Ok(Json(app.refresh_project(id).await?))
}
