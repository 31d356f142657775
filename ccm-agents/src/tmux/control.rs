//! One control-mode client: commands go in as lines, answers and notifications come out, over a single connection.

use std::collections::VecDeque;
use std::fmt;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::parse::{Event, Parser};
use super::quote::Command;

/// How many calls may wait for being written.
const BACKLOG: usize = 256;
/// How many bytes are collected for one write.
const WRITE_AHEAD: usize = 64 * 1024;
/// How long a client that was told to go may take.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// tmux refused the command, in its own words. Commands of the same call that came before it took effect.
    #[error("tmux refused: {0}")]
    Refused(String),
    /// The connection is gone. Whether the command took effect is not known.
    #[error("the connection to tmux is gone: {0}")]
    Lost(String),
    /// The server did not answer in time. Whether the command took effect is not known.
    #[error("tmux did not answer in time")]
    TimedOut,
}

impl From<Failure> for ccm_core::Error {
    fn from(failure: Failure) -> Self {
        Self::unavailable(failure.to_string())
    }
}

/// A connection to a tmux server.
///
/// Any number of calls may be under way: they are written one after the other without waiting, and tmux answers in the
/// same order. When the server ends, or doesn't answer one call in time, all calls end with [`Failure::Lost`] or
/// [`Failure::TimedOut`] and the connection is over; it is cheap to make another. Dropping it ends the connection.
pub struct Control {
    calls: mpsc::Sender<Call>,
    timeout: Duration,
    over: CancellationToken,
    /// Why it is over, once it is.
    reason: Arc<OnceLock<Failure>>,
    _end: DropGuard,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

struct Call {
    line: Vec<u8>,
    waiting: Waiting,
}

struct Waiting {
    /// Answers that are still to come.
    missing: usize,
    answers: Vec<Vec<u8>>,
    reply: oneshot::Sender<Result<Vec<Vec<u8>>, Failure>>,
}

impl Control {
    /// Runs `client`, which is tmux with `-C` and a command that attaches to a session, and waits until it is attached.
    ///
    /// `changed` is notified when windows or sessions of the server change, and when a connection that stood is over.
    ///
    /// # Errors
    /// `Refused` in tmux's words if it can't attach; `TimedOut` if it doesn't within `timeout`.
    pub async fn connect(
        mut client: tokio::process::Command,
        timeout: Duration,
        changed: Arc<Notify>,
    ) -> Result<Self, Failure> {
        let mut child = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::Lost(format!("its client can't be started: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Lost("its client has no standard streams".into()));
        };
        let (calls, queue) = mpsc::channel(BACKLOG);
        let (ready, attached) = oneshot::channel();
        let end = CancellationToken::new();
        let over = CancellationToken::new();
        let reason = Arc::new(OnceLock::new());
        let connection = Connection {
            child,
            input,
            output,
            parser: Parser::default(),
            queue,
            waiting: VecDeque::new(),
            ready: Some(ready),
            changed,
        };
        tokio::spawn(connection.run(end.clone(), over.clone(), reason.clone()));
        let control = Self {
            calls,
            timeout,
            over,
            reason,
            _end: end.drop_guard(),
        };
        match tokio::time::timeout(timeout, attached).await {
            Ok(Ok(Ok(()))) => Ok(control),
            Ok(Ok(Err(refusal))) => Err(Failure::Refused(refusal)),
            Ok(Err(_)) => Err(control.lost()),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Runs one command and returns what it printed.
    ///
    /// # Errors
    /// See [`Failure`]. A command that was dropped while it waited may still run.
    pub async fn call(&self, command: Command) -> Result<Vec<u8>, Failure> {
        let mut answers = self.sequence(&[command]).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// Runs commands one after the other with nothing of anybody else in between, until one is refused.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn sequence(&self, commands: &[Command]) -> Result<Vec<Vec<u8>>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut line = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            if at > 0 {
                line.extend_from_slice(b" ; ");
            }
            let text = command
                .to_line()
                .map_err(|error| Failure::Refused(error.to_string()))?;
            line.extend_from_slice(&text);
        }
        line.push(b'\n');
        let (reply, answer) = oneshot::channel();
        let call = Call {
            line,
            waiting: Waiting {
                missing: commands.len(),
                answers: Vec::new(),
                reply,
            },
        };
        let answered = async {
            self.calls.send(call).await.map_err(|_| self.lost())?;
            answer.await.map_err(|_| self.lost())?
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => {
                // Later answers could only be told apart from this one by counting on a server that hangs.
                let _ = self.reason.set(Failure::TimedOut);
                self.over.cancel();
                Err(Failure::TimedOut)
            }
        }
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_alive(&self) -> bool {
        !self.over.is_cancelled()
    }

    /// Returns when the connection is over.
    pub async fn closed(&self) {
        self.over.cancelled().await;
    }

    /// Whether it is over because the server did not answer in time.
    pub fn timed_out(&self) -> bool {
        self.reason.get() == Some(&Failure::TimedOut)
    }

    fn lost(&self) -> Failure {
        let reason = self.reason.get().cloned();
        reason.unwrap_or_else(|| Failure::Lost("its server ended".into()))
    }
}

/// The task behind a [`Control`]. It ends when the client does, or when the `Control` is dropped.
struct Connection {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    parser: Parser,
    queue: mpsc::Receiver<Call>,
    waiting: VecDeque<Waiting>,
    ready: Option<oneshot::Sender<Result<(), String>>>,
    changed: Arc<Notify>,
}

impl Connection {
    async fn run(
        mut self,
        end: CancellationToken,
        over: CancellationToken,
        reason: Arc<OnceLock<Failure>>,
    ) {
        let why = tokio::select! {
            () = end.cancelled() => "it was closed".to_owned(),
            () = over.cancelled() => "it was given up".to_owned(),
            why = self.serve() => why,
        };
        let why = self.farewell(why).await;
        let _ = reason.set(Failure::Lost(why.clone()));
        over.cancel();
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(why));
        } else {
            self.changed.notify_one();
        }
        // Dropping the queue and the waiting calls tells their callers.
    }

