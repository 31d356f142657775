//! The web UI's place: what a browser is shown, and how it is signed in.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ccm_core::api::{AuditEntry, ProblemCode};
use serde::Deserialize;

use super::auth::{PageKey, signed_in};
use super::error::{Answer, ApiError};
use super::extract::Query;
use crate::app::App;

/// Where browsers begin. The page's own files answer whoever asks, and tell nothing that needs a token.
pub(super) const PAGE: &str = "/";
pub(super) const SCRIPT: &str = "/page.js";
pub(super) const STYLE: &str = "/page.css";
/// Where a code signs a browser in.
pub(crate) const SIGN_IN: &str = "/sign-in";

/// The files, which are only in builds with the web UI; `WebUi` never says that it is served in others.
mod files {
    macro_rules! file {
        ($name:ident, $path:literal) => {
            #[cfg(feature = "web-ui")]
            pub(super) const $name: &str = include_str!($path);
            #[cfg(not(feature = "web-ui"))]
            pub(super) const $name: &str = "";
        };
    }
    file!(PAGE, "page.html");
    file!(SCRIPT, "page.js");
    file!(STYLE, "page.css");
    file!(REFUSED, "refused.html");
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(PAGE, get(page))
        .route(SCRIPT, get(script))
        .route(STYLE, get(style))
        .route(SIGN_IN, get(sign_in))
}

async fn page(State(app): State<Arc<App>>) -> Answer<Response> {
    served(&app)?;
    let text = files::PAGE.replace("{{version}}", env!("CARGO_PKG_VERSION"));
    Ok(file("text/html; charset=utf-8", text))
}

async fn script(State(app): State<Arc<App>>) -> Answer<Response> {
    served(&app)?;
    Ok(file("text/javascript; charset=utf-8", files::SCRIPT))
}

async fn style(State(app): State<Arc<App>>) -> Answer<Response> {
    served(&app)?;
    Ok(file("text/css; charset=utf-8", files::STYLE))
}

fn served(app: &App) -> Answer<()> {
    match app.web_ui().why_not() {
        None => Ok(()),
        Some(reason) => Err(ApiError::new(
            ProblemCode::NotFound,
            format!("there is no web page here: {reason}"),
        )),
    }
}

fn file(kind: &'static str, text: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (headers, text).into_response()
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: String,
}

/// Uses a code up and leads to the page. The second secret is in the fragment, which no server and no log sees; the page
/// takes it out of the address at once.
async fn sign_in(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    Query(Code { code }): Query<Code>,
) -> Answer<Response> {
    served(&app)?;
    // Only somebody who looks at the answer may use a code up.
    let is_guess = |name| {
        headers.get(name).is_some_and(|value: &HeaderValue| {
            value
                .to_str()
                .is_ok_and(|value| value.contains("prefetch") || value.contains("prerender"))
        })
    };
    if method != Method::GET || is_guess("sec-purpose") || is_guess("purpose") {
        return Err(ApiError::new(
            ProblemCode::Forbidden,
            "a sign-in is for a browser that somebody looks at",
        ));
    }
    let browser = headers
        .get(header::USER_AGENT)
        .map_or("", |value| value.to_str().unwrap_or_default());
    let session = app.access().sign_in(&code, browser, app.now()).await?;
    let principal = session.as_ref().map_or("nobody".to_owned(), |session| {
        format!("browser:{}", session.id)
    });
    let status = match session {
        Some(_) => StatusCode::SEE_OTHER,
        None => StatusCode::FORBIDDEN,
    };
    app.access().audit.add(AuditEntry {
        time: app.now(),
        principal,
        client: "web".to_owned(),
        operation: format!("GET {SIGN_IN}"),
        path: SIGN_IN.to_owned(),
        created: None,
        status: status.as_u16(),
    });
    let Some(session) = session else {
        let mut refused = file("text/html; charset=utf-8", files::REFUSED);
        *refused.status_mut() = status;
        return Ok(refused);
    };
    let (cookie, PageKey(key)) = signed_in(&app, session);
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::LOCATION, format!("{PAGE}#csrf={key}")),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    Ok((status, headers).into_response())
}
