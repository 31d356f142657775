//! Why something is as it is: one closed list for tasks and runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a task waits or failed, or why a run ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name used in the API and the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// The program ended with an exit code other than 0, or by a signal that CCM did not send.
    ExitCode = "exit_code",
    /// The agent said that it failed.
    AgentError = "agent_error",
    /// The program ended well but without a result.
    NoResult = "no_result",
    /// The run was cut: its host died, or the machine was restarted.
    Lost = "lost",
    /// The run ended but part of its output is missing.
    LostOutput = "lost_output",
    /// It took longer than allowed.
    Timeout = "timeout",
    /// It used more memory than allowed.
    MemoryLimit = "memory_limit",
    /// It wrote more output than allowed.
    OutputLimit = "output_limit",
    /// The program could not be started; no attempt was made.
    NotStarted = "not_started",
    /// Something of the run can't be ended.
    Unstoppable = "unstoppable",
    /// It cost more than allowed.
    Budget = "budget",
    /// The agent's provider asked to wait.
    RateLimited = "rate_limited",
    /// The project's settings changed and nobody on this machine trusted the change yet.
    ConfigUntrusted = "config_untrusted",
    /// The project's folder is not where it was.
    ProjectMissing = "project_missing",
    /// The project's agent was stopped.
    AgentStopped = "agent_stopped",
    /// A person has taken the project's agent over.
    AgentTaken = "agent_taken",
    /// The project was removed.
    ProjectRemoved = "project_removed",
    /// A person interrupted its agent and has not said yet how it goes on.
    Interrupted = "interrupted",
    /// It came from another machine, and its project asks a person first.
    RemoteUnapproved = "remote_unapproved",
    /// It came from another machine, and its project takes no such tasks.
    RemoteDenied = "remote_denied",
    /// The lease of a shared task ended, and another machine may run it.
    LeaseLost = "lease_lost",
    /// Someone cancelled it.
    Cancelled = "cancelled",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| crate::Error::invalid(format!("{text:?} is not a reason")))
    }
}
