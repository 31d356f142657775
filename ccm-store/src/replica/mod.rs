//! What is shared with other machines: how it is kept, and the contract's methods.

mod incoming;
mod outgoing;
mod reading;
mod settling;
mod sharing;

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use ccm_core::id::{SystemId, TaskId};
use ccm_core::store::{
    Adopted, Adoption, Document, DocumentQuery, IdempotencyKey, LeaseRecord, Mark, NewDocument,
    Replica, SealedOperation, SetAside, Settle, Sharing,
};
use ccm_core::sync::local::Facts;
use ccm_core::sync::{Hlc, Identity, Kind, Operation, PushResult, Row};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use sea_orm::QueryResult;
use sea_orm::sea_query::Value;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::{corrupt, from_db};
use crate::values::{Id, column, count, from_json, small};
use crate::writer::{Needs, document_key, whole};

use incoming::Adopt;
use outgoing::{Dismiss, Pushed, Put, Seal, SetOperationAside, Written};
use settling::{Approve, KeepLease, SettleDocuments, grows};
use sharing::{LeaveMark, Resync, SeeClock, Share, Unshare};

pub(crate) use sharing::live_anew;

#[cfg(test)]
pub(crate) use outgoing::unmark;
#[cfg(test)]
pub(crate) use reading::{OUTBOX, OUTBOX_SIZES, document_page, marks, unsettled};

/// The name of a document.
pub(crate) type Key = (Kind, Uuid);

/// A document as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) body: Option<Json>,
    pub(crate) hlc: Hlc,
    pub(crate) origin: SystemId,
    pub(crate) seq: Option<u64>,
    pub(crate) place: u64,
    pub(crate) state: State,
    /// Which time everything was asked of the server when it was seen last.
    pub(crate) generation: i64,
}

/// What this machine has to do about a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Settled,
    /// It is nothing to this machine, as far as it knows.
    Elsewhere,
}

impl State {
    const ALL: [Self; 3] = [Self::Open, Self::Settled, Self::Elsewhere];
}

/// A moment of the clock in a row.
pub(crate) fn hlc(row: &QueryResult) -> Result<Hlc> {
    Ok(Hlc {
        time: row.try_get("", "hlc_time").map_err(from_db)?,
        count: small(row.try_get("", "hlc_count").map_err(from_db)?)?,
    })
}

/// The content of a document in a row.
pub(crate) fn json(row: &QueryResult, name: &str) -> Result<Option<Json>> {
    let text: Option<String> = row.try_get("", name).map_err(from_db)?;
    text.map(|text| from_json(&text, "document")).transpose()
}

/// From a row of the table.
pub(crate) fn mark(row: &QueryResult) -> Result<Mark> {
    let (kind, id) = document_key(row)?;
    Ok(Mark {
        kind,
        id,
        hlc: hlc(row)?,
        base: whole(row, "base")?,
        base_body: json(row, "base_body")?,
    })
}

impl Held {
    /// From a row of the table.
    pub(crate) fn read(row: &QueryResult) -> Result<Self> {
        let origin: Vec<u8> = row.try_get("", "origin").map_err(from_db)?;
        let state: i64 = row.try_get("", "state").map_err(from_db)?;
        let state = State::ALL.into_iter().find(|known| *known as i64 == state);
        Ok(Self {
            body: json(row, "body")?,
            hlc: hlc(row)?,
            origin: SystemId::read(&origin)?,
            seq: whole(row, "seq")?,
            place: count(row.try_get("", "place").map_err(from_db)?)?,
            state: state.ok_or_else(|| corrupt("state of a document"))?,
            generation: row.try_get("", "generation").map_err(from_db)?,
        })
    }

    /// Writes `count` of them.
    pub(crate) fn upsert(count: usize) -> String {
        const COLUMNS: [&str; 16] = [
            "kind",
            "id",
            "place",
            "state",
            "hlc_time",
            "hlc_count",
            "origin",
            "seq",
            "generation",
            "project_id",
            "task_id",
            "run_id",
            "open",
            "shared",
            "succeeded",
            "body",
        ];
        let row = format!("({})", ["?"; COLUMNS.len()].join(", "));
        let sets: Vec<String> = COLUMNS[2..]
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        format!(
            "INSERT INTO document ({}) VALUES {} ON CONFLICT (kind, id) DO UPDATE SET {}",
            COLUMNS.join(", "),
            vec![row; count].join(", "),
            sets.join(", ")
        )
    }

