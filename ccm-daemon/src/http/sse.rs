//! The event stream, read straight from the log.
//!
//! A stream keeps nothing but its place. It is pulled: the next part is read from the store when the socket has room
//! again, so a reader that stops reading costs its socket's buffers and misses nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ccm_core::Result;
use ccm_core::api::ProblemCode;
use ccm_core::event::{Cursor, Event};
use ccm_core::id::Seq;
use ccm_core::store::{EventQuery, LogRange};
use futures_util::stream;
use tokio::sync::watch;

use super::error::{Answer, ApiError};
use crate::app::App;

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events are read and written at once.
const BATCH: u32 = 256;

/// Which events a reader wants.
pub(super) struct Wanted {
    /// Where it goes on; `None` for what happens from now on.
    pub(super) after: Option<Cursor>,
    /// Its filters. Place and limit don't count.
    pub(super) query: EventQuery,
}

/// The place that a request's `Last-Event-ID` names. It beats the query: a browser that reconnects repeats both.
pub(super) fn last_event_id(headers: &HeaderMap) -> Answer<Option<Cursor>> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let cursor = text.parse().map_err(|error: ccm_core::Error| {
        ApiError::part(ProblemCode::BadRequest, "last-event-id", error.to_string())
    })?;
    Ok(Some(cursor))
}

/// Answers with the stream.
pub(super) async fn stream(app: Arc<App>, wanted: Wanted) -> Answer<Response> {
    let head = app.engine().store().watch();
    let log = app.engine().store().log().await?;
    let at = wanted.after.unwrap_or(Cursor {
        log: log.log,
        seq: log.head,
    });
    if !log.holds(at) {
        return Err(gone(&log, at));
    }
    let reader = Reader {
        app,
        query: wanted.query,
        at,
        head,
        state: State::Begin,
    };
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(part), reader))
    }));
    let mut response = body.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    Ok(response)
}

fn gone(log: &LogRange, at: Cursor) -> ApiError {
    let why = if at.log != log.log {
        "belongs to another log".to_owned()
    } else if at.seq > log.head {
        format!("is after the last event, {}", log.head)
    } else {
        format!("is gone: events up to {} are no longer kept", log.pruned)
    };
    ApiError::new(
        ProblemCode::Resync,
        format!(
            "the place {at} {why}; read the state anew and go on from {}",
            Cursor {
                log: log.log,
                seq: log.head
            }
        ),
    )
}

struct Reader {
    app: Arc<App>,
    query: EventQuery,
    at: Cursor,
    head: watch::Receiver<Seq>,
    state: State,
}

enum State {
    Begin,
    Reading,
    Ended,
}

impl Reader {
    /// The next bytes of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Ended => return None,
            // Told at once, so that a reader that is cut off before the first event can resume without a gap.
            State::Begin => {
                self.state = State::Reading;
                return Some(self.place());
            }
            State::Reading => {}
        }
        let app = Arc::clone(&self.app);
        tokio::select! {
            biased;
            () = app.stopping().cancelled() => None,
            part = self.events() => Some(part.unwrap_or_else(|error| {
                // The reader comes back with its place and learns more then.
                tracing::warn!(error = %ccm_core::chain(&error), "an event stream ends early");
                self.state = State::Ended;
                Bytes::from_static(b": the log can't be read now\n\n")
            })),
        }
    }

    async fn events(&mut self) -> Result<Bytes> {
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        let mut heartbeat = std::pin::pin!(heartbeat);
        loop {
            // Marked before the log is read: what is committed after that wakes this reader.
            self.head.mark_unchanged();
            let store = Arc::clone(self.app.engine().store());
            let log = store.log().await?;
            if !log.holds(self.at) {
                self.state = State::Ended;
                let problem = gone(&log, self.at);
                let data = serde_json::to_string(problem.problem()).unwrap_or_default();
                return Ok(Bytes::from(format!("event: resync\ndata: {data}\n\n")));
            }
            self.query.after = self.at.seq;
            self.query.limit = BATCH;
            let events = store.events(&self.query).await?;
            if events.len() < BATCH as usize {
                // Everything up to the head was looked at, also what the filters left out.
                self.at.seq = self.at.seq.max(log.head);
            }
            if let Some(last) = events.last() {
                self.at.seq = if events.len() < BATCH as usize {
                    self.at.seq.max(last.seq)
                } else {
                    last.seq
                };
                return Ok(self.frames(&events));
            }
            tokio::select! {
                changed = self.head.changed() => if changed.is_err() {
                    self.state = State::Ended;
                    return Ok(Bytes::from_static(b": the log was closed\n\n"));
                },
                () = heartbeat.as_mut() => return Ok(self.place()),
            }
        }
    }

    fn frames(&self, events: &[Event]) -> Bytes {
        let mut text = String::new();
        for event in events {
            let id = Cursor {
                log: self.at.log,
                seq: event.seq,
            };
            let data = serde_json::to_string(event).unwrap_or_default();
            text.push_str(&format!(
                "id: {id}\nevent: {}\ndata: {data}\n\n",
                event.kind
            ));
        }
        Bytes::from(text)
    }

    /// A comment, and the place without an event: filters may have left much out since the last one.
    fn place(&self) -> Bytes {
        Bytes::from(format!(": heartbeat\nid: {}\n\n", self.at))
    }
}
