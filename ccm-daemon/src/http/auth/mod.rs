//! Who may ask: the checks that every request passes before its handler, so that no route can forget them.

mod agents;
mod browser;
mod hosts;

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ccm_core::api::{AuditEntry, ProblemCode};

use super::error::{Answer, ApiError};
use super::extract::client_name;
use super::{reference, web};
use crate::access::{Failure, Principal};
use crate::app::App;

pub(super) use agents::elsewhere;
pub(super) use browser::{PageKey, signed_in};
pub use hosts::AllowedHosts;
pub(super) use hosts::check_host;

/// The one path of the API that answers whoever asks.
pub(super) const OPEN_PATH: &str = "/health";
/// Every path that does, besides those of the web page.
const OPEN_PATHS: &[&str] = &[
    OPEN_PATH,
    reference::PATH,
    reference::PROBLEMS_PATH,
    reference::STYLE_PATH,
];

/// Finds out who asks, refuses whoever may not, whether the path exists or not, and writes down who changes something.
pub(super) async fn identify(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if OPEN_PATHS.contains(&path) || web::is_open(path) {
        return next.run(request).await;
    }
    let (mut request, body) = request.into_parts();
    let principal = match who(&app, &request).await {
        Ok(principal) => principal,
        Err(refused) => return refused.into_response(),
    };
    tracing::Span::current().record("principal", tracing::field::display(&principal));
    let changes = !matches!(request.method, Method::GET | Method::HEAD);
    let entry = entry(&app, &principal, &request);
    let response = match agents::check(&app, &principal, &request).await {
        Ok(()) => {
            request.extensions.insert(principal);
            let response = next.run(Request::from_parts(request, body)).await;
            if !changes {
                return response;
            }
            response
        }
        Err(refused) => refused.into_response(),
    };
    app.access().audit.add(AuditEntry {
        status: response.status().as_u16(),
        created: response
            .headers()
            .get(header::LOCATION)
            .and_then(|place| Some(place.to_str().ok()?.to_owned())),
        ..entry
    });
    response
}

fn entry(app: &App, principal: &Principal, request: &Parts) -> AuditEntry {
    let matched = request.extensions.get::<MatchedPath>();
    let path = request.uri.path();
    let client = principal
        .own_name()
        .or_else(|| client_name(&request.headers).ok());
    AuditEntry {
        time: app.now(),
        principal: principal.to_string(),
        client: client.unwrap_or_default(),
        operation: format!(
            "{} {}",
            request.method,
            matched.map_or(path, MatchedPath::as_str)
        ),
        path: path.to_owned(),
        created: None,
        status: 0,
    }
}

async fn who(app: &App, request: &Parts) -> Answer<Principal> {
    let headers = &request.headers;
    // Whoever shows a token is what the token says, also at the socket: an agent there stays an agent.
    if headers.contains_key(header::AUTHORIZATION) {
        return bearer(app, headers).await;
    }
    if let Some(peer) = request.extensions.get::<Principal>() {
        return Ok(peer.clone());
    }
    match browser::session(app, request) {
        Some(found) => found,
        None => Err(unauthorized(
            "send `Authorization: Bearer TOKEN` with the token in the file `token` of the machine's home",
        )),
    }
}

async fn bearer(app: &App, headers: &HeaderMap) -> Answer<Principal> {
    let access = app.access();
    let Some(given) = bearer_token(headers) else {
        return Err(unauthorized(
            "send one header `Authorization: Bearer TOKEN` with the token in the file `token` of the machine's home",
        ));
    };
    if access.is_token(given) {
        return Ok(Principal::Token);
    }
    if let Some(run) = access.agents.run(given) {
        return match app.open_run(run).await? {
            Some(run) => Ok(Principal::Agent {
                run: run.id,
                project: run.project_id,
            }),
            None => Err(unauthorized(
                "this is the token of a run that is over; it ended with the run",
            )),
        };
    }
    Err(wrong(
        app,
        "the token is not the one in the file `token` of the machine's home",
    ))
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let Single::One(value) = single(headers, header::AUTHORIZATION) else {
        return None;
    };
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: impl Into<String>) -> ApiError {
    ApiError::new(ProblemCode::Unauthorized, detail)
}

/// The answer to somebody who has something, and the wrong thing.
fn wrong(app: &App, detail: &str) -> ApiError {
    let wait = match app.access().attempts.failed() {
        Failure::Counted => return unauthorized(detail),
        Failure::JustTooMany { wait } => {
            tracing::warn!("somebody tries many wrong tokens");
            app.access().audit.add(AuditEntry {
                time: app.now(),
                principal: "nobody".to_owned(),
                client: String::new(),
                operation: "authenticate".to_owned(),
                path: String::new(),
                created: None,
                status: ProblemCode::TooManyAttempts.status(),
            });
            wait
        }
        Failure::TooMany { wait } => wait,
    };
    let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
    let detail =
        format!("{detail}, and there were too many like it; try again in {seconds} seconds");
    ApiError::new(ProblemCode::TooManyAttempts, detail).retry_after(seconds)
}

pub(super) enum Single<'a> {
    None,
    One(&'a str),
    Many,
}

/// The value of a header that may come once. One that is no text can't be right, and is as good as an empty one.
pub(super) fn single(headers: &HeaderMap, name: HeaderName) -> Single<'_> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::None,
        (Some(value), None) => Single::One(value.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Single::Many,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_comes_once_and_with_its_scheme() {
        let token = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer_token(&headers).map(str::to_owned)
        };
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bearer abc"]).as_deref(), Some("abc"));
        for wrong in [
            &[][..],
            &["abc"],
            &["Bearer"],
            &["Basic abc"],
            &["Bearer abc", "Bearer abc"],
        ] {
            assert_eq!(token(wrong), None, "{wrong:?}");
        }
    }
}
