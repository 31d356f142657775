//! What differs from one agent program to another: its arguments, its words, its output.

mod claude;
mod command;
mod lines;

use std::fs::File;
use std::io;
use std::path::Path;

use ccm_core::input::Input;
use ccm_core::project::AgentProfile;
use ccm_core::run::Checkpoint;
use ccm_core::runtime::{Batch, LaunchOrder, RunEnd};
use ccm_core::task::Setback;
use ccm_core::transcript::Transcript;
use ccm_core::{Error, ErrorKind, Reason, Result};

/// The drivers of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Claude Code.
    Claude,
    /// Any program: the prompt on standard input, the exit code decides.
    Command,
}

/// What is to be executed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The program and its arguments; never empty.
    pub(crate) argv: Vec<String>,
    /// Input number 1.
    pub(crate) first_input: Vec<u8>,
    /// Whether end of file follows directly, so that nothing can be said later.
    pub(crate) then_close: bool,
    /// What asks the program, in its own terms, to give up what it does.
    pub(crate) interrupt: Option<Vec<u8>>,
}

/// A run's spool as a driver reads it.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) out: Option<File>,
    pub(crate) err: Option<File>,
    /// Where standard output counts as ended, now or for good.
    pub(crate) out_size: u64,
    pub(crate) err_size: u64,
}

impl Driver {
    /// The driver that a profile names, or why the run can't start.
    pub(crate) fn named(name: &str) -> std::result::Result<Self, Setback> {
        match name {
            "claude" => Ok(Self::Claude),
            "command" => Ok(Self::Command),
            other => Err(Setback::new(
                Reason::NotStarted,
                format!(
                    "driver {other:?} is not available in this version; choose `claude` with `ccm config set --project \
                     agent.driver claude`, or a program of your own with `ccm config set --project agent.command \
                     '[PROGRAM, ARGUMENT]'` and then `ccm config set --project agent.driver command`"
                ),
            )),
        }
    }

    /// What an order means for this driver, or why it can't start.
    pub(crate) fn plan(
        self,
        order: &LaunchOrder,
        run_folder: &Path,
    ) -> std::result::Result<Plan, Setback> {
        match self {
            Self::Claude => claude::plan(order, run_folder),
            Self::Command => command::plan(order),
        }
    }

    /// Puts into the run's folder what the program needs besides its arguments.
    pub(crate) fn prepare(self, order: &LaunchOrder, run_folder: &Path) -> io::Result<()> {
        match self {
            Self::Claude => claude::prepare(order, run_folder),
            Self::Command => Ok(()),
        }
    }

    /// What people are told when there is no program of this name on the PATH.
    pub(crate) fn missing(self, name: &str, search_path: &str) -> String {
        match self {
            Self::Claude => claude::missing(name, search_path),
            Self::Command => format!(
                "the program {name:?} was not found on the PATH ({search_path}); install it, or give its full path in \
                 agent.command in .ccm/config.yaml"
            ),
        }
    }

    /// The next part of a run's output after `from`. Blocks on the disk.
    pub(crate) fn read(
        self,
        spool: &Spool,
        from: &Checkpoint,
        end: Option<&RunEnd>,
    ) -> Result<Batch> {
        match self {
            Self::Claude => claude::read(spool, from, end),
            Self::Command => command::read(spool, from, end),
        }
    }

    /// What a run said and did after a place. Blocks on the disk.
    pub(crate) fn tell(
        self,
        spool: &Spool,
        from: u64,
        limit: u32,
        ended: bool,
    ) -> Result<Transcript> {
        match self {
            Self::Claude => claude::tell(spool, from, limit, ended),
            Self::Command => command::tell(spool, from, ended),
        }
    }

    /// An input as the program reads it. Blocks on the disk.
    ///
    /// # Errors
    /// `Unsupported` when the program takes nothing after its prompt.
    pub(crate) fn encode(self, input: &Input, spool: &Spool) -> Result<Vec<u8>> {
        match self {
            Self::Claude => claude::encode(input, spool),
            Self::Command => Err(Error::new(
                ErrorKind::Unsupported,
                "a program of the driver `command` takes nothing after its prompt",
            )),
        }
    }

    /// The program with which a person sits in an agent's place, and its arguments.
    ///
    /// # Errors
    /// `Unsupported` for a program that nobody can sit with.
    pub(crate) fn sit(
        self,
        profile: &AgentProfile,
        session_id: Option<&str>,
    ) -> Result<Vec<String>> {
        match self {
            Self::Claude => Ok(claude::sit(profile, session_id)),
            Self::Command => Err(Error::new(
                ErrorKind::Unsupported,
                "a program of the driver `command` has no session that a person could take over",
            )),
        }
    }

    /// Whether the program can be interrupted: it stops what it does and waits for its next input.
    pub(crate) const fn can_interrupt(self) -> bool {
        match self {
            Self::Claude => true,
            Self::Command => false,
        }
    }

    /// What shows standard output to people as it comes.
    pub(crate) fn teller(self) -> Teller {
        match self {
            Self::Claude => Teller::Claude(claude::Teller::default()),
            Self::Command => Teller::Plain,
        }
    }
}

/// Shows standard output to people as it comes.
#[derive(Debug)]
pub(crate) enum Teller {
    /// As it is.
    Plain,
    /// As what Claude Code says and does.
    Claude(claude::Teller),
}

impl Teller {
    /// What is to be shown of more output; `None` for the output itself.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Claude(teller) => Some(teller.push(bytes)),
        }
    }

    /// Some output was left out.
    pub(crate) fn skip(&mut self) {
        match self {
            Self::Plain => {}
            Self::Claude(teller) => teller.skip(),
        }
    }
}

/// Whether an environment variable says that its program was started by an agent, which is not true of what CCM starts.
pub(crate) fn is_mark_of_an_agent(name: &str) -> bool {
    claude::MARKS.contains(&name)
}
