//! The one error type of the contracts.

use std::fmt;

use crate::id::{AgentId, AskId, ProjectId, RunId, TaskId};

/// The result of a contract's method.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with a kind to decide by, whether another try can help, and its source.
///
/// The message is a lower-case fragment for people; programs look at [`ErrorKind`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    part: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong, as far as a program can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object is not there.
    NotFound(Noun),
    /// The object is there, but in a state in which this can't be done.
    WrongState(Noun),
    /// The caller's fencing token or epoch is no longer the current one.
    Superseded,
    /// The caller changed a revision that is no longer the current one.
    StaleRevision,
    /// The value itself is not allowed.
    Invalid,
    /// The name or path belongs to another object.
    Taken(Noun),
    /// The idempotency key was used for another request.
    KeyReused,
    /// The queue holds as many tasks as it may.
    QueueFull,
    /// There is no room on the disk.
    DiskFull,
    /// Whether it took effect is not known. The caller must look before trying again.
    Unknown,
    /// A part that this needs is not reachable now: a host, a server, a lock.
    Unavailable,
    /// Stored data can't be read as what they should be.
    Corrupt,
    /// Stored data were written by a newer program.
    TooNew,
    /// This program is too old for who it speaks to.
    TooOld,
    /// More than the other side takes at once.
    TooLarge,
    /// Somebody has to sign in again.
    Unauthenticated,
    /// This machine was shut out by its user.
    Revoked,
    /// The two sides do not remember the same: one of them was put back to an older state.
    OutOfStep,
    /// This implementation can't do it.
    Unsupported,
    /// The operating system or a library refused for a reason that no caller can act on.
    Internal,
}

/// The kind of object an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Noun {
    System,
    Project,
    Agent,
    Task,
    Run,
    Ask,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Project => "project",
            Self::Agent => "agent",
            Self::Task => "task",
            Self::Run => "run",
            Self::Ask => "ask",
        })
    }
}

/// Whether the same call can succeed later without anything being mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may; nothing took effect.
    Transient,
    /// It can't.
    Permanent,
}

impl Error {
    /// An error of `kind`, told to people as `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            part: None,
            source: None,
        }
    }

    /// The same error about a part of what was asked for, as a JSON pointer. What it had before is beneath that.
    #[must_use]
    pub fn at(mut self, part: impl fmt::Display) -> Self {
        self.part = Some(format!("{part}{}", self.part.unwrap_or_default()));
        self
    }

    /// The same error as whoever asked only for `part` sees it.
    #[must_use]
    pub fn seen_from(mut self, part: &str) -> Self {
        let own = self.part.take();
        self.part = own.map(|own| own.strip_prefix(part).map(str::to_owned).unwrap_or(own));
        self
    }

    /// The part of what was asked for that is wrong, as a JSON pointer, if it is one part.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call can succeed later.
    pub fn retry(&self) -> Retry {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::DiskFull | ErrorKind::QueueFull => Retry::Transient,
            _ => Retry::Permanent,
        }
    }

    /// There is no task `id`.
    pub fn no_task(id: TaskId) -> Self {
        Self::new(
            ErrorKind::NotFound(Noun::Task),
            format!("there is no task {id}"),
        )
    }

    /// There is no project `id`.
    pub fn no_project(id: ProjectId) -> Self {
        Self::new(
            ErrorKind::NotFound(Noun::Project),
            format!("there is no project {id}"),
        )
    }

    /// There is no run `id`.
    pub fn no_run(id: RunId) -> Self {
        Self::new(
            ErrorKind::NotFound(Noun::Run),
            format!("there is no run {id}"),
        )
    }

    /// There is no ask `id`.
    pub fn no_ask(id: AskId) -> Self {
        Self::new(
            ErrorKind::NotFound(Noun::Ask),
            format!("there is no ask {id}"),
        )
    }

    /// There is no agent `id`.
    pub fn no_agent(id: AgentId) -> Self {
        Self::new(
            ErrorKind::NotFound(Noun::Agent),
            format!("there is no agent {id}"),
        )
    }

    /// `message` as [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// `message` as [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// `message` as [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

/// The message of an error and of everything that caused it, in one line. Some libraries repeat a cause in the message
/// above it; it is told once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = cause.source();
    }
    text
}
