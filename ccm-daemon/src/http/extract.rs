//! What handlers take out of a request, with problems instead of axum's own answers.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use ccm_core::api::{CreateTask, IDEMPOTENCY_KEY, ProblemCode};
use ccm_core::id::{ProjectId, RunId};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use serde_path_to_error::{Path as FieldPath, Segment};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Ref, Required};

use super::auth::elsewhere;
use super::error::ApiError;
use crate::access::Principal;

/// The largest body: a task's text of 1 MiB of which every byte is written as `\u00XX`, and room for the rest.
pub(crate) const MAX_BODY_BYTES: usize = 6 * 1024 * 1024 + 64 * 1024;
/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, so that the client gets to read the answer.
const DRAIN_BYTES: usize = 4 * MAX_BODY_BYTES;
const DRAIN_PATIENCE: Duration = Duration::from_secs(3);

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(
                ProblemCode::UnsupportedMediaType,
                "send JSON, with `Content-Type: application/json`",
            ));
        }
        parse(&collect(request.into_body()).await?).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let essence = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

async fn collect(mut body: Body) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_PATIENCE, async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| ApiError::bad_request("the body ended before its announced end"))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > MAX_BODY_BYTES {
                    return Ok(None);
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(Some(bytes.freeze()))
    });
    match collected.await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            drain(body).await;
            Err(ApiError::new(
                ProblemCode::TooLarge,
                format!(
                    "the body has more than {MAX_BODY_BYTES} bytes; a task's text may have 1 MiB"
                ),
            ))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ApiError::new(
            ProblemCode::Timeout,
            format!(
                "the body did not come within {} seconds",
                BODY_PATIENCE.as_secs()
            ),
        )),
    }
}

async fn drain(mut body: Body) {
    let mut left = DRAIN_BYTES;
    let drained = tokio::time::timeout(DRAIN_PATIENCE, async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    });
    // Politeness only: whoever sends more or slower gets the connection closed instead.
    let _ = drained.await;
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        if error.is_data() {
            ApiError::part(ProblemCode::Invalid, pointer, plain(&error))
        } else {
            ApiError::bad_request(format!("the body is not JSON: {error}"))
        }
    })?;
    reader
        .end()
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// The message without the place, which for a value is the pointer's to tell.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn pointer(path: &FieldPath) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// The query.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| {
                ApiError::bad_request(format!("the query can't be read: {}", cause(&error)))
            })
    }
}

/// The innermost message: the ones around it are axum's words, not the client's mistake.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// The id in the path.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T> FromRequestParts<S> for Id<T>
where
    T: FromStr + Send,
    T::Err: Display,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(text) =
            axum::extract::Path::<String>::from_request_parts(parts, state)
                .await
                .map_err(|error| ApiError::bad_request(error.body_text()))?;
        text.parse().map(Self).map_err(|error: T::Err| {
            ApiError::part(ProblemCode::BadRequest, "id", error.to_string())
        })
    }
}

/// The number in the path.
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(text) =
            axum::extract::Path::<String>::from_request_parts(parts, state)
                .await
                .map_err(|error| ApiError::bad_request(error.body_text()))?;
        match text.parse::<i64>().map(u64::try_from) {
            Ok(Ok(number)) => Ok(Self(number)),
            _ => Err(ApiError::part(
                ProblemCode::BadRequest,
                "number",
                format!(
                    "a number is a whole one from 0 to {}, found {text:?}",
                    i64::MAX
                ),
            )),
        }
    }
}

/// Who asks, as far as handlers have to know.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) Principal);

impl Caller {
    /// Which project to look at when the caller asks for `wanted`: an agent sees its own alone.
    pub(crate) fn project(&self, wanted: Option<ProjectId>) -> Result<Option<ProjectId>, ApiError> {
        match (self.0.scope(), wanted) {
            (Some(own), Some(wanted)) if own != wanted => Err(elsewhere(own)),
            (Some(own), _) => Ok(Some(own)),
            (None, wanted) => Ok(wanted),
        }
    }
}

impl Caller {
    /// Refuses a task for any machine from an agent, whose token is for the queue of its own project.
    pub(crate) fn own_machine(&self, task: &CreateTask) -> Result<(), ApiError> {
        if task.any_machine && self.0.scope().is_some() {
            return Err(ApiError::new(
                ProblemCode::Forbidden,
                "an agent's tasks are run by its own machine: leave any_machine out",
            ));
        }
        Ok(())
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().map(Self).ok_or_else(|| {
            // A route that answers whoever asks has no caller to ask for.
            ApiError::new(ProblemCode::Unauthorized, "it is not known who asks")
        })
    }
}

/// Who asks, as it is written down: the client's own word in `X-CCM-Client`, `api` without one. Browsers and agents have
/// no choice.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let chosen = client_name(&parts.headers)?;
        let principal = parts.extensions.get::<Principal>();
        Ok(Self(
            principal.and_then(Principal::own_name).unwrap_or(chosen),
        ))
    }
}

