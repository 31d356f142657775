//! What a store keeps of other machines, and what it has for them.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CreateTasks, IdempotencyKey, Reply, TaskEdit};
use crate::Result;
use crate::id::{FencingToken, ProjectId, SystemId, TaskId};
use crate::sync::{Hlc, Identity, Kind, Operation, PushResult, Row, SyncCursor};
use crate::task::Setback;
use crate::time::Timestamp;

/// The part of a store that is shared with other machines.
///
/// ```text
/// change of a task, run, ask, project, agent ──▶ mark ── seal ──▶ outbox ── pushed ──▶ gone
/// put (a document of this machine) ───────────▶ mark                │
///                                                                    ▼ the server's row
/// pulled row ── adopt ──▶ document ── settle ──▶ change of a task     document
/// ```
///
/// # Contract
///
/// - While sharing is on, every change of something shared leaves a **mark** in the same commit: a task its definition
///   ([`Kind::Task`]) when it is created or edited and its report ([`Kind::Report`]) with every change, a run, an ask, a
///   project (also when its agent's state changes) and the machine their own. A second change of the same object moves the
///   mark's moment, not its place. Marks have moments of the hybrid logical clock, which only grow.
/// - **Operations** are numbered without gaps when they are sealed, and stay byte for byte what they were until the server
///   has them.
/// - **Adopting** never overwrites a document that has a mark or an operation in the outbox: the row is kept beside it
///   until that is answered. Rows and cursor are one commit. A row that is not newer than the one that is there
///   (by `seq`) changes nothing.
/// - **Settling** changes a task and notes that the document was dealt with in one commit, so it is done once.
/// - A **task of another machine** can be waited for: creating and editing know it by its definition, and a report that
///   says `succeeded` lifts it, whenever it comes.
/// - Everything but reading, [`share`](Self::share) and [`unshare`](Self::unshare) is refused with `WrongState(System)`
///   while sharing is off.
/// - Every write obeys the rules of [`Store`](super::Store), events included: an adopted document writes
///   `document.changed` with its project, task and run where its content has `project_id`, `task_id`, `run_id`
///   (a task's definition and report: its own id as the task; a project's and a run's likewise). So does one that is put here
///   or removed, and not what this machine itself sent and gets again.
#[async_trait]
pub trait Replica: Send + Sync {
    /// Whether [`sharing`](Self::sharing) may be on. While it is off, this is all that most callers ask, so it should cost
    /// nothing.
    fn may_share(&self) -> bool {
        true
    }

    /// What is kept of sharing; `None` while it was never switched on, or was switched off.
    async fn sharing(&self) -> Result<Option<Sharing>>;

    /// As whom, which is asked often.
    async fn identity(&self) -> Result<Option<Identity>> {
        Ok(self.sharing().await?.map(|sharing| sharing.identity))
    }

    /// Switches sharing on, as `identity`, and marks everything there is. Already on with the same identity: unchanged.
    ///
    /// With another identity everything that was known of the server is forgotten: numbers begin at 1, the cursor at 0,
    /// documents of this machine that the server may not have are marked again. [`Sharing::previous`] is the old incarnation;
    /// the one before that, if the server has not taken the old one as far as is known.
    async fn share(&self, identity: Identity, now: Timestamp) -> Result<Sharing>;

    /// Switches sharing off. Documents of other machines, marks and the outbox are removed; tasks of this machine stay.
    async fn unshare(&self, now: Timestamp) -> Result<()>;

    /// Begins again with what the server has: the cursor goes to 0, and everything of this machine's own rows is marked. At
    /// the end ([`Adoption::complete`]) documents of others that the server did not send again are removed, and documents
    /// that this machine wrote are marked if the server did not send them, or sent an older version. With `last_number` the
    /// next operation gets the number after it, and what is in the outbox becomes marks again.
    async fn resync(&self, last_number: Option<u64>, now: Timestamp) -> Result<()>;

    /// Raises the clock to what was seen elsewhere, no further than the server's time allows.
    async fn see_clock(&self, seen: Hlc) -> Result<()>;

