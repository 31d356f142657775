//! One request and its answer, through restarts of the daemon.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use ccm_core::api::{IDEMPOTENCY_KEY, Problem};

use super::endpoint::Place;
use super::{Endpoint, Error, Result};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long a request that broke off is tried again: about as long as a daemon needs to restart.
const MEND_FOR: Duration = Duration::from_secs(3);
const MEND_EVERY: Duration = Duration::from_millis(100);

/// Says where the daemon is now.
pub type Locate = Arc<dyn Fn() -> Option<Endpoint> + Send + Sync>;

/// A request to be.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    key: Option<String>,
    if_match: Option<String>,
    repeatable: bool,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            repeatable: true,
            ..Self::new(Method::GET, path)
        }
    }

    /// A change that is not harmful when it is made twice.
    pub(super) fn put(path: impl Into<String>) -> Self {
        Self {
            repeatable: true,
            ..Self::new(Method::POST, path)
        }
    }

    /// A change that must not be made twice.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A change that the daemon recognises by its key when it comes twice.
    pub(super) fn create(path: impl Into<String>) -> Self {
        Self {
            key: Some(uuid::Uuid::now_v7().to_string()),
            repeatable: true,
            ..Self::new(Method::POST, path)
        }
    }

    /// A change of an object that was seen with this tag.
    pub(super) fn patch(path: impl Into<String>, if_match: String) -> Self {
        Self {
            if_match: Some(if_match),
            ..Self::new(Method::PATCH, path)
        }
    }

    /// The same request under a name of the caller's own.
    pub(super) fn named(mut self, key: Option<&str>) -> Self {
        self.key = key.map(str::to_owned).or(self.key);
        self
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            key: None,
            if_match: None,
            repeatable: false,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.to_string()));
        }
        self
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        // The wire types are plain objects with text keys, which always serialize.
        self.body = Some(serde_json::to_vec(body).unwrap_or_default().into());
        self
    }
}

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    url: String,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|e| Error::Foreign {
            url: self.url.clone(),
            detail: format!("its answer can't be read ({e})"),
        })
    }

    pub(super) fn number(&self, header: &str) -> Result<u64> {
        self.headers
            .get(header)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or_else(|| Error::Foreign {
                url: self.url.clone(),
                detail: format!("its answer has no header {header}"),
            })
    }
}

pub(super) struct Transport {
    place: Mutex<Place>,
    locate: Option<Locate>,
    name: HeaderValue,
}

impl Transport {
    pub(super) fn new(endpoint: &Endpoint, name: &str, locate: Option<Locate>) -> Result<Self> {
        let place = Place::try_from(endpoint)?;
        let name = HeaderValue::from_str(name)
            .map_err(|_| Error::Endpoint(format!("{name:?} can't be a client's name")))?;
        Ok(Self {
            place: Mutex::new(place),
            locate,
            name,
        })
    }

    /// Where the daemon is thought to be.
    pub(super) fn url(&self) -> String {
        self.place().url
    }

    fn place(&self) -> Place {
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks for the daemon anew. Whether it is elsewhere than `last`.
    pub(super) fn relocate(&self, last: &str) -> bool {
        let found = self.locate.as_ref().and_then(|locate| locate());
        let Some(place) = found.and_then(|endpoint| Place::try_from(&endpoint).ok()) else {
            return false;
        };
        let moved = place.url != last;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        moved
    }

    fn request(&self, place: &Place, call: &Call) -> reqwest::RequestBuilder {
        let url = format!("{}{}", place.base, call.path);
        let mut request = place
            .http
            .request(call.method.clone(), url)
            .header("x-ccm-client", self.name.clone());
        if let Some(authorization) = &place.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(tag) = &call.if_match {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        request
    }

    /// Sends `call` and reads the whole answer. A repeatable call that breaks off in the middle is sent again.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer> {
        let started = Instant::now();
        let mut broke_off = false;
        loop {
            let place = self.place();
            let error = match self.once(&place, call).await {
                Ok(answer) => return answer,
                Err(error) => error,
            };
            let in_time = started.elapsed() < MEND_FOR && !error.is_timeout();
            let never_arrived = error.is_connect();
            if in_time && never_arrived && self.relocate(&place.url) {
                continue;
            }
            broke_off |= !never_arrived;
            if !(in_time && broke_off && call.repeatable) {
                return Err(unreachable(place.url, error));
            }
            tokio::time::sleep(MEND_EVERY).await;
        }
    }

    async fn once(&self, place: &Place, call: &Call) -> reqwest::Result<Result<Answer>> {
        let response = self
            .request(place, call)
            .timeout(REQUEST_TIMEOUT)
            .send()
            .await?;
        let url = place.url.clone();
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.bytes().await?;
        Ok(if status.is_success() {
            Ok(Answer { headers, body, url })
        } else {
            Err(refusal(url, status, &headers, &body))
        })
    }

    /// Opens an answer that has no end.
    pub(super) async fn open(
        &self,
        call: &Call,
        accept: &'static str,
        last_id: Option<&str>,
    ) -> Result<Response> {
        let place = self.place();
        let mut request = self.request(&place, call).header(ACCEPT, accept);
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        // Connecting has a limit of its own; the answer's head must come soon, the rest takes as long as it takes.
        let sent = tokio::time::timeout(REQUEST_TIMEOUT, request.send()).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(unreachable(place.url, error)),
            Err(late) => return Err(unreachable(place.url, late)),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = response
            .bytes()
            .await
            .map_err(|e| unreachable(place.url.clone(), e))?;
        Err(refusal(place.url, status, &headers, &body))
    }
}

pub(super) fn unreachable(
    url: String,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Unreachable {
        url,
        source: source.into(),
    }
}

fn refusal(url: String, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let is_problem = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/problem+json"));
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if is_problem => Error::Problem(Box::new(problem)),
        _ => Error::Foreign {
            url,
            detail: format!("it answers with status {status}"),
        },
    }
}
