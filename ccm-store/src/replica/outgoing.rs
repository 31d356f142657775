//! What goes out: documents of this machine, operations, and what became of them.

use std::collections::BTreeMap;

use ccm_core::store::{Document, IdempotencyKey, Mark, NewDocument, SealedOperation, SetAside};
use ccm_core::sync::local::{Facts, Touched, is_made_here};
use ccm_core::sync::{Fate, Kind, PushResult, Row};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Result};
use sea_orm::sea_query::Value;
use serde_json::Value as Json;
use uuid::Uuid;

use super::incoming::{release, replace, state_of};
use super::reading::no_aside;
use super::sharing::{kept, me};
use super::{Held, Key, State, needs_of};
use crate::entity::idempotency_key;
use crate::tasks::prune_keys;
use crate::values::{Id, column, from_json, to_json};
use crate::writer::{Change, KeyName, Needs, Tracked, Work};

/// How many operations are kept by one statement.
const SEALED_AT_ONCE: usize = 500;

fn length(body: Option<&Json>) -> usize {
    body.map_or(0, |body| body.to_string().len())
}

/// Numbers operations and takes their marks away.
pub(crate) struct Seal(pub(crate) Vec<SealedOperation>);

impl Change for Seal {
    type Answer = ();
    const ALONE: bool = true;
    const GROWS: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let mut number = kept(work)?.sealed;
        for sealed in self.0.chunks(SEALED_AT_ONCE) {
            let mut operations = Vec::with_capacity(sealed.len() * 11);
            let mut marks = Vec::with_capacity(sealed.len() * 4);
            for one in sealed {
                number += 1;
                operations.extend(operation(number, one));
                marks.extend(moment(&one.mark));
            }
            work.shared.after(insert(sealed.len()), operations);
            work.shared.after(unmark(sealed.len()), marks);
        }
        kept(work)?.sealed = number;
        Ok(())
    }
}

/// Keeps `count` operations.
fn insert(count: usize) -> String {
    format!(
        "INSERT INTO outbox (number, uuid, kind, id, hlc_time, hlc_count, base, epoch, bytes, base_body, body) VALUES {}",
        vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; count].join(", ")
    )
}

/// Takes `count` marks away, as far as their objects did not change again.
pub(crate) fn unmark(count: usize) -> String {
    format!(
        "DELETE FROM mark WHERE place IN (SELECT mark.place FROM (VALUES {}) AS sealed CROSS JOIN mark \
         ON mark.kind = sealed.column1 AND mark.id = sealed.column2 \
         AND mark.hlc_time = sealed.column3 AND mark.hlc_count = sealed.column4)",
        vec!["(?, ?, ?, ?)"; count].join(", ")
    )
}

/// The columns of [`insert`].
fn operation(number: i64, sealed: &SealedOperation) -> [Value; 11] {
    let mark = &sealed.mark;
    let [body, base_body] =
        [&sealed.body, &mark.base_body].map(|body| body.as_ref().map(Json::to_string));
    let bytes = [&body, &base_body].map(|body| body.as_ref().map_or(0, String::len));
    let [kind, id, time, count] = moment(mark);
    [
        number.into(),
        sealed.uuid.bytes().into(),
        kind,
        id,
        time,
        count,
        mark.base.map(column).into(),
        sealed.epoch.map(|epoch| column(epoch.0)).into(),
        column(bytes.iter().sum::<usize>() as u64).into(),
        base_body.into(),
        body.into(),
    ]
}

/// The columns of [`unmark`].
fn moment(mark: &Mark) -> [Value; 4] {
    [
        mark.kind.as_str().into(),
        mark.id.bytes().into(),
        mark.hlc.time.into(),
        i64::from(mark.hlc.count).into(),
    ]
}

/// Takes in what became of operations.
pub(crate) struct Pushed {
    pub(crate) acknowledged: u64,
    pub(crate) results: Vec<PushResult>,
    pub(crate) rows: Vec<Row>,
    pub(crate) now: Timestamp,
}

