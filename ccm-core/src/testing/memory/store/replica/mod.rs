//! What is shared with other machines.

mod documents;
mod incoming;
mod outgoing;
mod settling;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{About, MemoryStore, State};
use crate::event::EventKind;
use crate::id::{SystemId, TaskId};
use crate::store::{
    Adopted, Adoption, Document, DocumentQuery, IdempotencyKey, LeaseRecord, Mark, NewDocument,
    Pending, Replica, SealedOperation, SetAside, Settle, Sharing, keep_left,
};
use crate::sync::local::{Touched, is_made_here, system_document};
use crate::sync::{Hlc, Identity, Kind, Operation, PushResult, Row, SyncCursor};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// The name of a document.
type Key = (Kind, Uuid);

/// What is kept of sharing, and while it is off of documents that this machine wrote.
#[derive(Clone)]
pub(super) struct Kept {
    on: bool,
    /// All but what waits, which is counted.
    sharing: Sharing,
    /// Grows whenever everything is asked of the server anew.
    generation: u64,
    last_place: u64,
    last_mark: u64,
    marks: BTreeMap<Key, (u64, Mark)>,
    outbox: BTreeMap<u64, Operation>,
    set_aside: BTreeMap<u64, SetAside>,
    documents: BTreeMap<Key, Held>,
    /// Rows beside documents that have a change which was not answered: the latest that the server is known to have.
    beside: BTreeMap<Key, Row>,
    leases: BTreeMap<TaskId, LeaseRecord>,
}

/// A document as it is kept.
#[derive(Debug, Clone)]
struct Held {
    body: Option<Value>,
    hlc: Hlc,
    origin: SystemId,
    seq: Option<u64>,
    place: u64,
    state: DocumentState,
    generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DocumentState {
    /// This machine has to do something about it.
    Open,
    Settled,
    /// It is nothing to this machine, as far as it knows.
    Elsewhere,
}

impl Kept {
    /// The beginning: of all that was before, only what this machine wrote is still known.
    fn new(identity: Identity, old: Option<&Self>) -> Self {
        let last = old.map(|old| {
            let sharing = &old.sharing;
            sharing.previous.unwrap_or(sharing.identity.incarnation)
        });
        let own = |(_, document): &(&Key, &Held)| document.origin == identity.system;
        let documents = old.map(|old| old.documents.iter().filter(own));
        let documents = documents.into_iter().flatten().map(|(key, document)| {
            let document = Held {
                seq: None,
                generation: 0,
                ..document.clone()
            };
            (key.clone(), document)
        });
        Self {
            on: true,
            sharing: Sharing {
                identity,
                previous: last.filter(|last| *last != identity.incarnation),
                acknowledged: 0,
                acknowledged_uuid: None,
                sealed: 0,
                cursor: SyncCursor(0),
                complete: false,
                clock: old.map_or_else(Hlc::default, |old| old.sharing.clock),
                left_marks: Vec::new(),
                pending: Pending::default(),
            },
            generation: 0,
            last_place: old.map_or(0, |old| old.last_place),
            last_mark: 0,
            marks: BTreeMap::new(),
            outbox: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            documents: documents.collect(),
            beside: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    fn tell(&self) -> Sharing {
        Sharing {
            pending: self.count(),
            ..self.sharing.clone()
        }
    }

    fn tick(&mut self, now: Timestamp) -> Hlc {
        self.sharing.clock = self.sharing.clock.tick(now);
        self.sharing.clock
    }

    fn see(&mut self, hlc: Hlc) {
        self.sharing.clock = self.sharing.clock.seen(hlc);
    }

    fn me(&self) -> SystemId {
        self.sharing.identity.system
    }

    /// Whether a change of this machine is to be sent or answered.
    fn is_pending(&self, key: &Key) -> bool {
        self.marks.contains_key(key) || self.last_operation(key).is_some()
    }

    fn last_operation(&self, key: &Key) -> Option<&crate::sync::Change> {
        let changes = self.outbox.values().rev();
        let mut changes = changes.filter_map(|operation| operation.change.as_ref());
        changes.find(|change| (&change.kind, &change.id) == (&key.0, &key.1))
    }

    /// Leaves a mark, or moves the moment of the one that is there.
    fn leave(&mut self, key: Key, hlc: Hlc) {
        if let Some((_, mark)) = self.marks.get_mut(&key) {
            mark.hlc = mark.hlc.max(hlc);
            return;
        }
        let (base, base_body) = self.base(&key);
        self.last_mark += 1;
        let mark = Mark {
            kind: key.0.clone(),
            id: key.1,
            hlc,
            base,
            base_body,
        };
        self.marks.insert(key, (self.last_mark, mark));
    }

    /// The version of the server that a change of this machine is made on.
    fn base(&self, key: &Key) -> (Option<u64>, Option<Value>) {
        if is_made_here(&key.0) || key.0 == Kind::System {
            return (None, None);
        }
        let has_body = key.0 == Kind::Task;
        if let Some(change) = self.last_operation(key) {
            return (change.base, change.base_body.clone());
        }
        let Some(document) = self.documents.get(key) else {
            return (None, None);
        };
        let body = document.body.clone();
        (
            document.seq,
            body.filter(|_| has_body && document.seq.is_some()),
        )
    }

    fn count(&self) -> Pending {
        let open = |document: &&Held| document.state == DocumentState::Open;
        Pending {
            marks: self.marks.len() as u64,
            outbox: self.outbox.len() as u64,
            unsettled: self.documents.values().filter(open).count() as u64,
            set_aside: self.set_aside.len() as u64,
        }
    }
}

pub(super) fn is_off() -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::System),
        "this machine shares nothing",
    )
}

