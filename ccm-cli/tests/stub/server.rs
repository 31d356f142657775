//! The HTTP side.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request as HttpRequest, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::gates::Gates;
use super::request::Request;
use super::script::{Answer, Script, Step};
use super::wire::{self, Message, Part};

#[derive(Default)]
pub(crate) struct Shared {
    requests: Mutex<Vec<Arc<Request>>>,
    came: Condvar,
    pub(crate) gates: Gates,
    /// How many requests met a step that answers only some: by session, script, and number of the step in it.
    met: Mutex<HashMap<(String, String, usize), u32>>,
}

impl Shared {
    pub(crate) fn requests(&self) -> Vec<Arc<Request>> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until there is a request that `wanted` wants, and returns the first. `None` if none came in time.
    pub(crate) fn await_request(
        &self,
        wanted: &mut dyn FnMut(&Request) -> bool,
        patience: Duration,
    ) -> Option<Arc<Request>> {
        let begun = Instant::now();
        let mut requests = self.requests.lock().unwrap();
        let mut seen = 0;
        loop {
            if let Some(request) = requests[seen..].iter().find(|request| wanted(request)) {
                return Some(Arc::clone(request));
            }
            seen = requests.len();
            let left = patience.checked_sub(begun.elapsed())?;
            requests = self.came.wait_timeout(requests, left).unwrap().0;
        }
    }

    /// What a request of a conversation is answered.
    fn step(&self, request: &Request) -> Step {
        let mut last = None;
        for (place, text) in request.user_texts() {
            match Script::parse(&text) {
                Ok(None) => {}
                Ok(Some(script)) => last = Some((place, text, script)),
                Err(mistake) => return Step::error(400, mistake),
            }
        }
        let Some((place, text, script)) = last else {
            return Step::say("done");
        };
        let session = request.session().unwrap_or_default();
        let again = |step| {
            let mut met = self.met.lock().unwrap();
            let meeting = (session.to_owned(), text.clone(), step);
            let count = met.entry(meeting).or_default();
            *count += 1;
            *count - 1
        };
        script
            .step(request.answers_after(place), again)
            .unwrap_or_else(|| Step::say("done"))
    }
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    request: HttpRequest<Body>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    };
    let request = Arc::new(Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers.iter().map(header).collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    shared.requests.lock().unwrap().push(Arc::clone(&request));
    shared.came.notify_all();
    Ok(match (&*request.method, &*request.path) {
        ("POST", "/v1/messages") => answer(shared, &request).await,
        ("POST", "/v1/messages/count_tokens") => json_answer(200, &json!({"input_tokens": 100})),
        _ => json_answer(404, &wire::error(404, "the stub has no such path")),
    })
}

async fn answer(shared: Arc<Shared>, request: &Request) -> Response {
    let step = if request.is_turn() {
        shared.step(request)
    } else if request.wants_summary() {
        Step::say("<summary>done</summary>")
    } else {
        Step::say("done")
    };
    if let Some(gate) = &step.hold {
        shared.gates.pass(gate).await;
    }
    let model = &request.body["model"];
    let streamed = request.body["stream"] == true;
    let mut response = match step.answer {
        Answer::Error { status, message } => json_answer(status, &wire::error(status, &message)),
        Answer::Message { blocks, pace } => {
            let message = Message::new(model, step.usage, blocks);
            if streamed {
                stream_answer(shared, message.stream(&pace))
            } else {
                json_answer(200, &message.whole())
            }
        }
        Answer::Cut { text } => {
            let blocks = vec![super::script::Block::Text(text)];
            let message = Message::new(model, step.usage, blocks);
            stream_answer(shared, message.cut())
        }
    };
    for (name, value) in step.headers {
        let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn json_answer(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, body.to_string()).into_response()
}

fn stream_answer(shared: Arc<Shared>, parts: Vec<Part>) -> Response {
    let chunks = stream::iter(parts).filter_map(move |part| {
        let shared = Arc::clone(&shared);
        async move {
            match part {
                Part::Bytes(text) => return Some(Ok(Bytes::from(text))),
                Part::Pause(time) => tokio::time::sleep(time).await,
                Part::Gate(gate) => shared.gates.pass(&gate).await,
                Part::Cut => {
                    // What was said before is sent only when nothing more is ready.
                    tokio::task::yield_now().await;
                    return Some(Err(io::Error::other("cut")));
                }
            }
            None
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(chunks)).into_response()
}
