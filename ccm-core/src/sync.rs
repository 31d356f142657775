//! The contract of sharing one queue between machines.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::id::{FencingToken, SystemId, TaskId};
use crate::time::Timestamp;

/// Carries changes between the machines of one user.
///
/// # Contract
///
/// - **Push** is idempotent by (origin, number): what was taken once is skipped, a gap is refused, and the same number
///   with another uuid is an identity conflict. Order within one origin is kept.
/// - **Pull** answers from one snapshot, in the order of the server's own sequence; a change that was committed before
///   an answer is never later found below that answer's cursor.
/// - **Claims** hand a shared task to one machine at a time. A holder whose lease ended must have stopped its run before.
///
/// # Errors
/// `Unavailable` for everything that passes (network, overload): the caller keeps its outbox and tries again.
///
/// # Cancellation
/// A dropped push or claim may have taken effect; repeating it is safe.
#[async_trait]
pub trait SyncBackend: Send + Sync + fmt::Debug {
    /// Whether there is anything behind this backend. Without, nothing else is called.
    fn is_connected(&self) -> bool;

    /// Sends changes of this machine, in order, without gaps.
    ///
    /// Of a batch that is refused nothing is taken.
    ///
    /// # Errors
    /// `Invalid` for a gap, also within the batch; `Taken(System)` for a number that the server has with another uuid:
    /// then another machine, or an older copy of this one, writes under the same id.
    async fn push(&self, batch: &[Change]) -> Result<Pushed>;

    /// Changes of all machines after `cursor`, at most `limit`, oldest first.
    async fn pull(&self, cursor: SyncCursor, limit: u32) -> Result<Pulled>;

    /// Tries to become the one machine that runs a shared task. Idempotent by `claim.id`.
    ///
    /// # Errors
    /// `WrongState(Task)` while another machine's lease holds.
    async fn claim(&self, claim: &SharedClaim) -> Result<Lease>;

    /// Puts the end of a lease further away.
    ///
    /// # Errors
    /// `Superseded` when the lease is no longer this machine's.
    async fn renew(&self, task: TaskId, token: FencingToken, period: Duration) -> Result<Lease>;

    /// Gives a shared task back after its outcome was pushed. Idempotent.
    ///
    /// # Errors
    /// `Superseded` when the lease is no longer this machine's.
    async fn finish(&self, task: TaskId, token: FencingToken) -> Result<()>;

    /// Returns when there may be something to pull. A hint: it may come late, twice or never.
    async fn poked(&self);
}

/// One change of one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The machine that made it.
    pub origin: SystemId,
    /// 1, 2, 3 ... per machine, without gaps.
    pub number: u64,
    /// Tells a reused number from a repeated one.
    pub uuid: uuid::Uuid,
    /// The kind of object.
    pub kind: String,
    /// The object.
    pub id: uuid::Uuid,
    /// Its new content; `None` if it was deleted. Fields that a machine does not know survive it.
    pub body: Option<serde_json::Value>,
    /// When, by the hybrid logical clock: microseconds and a counter.
    pub hlc: (i64, u32),
}

/// A place in the server's sequence.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct SyncCursor(pub u64);

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The server has everything of this machine up to this number.
    pub acknowledged: u64,
}

/// An answer to a pull.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The changes.
    pub changes: Vec<Change>,
    /// Where the next pull goes on.
    pub cursor: SyncCursor,
    /// Whether there are more.
    pub more: bool,
}

/// A wish to run a shared task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedClaim {
    /// Makes a repeated claim the same claim.
    pub id: uuid::Uuid,
    /// The task.
    pub task: TaskId,
    /// Who wants it.
    pub system: SystemId,
    /// For how long without renewal.
    pub period: Duration,
}

/// The right to run a shared task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Only the current token may renew or finish.
    pub token: FencingToken,
    /// Until when, by the server's clock.
    pub until: Timestamp,
}
