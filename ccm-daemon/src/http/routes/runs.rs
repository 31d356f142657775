use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use ccm_core::api::{Input, Page, Run, Stream, Transcript};
use ccm_core::id::{AgentId, RunId, TaskId};
use ccm_core::store::RunQuery;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, Id, Offset, Query, Routes, openapi, whole};
use crate::http::error::ApiError;
use crate::http::page::{PageSize, PageToken, page};
use ccm_core::api::shapes::PageToken as PageTokenText;

/// Where the bytes of an answer begin.
const LOG_OFFSET: HeaderName = HeaderName::from_static("x-log-offset");
/// How many bytes there are in all, now.
const LOG_SIZE: HeaderName = HeaderName::from_static("x-log-size");
/// The most bytes of one answer.
const MOST_BYTES: u64 = 1024 * 1024;
/// The most entries of one answer.
const MOST_ENTRIES: u32 = 1000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_runs))
        .routes(routes!(get_run))
        .routes(routes!(get_run_log))
        .routes(routes!(list_inputs))
        .routes(routes!(get_transcript))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only of this task.
    task_id: Option<TaskId>,
    /// Only of this agent.
    agent_id: Option<AgentId>,
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<RunId>>,
}

/// Runs, newest first
///
/// A part at a time.
#[utoipa::path(
    get,
    path = "/runs",
    operation_id = "list_runs",
    tag = "runs",
    params(Filter),
    responses(
        (status = 200, description = "The runs", body = Page<Run>),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn list_runs(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Run>>> {
    if let Some(own) = caller.0.scope() {
        // Runs are listed by what they belong to, and that tells the project.
        let project = match (filter.task_id, filter.agent_id) {
            (Some(task), _) => {
                let project = app.project_of_task(task).await?;
                project.ok_or_else(|| ccm_core::Error::no_task(task))?
            }
            (None, Some(agent)) => app.engine().store().agent(agent).await?.project_id,
            (None, None) => {
                return Err(ApiError::bad_request(
                    "an agent has to say whose runs it wants: task_id or agent_id",
                ));
            }
        };
        caller.project(Some(project).filter(|project| *project != own))?;
    }
    let query = RunQuery {
        task: filter.task_id,
        agent: filter.agent_id,
        before: filter.page_token.map(|token| token.0),
        limit: filter.page_size.0,
    };
    let runs = app.any_runs(&query).await?;
    Ok(Json(page(runs, |run| run.id.to_string(), |run| run)))
}

/// One run
///
/// Where it stands, and what came of it.
#[utoipa::path(
    get,
    path = "/runs/{id}",
    operation_id = "get_run",
    tag = "runs",
    params(("id" = RunId, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The run", body = Run),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_run(State(app): State<Arc<App>>, Id(id): Id<RunId>) -> Answer<Json<Run>> {
    Ok(Json(app.any_run(id).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// Which stream; `out` without it.
    #[param(value_type = Option<Stream>)]
    stream: Option<Stream>,
    /// The first byte; 0 without it.
    #[param(value_type = Option<u64>, minimum = 0, default = 0)]
    offset: Option<Offset>,
    /// The last so many bytes, instead of those from an `offset` on.
    #[param(minimum = 1, maximum = 1048576)]
    tail: Option<u64>,
    /// At most so many bytes.
    #[serde(default = "most_bytes")]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1048576, default = 1048576)]
    limit: u64,
}

const fn most_bytes() -> u64 {
    MOST_BYTES
}

/// What a run wrote
///
/// Bytes of its output as they were written, also while it goes on: ask again from `X-Log-Offset` plus the bytes that
/// came, until that is `X-Log-Size` and the run has ended. With `tail` it begins near the end. What a run of another machine
/// wrote is kept there alone; its transcript is known here.
#[utoipa::path(
    get,
    path = "/runs/{id}/log",
    operation_id = "get_run_log",
    tag = "runs",
    params(("id" = RunId, Path, description = "The run's id"), Part),
    responses(
        (status = 200, description = "The bytes; none beyond the end", content_type = "application/octet-stream",
            body = String, headers(
                ("X-Log-Offset" = u64, description = "The first byte of the answer"),
                ("X-Log-Size" = u64, description = "How many bytes there are in all, now"),
            )),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable,
    ),
)]
async fn get_run_log(
    State(app): State<Arc<App>>,
    Id(id): Id<RunId>,
    Query(part): Query<Part>,
) -> Answer<Response> {
    if !(1..=MOST_BYTES).contains(&part.limit) {
        return Err(ApiError::bad_request(format!(
            "limit must be 1 to {MOST_BYTES}, found {}",
            part.limit
        )));
    }
    let stream = part.stream.unwrap_or(Stream::Out);
    let (offset, chunk) = match (part.tail, part.offset) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "give offset or tail: both say where to begin",
            ));
        }
        (Some(tail @ 1..=MOST_BYTES), None) => app.run_log_end(id, stream, tail).await?,
        (Some(tail), None) => {
            return Err(ApiError::bad_request(format!(
                "tail must be 1 to {MOST_BYTES}, found {tail}"
            )));
        }
        (None, offset) => {
            let Offset(offset) = offset.unwrap_or_default();
            (offset, app.run_log(id, stream, offset, part.limit).await?)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (LOG_OFFSET, offset.to_string()),
        (LOG_SIZE, chunk.size.to_string()),
    ];
    Ok((headers, chunk.bytes).into_response())
}