    /// The columns of a row, in the order of [`upsert`](Self::upsert).
    pub(crate) fn columns(&self, (kind, id): &Key) -> [Value; 16] {
        let facts = Facts::of(kind, *id, self.body.as_ref());
        [
            kind.as_str().into(),
            id.bytes().into(),
            column(self.place).into(),
            (self.state as i64).into(),
            self.hlc.time.into(),
            i64::from(self.hlc.count).into(),
            self.origin.bytes().into(),
            self.seq.map(column).into(),
            self.generation.into(),
            facts.project.map(|id| id.bytes()).into(),
            facts.task.map(|id| id.bytes()).into(),
            facts.run.map(|id| id.bytes()).into(),
            facts.open.into(),
            facts.shared.into(),
            facts.succeeded.into(),
            self.body.as_ref().map(Json::to_string).into(),
        ]
    }

    /// Writes what can change of `count` of them while their content stays. Most indexes don't have to be touched for that.
    pub(crate) fn shift(count: usize) -> String {
        format!(
            "UPDATE document SET hlc_time = new.column3, hlc_count = new.column4, seq = new.column5, state = new.column6 \
             FROM (VALUES {}) AS new WHERE document.kind = new.column1 AND document.id = new.column2",
            vec!["(?, ?, ?, ?, ?, ?)"; count].join(", ")
        )
    }

    /// The columns of a row, in the order of [`shift`](Self::shift).
    pub(crate) fn moments(&self, (kind, id): &Key) -> [Value; 6] {
        [
            kind.as_str().into(),
            id.bytes().into(),
            self.hlc.time.into(),
            i64::from(self.hlc.count).into(),
            self.seq.map(column).into(),
            (self.state as i64).into(),
        ]
    }

    pub(crate) fn document(&self, (kind, id): &Key, pending: bool) -> Document {
        Document {
            kind: kind.clone(),
            id: *id,
            body: self.body.clone(),
            hlc: self.hlc,
            origin: self.origin,
            seq: self.seq,
            pending,
            place: self.place,
        }
    }
}

/// Names what decides whether a document is this machine's to deal with.
pub(crate) fn needs_of(needs: &mut Needs, kind: &Kind, id: Uuid, body: Option<&Json>) {
    let facts = Facts::of(kind, id, body);
    match kind {
        Kind::Task => {
            if let Some(project) = facts.project {
                needs.known_project(project);
            }
            needs.known_task(TaskId::from_uuid(id));
        }
        Kind::Report => needs.known_task(TaskId::from_uuid(id)),
        Kind::Wish => {
            if let Some(task) = facts.task {
                needs.known_task(task);
                needs.document(&Kind::Task, *task.as_uuid());
            }
        }
        _ => {}
    }
}

pub(crate) fn is_off() -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::System),
        "this machine shares its queue with nobody",
    )
}

#[async_trait]
impl Replica for SqliteStore {
    fn may_share(&self) -> bool {
        self.shares.load(Ordering::Acquire)
    }

    async fn sharing(&self) -> Result<Option<Sharing>> {
        self.reader.sharing().await
    }

    async fn identity(&self) -> Result<Option<Identity>> {
        self.reader.identity().await
    }

    async fn share(&self, identity: Identity, now: Timestamp) -> Result<Sharing> {
        // Before it is so: whoever looks too early finds nothing, which is true.
        self.shares.store(true, Ordering::Release);
        self.writer.write(Share { identity, now }).await?;
        self.reader.sharing().await?.ok_or_else(is_off)
    }

    async fn unshare(&self, now: Timestamp) -> Result<()> {
        self.writer.write(Unshare { now }).await?;
        self.shares.store(false, Ordering::Release);
        Ok(())
    }