    /// Keeps the mark that is about to be left on the server; see [`PullQuery`](crate::sync::PullQuery).
    async fn leave_mark(&self, mark: Uuid) -> Result<()>;

    // --- what goes out ---

    /// The oldest marks, of `kinds` or of all if that is empty.
    async fn marks(&self, kinds: &[Kind], limit: u32) -> Result<Vec<Mark>>;

    /// Numbers operations, in order, and takes their marks away, except one whose moment is no longer the one that is
    /// named: that object changed meanwhile. `None` as a body deletes.
    async fn seal(&self, operations: Vec<SealedOperation>, now: Timestamp) -> Result<()>;

    /// The first operations after a number that the server is not known to have, at most `limit`, and no more than `max_bytes`
    /// of content unless one alone has more.
    async fn outbox(&self, after: u64, limit: u32, max_bytes: u64) -> Result<Vec<Operation>>;

    /// Takes what is acknowledged out of the outbox and adopts the server's rows of it as they are, also over documents
    /// that were edited here, unless they were changed again since. What was refused is kept ([`set_aside`](Self::set_aside)).
    async fn pushed(
        &self,
        acknowledged: u64,
        results: &[PushResult],
        rows: Vec<Row>,
        now: Timestamp,
    ) -> Result<()>;

    /// Takes the content out of an operation that the server can never take, and keeps it to be looked at. The number
    /// stays in the outbox and does nothing; rows that waited for it are adopted.
    async fn set_operation_aside(&self, number: u64, why: &str, now: Timestamp) -> Result<()>;

    /// What was set aside or refused, newest first.
    async fn set_aside(&self, limit: u32) -> Result<Vec<SetAside>>;

    /// Forgets what was set aside, or tries it again as a new change.
    ///
    /// # Errors
    /// `Invalid` when there is none of that number.
    async fn dismiss_set_aside(&self, number: u64, again: bool, now: Timestamp) -> Result<()>;

    // --- what comes in ---

    /// Keeps what was pulled, with the cursor, in one commit.
    async fn adopt(&self, adoption: Adoption, now: Timestamp) -> Result<Adopted>;

    /// Documents of kinds [`Kind::Task`] and [`Kind::Wish`] that were not settled since they changed, oldest first, after
    /// the place `after`. Only those that are this machine's to deal with: definitions of its projects and of tasks that it
    /// runs, and wishes for these. Its own edit of a task that it has does not come back.
    async fn unsettled(&self, after: u64, limit: u32) -> Result<Vec<Document>>;

    /// Does what documents ask for, in order, and notes that they were dealt with, all of it or nothing. Of one that was dealt
    /// with already, what must not be done twice is not done again: an edit, a cancel, a retry, an answer.
    ///
    /// # Errors
    /// Those of what it does; none is settled then. `Superseded` when a document changed since it was read.
    async fn settle_all(&self, settles: Vec<Settle>) -> Result<()>;

    /// [`settle_all`](Self::settle_all) of one.
    async fn settle(&self, settle: Settle) -> Result<()> {
        self.settle_all(vec![settle]).await
    }

    // --- documents ---

    /// Writes documents as this machine, leaves their marks, and raises the clock, all of it or nothing. Returns them.
    ///
    /// A repeated key has the same effect as in [`create_tasks`](super::Store::create_tasks): the documents of that time are
    /// returned as they are now, and nothing is written. Of no documents a new key is not kept.
    ///
    /// # Errors
    /// `KeyReused` for the same key with another fingerprint; `WrongState(System)` while sharing is off.
    async fn put(
        &self,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Vec<Document>>;

    /// A document.
    async fn document(&self, kind: &Kind, id: Uuid) -> Result<Option<Document>>;

    /// Documents in the order of their ids, or newest first.
    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>>;

    /// The documents of one kind with these ids, as far as they are there, in any order.
    async fn documents_of(&self, kind: &Kind, ids: &[Uuid]) -> Result<Vec<Document>> {
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.document(kind, *id).await?);
        }
        Ok(found)
    }

    /// How many documents there are of such a query, whatever its limit.
    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64>;

    // --- shared tasks ---

    /// Keeps a lease, or that there is none any more (`until` and `token` gone). Wakes nothing by itself.
    async fn keep_lease(&self, task: TaskId, lease: Option<LeaseRecord>) -> Result<()>;

    /// All leases that are kept.
    async fn leases(&self) -> Result<Vec<(TaskId, LeaseRecord)>>;

    /// Lets a task run that waits for a person's leave because it came from another machine ([`Act::Create`] with a hold).
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when it does not wait for that.
    async fn approve(&self, task: TaskId, by: &str, now: Timestamp) -> Result<()>;
}

