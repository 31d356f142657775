use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ccm_core::api::{CancelAnswer, CreateTask, Input, Page, SendMessage, Task, TaskStateName};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::store::TaskQuery;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    Answer, App, Caller, Client, CommaList, Id, Json as Body, Key, Query, Routes, openapi,
};
use crate::http::page::{PageSize, PageToken, page};
use ccm_core::api::shapes::PageToken as PageTokenText;

/// Says that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_tasks, create_task))
        .routes(routes!(get_task))
        .routes(routes!(cancel_task))
        .routes(routes!(retry_task))
        .routes(routes!(send_message))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only of this project.
    project_id: Option<ProjectId>,
    /// Only in one of these states, with commas in between.
    #[serde(default)]
    #[param(value_type = Option<Vec<TaskStateName>>, min_items = 1, max_items = 64, style = Form, explode = false)]
    state: CommaList<TaskStateName>,
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<TaskId>>,
}

/// Tasks, newest first
///
/// A part at a time; no task comes twice, however many are created meanwhile.
#[utoipa::path(
    get,
    path = "/tasks",
    operation_id = "list_tasks",
    tag = "tasks",
    params(Filter),
    responses(
        (status = 200, description = "The tasks", body = Page<Task>),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn list_tasks(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Task>>> {
    let query = TaskQuery {
        project: caller.project(filter.project_id)?,
        states: filter.state.0,
        before: filter.page_token.map(|token| token.0),
        limit: filter.page_size.0,
    };
    let tasks = app.tasks(&query).await?;
    Ok(Json(page(tasks, |task| task.id.to_string(), |task| task)))
}

/// Put a task in the queue
///
/// What is left out comes from the project's settings. Once this answers, the task outlives any crash.
#[utoipa::path(
    post,
    path = "/tasks",
    operation_id = "create_task",
    tag = "tasks",
    request_body = CreateTask,
    params(Key, Client),
    responses(
        (status = 201, description = "The task, accepted", body = Task, headers(
            ("Location" = String, description = "The task's path"),
            ("Idempotency-Replayed" = bool, description = "There, and true, for the answer to a repeated request"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::QueueFull, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn create_task(
    State(app): State<Arc<App>>,
    caller: Caller,
    Client(by): Client,
    Key(key): Key,
    Body(request): Body<CreateTask>,
) -> Answer<Response> {
    caller.project(Some(request.project_id))?;
    let (task, replayed) = app.create_task(request, &by, key).await?;
    let location = format!("/api/v1/tasks/{}", task.id);
    let mut response = (StatusCode::CREATED, Json(task)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(location) {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// One task
///
/// Where it stands and why, and its result once it has one.
#[utoipa::path(
    get,
    path = "/tasks/{id}",
    operation_id = "get_task",
    tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task", body = Task),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_task(State(app): State<Arc<App>>, Id(id): Id<TaskId>) -> Answer<Json<Task>> {
    Ok(Json(app.task(id).await?))
}

/// Call a task off
///
/// A waiting one is cancelled at once. For a running one it is a durable wish: its run is stopped, and a result that
/// came first still counts. Cancelling twice is harmless.
#[utoipa::path(
    post,
    path = "/tasks/{id}/cancel",
    operation_id = "cancel_task",
    tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id"), Client),
    responses(
        (status = 200, description = "What it led to", body = CancelAnswer),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn cancel_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
) -> Answer<Json<CancelAnswer>> {
    Ok(Json(app.cancel_task(id, &by).await?))
}

/// Queue an ended task again
///
/// With fresh attempts. The queue's limit does not count for it.
#[utoipa::path(
    post,
    path = "/tasks/{id}/retry",
    operation_id = "retry_task",
    tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id"), Client),
    responses(
        (status = 200, description = "The task, waiting again", body = Task),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn retry_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
) -> Answer<Json<Task>> {
    Ok(Json(app.retry_task(id, &by).await?))
}

/// Tell a running agent something
///
/// The run that works on the task now gets it as a further message. Whether it still took it is what the run's inputs
/// say later.
#[utoipa::path(
    post,
    path = "/tasks/{id}/messages",
    operation_id = "send_message",
    tag = "tasks",
    request_body = SendMessage,
    params(("id" = TaskId, Path, description = "The task's id"), Key, Client),
    responses(
        (status = 201, description = "The message, accepted", body = Input),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn send_message(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
    Key(key): Key,
    Body(message): Body<SendMessage>,
) -> Answer<(StatusCode, Json<Input>)> {
    let input = app.send_message(id, message.text, &by, key).await?;
    Ok((StatusCode::CREATED, Json(Input::from(input))))
}
