use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::shapes::PageToken as PageTokenText;
use ccm_core::api::{
    Conflict, ConflictStateName, DecideSetAside, Device, Page, ProblemCode, ResolveConflict,
    SetAside, SyncRound, SyncState,
};
use ccm_core::id::{ConflictId, SystemId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Answer, App, Client, Id, Json as Body, Query, Routes, openapi, whole};
use crate::http::error::ApiError;
use crate::http::extract::Number;
use crate::http::page::{PageSize, PageToken, page};

/// The most fields that a decision names.
const MOST_FIELDS: usize = 100;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_sync))
        .routes(routes!(sync_now))
        .routes(routes!(list_conflicts))
        .routes(routes!(get_conflict))
        .routes(routes!(resolve_conflict))
        .routes(routes!(list_devices))
        .routes(routes!(revoke_device))
        .routes(routes!(list_set_aside))
        .routes(routes!(decide_set_aside))
}

/// How the queue is shared with other machines
///
/// Whether it is, what it is shared by, what waits, and what a person has to do, if something.
#[utoipa::path(
    get,
    path = "/sync",
    operation_id = "get_sync",
    tag = "sync",
    responses(
        (status = 200, description = "How it is", body = SyncState),
        openapi::Unavailable,
    ),
)]
async fn get_sync(State(app): State<Arc<App>>) -> Answer<Json<SyncState>> {
    Ok(Json(app.sync_state().await?))
}

/// Exchange changes with the other machines now
///
/// Sends what waits and takes in what the others did, and answers when both are done. What can't be done now is a
/// problem, and what waits is kept.
#[utoipa::path(
    post,
    path = "/sync/now",
    operation_id = "sync_now",
    tag = "sync",
    responses(
        (status = 200, description = "What it came to", body = SyncRound),
        openapi::Conflict, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn sync_now(State(app): State<Arc<App>>) -> Answer<Json<SyncRound>> {
    Ok(Json(app.sync_now().await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// `open` for those that wait for a decision, `resolved` for those that somebody decided, `overruled` for those that
    /// nobody has to; all without it.
    #[serde(default)]
    #[param(value_type = Option<Which>, inline)]
    state: Which,
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<ConflictId>>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Which {
    #[default]
    All,
    Open,
    Resolved,
    Overruled,
}

impl Which {
    const fn state(&self) -> Option<ConflictStateName> {
        match self {
            Self::All => None,
            Self::Open => Some(ConflictStateName::Open),
            Self::Resolved => Some(ConflictStateName::Resolved),
            Self::Overruled => Some(ConflictStateName::Overruled),
        }
    }
}

/// Edits of one task that were made without knowing of each other, newest first
///
/// A part at a time. With the rule `manual` each waits until somebody decides; with `last_write_wins` the later edit
/// counts, and the other one is kept here to be looked at.
#[utoipa::path(
    get,
    path = "/sync/conflicts",
    operation_id = "list_conflicts",
    tag = "sync",
    params(Filter),
    responses(
        (status = 200, description = "The conflicts", body = Page<Conflict>),
        openapi::BadRequest, openapi::Unavailable,
    ),
)]
async fn list_conflicts(
    State(app): State<Arc<App>>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Conflict>>> {
    let before = filter.page_token.map(|token| token.0);
    let conflicts = app
        .conflicts(filter.state.state(), before, filter.page_size.0)
        .await?;
    Ok(Json(page(
        conflicts,
        |conflict| conflict.id.to_string(),
        |conflict| conflict,
    )))
}

/// One conflict
///
/// Both edits, what they began with, and each field that they left different.
#[utoipa::path(
    get,
    path = "/sync/conflicts/{id}",
    operation_id = "get_conflict",
    tag = "sync",
    params(("id" = ConflictId, Path, description = "The conflict's id")),
    responses(
        (status = 200, description = "The conflict", body = Conflict),
        openapi::BadRequest, openapi::NotFound, openapi::Unavailable,
    ),
)]
async fn get_conflict(
    State(app): State<Arc<App>>,
    Id(id): Id<ConflictId>,
) -> Answer<Json<Conflict>> {
    Ok(Json(app.conflict(id).await?))
}

/// Decide a conflict
///
/// The first decision counts; the same one again is harmless. `merge` takes each field from the edit that changed it, and
/// needs to be told about the fields that both changed.
#[utoipa::path(
    post,
    path = "/sync/conflicts/{id}/resolve",
    operation_id = "resolve_conflict",
    tag = "sync",
    request_body = ResolveConflict,
    params(("id" = ConflictId, Path, description = "The conflict's id"), Client),
    responses(
        (status = 200, description = "The conflict as it is resolved", body = Conflict),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn resolve_conflict(
    State(app): State<Arc<App>>,
    Client(by): Client,
    Id(id): Id<ConflictId>,
    Body(decision): Body<ResolveConflict>,
) -> Answer<Json<Conflict>> {
    if decision.fields.len() > MOST_FIELDS {
        return Err(ApiError::part(
            ProblemCode::Invalid,
            "/fields",
            format!("at most {MOST_FIELDS} fields can be named"),
        ));
    }
    Ok(Json(app.resolve_conflict(id, decision, &by).await?))
}

/// The machines that share this queue, as the service knows them
///
/// Those that were shut out are among them.
#[utoipa::path(
    get,
    path = "/sync/devices",
    operation_id = "list_devices",
    tag = "sync",
    responses(
        (status = 200, description = "The machines", body = Page<Device>),
        openapi::Conflict, openapi::Unavailable,
    ),
)]
async fn list_devices(State(app): State<Arc<App>>) -> Answer<Json<Page<Device>>> {
    Ok(Json(whole(app.devices().await?)))
}

/// Shut a machine out
///
/// Nothing that it sends is taken from then on, and its sign-in is no longer good. What it has on its own disk stays
/// there. Harmless when it is done already; this machine itself can't be shut out, but disconnected.
#[utoipa::path(
    post,
    path = "/sync/devices/{id}/revoke",
    operation_id = "revoke_device",
    tag = "sync",
    params(("id" = SystemId, Path, description = "The machine's id")),
    responses(
        (status = 200, description = "The machine", body = Device),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn revoke_device(State(app): State<Arc<App>>, Id(id): Id<SystemId>) -> Answer<Json<Device>> {
    Ok(Json(app.revoke_device(id).await?))
}

/// Changes of this machine that the service can never take, newest first
///
/// They hold nothing up: each was taken out of the way with the reason. The newest thousand.
#[utoipa::path(
    get,
    path = "/sync/set-aside",
    operation_id = "list_set_aside",
    tag = "sync",
    responses(
        (status = 200, description = "The changes", body = Page<SetAside>),
        openapi::Unavailable,
    ),
)]
async fn list_set_aside(State(app): State<Arc<App>>) -> Answer<Json<Page<SetAside>>> {
    Ok(Json(whole(app.set_aside().await?)))
}

/// Dismiss a change that was set aside, or send it again
///
/// Sent again is what the object is now, as a new change with a new number.
#[utoipa::path(
    post,
    path = "/sync/set-aside/{number}",
    operation_id = "decide_set_aside",
    tag = "sync",
    request_body = DecideSetAside,
    params(("number" = u64, Path, description = "The change's number", minimum = 0)),
    responses(
        (status = 204, description = "It is done"),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable, openapi::DiskFull,
    ),
)]
async fn decide_set_aside(
    State(app): State<Arc<App>>,
    Number(number): Number,
    Body(decision): Body<DecideSetAside>,
) -> Answer<axum::http::StatusCode> {
    app.decide_set_aside(number, decision.action).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}
