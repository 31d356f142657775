use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ccm_core::Result;
use ccm_core::api::{
    BulkCreate, BulkCreated, BulkIds, BulkResult, BulkResults, MAX_BULK, ProblemCode, Task,
};
use ccm_core::id::TaskId;
use utoipa_axum::routes;

use super::tasks::REPLAYED;
use super::{Answer, App, Caller, Client, Json as Body, Key, Routes, openapi};
use crate::http::error::ApiError;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create_tasks))
        .routes(routes!(cancel_tasks))
        .routes(routes!(retry_tasks))
}

/// Put many tasks in the queue
///
/// All of them or none, in their order. Once this answers, they outlive any crash. What is wrong is told with its place,
/// such as `/tasks/3/text`.
#[utoipa::path(
    post,
    path = "/tasks/bulk",
    operation_id = "create_tasks",
    tag = "tasks",
    request_body = BulkCreate,
    params(Key, Client),
    responses(
        (status = 201, description = "The tasks, accepted", body = BulkCreated, headers(
            ("Idempotency-Replayed" = bool, description = "There, and true, for the answer to a repeated request"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::QueueFull, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn create_tasks(
    State(app): State<Arc<App>>,
    caller: Caller,
    Client(by): Client,
    Key(key): Key,
    Body(request): Body<BulkCreate>,
) -> Answer<Response> {
    within_bounds("/tasks", request.tasks.len())?;
    for task in &request.tasks {
        caller.project(Some(task.project_id))?;
        caller.own_machine(task)?;
    }
    let (items, replayed) = app.create_tasks(request, &by, key).await?;
    let answer = Json(BulkCreated { items });
    let mut response = (StatusCode::CREATED, answer).into_response();
    if replayed {
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
    }
    Ok(response)
}

/// Call many tasks off
///
/// Each as on its own; one that can't be called off spoils no other. A task that runs is being stopped: its state says so
/// until its run has ended.
#[utoipa::path(
    post,
    path = "/tasks/bulk/cancel",
    operation_id = "cancel_tasks",
    tag = "tasks",
    request_body = BulkIds,
    responses(
        (status = 200, description = "What came of each", body = BulkResults),
        openapi::BadRequest, openapi::Timeout, openapi::TooLarge, openapi::UnsupportedMediaType, openapi::Invalid,
        openapi::Unavailable,
    ),
)]
async fn cancel_tasks(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Body(BulkIds { ids }): Body<BulkIds>,
) -> Answer<Json<BulkResults>> {
    within_bounds("/ids", ids.len())?;
    let done = app.cancel_tasks(ids, &by).await?;
    Ok(Json(results(done)))
}

/// Queue many ended tasks again
///
/// Each as on its own; one that can't be queued again spoils no other.
#[utoipa::path(
    post,
    path = "/tasks/bulk/retry",
    operation_id = "retry_tasks",
    tag = "tasks",
    request_body = BulkIds,
    responses(
        (status = 200, description = "What came of each", body = BulkResults),
        openapi::BadRequest, openapi::Timeout, openapi::TooLarge, openapi::UnsupportedMediaType, openapi::Invalid,
        openapi::Unavailable,
    ),
)]
async fn retry_tasks(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Body(BulkIds { ids }): Body<BulkIds>,
) -> Answer<Json<BulkResults>> {
    within_bounds("/ids", ids.len())?;
    let done = app.retry_tasks(ids, &by).await?;
    Ok(Json(results(done)))
}

fn within_bounds(pointer: &str, count: usize) -> Answer<()> {
    if (1..=MAX_BULK).contains(&count) {
        return Ok(());
    }
    Err(ApiError::part(
        ProblemCode::Invalid,
        pointer,
        format!("one request is about 1 to {MAX_BULK} tasks, this one about {count}"),
    ))
}

fn results(done: Vec<(TaskId, Result<Task>)>) -> BulkResults {
    let results = done.into_iter().map(|(id, done)| {
        let (task, problem) = match done {
            Ok(task) => (Some(task), None),
            Err(error) => (None, Some(ApiError::from(error).problem().clone())),
        };
        BulkResult { id, task, problem }
    });
    BulkResults {
        results: results.collect(),
    }
}
