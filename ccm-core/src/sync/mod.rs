//! The contract of sharing one queue between machines.
//!
//! What machines share are [documents]: an object's content with its kind, its id, and the
//! [moment](Hlc) of its last change. Each machine numbers its changes, pushes them, and pulls those of the others. How a
//! store keeps all that is in [`Replica`](crate::store::Replica).

mod clock;
pub mod documents;
pub mod local;
mod status;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Result;
use crate::id::{FencingToken, SystemId, TaskId};
use crate::time::Timestamp;

pub use clock::{Hlc, MAX_SKEW};
pub use documents::Kind;
pub use status::{SyncPhase, SyncStatus};

/// The version of the protocol between machines and server that this program speaks.
pub const PROTOCOL: u32 = 1;

/// Carries changes between the machines of one user.
///
/// # Contract
///
/// - **Push** is idempotent by (incarnation, number): what was taken once is skipped, a gap is refused, and the same number
///   with another uuid is an identity conflict. Order within one origin is kept. One operation that the server can never
///   take uses up its number and is reported; the others are taken.
/// - **Pull** answers from one snapshot, in the order of the server's own sequence; a document that was written before an
///   answer is never later found below that answer's cursor. It has the last content of each document, not each change.
/// - **Claims** hand a shared task to one machine at a time. A holder whose lease ended must have stopped its run before.
/// - **Clocks**: no document is ever later than the server's own time by more than [`MAX_SKEW`].
///
/// # Errors
/// `Unavailable` for everything that passes (network, overload): the caller keeps its outbox and tries again.
/// `Unauthenticated` when somebody has to sign in again, `Revoked` for a machine that was revoked, `TooOld` for a program
/// that the server no longer speaks to, `Taken(System)` when another machine writes under the same identity, `OutOfStep`
/// when the server does not know what it once acknowledged (it was restored, or what it deleted meanwhile is not known
/// any more): the caller then resyncs from the start. `Unsupported` when nobody has set the server up for this yet.
/// Nothing takes effect with any of them.
///
/// # Cancellation
/// A dropped push or claim may have taken effect; repeating it is safe.
#[async_trait]
pub trait SyncBackend: Send + Sync + fmt::Debug {
    /// Whether there is anything behind this backend. Without, nothing else is called.
    fn is_connected(&self) -> bool;

    /// Tells the server of this machine, before anything else and after every change of the line. Idempotent.
    ///
    /// # Errors
    /// `Taken(System)` when the machine is there with another incarnation that [`Registration::previous`] does not name.
    async fn register(&self, registration: &Registration) -> Result<Welcome>;

    /// Sends changes of this machine, in order, without gaps. An empty batch asks for nothing.
    ///
    /// # Errors
    /// `Invalid` for a gap, also within the batch; `Taken(System)` for a number that the server has with another uuid:
    /// then another machine, or an older copy of this one, writes under the same id. Nothing of the batch is taken.
    /// `TooLarge` and `Invalid` also for what the server does not let in at all: the caller finds the operation by
    /// sending less.
    async fn push(&self, me: Identity, batch: &[Operation], rule: ConflictRule) -> Result<Pushed>;

    /// Documents of all machines after `query.after`, oldest first.
    ///
    /// # Errors
    /// `OutOfStep`, see [`SyncBackend`].
    async fn pull(&self, me: Identity, query: &PullQuery) -> Result<Pulled>;

    /// Tries to become the one machine that runs a shared task. Idempotent by `claim.id`.
    ///
    /// # Errors
    /// `WrongState(Task)` while another lease holds, or when the task has ended; `NotFound(Task)` for one that the server
    /// does not know.
    async fn claim(&self, me: Identity, claim: &SharedClaim) -> Result<Lease>;

    /// Puts the end of a lease further away.
    ///
    /// # Errors
    /// `Superseded` when the lease is no longer this machine's, or has ended.
    async fn renew(
        &self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Duration,
    ) -> Result<Lease>;

    /// Gives a shared task back, after its outcome was pushed or when it can't be run here after all. Idempotent.
    ///
    /// # Errors
    /// `Superseded` when the lease is no longer this machine's.
    async fn finish(&self, me: Identity, task: TaskId, token: FencingToken) -> Result<()>;

    /// The machines that the server knows.
    async fn devices(&self, me: Identity) -> Result<Vec<Device>>;

    /// Shuts a machine out: nothing that it sends is taken from now on, and it can't register again with the sign-in that it
    /// has. Idempotent.
    ///
    /// # Errors
    /// `NotFound(System)`; `Invalid` for this machine itself, which is disconnected instead.
    async fn revoke(&self, me: Identity, system: SystemId) -> Result<()>;

    /// Returns when there may be something to pull. A hint: it may come late, twice or never.
    async fn poked(&self);

    /// Whether pokes come now, as far as this end can know.
    fn has_pokes(&self) -> bool {
        false
    }
}

/// Who speaks: a machine, and which of the lives of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The machine.
    pub system: SystemId,
    /// Made when the machine begins to share, and anew when older data were put back.
    pub incarnation: Uuid,
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Who it is.
    pub identity: Identity,
    /// The incarnation that this one takes the place of, if older data were put back on purpose.
    pub previous: Option<Uuid>,
    /// What people call it.
    pub hostname: String,
}

