use std::sync::Arc;
use std::time::Duration;

use ccm_core::api::{Event, EventKind, ProblemCode};
use ccm_core::event::Cursor;
use ccm_core::id::{ProjectId, RunId, TaskId};
use futures_util::Stream;
use reqwest::Response;

use super::sse::{Frame, Parser};
use super::transport::{Call, Transport, unreachable};
use super::{Error, Result};

/// The daemon sends at least a heartbeat in this time; a connection that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(90);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Which events are wanted. Empty means all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those of this task.
    pub task_id: Option<TaskId>,
    /// Only those of this run.
    pub run_id: Option<RunId>,
    /// Only those of these kinds.
    pub kinds: Vec<EventKind>,
}

/// What an event stream tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The stream is open: what happens from here on, or after the last event that was told, will be told. Whoever
    /// wants to know how things stand reads them now.
    Open,
    /// Something happened.
    Event {
        /// Its place in the log.
        cursor: Cursor,
        /// What.
        event: Event,
    },
    /// The place in the log is gone, so events are missing. The stream goes on with what happens from now on.
    Resync,
    /// The connection is lost. It is being mended for as long as the stream is read.
    Lost(Error),
}

/// The event log from a place on, through lost connections and restarts of the daemon.
///
/// Every event is told at least once and in order. Only an error that trying again can't mend ends the stream.
pub struct EventStream {
    transport: Arc<Transport>,
    call: Call,
    last: Option<String>,
    state: State,
    pause: Duration,
}

enum State {
    /// To be connected after a pause.
    Closed(Duration),
    Open(Box<Response>, Parser),
    /// The connection ended with an error that was not told yet.
    Broken(Error),
}

impl EventStream {
    pub(super) fn new(
        transport: Arc<Transport>,
        after: Option<Cursor>,
        filter: &EventFilter,
    ) -> Self {
        let mut call = Call::get("/api/v1/events")
            .query("project_id", filter.project_id)
            .query("task_id", filter.task_id)
            .query("run_id", filter.run_id);
        if !filter.kinds.is_empty() {
            let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.as_str()).collect();
            call = call.query("kind", Some(kinds.join(",")));
        }
        Self {
            transport,
            call,
            last: after.map(|cursor| cursor.to_string()),
            state: State::Closed(Duration::ZERO),
            pause: FIRST_PAUSE,
        }
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// A problem that the daemon names, or an answer that is no event stream; the next call tries again.
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            match &mut self.state {
                State::Closed(pause) => {
                    tokio::time::sleep(*pause).await;
                    if let Some(notice) = self.connect().await? {
                        return Ok(notice);
                    }
                }
                State::Open(response, parser) => {
                    if let Some(frame) = parser.next() {
                        if let Some(notice) = self.take(frame)? {
                            return Ok(notice);
                        }
                        continue;
                    }
                    let broken: Box<dyn std::error::Error + Send + Sync> =
                        match tokio::time::timeout(SILENCE, response.chunk()).await {
                            Ok(Ok(Some(chunk))) => match parser.feed(&chunk) {
                                Ok(()) => continue,
                                Err(_) => "a frame of its event stream has no end".into(),
                            },
                            Ok(Ok(None)) => "it closed the event stream".into(),
                            Ok(Err(error)) => error.into(),
                            Err(late) => late.into(),
                        };
                    self.state = State::Broken(unreachable(self.transport.url(), broken));
                }
                State::Broken(_) => {
                    let pause = State::Closed(self.pause);
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                    if let State::Broken(error) = std::mem::replace(&mut self.state, pause) {
                        return Ok(Notice::Lost(error));
                    }
                }
            }
        }
    }

    /// The same as a stream. It ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Notice>> {
        futures_util::stream::unfold(Some(self), |events| async {
            let mut events = events?;
            match events.next().await {
                Ok(notice) => Some((Ok(notice), Some(events))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn connect(&mut self) -> Result<Option<Notice>> {
        let last = self.last.as_deref();
        match self
            .transport
            .open(&self.call, "text/event-stream", last)
            .await
        {
            Ok(response) => {
                self.state = State::Open(Box::new(response), Parser::default());
                self.pause = FIRST_PAUSE;
                Ok(Some(Notice::Open))
            }
            Err(error) if error.code() == Some(ProblemCode::Resync) && self.last.is_some() => {
                self.last = None;
                self.state = State::Closed(Duration::ZERO);
                Ok(Some(Notice::Resync))
            }
            Err(error)
                if error.is_unreachable() || error.code() == Some(ProblemCode::Unavailable) =>
            {
                let url = self.transport.url();
                self.transport.relocate(&url);
                self.state = State::Broken(error);
                Ok(None)
            }
            Err(error) => {
                self.state = State::Closed(self.pause);
                Err(error)
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Notice>> {
        if frame.event == "resync" {
            self.last = None;
            self.state = State::Closed(Duration::ZERO);
            return Ok(Some(Notice::Resync));
        }
        let Some(cursor) = frame.id.as_deref().and_then(|id| id.parse::<Cursor>().ok()) else {
            return Ok(None);
        };
        self.last = frame.id;
        // A newer daemon may tell of kinds that this program doesn't know.
        Ok(frame
            .data
            .and_then(|data| serde_json::from_str(&data).ok())
            .map(|event| Notice::Event { cursor, event }))
    }
}
