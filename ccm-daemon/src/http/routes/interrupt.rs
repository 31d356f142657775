use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ccm_core::api::{InterruptTask, Interrupted};
use ccm_core::id::TaskId;
use utoipa_axum::routes;

use super::{Answer, App, Client, Id, Json as Body, Key, Routes, openapi};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(interrupt_task))
}

/// Interrupt a running agent
///
/// The agent stops what it does, and the conversation stays open: it goes on with `text`, or waits for the next message
/// if there is none. What it asks is taken back. A run that was interrupted so does not end by itself; cancelling the task
/// ends it. Whether the program had it is what the run's inputs say later.
#[utoipa::path(
    post,
    path = "/tasks/{id}/interrupt",
    operation_id = "interrupt_task",
    tag = "tasks",
    request_body = InterruptTask,
    params(("id" = TaskId, Path, description = "The task's id"), Key, Client),
    responses(
        (status = 201, description = "The interrupt, accepted", body = Interrupted),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unsupported, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn interrupt_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
    Key(key): Key,
    Body(wish): Body<InterruptTask>,
) -> Answer<(StatusCode, Json<Interrupted>)> {
    let interrupted = app.interrupt_task(id, wish.text, &by, key).await?;
    Ok((StatusCode::CREATED, Json(Interrupted::from(interrupted))))
}
