//! What differs from one agent program to another: its arguments, its words, its output.

mod command;

use std::fs::File;

use ccm_core::Reason;
use ccm_core::Result;
use ccm_core::run::Checkpoint;
use ccm_core::runtime::{Batch, LaunchOrder, RunEnd};
use ccm_core::task::Setback;

/// The drivers of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
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
    /// Whether end of file follows directly.
    pub(crate) then_close: bool,
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
            "command" => Ok(Self::Command),
            other => Err(Setback::new(
                Reason::NotStarted,
                format!(
                    "driver {other:?} is not available in this version; choose a program of your own with `ccm config \
                     set --project agent.command '[PROGRAM, ARGUMENT]'`, then `ccm config set --project agent.driver \
                     command`"
                ),
            )),
        }
    }

    /// What an order means for this driver, or why it can't start.
    pub(crate) fn plan(self, order: &LaunchOrder) -> std::result::Result<Plan, Setback> {
        match self {
            Self::Command => command::plan(order),
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
            Self::Command => command::read(spool, from, end),
        }
    }
}
