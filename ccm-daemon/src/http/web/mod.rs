//! The web UI: its files, and how a browser is signed in.

mod files;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ccm_core::api::{AuditEntry, ProblemCode};
use serde::Deserialize;

use super::auth::{PageKey, signed_in};
use super::error::{Answer, ApiError};
use super::extract::Query;
use crate::app::App;
use crate::machine::random_hex;
use files::File;

/// Where browsers begin. The page's own files answer whoever asks, and tell nothing that needs a token.
const PAGE: &str = "/";
/// Every page of it has an address of its own, under one of these. What is there is the same file: the page looks at its
/// address itself.
const VIEWS: &[&str] = &[
    "agents", "asks", "changes", "events", "plots", "projects", "settings", "sync", "tasks",
];
/// Files whose names change with their content.
const ASSETS: &str = "/assets/";
/// Where a code signs a browser in.
pub(crate) const SIGN_IN: &str = "/sign-in";

const INDEX: &str = "/index.html";
const REFUSED: &str = "/refused.html";
/// What the built page has in place of the number that its policy allows styles by.
const NONCE: &str = "{{nonce}}";

pub(super) fn routes() -> Router<Arc<App>> {
    let mut routes = Router::new()
        .route(PAGE, get(page))
        .route(SIGN_IN, get(sign_in));
    for view in VIEWS {
        for path in [format!("/{view}"), format!("/{view}/{{*rest}}")] {
            routes = routes.route(&path, get(page));
        }
    }
    for file in files::all().filter(|file| file.path != INDEX) {
        routes = routes.route(file.path, get(asset));
    }
    routes
}

/// Whether a path is one of the page's own, which tells nothing of this machine.
pub(super) fn is_open(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    path == PAGE
        || path == SIGN_IN
        || first.is_some_and(|first| VIEWS.contains(&first))
        || (path != INDEX && files::find(path).is_some())
}

async fn page(State(app): State<Arc<App>>) -> Answer<Response> {
    html(&app, INDEX, StatusCode::OK)
}

async fn asset(State(app): State<Arc<App>>, uri: Uri, asked: HeaderMap) -> Answer<Response> {
    let mut response = served(&app, uri.path())?.answer(&asked);
    harden(&mut response, POLICY);
    if uri.path().starts_with(ASSETS) {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, forever);
    }
    Ok(response)
}

/// A page, and what it may do. Styles are allowed that know the number: the terminal makes its own as it runs.
fn html(app: &App, path: &str, status: StatusCode) -> Answer<Response> {
    let nonce = random_hex(16).map_err(|error| {
        ApiError::new(
            ProblemCode::Internal,
            format!("the system gives no random numbers: {error}"),
        )
    })?;
    let file = served(app, path)?;
    let policy = POLICY.replace(
        "style-src 'self'",
        &format!("style-src 'self' 'nonce-{nonce}'"),
    );
    let kind = (header::CONTENT_TYPE, file.kind());
    let mut response = (status, [kind], file.text(&[(NONCE, &nonce)])).into_response();
    harden(&mut response, &policy);
    Ok(response)
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn harden(response: &mut Response, policy: &str) {
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

fn served(app: &App, path: &str) -> Answer<&'static File> {
    let missing = |why: String| ApiError::new(ProblemCode::NotFound, why);
    if let Some(reason) = app.web_ui().why_not() {
        return Err(missing(format!("there is no web page here: {reason}")));
    }
    files::find(path).ok_or_else(|| missing(format!("the web page has no file {path}")))
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
    served(&app, REFUSED)?;
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
        return html(&app, REFUSED, status);
    };
    let (cookie, PageKey(key)) = signed_in(&app, session);
    let headers = [
        (header::SET_COOKIE, cookie),
        (header::LOCATION, format!("{PAGE}#csrf={key}")),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    Ok((status, headers).into_response())
}