impl Change for Pushed {
    type Answer = ();
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
        needs.operations(0..=self.acknowledged);
        for row in &self.rows {
            needs.document(&row.kind, row.id);
            needs_of(needs, &row.kind, row.id, row.body.as_ref());
        }
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = kept(work)?;
        row.previous = None;
        let answered = std::mem::take(&mut work.shared.operations);
        if let Some(last) = answered.last() {
            let row = kept(work)?;
            row.acknowledged = column(last.number);
            row.acknowledged_uuid = Some(last.uuid.bytes());
        }
        let mut open: BTreeMap<Key, Option<&Row>> = BTreeMap::new();
        for operation in answered {
            if let Some(key) = operation.key {
                work.shared
                    .entry(key.clone())
                    .sent
                    .remove(&operation.number);
                open.insert(key, None);
            }
            let result = self
                .results
                .iter()
                .find(|one| one.number == operation.number);
            if let Some(Fate::Refused { code, message }) = result.map(|result| &result.fate) {
                let why = format!("{message} ({code})");
                keep_aside(work, operation.number, &why, self.now);
            }
        }
        work.shared.after(
            "DELETE FROM outbox WHERE number <= ?",
            vec![column(self.acknowledged).into()],
        );
        for row in &self.rows {
            open.insert((row.kind.clone(), row.id), Some(row));
        }
        for (key, row) in open {
            release(work, &key, row, self.now)?;
        }
        Ok(())
    }
}

fn keep_aside(work: &mut Work, number: u64, why: &str, now: Timestamp) {
    work.shared.after(
        "INSERT OR REPLACE INTO set_aside (number, kind, id, at, why, body) \
         SELECT number, kind, id, ?, ?, body FROM outbox WHERE number = ? AND kind IS NOT NULL",
        vec![now.as_micros().into(), why.into(), column(number).into()],
    );
}

/// Takes the content out of an operation.
pub(crate) struct SetOperationAside {
    pub(crate) number: u64,
    pub(crate) why: String,
    pub(crate) now: Timestamp,
}

impl Change for SetOperationAside {
    type Answer = ();
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
        needs.operations(self.number..=self.number);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        me(work)?;
        let operation = work.shared.operations.first().cloned();
        let operation = operation.ok_or_else(|| {
            Error::invalid(format!(
                "there is no operation {} that is to be sent",
                self.number
            ))
        })?;
        let Some(key) = operation.key else {
            return Ok(());
        };
        keep_aside(work, self.number, &self.why, self.now);
        work.shared.after(
            "UPDATE outbox SET kind = NULL, id = NULL, hlc_time = NULL, hlc_count = NULL, base = NULL, epoch = NULL, \
             bytes = 0, base_body = NULL, body = NULL WHERE number = ?",
            vec![column(self.number).into()],
        );
        work.shared.entry(key.clone()).sent.remove(&self.number);
        release(work, &key, None, self.now)
    }
}

/// Forgets what was set aside, or tries it again.
pub(crate) struct Dismiss {
    pub(crate) aside: SetAside,
    pub(crate) again: bool,
    pub(crate) now: Timestamp,
}

impl Change for Dismiss {
    type Answer = ();
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        let SetAside {
            number,
            kind,
            id,
            body,
            ..
        } = &self.aside;
        needs.sharing();
        needs.aside(*number);
        needs.document(kind, *id);
        needs_of(needs, kind, *id, body.as_ref());
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        me(work)?;
        let aside = &self.aside;
        if !work.shared.aside {
            return Err(no_aside(aside.number));
        }
        work.shared.after(
            "DELETE FROM set_aside WHERE number = ?",
            vec![column(aside.number).into()],
        );
        if !self.again {
            return Ok(());
        }
        let key = (aside.kind.clone(), aside.id);
        if is_made_here(&key.0) || key.0 == Kind::System || work.shared.own.contains(&key) {
            let (kind, id) = key;
            let task = None;
            work.leave(Touched { kind, id, task }, self.now);
            return Ok(());
        }
        let known = work.shared.entry(key.clone()).document.as_ref();
        let state = match known.map(|held| held.state) {
            Some(state) => state,
            None => state_of(work, &key, aside.body.as_ref()),
        };
        write(work, &key, aside.body.clone(), state, self.now)
    }
}

