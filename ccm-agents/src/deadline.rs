//! The time at which a run of a shared task is over, whoever lives: another machine may have it then.
//!
//! It is counted from the start of the machine, with the time that it was suspended. Whoever renews the task's lease
//! moves it: a file beside the run's order, put in place at once. The host looks at it about once a second, and at no other run's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ccm_core::Result;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::record::{self, RunDir};
use crate::sys::durable;
use crate::sys::proc::Machine;

/// How often the host looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long what is ended may take until it is killed. Little is left by then.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadlineFile {
    /// The start of the machine that it is counted from.
    boot: String,
    /// In microseconds.
    at_us: u64,
}

fn path(dir: &RunDir) -> PathBuf {
    dir.file("deadline")
}

/// Moves the deadline of a run. One that has no data, or is over, has none.
pub(crate) fn set(dir: &RunDir, at: Duration) -> Result<()> {
    if !dir.exists() || dir.exit()?.is_some() {
        return Ok(());
    }
    let path = path(dir);
    let failed = |error| durable::error("write", &path, error);
    let file = DeadlineFile {
        boot: Machine::here().map_err(failed)?.boot,
        at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
    };
    durable::replace(&path, &record::json(&file)?).map_err(failed)
}

/// The deadline as the run's host keeps to it.
#[derive(Debug)]
pub(crate) struct Deadline {
    path: PathBuf,
    boot: String,
    at: Duration,
    due: Instant,
}

impl Deadline {
    /// That of an order, unless it was moved since.
    pub(crate) fn new(dir: &RunDir, machine: &Machine, at: Duration) -> Self {
        let mut deadline = Self {
            path: path(dir),
            boot: machine.boot.clone(),
            at,
            due: Instant::now() + EVERY,
        };
        deadline.read();
        deadline
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Whether it has come.
    pub(crate) fn has_come(&self) -> bool {
        clock::up() >= self.at
    }

    /// Looks, if that is due, whether it has come and was not moved.
    pub(crate) fn look(&mut self) -> bool {
        let now = Instant::now();
        if now < self.due {
            return false;
        }
        self.due = now + EVERY;
        self.read();
        self.has_come()
    }

    /// What can't be read changes nothing: then it ends too early rather than too late.
    fn read(&mut self) {
        let read = std::fs::read(&self.path).ok();
        let file = read.and_then(|bytes| serde_json::from_slice::<DeadlineFile>(&bytes).ok());
        if let Some(file) = file.filter(|file| file.boot == self.boot) {
            self.at = Duration::from_micros(file.at_us);
        }
    }
}
