//! Processes: who they are, who their parents are, and what they carry.

use std::io;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;

#[cfg(target_os = "linux")]
use linux as os;
#[cfg(not(target_os = "linux"))]
use other as os;

#[cfg(feature = "fuzzing")]
pub(crate) use os::fuzz;
pub(crate) use os::{STARTS_ARE_ORDERED, all, carries, look, memory, resources_of};

/// One process of a machine, told from those that had or will have its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// Its number.
    pub(crate) pid: u32,
    /// When it was started, in the system's own count.
    pub(crate) start: u64,
}

/// A machine between two starts, as seen from one container of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Changes with every start of the machine.
    pub(crate) boot: String,
    /// In which numbers of processes count.
    pub(crate) pid_namespace: String,
}

impl Machine {
    /// The one this process is on.
    pub(crate) fn here() -> io::Result<Self> {
        os::machine()
    }
}

/// What is to be known about a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// Whether it has ended and only waits to be reaped.
    pub(crate) gone: bool,
    /// Its memory in bytes, with all that it shares with others.
    pub(crate) resident: u64,
}

impl ProcessId {
    /// The process with this number, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        look(pid).map(|process| process.id)
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        look(self.pid).is_some_and(|process| process.id == self && !process.gone)
    }

    /// Sends it a signal; one that is gone already has nothing to get.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<()> {
        os::signal(self, signal)
    }
}
