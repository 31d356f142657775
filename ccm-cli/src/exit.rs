//! How a command can end.

use std::io;
use std::process::ExitCode;

use ccm_core::api::{Problem, ProblemCode};
use ccm_core::{ErrorKind, chain};

use crate::client;

/// What a program tells whoever started it. The numbers are documented and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done = 0,
    /// Failed, or what was waited for failed.
    Failed = 1,
    /// The command line or an input is wrong.
    Usage = 2,
    /// The daemon is not reachable.
    Unreachable = 3,
    /// What is asked for is not there.
    NotFound = 4,
    /// It is there, but its state doesn't allow that.
    Refused = 5,
    /// The token is missing or wrong.
    Unauthorized = 6,
    /// It took too long.
    TimedOut = 7,
    /// A person pressed Ctrl-C at a question; what a shell reports for a program that the signal ended.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The codes as the help shows them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong command line or input
  3  daemon not reachable
  4  not found
  5  refused because of its state
  6  not authorised
  7  timed out";

/// Why a command failed, in one sentence, and what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Whoever reads the output went away; there is nobody to tell.
    pub(crate) silent: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            silent: false,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of one thing among several.
    pub(crate) fn of_one(mut self, what: &str) -> Self {
        if !self.message.contains(what) {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }

    /// What is printed is no longer read.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        let broken = error.kind() == io::ErrorKind::BrokenPipe;
        Self {
            code: if broken { Code::Done } else { Code::Failed },
            message: format!("the output can't be written: {error}"),
            hint: None,
            silent: broken,
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        match &error {
            client::Error::Problem(problem) => of_problem(problem),
            client::Error::Unreachable { url, .. } if error.is_timeout() => Self::new(
                Code::Unreachable,
                format!("the daemon at {url} did not answer in time"),
            )
            .hint("it may be busy or suspended; `ccm-orchestrator daemon logs` may say more"),
            client::Error::Unreachable { .. } => {
                let elsewhere = std::env::var_os("CCM_URL").is_some_and(|url| !url.is_empty());
                Self::new(Code::Unreachable, innermost(&error)).hint(if elsewhere {
                    "check CCM_URL, and that the daemon there runs; without CCM_URL this machine's own is asked"
                } else {
                    START
                })
            }
            client::Error::Endpoint(_) => Self::usage(error.to_string()),
            _ => Self::new(Code::Unreachable, error.to_string())
                .hint("check the address in CCM_URL, or update ccm if the daemon is newer"),
        }
    }
}

pub(crate) const START: &str = "start it with `ccm-orchestrator daemon start`";

/// The message and the innermost cause: what lies between them is the libraries' own.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, error) {
        return error.to_string();
    }
    format!("{error}: {cause}")
}

fn of_problem(problem: &Problem) -> Failure {
    use ProblemCode as P;
    let code = match problem.code {
        P::BadRequest
        | P::Invalid
        | P::UnsupportedMediaType
        | P::TooLarge
        | P::ProjectUnusable
        | P::IdempotencyKeyReused => Code::Usage,
        P::Unauthorized | P::Forbidden | P::SyncSignedOut => Code::Unauthorized,
        P::NotFound
        | P::ProjectNotFound
        | P::TaskNotFound
        | P::RunNotFound
        | P::AskNotFound
        | P::AgentNotFound
        | P::SystemNotFound
        | P::TemplateNotFound
        | P::ConflictNotFound
        | P::SetAsideNotFound => Code::NotFound,
        P::WrongState
        | P::AskAnswered
        | P::ConflictResolved
        | P::SyncOff
        | P::SyncRevoked
        | P::SyncOutdated
        | P::SyncNotSetUp
        | P::SyncTwin
        | P::ProjectTaken
        | P::TrustChanged
        | P::StaleRevision
        | P::PreconditionRequired
        | P::QueueFull
        | P::TooManyViewers
        | P::Unsupported
        | P::Resync => Code::Refused,
        P::Unavailable => Code::Unreachable,
        P::Timeout => Code::TimedOut,
        _ => Code::Failed,
    };
    let mut message = problem.detail.clone();
    for part in &problem.errors {
        if !message.contains(&part.message) {
            let place = part.pointer.trim_start_matches('/');
            message.push_str(&format!("; {place}: {}", part.message));
        }
    }
    let failure = Failure::new(code, message);
    match problem.code {
        P::Unauthorized => Failure::new(code, "the daemon does not take this token").hint(
            "check CCM_TOKEN if it is set (an agent's own ends with its run); if the token file was replaced, `ccm-orchestrator daemon restart` makes the \
             new one count",
        ),
        P::QueueFull => failure.hint(
            "wait until tasks are done, or raise it with `ccm config set resources.max_queue_size N`",
        ),
        // The daemon's own sentence may say so already.
        P::Internal if !failure.message.contains("daemon logs") => {
            failure.hint("`ccm-orchestrator daemon logs` says more")
        }
        _ => failure,
    }
}

impl From<ccm_core::Error> for Failure {
    fn from(error: ccm_core::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound(_) => Code::NotFound,
            ErrorKind::WrongState(_)
            | ErrorKind::Superseded
            | ErrorKind::StaleRevision
            | ErrorKind::Taken(_)
            | ErrorKind::QueueFull
            | ErrorKind::Unsupported => Code::Refused,
            ErrorKind::Invalid | ErrorKind::KeyReused => Code::Usage,
            _ => Code::Failed,
        };
        Self::new(code, chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_has_its_code() {
        let mut all: Vec<_> = ProblemCode::ALL
            .iter()
            .map(|code| {
                let failure = of_problem(&Problem::new(*code, "what"));
                format!("{} {}", failure.code as u8, code.as_str())
            })
            .collect();
        all.sort();
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn the_way_to_the_log_is_told_once() {
        let of = |detail: &str| of_problem(&Problem::new(ProblemCode::Internal, detail)).hint;
        assert!(of("something is wrong").is_some_and(|hint| hint.contains("daemon logs")));
        assert_eq!(of("something is wrong; `ccm daemon logs` says what"), None);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::of_output(&io::ErrorKind::BrokenPipe.into());
        assert!(gone.silent && gone.code == Code::Done);
        let full = Failure::of_output(&io::ErrorKind::StorageFull.into());
        assert!(!full.silent && full.code == Code::Failed);
    }
}
