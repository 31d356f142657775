use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::{Request, Uri};
use ccm_core::api::{self, EventKind, TaskStateName, TerminalInput};
use ccm_core::event::Cursor;
use ccm_core::id::TaskId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::auth::AllowedHosts;
use super::extract::{self, CommaList, Query};
use super::page::{PageSize, PageToken};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it is read, and that is all")]
struct Any {
    page_token: Option<PageToken<TaskId>>,
    #[serde(default)]
    page_size: PageSize,
    #[serde(default)]
    state: CommaList<TaskStateName>,
    #[serde(default)]
    kind: CommaList<EventKind>,
    input: Option<bool>,
}

/// `Host` and `Origin`, a query, a place in the log, and bodies.
pub fn request(text: &str) {
    let address = SocketAddr::from(([127, 0, 0, 1], 8765));
    let own = AllowedHosts::new(address, &["box.example".to_owned()]);
    let hosts = [
        "127.0.0.1:8765",
        "localhost:8765",
        "[::1]:8765",
        "box.example",
        "box.example:8765",
    ];
    let is_own = |host: &str| hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
    assert_eq!(own.allow(text), is_own(text), "{text:?}");
    let origin = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    assert_eq!(
        own.allow_origin(text),
        origin.is_some_and(is_own),
        "{text:?}"
    );
    // A name that somebody configures.
    let _ = AllowedHosts::new(address, &[text.to_owned()]);

    if let Ok(uri) = format!("/x?{text}").parse::<Uri>()
        && let Ok(request) = Request::builder().uri(uri).body(())
    {
        let (mut parts, ()) = request.into_parts();
        let read = Query::<Any>::from_request_parts(&mut parts, &());
        let read = futures_util::FutureExt::now_or_never(read);
        if let Some(Ok(Query(query))) = read {
            assert!((1..=200).contains(&query.page_size.0));
        }
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse::<Cursor>().ok(), Some(cursor));
    }
    body::<api::CreateTask>(text);
    body::<api::CreateProject>(text);
    body::<api::TrustProject>(text);
    body::<api::SendMessage>(text);
    body::<api::Answer>(text);
    body::<api::CleanUpAgents>(text);
    body::<api::Shutdown>(text);
}

fn body<T: DeserializeOwned>(text: &str) {
    let _ = extract::parse::<T>(text.as_bytes());
}

/// A text message of a terminal's reader.
pub fn terminal_message(text: &str) {
    if let Ok(input) = serde_json::from_str::<TerminalInput>(text) {
        let again = serde_json::to_string(&input).unwrap_or_default();
        assert_eq!(
            serde_json::from_str::<TerminalInput>(&again).ok(),
            Some(input)
        );
    }
}
