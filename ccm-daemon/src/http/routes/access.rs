use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ccm_core::api::shapes::{PageToken as PageTokenText, SessionId as SessionIdText};
use ccm_core::api::{AuditEntry, Page, ProblemCode, Session, SignInCode};
use ccm_core::time::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, Id, Query, Routes, openapi, whole};
use crate::access::{Principal, SessionId};
use crate::http::error::ApiError;
use crate::http::page::{PageSize, PageToken, page};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create_sign_in_code))
        .routes(routes!(list_sessions))
        .routes(routes!(end_session))
        .routes(routes!(list_audit))
}

/// Make a code that signs a browser in
///
/// It counts once and for ten minutes; what opens in the browser is its `url`. Only for who has the machine's token or
/// comes by the unix socket: a browser can't sign in another one.
#[utoipa::path(
    post,
    path = "/sign-in-codes",
    operation_id = "create_sign_in_code",
    tag = "access",
    responses(
        (status = 201, description = "The code", body = SignInCode),
        openapi::Unsupported,
    ),
)]
async fn create_sign_in_code(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
) -> Answer<(StatusCode, Json<SignInCode>)> {
    if matches!(principal, Principal::Browser(_)) {
        return Err(ApiError::new(
            ProblemCode::Forbidden,
            "a browser can't sign in another one; run `ccm ui`",
        ));
    }
    Ok((StatusCode::CREATED, Json(app.sign_in_code()?)))
}

/// Browsers that are signed in
///
/// Oldest first. Each stays signed in for 30 days, over restarts of the daemon, until it signs out or is ended here.
#[utoipa::path(
    get,
    path = "/sessions",
    operation_id = "list_sessions",
    tag = "access",
    responses((status = 200, description = "The sessions", body = Page<Session>)),
)]
async fn list_sessions(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
) -> Json<Page<Session>> {
    Json(whole(app.sessions(&principal)))
}

/// Sign a browser out
///
/// At once, also for what it has open. Ending a session that is over is `session_not_found`.
#[utoipa::path(
    delete,
    path = "/sessions/{id}",
    operation_id = "end_session",
    tag = "access",
    params(("id" = SessionIdText, Path, description = "The session's id")),
    responses(
        (status = 204, description = "It is signed out"),
        openapi::BadRequest, openapi::NotFound, openapi::DiskFull,
    ),
)]
async fn end_session(State(app): State<Arc<App>>, Id(id): Id<SessionId>) -> Answer<StatusCode> {
    if app.access().sign_out(id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::new(
        ProblemCode::SessionNotFound,
        format!("no browser has the session {id}"),
    ))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// At most so many.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    page_size: PageSize,
    /// The `next_page_token` of the part before.
    #[param(value_type = Option<PageTokenText>)]
    page_token: Option<PageToken<Timestamp>>,
}

/// Who did what
///
/// Every request that was to change something, whoever made it and whatever became of it, and what agents were refused;
/// newest first. It is the content of `logs/audit.log` in the machine's home, which is rotated at 10 MiB and kept three
/// times.
#[utoipa::path(
    get,
    path = "/audit",
    operation_id = "list_audit",
    tag = "access",
    params(Part),
    responses(
        (status = 200, description = "The entries", body = Page<AuditEntry>),
        openapi::BadRequest,
    ),
)]
async fn list_audit(
    State(app): State<Arc<App>>,
    Query(part): Query<Part>,
) -> Answer<Json<Page<AuditEntry>>> {
    let before = part.page_token.map(|token| token.0);
    let entries = app.access().audit.page(before, part.page_size.0).await?;
    Ok(Json(page(
        entries,
        |entry| entry.time.to_string(),
        |entry| entry,
    )))
}