/// Writes documents.
pub(crate) struct Put {
    pub(crate) documents: Vec<NewDocument>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) now: Timestamp,
}

/// What became of documents to write.
#[derive(Debug)]
pub(crate) enum Written {
    /// They were written.
    New(Vec<Document>),
    /// They had been written before.
    Before(Vec<Key>),
}

impl Put {
    fn name(&self) -> Option<KeyName> {
        self.key.as_ref().map(|key| KeyName {
            principal: key.principal.clone(),
            route: key.route.clone(),
            key: key.key.clone(),
        })
    }
}

impl Change for Put {
    type Answer = Written;
    const ALONE: bool = true;
    const GROWS: bool = true;

    fn weight(&self) -> usize {
        let bodies = self.documents.iter().map(|new| length(new.body.as_ref()));
        self.documents.len() + bodies.sum::<usize>() / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
        if let Some(name) = self.name() {
            needs.key(name);
        }
        for new in &self.documents {
            needs.document(&new.kind, new.id);
            needs_of(needs, &new.kind, new.id, new.body.as_ref());
        }
    }

    fn apply(&self, work: &mut Work) -> Result<Written> {
        me(work)?;
        let names: Vec<Key> = self
            .documents
            .iter()
            .map(|new| (new.kind.clone(), new.id))
            .collect();
        if let Some((name, key)) = self.name().zip(self.key.as_ref()) {
            if let Some(used) = work.keys.get(&name) {
                let used = used.get();
                if used.fingerprint != key.fingerprint {
                    return Err(Error::new(
                        ErrorKind::KeyReused,
                        format!(
                            "the idempotency key {:?} was used for another request",
                            key.key
                        ),
                    ));
                }
                return before(used).map(Written::Before);
            }
            if names.is_empty() {
                return Ok(Written::New(Vec::new()));
            }
            let row = idempotency_key::Model {
                principal: name.principal.clone(),
                route: name.route.clone(),
                key: name.key.clone(),
                fingerprint: key.fingerprint.clone(),
                task_ids: Vec::new(),
                created_at: self.now.as_micros(),
                documents: Some(to_json(&names)),
            };
            work.keys.insert(name, Tracked::new(row));
            prune_keys(work, self.now);
        }
        for (new, key) in self.documents.iter().zip(&names) {
            let state = match state_of(work, key, new.body.as_ref()) {
                State::Open if new.settled => State::Settled,
                state => state,
            };
            write(work, key, new.body.clone(), state, self.now)?;
        }
        let entries = names.iter().map(|key| (key, work.shared.entries.get(key)));
        let written = entries.filter_map(|(key, entry)| {
            let held = entry?.document.as_ref()?;
            Some(held.document(key, true))
        });
        Ok(Written::New(written.collect()))
    }
}

fn before(used: &idempotency_key::Model) -> Result<Vec<Key>> {
    let names: Option<Vec<(Kind, Uuid)>> = used
        .documents
        .as_deref()
        .map(|names| from_json(names, "list of documents"))
        .transpose()?;
    Ok(names.unwrap_or_default())
}

/// Writes a document as this machine. What is kept of it must be loaded.
fn write(
    work: &mut Work,
    key: &Key,
    body: Option<Json>,
    state: State,
    now: Timestamp,
) -> Result<()> {
    let origin = me(work)?;
    let generation = kept(work)?.generation;
    let hlc = work.tick(now);
    work.leave_document(key, hlc);
    let entry = work.shared.entry(key.clone());
    let old = entry.document.clone();
    let seq = old.as_ref().and_then(|old| old.seq);
    if let Some((old, seq)) = old.zip(seq)
        && entry.beside.is_none()
    {
        // What the server has is what counts again if this is set aside.
        entry.set_beside(Some(Row {
            kind: key.0.clone(),
            id: key.1,
            body: old.body,
            hlc: old.hlc,
            origin: old.origin,
            seq,
            epoch: None,
        }));
    }
    let facts = Facts::of(&key.0, key.1, body.as_ref());
    let held = Held {
        body,
        hlc,
        origin,
        seq,
        place: 0,
        state,
        generation,
    };
    replace(work, key, held, &facts, now)
}