impl State {
    fn kept(&mut self) -> Result<&mut Kept> {
        let kept = self.replica.as_mut().filter(|kept| kept.on);
        kept.ok_or_else(is_off)
    }

    /// Notes that something of this machine has to go out, while sharing is on.
    pub(super) fn mark(&mut self, touched: Touched, now: Timestamp) {
        let yielded = |task| self.tasks.get(&task).is_some_and(|row| row.task.yielded);
        if touched.task.is_some_and(yielded) || (self.settling && touched.kind == Kind::Task) {
            return;
        }
        if let Ok(kept) = self.kept() {
            let hlc = kept.tick(now);
            kept.leave((touched.kind, touched.id), hlc);
        }
    }

    /// Marks everything of this machine that is made of its own rows, and definitions that there is no document of.
    fn mark_all(&mut self, now: Timestamp) {
        let one = |kind, id, task| Touched { kind, id, task };
        let mut all = Vec::new();
        all.extend(
            self.system
                .as_ref()
                .map(|system| system_document(system.id)),
        );
        let projects = self.projects.keys();
        all.extend(projects.map(|id| one(Kind::Project, *id.as_uuid(), None)));
        let tasks = || self.tasks.keys().map(|id| (*id.as_uuid(), Some(*id)));
        let known = |id: &Uuid| {
            let kept = self.replica.as_ref();
            kept.is_some_and(|kept| kept.documents.contains_key(&(Kind::Task, *id)))
        };
        let unknown = tasks().filter(|(id, _)| !known(id));
        all.extend(unknown.map(|(id, task)| one(Kind::Task, id, task)));
        all.extend(tasks().map(|(id, task)| one(Kind::Report, id, task)));
        let runs = self.runs.values();
        all.extend(runs.map(|run| one(Kind::Run, *run.id.as_uuid(), Some(run.task_id))));
        let asks = self.asks.values();
        all.extend(asks.map(|ask| one(Kind::Ask, *ask.id.as_uuid(), Some(ask.task_id))));
        for touched in all {
            self.mark(touched, now);
        }
    }

    fn tell_sharing(&mut self, on: bool, now: Timestamp) {
        let data = json!({ "on": on });
        self.event(now, EventKind::SharingChanged, About::default(), data);
    }

    fn share(&mut self, identity: Identity, now: Timestamp) -> Result<Sharing> {
        let old = self.replica.take();
        if let Some(old) = old
            .as_ref()
            .filter(|old| old.on && old.sharing.identity == identity)
        {
            let sharing = old.tell();
            self.replica = Some(old.clone());
            return Ok(sharing);
        }
        self.replica = Some(Kept::new(identity, old.as_ref()));
        self.mark_all(now);
        self.mark_own_documents()?;
        self.tell_sharing(true, now);
        Ok(self.kept()?.tell())
    }

    /// Marks documents that this machine wrote and the server may not have.
    fn mark_own_documents(&mut self) -> Result<()> {
        let kept = self.kept()?;
        let own = kept.documents.iter();
        let own = own.filter(|((kind, _), _)| !is_made_here(kind));
        let mut own: Vec<(u64, Key, Hlc)> = own
            .map(|(key, row)| (row.place, key.clone(), row.hlc))
            .collect();
        own.sort_by_key(|(place, ..)| *place);
        for (_, key, hlc) in own {
            kept.leave(key, hlc);
        }
        Ok(())
    }

    fn unshare(&mut self, now: Timestamp) {
        let Ok(kept) = self.kept() else { return };
        let mut off = Kept::new(kept.sharing.identity, Some(kept));
        off.on = false;
        off.sharing.previous = kept.sharing.previous;
        off.sharing.clock = kept.sharing.clock;
        *kept = off;
        self.tell_sharing(false, now);
    }

