use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Answer as Reply, Ask, Machines, Page};
use ccm_core::ask::AskStateKind;
use ccm_core::id::{AskId, ProjectId, RunId, TaskId};
use ccm_core::store::AskQuery;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Answer, App, Caller, Client, Id, Json as Body, Query, Routes, openapi};
use crate::http::page::{PageSize, PageToken, page};
use ccm_core::api::shapes::PageToken as PageTokenText;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_asks))
        .routes(routes!(get_ask))
        .routes(routes!(answer_ask))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `open` for those that wait for an answer, `answered` and `void` for those that don't any more; all without it.
    #[serde(default)]
    #[param(value_type = Option<Which>, inline)]
    state: Which,
    /// Only of this project.
    project_id: Option<ProjectId>,
    /// Only of this task.
    task_id: Option<TaskId>,
    /// Only of this run.
    run_id: Option<RunId>,
    /// Whose agents ask; those of the machine that answers without it.
    #[serde(default)]
    #[param(value_type = Option<Machines>)]
    machine: Machines,
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<AskId>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Which {
    #[default]
    All,
    Open,
    Answered,
    Void,
}

impl Which {
    const fn kind(&self) -> Option<AskStateKind> {
        match self {
            Self::All => None,
            Self::Open => Some(AskStateKind::Open),
            Self::Answered => Some(AskStateKind::Answered),
            Self::Void => Some(AskStateKind::Void),
        }
    }
}

/// Questions of agents, newest first
///
/// A part at a time. A run that has an open one waits until a person answers it.
#[utoipa::path(
    get,
    path = "/asks",
    operation_id = "list_asks",
    tag = "asks",
    params(Filter),
    responses(
        (status = 200, description = "The asks", body = Page<Ask>),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn list_asks(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Ask>>> {
    let query = AskQuery {
        project: caller.project(filter.project_id)?,
        task: filter.task_id,
        run: filter.run_id,
        state: filter.state.kind(),
        before: filter.page_token.map(|token| token.0),
        limit: filter.page_size.0,
    };
    let asks = app.asks_of_machines(filter.machine, &query).await?;
    Ok(Json(page(asks, |ask| ask.id.to_string(), |ask| ask)))
}

/// One question of an agent
///
/// What is asked, by whom, and the answer once there is one.
#[utoipa::path(
    get,
    path = "/asks/{id}",
    operation_id = "get_ask",
    tag = "asks",
    params(("id" = AskId, Path, description = "The ask's id")),
    responses(
        (status = 200, description = "The ask", body = Ask),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_ask(State(app): State<Arc<App>>, Id(id): Id<AskId>) -> Answer<Json<Ask>> {
    Ok(Json(app.any_ask(id).await?))
}

/// Answer an agent's question
///
/// The first answer counts: another one, or one that nobody waits for any more, is refused, and the same one again is
/// harmless. A permission is allowed or denied; a question gets one text for each of its parts, where the number of an
/// option stands for the option, or is denied.
///
/// The answer to an agent of another machine is sent there, and counts if it is the first there: until that is known the
/// ask stays open, with the answer as `sent_answer`.
#[utoipa::path(
    post,
    path = "/asks/{id}/answer",
    operation_id = "answer_ask",
    tag = "asks",
    request_body = Reply,
    params(("id" = AskId, Path, description = "The ask's id"), Client),
    responses(
        (status = 200, description = "The ask with its answer", body = Ask),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn answer_ask(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<AskId>,
    Body(answer): Body<Reply>,
) -> Answer<Json<Ask>> {
    Ok(Json(app.answer_ask(id, answer, &by).await?))
}
