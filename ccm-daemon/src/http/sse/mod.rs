//! The event stream, read straight from the log.
//!
//! A stream keeps nothing but its place. It is pulled: the next part is taken when the socket has room again, so a
//! reader that stops reading costs its socket's buffers and little more, holds nobody up and misses nothing.
//!
//! What is new is read from the log once and written as text once, for all readers (`live.rs`). They find it in the
//! tail, the newest part of the log (`shelf.rs`); who is behind the tail reads the log until it is there. Both give
//! the same by the numbers of the events, so it does not matter which of them a reader was given a part from.

mod budget;
mod live;
mod segment;
mod shelf;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use ccm_core::Result;
use ccm_core::api::ProblemCode;
use ccm_core::event::Cursor;
use ccm_core::id::Seq;
use ccm_core::store::{EventQuery, LogRange};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::error::{Answer, ApiError};
use crate::access::Principal;
use crate::app::App;

use budget::Budget;
use live::Live;
pub(crate) use live::Streams;
use shelf::Found;

/// How long a stream is silent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events a reader with filters reads at once when it is behind.
const CHOSEN: u32 = 64;
/// When a client that found no room may try again, in seconds.
const ROOM_AFTER: u32 = 5;

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
pub(super) async fn stream(
    app: Arc<App>,
    principal: Principal,
    wanted: Wanted,
) -> Answer<Response> {
    let room = app.streams().admit().ok_or_else(no_room)?;
    let log = app.engine().store().log().await?;
    let at = wanted.after.unwrap_or(Cursor {
        log: log.log,
        seq: log.head,
    });
    if !log.holds(at) {
        return Err(gone(&log, at));
    }
    let live = app.streams().join(app.engine().store(), log, at.seq);
    let revoked = {
        let app = Arc::clone(&app);
        Box::pin(async move { app.until_revoked(&principal).await })
    };
    let reader = Reader {
        wake: live.wake(),
        live,
        app,
        query: wanted.query,
        at,
        state: State::Begin,
        budget: Budget::default(),
        _room: room,
    };
    let parts = stream::unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(part), reader))
    });
    let mut response = Body::from_stream(parts.take_until(revoked)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    Ok(response)
}

fn no_room() -> ApiError {
    ApiError::new(
        ProblemCode::TooManyStreams,
        "as many event streams are open as this daemon serves at once; close some, or raise the limit of open files \
         (`LimitNOFILE=`, `ulimit -n`) and restart it",
    )
    .retry_after(ROOM_AFTER)
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
    live: Arc<Live>,
    wake: watch::Receiver<Seq>,
    query: EventQuery,
    at: Cursor,
    state: State,
    budget: Budget,
    _room: OwnedSemaphorePermit,
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
                self.cut_off()
            })),
        }
    }

    async fn events(&mut self) -> Result<Bytes> {
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        let mut heartbeat = std::pin::pin!(heartbeat);
        loop {
            let room = self.budget.room().await;
            // Marked before the tail is looked at: what comes into it after that wakes this reader.
            self.wake.mark_unchanged();
            let text = match self.live.tail.find(self.at.seq, &self.query, room) {
                Found::Part(part) => {
                    self.at.seq = part.upto;
                    part.text
                }
                Found::Nothing => Bytes::new(),
                Found::Behind => match self.catch_up(room).await? {
                    // The filters left everything out, and there is more to look through.
                    text if text.is_empty() => continue,
                    text => text,
                },
                Found::Ended => return Ok(self.cut_off()),
            };
            if !text.is_empty() {
                return Ok(self.budget.send(text));
            }
            tokio::select! {
                // The senders live as long as `live`.
                _ = self.wake.changed() => {}
                () = heartbeat.as_mut() => return Ok(self.place()),
            }
        }
    }

    /// Reads the next part from the log itself, and moves on by it.
    async fn catch_up(&mut self, room: usize) -> Result<Bytes> {
        let live = Arc::clone(&self.live);
        let is_chosen = self.query != EventQuery::default();
        let _turn = live.turn().await;
        if !is_chosen && let Some(part) = live.past(self.at.seq, &self.query, room) {
            self.at.seq = part.upto;
            return Ok(part.text);
        }
        let store = Arc::clone(self.app.engine().store());
        let log = store.log().await?;
        if !log.holds(self.at) {
            self.state = State::Ended;
            let problem = gone(&log, self.at);
            let data = serde_json::to_string(problem.problem()).unwrap_or_default();
            return Ok(Bytes::from(format!("event: resync\ndata: {data}\n\n")));
        }
        if !is_chosen {
            let part = live.read(&*store, log.log, self.at.seq, &self.query, room);
            return Ok(part.await?.map_or_else(Bytes::new, |part| {
                self.at.seq = part.upto;
                part.text
            }));
        }
        let query = EventQuery {
            after: self.at.seq,
            limit: CHOSEN,
            ..self.query.clone()
        };
        // The database has an index for what a reader chooses, so what it leaves out costs nothing.
        let events = store.events(&query).await?;
        let mut text = Vec::new();
        for event in &events {
            if text.len() >= room {
                return Ok(text.into());
            }
            segment::write_event(&mut text, log.log, event);
            self.at.seq = event.seq;
        }
        if events.len() < CHOSEN as usize {
            // Everything up to the head was looked at, also what the filters left out.
            self.at.seq = self.at.seq.max(log.head);
        }
        Ok(text.into())
    }

    /// The last words of a stream that has to end early.
    fn cut_off(&mut self) -> Bytes {
        self.state = State::Ended;
        Bytes::from_static(b": the log can't be read now\n\n")
    }

    /// A comment, and the place without an event: filters may have left much out since the last one.
    fn place(&self) -> Bytes {
        Bytes::from(format!(": heartbeat\nid: {}\n\n", self.at))
    }
}
