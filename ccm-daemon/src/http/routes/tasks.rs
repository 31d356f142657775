use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use ccm_core::api::{
    CancelAnswer, CreateTask, EditTask, Input, Machines, MoveTask, Page, SendMessage, Task,
    TaskStateName,
};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::store::{QueueQuery, TaskFilter, TaskQuery};
use ccm_core::task::{Words, is_tag};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{
    Answer, App, Caller, Client, CommaList, Id, Json as Body, Key, Query, Routes, openapi,
};
use crate::http::error::ApiError;
use crate::http::etag::{self, IfMatch, IfNoneMatch};
use crate::http::extract::is_client;
use crate::http::page::{PageSize, PageToken, TaskPlace, page};
use ccm_core::api::shapes::{ClientName, PageToken as PageTokenText, Tag};

/// Says that an answer is that of an earlier request.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_tasks, create_task))
        .routes(routes!(get_task, edit_task))
        .routes(routes!(move_task))
        .routes(routes!(cancel_task))
        .routes(routes!(retry_task))
        .routes(routes!(approve_task))
        .routes(routes!(send_message))
}

/// In which order tasks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TaskOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The waiting tasks of one project as its queue has them: by priority, then by place.
    Queue,
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
    /// Only those with each of these words in title or text: as they are written, wherever they stand, in letters of
    /// either case.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200, pattern = r"^[^\u0000]*\S[^\u0000]*$")]
    q: Option<Words>,
    /// Only those that ask for this tag.
    #[param(value_type = Option<Tag>)]
    tag: Option<String>,
    /// Only those that this client created.
    #[param(value_type = Option<ClientName>)]
    created_by: Option<String>,
    /// Only those that wait for a person's leave to run, because they came from another machine.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    unapproved: bool,
    /// Whose tasks; those of the machine that answers without it. What other machines run is as they told it last.
    #[serde(default)]
    #[param(value_type = Option<Machines>)]
    machine: Machines,
    /// In which order. `queue` needs a `project_id`, and lists what is queued.
    #[serde(default)]
    #[param(value_type = Option<TaskOrder>, inline)]
    order: TaskOrder,
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<TaskPlace>>,
    /// Without the first so many: another way to a part than with a `page_token`, by its place. What is created meanwhile
    /// moves the places.
    #[param(minimum = 0, maximum = 1_000_000)]
    skip: Option<u32>,
    /// Whether to say how many there are in all, in `total`.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    count: bool,
    /// No more than so many characters each of `text`, `result` and `detail`; `cut` names those that are longer.
    #[param(minimum = 0, maximum = 10_000)]
    text_limit: Option<u32>,
}

/// The most tasks that can be skipped.
const MOST_SKIPPED: u32 = 1_000_000;
/// The most characters that a list can be asked to cut at: whoever wants more wants the task.
const MOST_TEXT: u32 = 10_000;

impl Filter {
    /// Checks what the types don't carry.
    fn check(&self) -> Answer<()> {
        at_most("skip", self.skip, MOST_SKIPPED)?;
        at_most("text_limit", self.text_limit, MOST_TEXT)?;
        if self.skip.is_some() && self.page_token.is_some() {
            return Err(ApiError::bad_request(
                "give skip or page_token: both are places in the list",
            ));
        }
        if let Some(tag) = self.tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(ApiError::bad_request(format!("{tag:?} is not a tag")));
        }
        if let Some(name) = self.created_by.as_ref().filter(|name| !is_client(name)) {
            return Err(ApiError::bad_request(format!(
                "created_by: {name:?} is not the name of a client"
            )));
        }
        Ok(())
    }

    /// What the store is asked for: one character more than the limit shows what is longer.
    fn stored_text(&self) -> Option<NonZeroU32> {
        self.text_limit.and_then(|chars| NonZeroU32::new(chars + 1))
    }
}

fn at_most(name: &str, value: Option<u32>, most: u32) -> Answer<()> {
    match value.filter(|value| *value > most) {
        None => Ok(()),
        Some(value) => Err(ApiError::bad_request(format!(
            "{name} must be 0 to {most}, found {value}"
        ))),
    }
}

/// Tasks, newest first, or in the order of a queue
///
/// A part at a time; no task comes twice, however many are created meanwhile. In the order of a queue, the first of the
/// same age that may start is next; what has waited longer can come before a higher priority. Looking for words, a tag or
/// a creator takes the longer the more tasks there are; so does counting.
///
/// Tasks are whole, with texts of up to 1 MiB each, unless a `text_limit` is given.
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
    filter.check()?;
    let cut = filter.stored_text();
    let place = filter.page_token.map(|token| token.0);
    let mut tasks = match filter.order {
        TaskOrder::Newest => {
            let before = match place {
                None => None,
                Some(TaskPlace::Newest(id)) => Some(id),
                Some(TaskPlace::Queue(_)) => return Err(other_order()),
            };
            let query = TaskQuery {
                filter: TaskFilter {
                    project: caller.project(filter.project_id)?,
                    states: match (filter.unapproved, filter.state.0) {
                        // Those are queued, which leads to them sooner.
                        (true, states) if states.is_empty() => vec![TaskStateName::Queued],
                        (_, states) => states,
                    },
                    words: filter.q,
                    tag: filter.tag,
                    created_by: filter.created_by,
                    held: filter.unapproved,
                },
                before,
                skip: filter.skip.unwrap_or(0),
                limit: filter.page_size.0,
                cut,
            };
            let tasks = app.tasks_of(filter.machine, &query).await?;
            let mut tasks = page(tasks, |task| task.id.to_string(), |task| task);
            if filter.count {
                let total = app.count_tasks_of(filter.machine, &query.filter);
                tasks.total = Some(total.await?);
            }
            tasks
        }
        TaskOrder::Queue => {
            let project = caller.project(filter.project_id)?.ok_or_else(|| {
                ApiError::bad_request("order=queue is of one project: say which with project_id")
            })?;
            if filter
                .state
                .0
                .iter()
                .any(|state| *state != TaskStateName::Queued)
            {
                return Err(ApiError::bad_request(
                    "order=queue lists only what is queued: leave state out",
                ));
            }
            let inside = filter.q.is_some() || filter.tag.is_some() || filter.created_by.is_some();
            let of_others = filter.machine != Machines::Local;
            if inside || of_others || filter.unapproved || filter.skip.is_some() || filter.count {
                return Err(ApiError::bad_request(
                    "order=queue goes with project_id, page_size, page_token and text_limit alone",
                ));
            }
            let after = match place {
                None => None,
                Some(TaskPlace::Queue(spot)) => Some(spot),
                Some(TaskPlace::Newest(_)) => return Err(other_order()),
            };
            let query = QueueQuery {
                project,
                after,
                limit: filter.page_size.0,
                cut,
            };
            let tasks = app.queue(&query).await?;
            let token = |(spot, _): &_| TaskPlace::of_queue(spot);
            page(tasks, token, |(_, task)| task)
        }
    };
    if let Some(chars) = filter.text_limit {
        for task in &mut tasks.items {
            task.cut(chars as usize);
        }
    }
    Ok(Json(tasks))
}

