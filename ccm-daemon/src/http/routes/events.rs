use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use ccm_core::api::EventKind;
use ccm_core::api::shapes::EventId;
use ccm_core::event::Cursor;
use ccm_core::id::{ProjectId, RunId, TaskId};
use ccm_core::store::EventQuery;
use serde::{Deserialize, Deserializer, de};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, CommaList, Query, Routes, openapi};
use crate::http::sse;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(stream_events))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only after this place, `LOGID:SEQ`; from now on without it. `Last-Event-ID` beats it.
    #[serde(default, deserialize_with = "place")]
    #[param(value_type = Option<EventId>)]
    after: Option<Cursor>,
    /// Only about this project.
    project_id: Option<ProjectId>,
    /// Only about this task.
    task_id: Option<TaskId>,
    /// Only about this run.
    run_id: Option<RunId>,
    /// Only of these kinds, with commas in between.
    #[serde(default)]
    #[param(value_type = Option<Vec<EventKind>>, min_items = 1, max_items = 64, style = Form, explode = false)]
    kind: CommaList<EventKind>,
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

/// What happens
///
/// Server-Sent Events straight from the log, without gaps and in order. Each has `id: LOGID:SEQ`, the kind as `event`
/// and the event as JSON in `data`. A line with an id alone says how far the filters have looked; a comment comes at
/// least every 15 seconds. A reader that was cut off goes on with `Last-Event-ID`. An event `resync` has a problem as
/// its `data` and is the last one: the place is gone, and the state has to be read anew.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "stream_events",
    tag = "events",
    params(
        Filter,
        ("Last-Event-ID" = Option<EventId>, Header, description = "Only after this place, `LOGID:SEQ`"),
    ),
    responses(
        (status = 200, description = "The stream; the data of each event is an `Event`", content_type = "text/event-stream",
            body = String),
        openapi::BadRequest, openapi::Gone, openapi::Unavailable,
    ),
)]
async fn stream_events(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answer<Response> {
    let wanted = sse::Wanted {
        after: sse::last_event_id(&headers)?.or(filter.after),
        query: EventQuery {
            project: caller.project(filter.project_id)?,
            task: filter.task_id,
            run: filter.run_id,
            kinds: filter.kind.0,
            ..EventQuery::default()
        },
    };
    sse::stream(app, caller.0, wanted).await
}