/// What is kept of sharing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// As whom.
    pub identity: Identity,
    /// The incarnation before it, until the server has taken this one.
    pub previous: Option<Uuid>,
    /// The last number that the server has.
    pub acknowledged: u64,
    /// The uuid of that operation.
    pub acknowledged_uuid: Option<Uuid>,
    /// The last number that was sealed.
    pub sealed: u64,
    /// Everything up to here was adopted.
    pub cursor: SyncCursor,
    /// Whether what the server has was adopted to its end since sharing or the last resync began.
    pub complete: bool,
    /// The clock.
    pub clock: Hlc,
    /// The marks that may be on the server: the last one that was answered, and those since then that were not.
    pub left_marks: Vec<Uuid>,
    /// What waits.
    pub pending: Pending,
}

/// How many marks are remembered that the server may have.
const MAX_LEFT: usize = 64;

/// Adds a mark that may be on the server soon to those that may be there: the last one that was answered comes first.
pub fn keep_left(left: &mut Vec<Uuid>, mark: Uuid) {
    if left.contains(&mark) {
        return;
    }
    left.push(mark);
    if left.len() > MAX_LEFT {
        // Of those that were not answered the oldest is the least likely.
        left.remove(1);
    }
}

/// How much waits to go out or to be dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pending {
    /// Marks.
    pub marks: u64,
    /// Operations in the outbox.
    pub outbox: u64,
    /// Unsettled documents.
    pub unsettled: u64,
    /// Operations that were set aside.
    pub set_aside: u64,
}

/// Something changed and has to go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The kind of its document.
    pub kind: Kind,
    /// The object.
    pub id: Uuid,
    /// When it changed last.
    pub hlc: Hlc,
    /// The server's number of the version that was edited.
    pub base: Option<u64>,
    /// The content of that version, of a definition.
    pub base_body: Option<serde_json::Value>,
}

/// An operation to number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SealedOperation {
    /// The mark that it is of.
    pub mark: Mark,
    /// Tells it from every other one.
    pub uuid: Uuid,
    /// The content; `None` deletes.
    pub body: Option<serde_json::Value>,
    /// The lease that it is said under.
    pub epoch: Option<FencingToken>,
}

/// An operation that the server did not take, and never will.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// Its number.
    pub number: u64,
    /// The kind of document.
    pub kind: Kind,
    /// The document.
    pub id: Uuid,
    /// Its content.
    pub body: Option<serde_json::Value>,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// A part of what the server has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// The documents.
    pub rows: Vec<Row>,
    /// Everything up to here is known then.
    pub cursor: SyncCursor,
    /// The mark that was left with the request, which the server has now.
    pub mark: Option<Uuid>,
    /// Whether nothing follows.
    pub complete: bool,
}

/// What became of an adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Documents that are new or changed.
    pub changed: u64,
    /// Documents that wait for an operation to be answered.
    pub waiting: u64,
}

/// A document as this machine has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The kind.
    pub kind: Kind,
    /// The object.
    pub id: Uuid,
    /// Its content; `None` if it was deleted.
    pub body: Option<serde_json::Value>,
    /// When it was changed last.
    pub hlc: Hlc,
    /// Who changed it last.
    pub origin: SystemId,
    /// The server's number of it; `None` while the server does not have it.
    pub seq: Option<u64>,
    /// Whether a change of this machine is still to be sent or answered.
    pub pending: bool,
    /// Its place among what was adopted or put here; grows with every change of it.
    pub place: u64,
}

