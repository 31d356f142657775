use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Noun};

/// An error of the API, as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Where this kind of problem is described.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, in words.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// The kind of problem, for programs.
    pub code: ProblemCode,
    /// The parts of the request that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemPart>,
}

/// A part of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProblemPart {
    /// Where, as a JSON pointer into the body, or the name of a parameter.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// The kinds of problems. Only ever added to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[doc = $doc])* $name,)*
            /// A kind that this program is too old to know.
            #[serde(other)]
            Other,
        }

        impl ProblemCode {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other => "other",
                }
            }

            /// The HTTP status it comes with.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Other => 500,
                }
            }

            /// What it means, in a sentence or two.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim(),)*
                    Self::Other => "A kind that this program is too old to know.",
                }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    Self::Other => "Another problem",
                }
            }
        }
    };
}

codes! {
    /// The request can't be read: its JSON, a parameter, a header.
    BadRequest = "bad_request", 400, "The request can't be read";
    /// A value is not allowed.
    Invalid = "invalid", 422, "A value is not allowed";
    /// The token is missing or wrong.
    Unauthorized = "unauthorized", 401, "The token is missing or wrong";
    /// The caller may not do this, or the `Host`, `Origin` or a header of its kind is not one that this daemon answers to.
    Forbidden = "forbidden", 403, "Not allowed";
    /// Somebody tried too many wrong tokens.
    TooManyAttempts = "too_many_attempts", 429, "Too many wrong tokens";
    /// There is no such path.
    NotFound = "not_found", 404, "There is no such path";
    /// The path is there, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, "The path has no such method";
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body must be JSON";
    /// The body is larger than allowed.
    TooLarge = "too_large", 413, "The body is too large";
    /// There is no such project.
    ProjectNotFound = "project_not_found", 404, "There is no such project";
    /// There is no such task.
    TaskNotFound = "task_not_found", 404, "There is no such task";
    /// There is no such run.
    RunNotFound = "run_not_found", 404, "There is no such run";
    /// There is no such ask.
    AskNotFound = "ask_not_found", 404, "There is no such ask";
    /// The ask has another answer, or needs none any more.
    AskAnswered = "ask_answered", 409, "The ask has its answer";
    /// No browser has such a session.
    SessionNotFound = "session_not_found", 404, "There is no such session";
    /// There is no such agent.
    AgentNotFound = "agent_not_found", 404, "There is no such agent";
    /// There is no such system.
    SystemNotFound = "system_not_found", 404, "There is no such system";
    /// The project has no such template.
    TemplateNotFound = "template_not_found", 404, "There is no such template";
    /// There is no such conflict.
    ConflictNotFound = "conflict_not_found", 404, "There is no such conflict";
    /// No change of that number was set aside.
    SetAsideNotFound = "set_aside_not_found", 404, "No such change was set aside";
    /// Somebody decided the conflict already.
    ConflictResolved = "conflict_resolved", 409, "The conflict is resolved";
    /// This machine shares nothing with others.
    SyncOff = "sync_off", 409, "This machine shares nothing";
    /// The sign-in that machines share is missing, or is no longer good.
    SyncSignedOut = "sync_signed_out", 409, "Somebody has to sign in again";
    /// This machine was shut out by its user.
    SyncRevoked = "sync_revoked", 409, "This machine was shut out";
    /// This program is too old for what machines share.
    SyncOutdated = "sync_outdated", 409, "This program is too old for the others";
    /// The service that machines share through was not set up for it.
    SyncNotSetUp = "sync_not_set_up", 409, "The service was not set up";
    /// Another machine writes under this one's identity.
    SyncTwin = "sync_twin", 409, "Another machine has the same identity";
    /// The object's state does not allow it.
    WrongState = "wrong_state", 409, "The object's state does not allow it";
    /// The name or path belongs to another project.
    ProjectTaken = "project_taken", 409, "The name or path is taken";
    /// The folder is not set up as a project, or its `.ccm/` can't be used.
    ProjectUnusable = "project_unusable", 422, "The folder can't be used as a project";
    /// What was to be trusted is no longer what the file says.
    TrustChanged = "trust_changed", 409, "The settings changed meanwhile";
    /// The object was changed meanwhile.
    StaleRevision = "stale_revision", 412, "The object was changed meanwhile";
    /// The request must say which revision of the object it is about, in `If-Match`.
    PreconditionRequired = "precondition_required", 428, "Say which revision you saw";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The idempotency key was used for another request";
    /// The queue is full.
    QueueFull = "queue_full", 429, "The queue is full";
    /// As many event streams are open as can be.
    TooManyStreams = "too_many_streams", 503, "Too many streams are open";
    /// As many look at the agent's terminal as may at once.
    TooManyViewers = "too_many_viewers", 429, "Too many look at this terminal";
    /// The disk is full.
    DiskFull = "disk_full", 507, "The disk is full";
    /// The place in the event log is gone or belongs to another log.
    Resync = "resync", 410, "The place in the event log is gone";
    /// It took too long.
    Timeout = "timeout", 408, "It took too long";
    /// Something that this needs is not reachable now.
    Unavailable = "unavailable", 503, "Something this needs is not reachable now";
    /// This daemon can't do it as it is set up.
    Unsupported = "unsupported", 501, "This daemon can't do it";
    /// Something went wrong inside; the daemon's log says what.
    Internal = "internal", 500, "Something went wrong inside";
}

impl Problem {
    /// A problem of this kind with what is wrong here.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems#{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
        }
    }
}

impl From<&Error> for ProblemCode {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound(noun) => match noun {
                Noun::Project => Self::ProjectNotFound,
                Noun::Task => Self::TaskNotFound,
                Noun::Run => Self::RunNotFound,
                Noun::Ask => Self::AskNotFound,
                Noun::Agent => Self::AgentNotFound,
                Noun::System => Self::SystemNotFound,
            },
            ErrorKind::WrongState(Noun::Ask) => Self::AskAnswered,
            ErrorKind::WrongState(Noun::System) => Self::SyncOff,
            ErrorKind::WrongState(_) => Self::WrongState,
            ErrorKind::Taken(Noun::System) => Self::SyncTwin,
            ErrorKind::Taken(_) => Self::ProjectTaken,
            ErrorKind::Unauthenticated => Self::SyncSignedOut,
            ErrorKind::Revoked => Self::SyncRevoked,
            ErrorKind::TooOld => Self::SyncOutdated,
            ErrorKind::StaleRevision => Self::StaleRevision,
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::KeyReused => Self::IdempotencyKeyReused,
            ErrorKind::QueueFull => Self::QueueFull,
            ErrorKind::DiskFull => Self::DiskFull,
            // What is out of step with the others begins anew by itself.
            ErrorKind::Unavailable | ErrorKind::OutOfStep => Self::Unavailable,
            ErrorKind::Unsupported => Self::Unsupported,
            // Superseded is an engine that must not go on. What the rest are about is for the operator.
            ErrorKind::Superseded
            | ErrorKind::Unknown
            | ErrorKind::Corrupt
            | ErrorKind::TooNew
            | ErrorKind::TooLarge
            | ErrorKind::Internal => Self::Internal,
        }
    }
}
