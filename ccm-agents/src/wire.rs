//! What is said over a host's control socket: one JSON object a line, a request and its answer in turn.

use std::collections::BTreeMap;

use ccm_core::id::{Epoch, RunId};
use serde::{Deserialize, Serialize};

/// The version that hosts and daemons tell each other.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// No request is longer.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;

/// What a host can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Comes first on a connection. A lower epoch than the highest that the host has heard is refused.
    Hello { epoch: Epoch },
    /// Start what is ordered in the run's folder. Answered once it is known whether the program runs.
    Launch { run: RunId },
    /// End everything of the run. Answered once it is ended, or can't be.
    Stop { run: RunId, grace_ms: u64 },
    /// Give the program what is in the run's folder as input `number`. Answered once it is written, or never will be.
    Send { run: RunId, number: u32 },
    /// Nothing more comes for the program. Answered at once.
    Close { run: RunId },
    /// What the host does.
    Status,
    /// From here on the connection carries the readable log and nothing else. Needs no hello.
    View,
    /// Which environment its programs are given. Needs no hello.
    Environment,
    /// End the host, if it has no run in hand.
    Quit,
}

/// What a host answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To hello and status.
    Host(Status),
    /// To what environment programs are given: variables that are text.
    Environment { variables: BTreeMap<String, String> },
    /// It is done; what came of it is in the run's folder.
    Done,
    /// The program takes no more input.
    TooLate,
    /// These processes can't be ended.
    Unstoppable { pids: Vec<u32> },
    /// Another run is in hand.
    Busy { run: RunId },
    /// A newer daemon has spoken to this host.
    Superseded { epoch: Epoch },
    /// It can't be done.
    Refused { message: String, disk_full: bool },
}

/// What a host says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// The run in hand.
    pub(crate) run: Option<RunId>,
    /// What of it can't be ended.
    pub(crate) unstoppable: Vec<u32>,
}