impl IntoParams for Client {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header_parameter(
            "X-CCM-Client",
            "Who asks, as what comes of it names them; `api` without it.",
            "ClientName",
        )]
    }
}

/// Whether a client can have this name.
pub(super) fn is_client(name: &str) -> bool {
    let fits = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b':' | b'_' | b'-');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// What a client calls itself.
pub(super) fn client_name(headers: &HeaderMap) -> Result<String, ApiError> {
    let Some(value) = headers.get("x-ccm-client") else {
        return Ok("api".to_owned());
    };
    match value.to_str().ok().filter(|name| is_client(name)) {
        Some(text) => Ok(text.to_owned()),
        None => Err(ApiError::part(
            ProblemCode::BadRequest,
            "x-ccm-client",
            "X-CCM-Client must be 1 to 64 of a-z, 0-9, ':', '_' and '-'",
        )),
    }
}

/// A caller's name for a request that creates something.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    /// The run whose agent the caller is; `None` for the machine's owner. Their keys don't meet.
    pub(crate) run: Option<RunId>,
    /// The name.
    pub(crate) key: String,
}

/// The caller's name for this request, if it has one.
pub(crate) struct Key(pub(crate) Option<Keyed>);

impl<S: Sync> FromRequestParts<S> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let (value, further) = (values.next(), values.next());
        let Some(value) = value else {
            return Ok(Self(None));
        };
        let fits = |text: &&str| {
            (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        match value.to_str().ok().filter(fits) {
            Some(text) if further.is_none() => Ok(Self(Some(Keyed {
                run: parts.extensions.get().and_then(Principal::run),
                key: text.to_owned(),
            }))),
            _ => Err(ApiError::part(
                ProblemCode::BadRequest,
                IDEMPOTENCY_KEY,
                "Idempotency-Key must come once and be 1 to 255 visible ASCII characters",
            )),
        }
    }
}

impl IntoParams for Key {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header_parameter(
            "Idempotency-Key",
            "Makes repeating the request harmless: for at least seven days the same key and body get the first answer \
             again, and another body is refused.",
            "IdempotencyKey",
        )]
    }
}

/// The description of a header that may be left out.
fn header_parameter(name: &str, description: &str, schema: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Ref::from_schema_name(schema)))
        .build()
}

/// The most values that a parameter may have.
const MOST_VALUES: usize = 64;

/// Values with commas in between, as in `state=queued,running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommaList<T>(pub(crate) Vec<T>);

impl<T> Default for CommaList<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T> Deserialize<'de> for CommaList<T>
where
    T: FromStr,
    T::Err: Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.split(',').nth(MOST_VALUES).is_some() {
            return Err(de::Error::custom(format!(
                "at most {MOST_VALUES} values with commas in between are allowed"
            )));
        }
        text.split(',')
            .map(|item| item.trim().parse().map_err(de::Error::custom))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A place in what a run wrote, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offset(pub(crate) u64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What has no sign in 64 bits and in 63 is the same for clients whose integers all have one.
        match text.parse::<i64>().map(u64::try_from) {
            Ok(Ok(place)) => Ok(Self(place)),
            _ => Err(de::Error::custom(format!(
                "a place is a whole number from 0 to {}, found {text:?}",
                i64::MAX
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &str) -> ccm_core::api::Problem {
        let error = parse::<CreateTask>(body.as_bytes()).unwrap_err();
        error.problem().clone()
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        let id = "01890000-0000-7000-8000-000000000000";
        let wrong = problem(&format!(
            r#"{{"project_id":"{id}","text":"a","tags":["b",3]}}"#
        ));
        assert_eq!(wrong.code, ProblemCode::Invalid);
        assert_eq!(wrong.errors[0].pointer, "/tags/1");
        assert!(!wrong.detail.contains("line"), "{}", wrong.detail);
        let unknown = problem(&format!(r#"{{"project_id":"{id}","text":"a","prio":1}}"#));
        assert!(
            unknown.detail.contains("unknown field `prio`"),
            "{}",
            unknown.detail
        );
    }

    #[test]
    fn an_answer_has_no_other_fields() {
        for body in [
            r#"{"answer":"allow","text":[]}"#,
            r#"{"answer":"deny","why":"no"}"#,
            r#"{"answer":"text","text":["a"],"message":"b"}"#,
        ] {
            let error = parse::<ccm_core::api::Answer>(body.as_bytes()).unwrap_err();
            assert_eq!(error.problem().code, ProblemCode::Invalid, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for body in ["", "{", "nope", "{\"text\": \"\u{1}\"}", "{} {}"] {
            let bad = problem(body);
            let wanted = if body == "{} {}" {
                ProblemCode::Invalid
            } else {
                ProblemCode::BadRequest
            };
            assert_eq!(bad.code, wanted, "{body:?}");
        }
        let trailing = parse::<ccm_core::api::Shutdown>(b"{} {}").unwrap_err();
        assert_eq!(trailing.problem().code, ProblemCode::BadRequest);
    }
}