/// A document to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewDocument {
    /// The kind.
    pub kind: Kind,
    /// The object.
    pub id: Uuid,
    /// Its content; `None` deletes.
    pub body: Option<serde_json::Value>,
    /// Whether this machine has dealt with it already, if it is of a kind that has to be settled.
    pub settled: bool,
}

/// Which documents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentQuery {
    /// Of these kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Whose content names this project.
    pub project: Option<ProjectId>,
    /// Whose content names this task, or which are of it.
    pub task: Option<TaskId>,
    /// Whose content names this run.
    pub run: Option<crate::id::RunId>,
    /// Changed last by this machine.
    pub origin: Option<SystemId>,
    /// Not changed last by this machine.
    pub not_origin: Option<SystemId>,
    /// Only open conflicts and open asks: whose content has no `resolution`, and whose `state`, if it has one, is `open`.
    pub open: bool,
    /// Only definitions of tasks that any machine may run ([`Definition::is_shared`](crate::sync::documents::Definition)).
    pub shared: bool,
    /// Only what this machine has nothing to do about as far as it knows, and definitions of shared tasks: with the kind
    /// [`Kind::Task`] all tasks that are not this machine's, and some that are.
    pub elsewhere: bool,
    /// Only what is not deleted and no machine said anything of: no [`Kind::Report`] is of the same object, and this machine
    /// has no such task.
    pub unheard: bool,
    /// After (or, newest first, before) this id.
    pub after: Option<Uuid>,
    /// Newest first, by id: ids are made in the order of time.
    pub newest_first: bool,
    /// At most so many.
    pub limit: u32,
}

/// How a document is dealt with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settle {
    /// The kind of document.
    pub kind: Kind,
    /// The document.
    pub id: Uuid,
    /// Its [place](Document::place) when it was read.
    pub place: u64,
    /// What it asks for.
    pub act: Act,
    /// When.
    pub now: Timestamp,
}

/// What a document of another machine does here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Accepts a task. The limit of the queue does not count. Blockers that are not here are looked for among the documents: a
    /// report of another machine that says `succeeded` lifts them, also later.
    Create {
        /// The task: one, with the id of the definition, with no key.
        request: Box<CreateTasks>,
        /// Why it has to wait for a person's leave, if it has to.
        hold: Option<Setback>,
        /// The lease that it is to run under, if it is a shared one.
        lease: Option<LeaseRecord>,
    },
    /// Accepts a task and fails it at once, because this machine does not want it.
    Refuse {
        /// The task.
        request: Box<CreateTasks>,
        /// Why.
        cause: Setback,
    },
    /// Changes what a task asks for. One that does not wait any more keeps the change for its next attempt.
    Edit(Box<TaskEdit>),
    /// Calls a task off. One that has ended stays as it is.
    Cancel {
        /// The task.
        task: TaskId,
        /// Who wants it.
        by: String,
    },
    /// Queues a task again. One that waits or runs stays as it is.
    Retry {
        /// The task.
        task: TaskId,
        /// Who wants it.
        by: String,
    },
    /// Answers a question. One that is answered stays as it is.
    Answer {
        /// The question.
        ask: crate::id::AskId,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Gives a shared task up whose lease is another machine's now: it is no longer reported, its marks are gone, and its run
    /// is to be stopped as `lease_lost`. One that waits fails so. [`Act::Create`] takes it up again, once its run has ended.
    Yield {
        /// The task.
        task: TaskId,
    },
}

/// A lease as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The claim that it came of, so that it can be repeated.
    pub claim: Uuid,
    /// Its token; `None` while the claim was not answered.
    pub token: Option<FencingToken>,
    /// Until when, by the server's clock, as it was told last.
    pub until: Option<Timestamp>,
}