/// What the server knows of a machine that registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The server's time.
    pub now: Timestamp,
    /// The last number that it took from this incarnation; 0 for none.
    pub last_number: u64,
    /// The uuid of that operation.
    pub last_uuid: Option<Uuid>,
    /// The latest moment of any document that it has.
    pub clock: Hlc,
}

/// What happens to an edit of a document that another machine edited at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConflictRule {
    /// The later edit counts, and the other one is kept to be looked at.
    #[default]
    LastWriteWins,
    /// The edit that the server has counts until somebody decides.
    Manual,
}

impl ConflictRule {
    /// The name used in the config, the API and on the server.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastWriteWins => "last_write_wins",
            Self::Manual => "manual",
        }
    }
}

/// One change of one machine: what a document has become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// 1, 2, 3 ... per incarnation, without gaps.
    pub number: u64,
    /// Tells a reused number from a repeated one.
    pub uuid: Uuid,
    /// What it does; `None` for nothing, when what had this number was set aside.
    pub change: Option<Change>,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The kind of document.
    pub kind: Kind,
    /// The document.
    pub id: Uuid,
    /// Its new content; `None` if it is deleted.
    pub body: Option<serde_json::Value>,
    /// When it was made.
    pub hlc: Hlc,
    /// The server's number of the version that was edited; `None` for a new document.
    pub base: Option<u64>,
    /// The content of that version, for whoever has to merge. Only of definitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_body: Option<serde_json::Value>,
    /// The token of the lease that this is said under, if the task is a shared one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<FencingToken>,
}

/// A document as the server has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The kind of document.
    pub kind: Kind,
    /// The document.
    pub id: Uuid,
    /// Its content; `None` if it was deleted. Fields that a machine does not know survive it.
    pub body: Option<serde_json::Value>,
    /// When it was changed last.
    pub hlc: Hlc,
    /// The machine that changed it last.
    pub origin: SystemId,
    /// The server's own number of this version; each version's is higher than all before it.
    pub seq: u64,
    /// The token of the lease that it was said under.
    pub epoch: Option<FencingToken>,
}

/// A place in the server's sequence.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
pub struct SyncCursor(pub u64);

/// What became of a push.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// The server has everything of this machine up to this number.
    pub acknowledged: u64,
    /// What became of each operation of the batch.
    pub results: Vec<PushResult>,
    /// What the server has of each document of the batch now. It counts, whatever was pushed.
    pub rows: Vec<Row>,
    /// The server's time.
    pub now: Timestamp,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushResult {
    /// The operation.
    pub number: u64,
    /// What was done with it.
    pub fate: Fate,
}

/// What was done with an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Fate {
    /// It is what the document is now.
    Taken,
    /// It was taken before.
    Skipped,
    /// Another machine's edit is later and counts.
    Overruled,
    /// Another machine's edit counts until somebody decides.
    Conflict,
    /// It can never be taken.
    Refused {
        /// Why, for programs: `not_owner`, `lease_lost`, `invalid` ...
        code: String,
        /// Why, for people.
        message: String,
    },
}

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullQuery {
    /// Everything up to here is known.
    pub after: SyncCursor,
    /// At most so many documents.
    pub limit: u32,
    /// The marks that this machine may have left on the server last: the one that was answered, and one that was not.
    pub known_marks: Vec<Uuid>,
    /// A new mark to leave there. A server that does not find one of its own again was restored from a copy.
    pub mark: Option<Uuid>,
}

impl PullQuery {
    /// Documents after a place, with no marks.
    pub const fn after(after: SyncCursor, limit: u32) -> Self {
        Self {
            after,
            limit,
            known_marks: Vec::new(),
            mark: None,
        }
    }
}

/// An answer to a pull.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The documents.
    pub rows: Vec<Row>,
    /// Where the next pull goes on.
    pub cursor: SyncCursor,
    /// Whether there are more.
    pub more: bool,
    /// The last number that the server has of this machine.
    pub last_number: u64,
    /// The server's time.
    pub now: Timestamp,
}

/// A wish to run a shared task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedClaim {
    /// Makes a repeated claim the same claim.
    pub id: Uuid,
    /// The task.
    pub task: TaskId,
    /// For how long without renewal.
    pub period: Duration,
}

/// The right to run a shared task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Only the current token may renew, finish, or say what happens to the task.
    pub token: FencingToken,
    /// Until when, by the server's clock.
    pub until: Timestamp,
    /// The server's time when it was given.
    pub now: Timestamp,
}

impl Lease {
    /// For how long it was given. Whoever holds it counts this from before it asked, by a clock of its own.
    pub fn period(&self) -> Duration {
        self.until.since(self.now)
    }
}

/// A machine as the server knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// The machine.
    pub id: SystemId,
    /// What people call it.
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub hostname: String,
    /// When it came first.
    pub registered_at: Timestamp,
    /// When it was heard of last.
    pub last_seen: Timestamp,
    /// When it was shut out.
    pub revoked_at: Option<Timestamp>,
}