/// What a running agent was given
///
/// Messages and answers after its prompt in their order, with what became of each.
#[utoipa::path(
    get,
    path = "/runs/{id}/inputs",
    operation_id = "list_inputs",
    tag = "runs",
    params(("id" = RunId, Path, description = "The run's id")),
    responses(
        (status = 200, description = "The inputs", body = Page<Input>),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Unavailable,
    ),
)]
async fn list_inputs(State(app): State<Arc<App>>, Id(id): Id<RunId>) -> Answer<Json<Page<Input>>> {
    let inputs = app.inputs(id).await?;
    Ok(Json(whole(inputs.into_iter().map(Input::from).collect())))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Entries {
    /// Only after this place: the `next` of the part before; from the beginning without it.
    #[param(value_type = Option<u64>, minimum = 0, default = 0)]
    after: Option<Offset>,
    /// The last ones before this place, instead: the `begin` of the part after. Beyond the end, as with the highest number
    /// there is, it is the last part of all.
    #[param(value_type = Option<u64>, minimum = 0)]
    before: Option<Offset>,
    /// About how many entries.
    #[serde(default = "most_entries")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 1000)]
    limit: u32,
}

const fn most_entries() -> u32 {
    MOST_ENTRIES
}

/// What an agent said and did
///
/// The same kinds of entries whatever coding CLI it is; a program of one's own has its output in entries of type
/// `output`. Also while the run goes on: ask again with `next` as `after` until it is `complete` and the run has ended.
///
/// Whoever wants the end first asks with a high number as `before`, goes on from there with `next` as `after`, and gets what
/// came earlier with `begin` as `before`, until that is 0. A part has a few MiB at most, unless one line has more.
///
/// Of a run of another machine it has what that one shared: the last few MiB, and of an entry that is very long the
/// beginning.
#[utoipa::path(
    get,
    path = "/runs/{id}/transcript",
    operation_id = "get_transcript",
    tag = "runs",
    params(("id" = RunId, Path, description = "The run's id"), Entries),
    responses(
        (status = 200, description = "The entries; none beyond the end", body = Transcript),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_transcript(
    State(app): State<Arc<App>>,
    Id(id): Id<RunId>,
    Query(part): Query<Entries>,
) -> Answer<Json<Transcript>> {
    if !(1..=MOST_ENTRIES).contains(&part.limit) {
        return Err(ApiError::bad_request(format!(
            "limit must be 1 to {MOST_ENTRIES}, found {}",
            part.limit
        )));
    }
    let told = match (part.before, part.after) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "give after or before: both say where to read",
            ));
        }
        (Some(before), None) => app.any_transcript_before(id, before.0, part.limit).await?,
        (None, after) => {
            let Offset(after) = after.unwrap_or_default();
            app.any_transcript(id, after, part.limit).await?
        }
    };
    Ok(Json(told))
}