    fn resync(&mut self, last_number: Option<u64>, now: Timestamp) -> Result<()> {
        let kept = self.kept()?;
        kept.generation += 1;
        kept.sharing.cursor = SyncCursor(0);
        kept.sharing.complete = false;
        kept.beside.clear();
        if let Some(last) = last_number {
            kept.renumber(last);
        }
        self.mark_all(now);
        self.tell_sharing(true, now);
        Ok(())
    }
}

#[async_trait]
impl Replica for MemoryStore {
    fn may_share(&self) -> bool {
        self.lock().replica.as_ref().is_some_and(|kept| kept.on)
    }

    async fn sharing(&self) -> Result<Option<Sharing>> {
        self.linger().await;
        let state = self.lock();
        let kept = state.replica.as_ref().filter(|kept| kept.on);
        Ok(kept.map(Kept::tell))
    }

    async fn share(&self, identity: Identity, now: Timestamp) -> Result<Sharing> {
        self.linger().await;
        self.write(|state| state.share(identity, now))
    }

    async fn unshare(&self, now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| {
            state.unshare(now);
            Ok(())
        })
    }

    async fn resync(&self, last_number: Option<u64>, now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| state.resync(last_number, now))
    }

    async fn see_clock(&self, seen: Hlc) -> Result<()> {
        self.linger().await;
        self.write(|state| {
            state.kept()?.see(seen);
            Ok(())
        })
    }

    async fn leave_mark(&self, mark: Uuid) -> Result<()> {
        self.linger().await;
        self.write(|state| {
            let left = &mut state.kept()?.sharing.left_marks;
            keep_left(left, mark);
            Ok(())
        })
    }

    async fn marks(&self, kinds: &[Kind], limit: u32) -> Result<Vec<Mark>> {
        self.linger().await;
        Ok(self.lock().oldest_marks(kinds, limit))
    }

    async fn seal(&self, operations: Vec<SealedOperation>, _now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| state.seal(operations))
    }

    async fn outbox(&self, after: u64, limit: u32, max_bytes: u64) -> Result<Vec<Operation>> {
        self.linger().await;
        Ok(self.lock().outbox(after, limit, max_bytes))
    }

    async fn pushed(
        &self,
        acknowledged: u64,
        results: &[PushResult],
        rows: Vec<Row>,
        now: Timestamp,
    ) -> Result<()> {
        self.linger().await;
        self.write(|state| state.pushed(acknowledged, results, rows, now))
    }

    async fn set_operation_aside(&self, number: u64, why: &str, now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| state.set_operation_aside(number, why, now))
    }

    async fn set_aside(&self, limit: u32) -> Result<Vec<SetAside>> {
        self.linger().await;
        Ok(self.lock().set_aside(limit))
    }

    async fn dismiss_set_aside(&self, number: u64, again: bool, now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| state.dismiss(number, again, now))
    }

    async fn adopt(&self, adoption: Adoption, now: Timestamp) -> Result<Adopted> {
        self.linger().await;
        self.write(|state| state.adopt(adoption, now))
    }

    async fn unsettled(&self, after: u64, limit: u32) -> Result<Vec<Document>> {
        self.linger().await;
        Ok(self.lock().unsettled(after, limit))
    }

    async fn settle_all(&self, settles: Vec<Settle>) -> Result<()> {
        self.linger().await;
        self.write(|state| state.settle_all(settles))
    }

    async fn put(
        &self,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Vec<Document>> {
        self.linger().await;
        self.write(|state| state.put(documents, key, now))
    }

    async fn document(&self, kind: &Kind, id: Uuid) -> Result<Option<Document>> {
        self.linger().await;
        Ok(self.lock().document(&(kind.clone(), id)))
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>> {
        self.linger().await;
        Ok(self.lock().documents(query))
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64> {
        self.linger().await;
        Ok(self.lock().count_documents(query))
    }

    async fn keep_lease(&self, task: TaskId, lease: Option<LeaseRecord>) -> Result<()> {
        self.linger().await;
        self.write(|state| state.keep_lease(task, lease))
    }

    async fn leases(&self) -> Result<Vec<(TaskId, LeaseRecord)>> {
        self.linger().await;
        let state = self.lock();
        let leases = state.replica.iter().flat_map(|kept| &kept.leases);
        Ok(leases.map(|(task, lease)| (*task, lease.clone())).collect())
    }

    async fn approve(&self, task: TaskId, by: &str, now: Timestamp) -> Result<()> {
        self.linger().await;
        self.write(|state| state.approve(task, by, now))
    }
}
