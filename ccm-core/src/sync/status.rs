//! How sharing goes, for people.

use serde::{Deserialize, Serialize};

use crate::store::Pending;
use crate::time::Timestamp;

/// How sharing goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// What it does.
    #[serde(flatten)]
    pub phase: SyncPhase,
    /// When the server answered last.
    pub last_contact: Option<Timestamp>,
    /// When it had everything of this machine last.
    pub last_push: Option<Timestamp>,
    /// When this machine had everything of it last.
    pub last_pull: Option<Timestamp>,
    /// What waits to go out or to be dealt with.
    pub pending: Pending,
    /// Whether all that the server had when sharing, or the last beginning anew, began is known here.
    pub complete: bool,
    /// Conflicts that somebody has to decide.
    pub open_conflicts: u64,
    /// Shared tasks whose lease this machine holds.
    pub leases: u64,
    /// Whether the server says at once when there is something new.
    pub pokes: bool,
    /// By how many milliseconds this machine's clock is ahead of the server's; negative if it is behind.
    pub clock_ahead_ms: Option<i64>,
    /// How many tries in a row failed.
    pub failures: u32,
    /// Whether so many of them did that it is tried rarely now. Nothing is dropped meanwhile.
    pub breaker_open: bool,
}

/// What sharing does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum SyncPhase {
    /// It is off: there is no server, or the store keeps nothing for one.
    Off,
    /// The server was not heard of yet.
    Connecting,
    /// Nothing waits, as far as this machine knows.
    UpToDate,
    /// Something goes out or comes in just now.
    Sending,
    /// The last try failed, and there will be another.
    Waiting {
        /// When, if nobody wants it before.
        until: Timestamp,
        /// What went wrong, in a sentence.
        error: String,
    },
    /// Somebody has to do something first. It is still tried now and then.
    Stopped {
        /// Why, in a sentence.
        why: String,
        /// What to do, in a sentence.
        hint: String,
    },
}