    async fn resync(&self, last_number: Option<u64>, now: Timestamp) -> Result<()> {
        self.writer.write(Resync { last_number, now }).await
    }

    async fn see_clock(&self, seen: Hlc) -> Result<()> {
        self.writer.write(SeeClock(seen)).await
    }

    async fn leave_mark(&self, mark: Uuid) -> Result<()> {
        self.writer.write(LeaveMark(mark)).await
    }

    async fn marks(&self, kinds: &[Kind], limit: u32) -> Result<Vec<Mark>> {
        self.reader.marks(kinds, limit).await
    }

    async fn seal(&self, operations: Vec<SealedOperation>, _now: Timestamp) -> Result<()> {
        self.writer.write(Seal(operations)).await
    }

    async fn outbox(&self, after: u64, limit: u32, max_bytes: u64) -> Result<Vec<Operation>> {
        self.reader.outbox(after, limit, max_bytes).await
    }

    async fn pushed(
        &self,
        acknowledged: u64,
        results: &[PushResult],
        rows: Vec<Row>,
        now: Timestamp,
    ) -> Result<()> {
        let results = results.to_vec();
        let pushed = Pushed {
            acknowledged,
            results,
            rows,
            now,
        };
        self.writer.write(pushed).await
    }

    async fn set_operation_aside(&self, number: u64, why: &str, now: Timestamp) -> Result<()> {
        let why = why.to_owned();
        let aside = SetOperationAside { number, why, now };
        self.writer.write(aside).await
    }

    async fn set_aside(&self, limit: u32) -> Result<Vec<SetAside>> {
        self.reader.set_aside(limit).await
    }

    async fn dismiss_set_aside(&self, number: u64, again: bool, now: Timestamp) -> Result<()> {
        let aside = match self.reader.set_aside_of(number).await? {
            Some(aside) => aside,
            None if self.reader.sharing().await?.is_none() => return Err(is_off()),
            None => return Err(reading::no_aside(number)),
        };
        let dismiss = Dismiss { aside, again, now };
        self.writer.write(dismiss).await
    }

    async fn adopt(&self, adoption: Adoption, now: Timestamp) -> Result<Adopted> {
        self.writer.write(Adopt { adoption, now }).await
    }

    async fn unsettled(&self, after: u64, limit: u32) -> Result<Vec<Document>> {
        self.reader.unsettled(after, limit).await
    }

    async fn settle_all(&self, settles: Vec<Settle>) -> Result<()> {
        if settles.iter().any(|settle| grows(&settle.act)) {
            self.writer.write(SettleDocuments::<true>(settles)).await
        } else {
            self.writer.write(SettleDocuments::<false>(settles)).await
        }
    }

    async fn put(
        &self,
        documents: Vec<NewDocument>,
        key: Option<IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Vec<Document>> {
        let put = Put {
            documents,
            key,
            now,
        };
        let names = match self.writer.write(put).await? {
            Written::New(documents) => return Ok(documents),
            Written::Before(names) => names,
        };
        let mut documents = Vec::new();
        for (kind, id) in names {
            documents.extend(self.reader.document(&kind, id).await?);
        }
        Ok(documents)
    }

    async fn document(&self, kind: &Kind, id: Uuid) -> Result<Option<Document>> {
        self.reader.document(kind, id).await
    }

    async fn documents_of(&self, kind: &Kind, ids: &[Uuid]) -> Result<Vec<Document>> {
        self.reader.documents_of(kind, ids).await
    }

    async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>> {
        self.reader.documents(query).await
    }

    async fn count_documents(&self, query: &DocumentQuery) -> Result<u64> {
        self.reader.count_documents(query).await
    }

    async fn keep_lease(&self, task: TaskId, lease: Option<LeaseRecord>) -> Result<()> {
        self.writer.write(KeepLease { task, lease }).await
    }

    async fn leases(&self) -> Result<Vec<(TaskId, LeaseRecord)>> {
        self.reader.leases().await
    }

    async fn approve(&self, task: TaskId, by: &str, now: Timestamp) -> Result<()> {
        let by = by.to_owned();
        self.writer.write(Approve { task, by, now }).await
    }
}