fn other_order() -> ApiError {
    ApiError::bad_request("the page_token is of a list in another order")
}

/// Put a task in the queue
///
/// What is left out comes from the project's settings. Once this answers, the task outlives any crash.
///
/// A task for a project of another machine is written down here and run there, once that machine has heard of it; so is one
/// for any machine, by whichever takes it. What it leaves out gets the usual values.
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
            ("ETag" = String, description = "What `If-Match` of an edit wants"),
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
    caller.own_machine(&request)?;
    let (task, replayed) = app.create_task(request, &by, key).await?;
    let location = format!("/api/v1/tasks/{}", task.id);
    let etag = AppendHeaders([etag::header(&task)]);
    let mut response = (StatusCode::CREATED, etag, Json(task)).into_response();
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
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("If-None-Match" = Option<String>, Header, max_length = 1024, pattern = "^[ -~]*$", description = "The `ETag` of the answer that is known already."),
    ),
    responses(
        (status = 200, description = "The task", body = Task, headers(
            ("ETag" = String, description = "What `If-Match` of an edit wants"),
        )),
        (status = 304, description = "It is still what `If-None-Match` names", headers(
            ("ETag" = String, description = "The same again"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_task(
    State(app): State<Arc<App>>,
    Id(id): Id<TaskId>,
    known: IfNoneMatch,
) -> Answer<Response> {
    let task = app.task(id).await?;
    let etag = AppendHeaders([etag::header(&task)]);
    Ok(if known.has(&etag::of_task(&task)) {
        (StatusCode::NOT_MODIFIED, etag).into_response()
    } else {
        (etag, Json(task)).into_response()
    })
}

/// Change what a waiting task asks for
///
/// What is left out stays, and `null` unsets. `If-Match` must name what the editor saw; of two editors the second has to
/// look again, and a task that was started meanwhile is no longer edited.
#[utoipa::path(
    patch,
    path = "/tasks/{id}",
    operation_id = "edit_task",
    tag = "tasks",
    request_body = EditTask,
    params(
        ("id" = TaskId, Path, description = "The task's id"),
        ("If-Match" = String, Header, min_length = 1, max_length = 1024, pattern = "^[ -~]*$", description = "The `ETag` of the task as the editor saw it, or `*`."),
    ),
    responses(
        (status = 200, description = "The task as it is now", body = Task, headers(
            ("ETag" = String, description = "What `If-Match` of the next edit wants"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::Stale, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::PreconditionRequired, openapi::Unavailable,
        openapi::DiskFull,
    ),
)]
async fn edit_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
    seen: IfMatch,
    Body(edit): Body<EditTask>,
) -> Answer<Response> {
    let seen = |present| seen.revision(present);
    let task = app.edit_task(id, seen, edit, &by).await?;
    Ok((AppendHeaders([etag::header(&task)]), Json(task)).into_response())
}

/// Give a waiting task another place in the queue
///
/// Among the waiting tasks of its project: next to another, or at an end. It gets the priority of its place, and counts as
/// waiting as long as those beside it.
#[utoipa::path(
    post,
    path = "/tasks/{id}/move",
    operation_id = "move_task",
    tag = "tasks",
    request_body = MoveTask,
    params(("id" = TaskId, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task as it is now", body = Task, headers(
            ("ETag" = String, description = "What `If-Match` of an edit wants"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn move_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
    Body(to): Body<MoveTask>,
) -> Answer<Response> {
    let task = app.move_task(id, to, &by).await?;
    Ok((AppendHeaders([etag::header(&task)]), Json(task)).into_response())
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

/// Let a task of another machine run
///
/// One that waits as `remote_unapproved`: it came from another machine, and its project asks a person first. Whoever does
/// not want it calls it off.
#[utoipa::path(
    post,
    path = "/tasks/{id}/approve",
    operation_id = "approve_task",
    tag = "tasks",
    params(("id" = TaskId, Path, description = "The task's id"), Client),
    responses(
        (status = 200, description = "The task, waiting for its turn", body = Task),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn approve_task(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<TaskId>,
) -> Answer<Json<Task>> {
    Ok(Json(app.approve_task(id, &by).await?))
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