    /// Carries bytes both ways until one way ends, and says why.
    async fn serve(&mut self) -> String {
        let mut unwritten: Vec<u8> = Vec::new();
        let mut read = Vec::with_capacity(8 * 1024);
        loop {
            tokio::select! {
                call = self.queue.recv(), if unwritten.len() < WRITE_AHEAD => match call {
                    Some(call) => {
                        unwritten.extend_from_slice(&call.line);
                        self.waiting.push_back(call.waiting);
                    }
                    None => return "it was closed".into(),
                },
                written = self.input.write(&unwritten), if !unwritten.is_empty() => match written {
                    Ok(0) | Err(_) => return "its server ended".into(),
                    Ok(count) => { unwritten.drain(..count); }
                },
                count = self.output.read_buf(&mut read) => {
                    match count {
                        Ok(0) | Err(_) => return "its server ended".into(),
                        Ok(_) => {}
                    }
                    self.parser.feed(&read);
                    read.clear();
                    while let Some(event) = self.parser.next() {
                        if let Some(why) = self.take(event) {
                            return why;
                        }
                    }
                }
            }
        }
    }

    /// Takes one event in; says why if it ends the connection.
    fn take(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Answer { ours: true, result } => self.answer(result),
            Event::Answer { result, .. } => {
                // The command that the client was started with.
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send(result.map(drop).map_err(|text| lossy(&text)));
                }
            }
            // It was not asked for.
            Event::Output { .. } => {}
            Event::Notification { name, .. } => {
                if matches!(
                    name.as_str(),
                    "window-close" | "unlinked-window-close" | "layout-change" | "sessions-changed"
                ) {
                    self.changed.notify_one();
                }
            }
            Event::Exit(reason) if reason.is_empty() => return Some("its server ended".into()),
            Event::Exit(reason) => return Some(reason),
            Event::Overflow => return Some("its answer is too long".into()),
        }
        None
    }

    fn answer(&mut self, result: Result<Vec<u8>, Vec<u8>>) {
        let Some(mut call) = self.waiting.pop_front() else {
            return;
        };
        match result {
            Ok(text) => {
                call.answers.push(text);
                call.missing -= 1;
                if call.missing > 0 {
                    self.waiting.push_front(call);
                } else {
                    let _ = call.reply.send(Ok(call.answers));
                }
            }
            // tmux drops the rest of the line.
            Err(text) => {
                let _ = call.reply.send(Err(Failure::Refused(lossy(&text))));
            }
        }
    }

    /// Ends and reaps the client, and adds what it complained about.
    async fn farewell(&mut self, why: String) -> String {
        let mut complaint = Vec::new();
        let errors = self.child.stderr.take();
        let _ = self.child.start_kill();
        let ended = async {
            let _ = self.child.wait().await;
            if let Some(errors) = errors {
                let _ = errors.take(4096).read_to_end(&mut complaint).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, ended).await;
        let complaint = lossy(&complaint);
        if complaint.is_empty() { why } else { complaint }
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().to_owned()
}
