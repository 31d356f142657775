//! The part of a group's rows that is shared with other machines: marks that changes leave, and documents.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;

use ccm_core::Result;
use ccm_core::id::{FencingToken, ProjectId, SystemId, TaskId};
use ccm_core::store::Mark;
use ccm_core::sync::local::{Facts, Touched};
use ccm_core::sync::{Hlc, Kind, Row};
use ccm_core::time::Timestamp;
use sea_orm::sea_query::Value;
use sea_orm::sqlx::Sqlite;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::Value as Json;
use uuid::Uuid;

use super::Trouble;
use super::load::{Needs, chunks};
use super::script::Script;
use super::work::{Abandoned, Work};
use crate::entity::sharing;
use crate::error::{corrupt, from_db};
use crate::replica::{Held, Key, hlc, json};
use crate::values::{Id, column, count, optional_id};

/// Leaves the marks of `count` objects. What a definition was changed from is what the server has of it, or will have of
/// what was sent before. A task that another machine runs now is told of by that one.
pub(crate) fn leave(count: usize) -> String {
    format!(
        "INSERT INTO mark (kind, id, hlc_time, hlc_count, base, base_body) \
         SELECT new.column1, new.column2, new.column3, new.column4, \
         CASE WHEN sent.number IS NULL THEN known.seq ELSE sent.base END, \
         CASE WHEN sent.number IS NULL AND known.seq IS NOT NULL THEN known.body ELSE sent.base_body END \
         FROM (VALUES {}) AS new \
         LEFT JOIN document AS known ON new.column1 = 'task' AND known.kind = 'task' AND known.id = new.column2 \
         LEFT JOIN outbox AS sent ON new.column1 = 'task' AND sent.number = (SELECT MAX(number) FROM outbox \
         WHERE kind = 'task' AND id = new.column2) \
         WHERE NOT EXISTS (SELECT 1 FROM task AS given INDEXED BY task_yielded WHERE given.yielded = 1 \
         AND given.id = new.column5) \
         ORDER BY new.column6 \
         ON CONFLICT (kind, id) DO UPDATE SET hlc_time = excluded.hlc_time, hlc_count = excluded.hlc_count",
        vec!["(?, ?, ?, ?, ?, ?)"; count].join(", ")
    )
}

/// What is kept of `keys`: rows of `column1` and `column2`.
pub(crate) fn kept(keys: &str) -> [String; 5] {
    [
        format!(
            "SELECT 'document' AS kind_, document.* FROM ({keys}) AS wanted CROSS JOIN document \
             ON document.kind = wanted.column1 AND document.id = wanted.column2"
        ),
        format!(
            "SELECT 'beside' AS kind_, beside.* FROM ({keys}) AS wanted CROSS JOIN beside \
             ON beside.kind = wanted.column1 AND beside.id = wanted.column2"
        ),
        format!(
            "SELECT 'mark' AS kind_, mark.* FROM ({keys}) AS wanted CROSS JOIN mark \
             ON mark.kind = wanted.column1 AND mark.id = wanted.column2"
        ),
        format!(
            "SELECT 'sent' AS kind_, outbox.number, outbox.kind, outbox.id, outbox.base, outbox.base_body \
             FROM ({keys}) AS wanted CROSS JOIN outbox ON outbox.kind = wanted.column1 AND outbox.id = wanted.column2"
        ),
        format!(
            "SELECT 'own' AS kind_, wanted.column1 AS kind, wanted.column2 AS id FROM ({keys}) AS wanted \
             WHERE CASE wanted.column1 \
             WHEN 'project' THEN EXISTS (SELECT 1 FROM project WHERE project.id = wanted.column2) \
             WHEN 'task' THEN EXISTS (SELECT 1 FROM task WHERE task.id = wanted.column2) \
             WHEN 'report' THEN EXISTS (SELECT 1 FROM task WHERE task.id = wanted.column2) \
             WHEN 'run' THEN EXISTS (SELECT 1 FROM run WHERE run.id = wanted.column2) \
             WHEN 'ask' THEN EXISTS (SELECT 1 FROM ask WHERE ask.id = wanted.column2) \
             ELSE 0 END"
        ),
    ]
}

/// Operations from a number to another, without their content.
pub(crate) const OPERATIONS: &str = "SELECT 'operation' AS kind_, number, uuid, kind, id FROM outbox WHERE number BETWEEN ? AND ? ORDER BY number";

/// Their objects.
const OF_OPERATIONS: &str = "SELECT DISTINCT kind AS column1, id AS column2 FROM outbox \
     WHERE number BETWEEN ? AND ? AND kind IS NOT NULL";

/// What the server did not send since everything was asked of it anew, if that is not over.
pub(crate) const STALE: &str = "SELECT 'stale' AS kind_, kind, id, place, hlc_time, hlc_count, origin, project_id, task_id, run_id, \
     succeeded, EXISTS (SELECT 1 FROM mark WHERE mark.kind = document.kind AND mark.id = document.id) \
     OR EXISTS (SELECT 1 FROM outbox WHERE outbox.kind = document.kind AND outbox.id = document.id) AS pending \
     FROM document WHERE (SELECT complete FROM sharing) = 0 \
     AND generation < (SELECT generation FROM sharing) ORDER BY place";

/// How many keys are looked for by one statement.
const KEYS_AT_ONCE: usize = 5_000;
/// How many rows one statement writes.
const ROWS_AT_ONCE: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct SharedNeeds {
    pub(super) sharing: bool,
    pub(super) documents: BTreeSet<Key>,
    pub(super) operations: Option<RangeInclusive<u64>>,
    pub(super) stale: bool,
    pub(super) aside: Option<u64>,
    pub(super) projects: BTreeSet<ProjectId>,
}

/// What a group looks at and leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// What there is one of, if sharing was ever on.
    pub(crate) row: Option<sharing::Model>,
    /// Whether sharing is switched on or off.
    pub(crate) switched: bool,
    pub(crate) entries: BTreeMap<Key, Entry>,
    /// Objects that this machine has in its own tables.
    pub(crate) own: HashSet<Key>,
    pub(crate) projects: HashSet<ProjectId>,
    pub(crate) operations: Vec<Sent>,
    pub(crate) stale: Vec<Stale>,
    /// Whether the operation that was asked for is set aside.
    pub(crate) aside: bool,
    /// Whether the clock went on without anything else.
    pub(crate) moved: bool,
    /// Whether what is changed now is done for a document, which says already what the task is.
    pub(crate) settling: bool,
    changed: bool,
    touched: BTreeMap<Key, Left>,
    left: i64,
    first: Vec<(String, Vec<Value>)>,
    last: Vec<(String, Vec<Value>)>,
}

/// An operation that is on its way, without its content.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) uuid: Uuid,
    pub(crate) key: Option<Key>,
}

/// A document that the server did not send again.
#[derive(Debug, Clone)]
pub(crate) struct Stale {
    pub(crate) key: Key,
    pub(crate) hlc: Hlc,
    pub(crate) origin: SystemId,
    pub(crate) facts: Facts,
    pub(crate) pending: bool,
}

/// When an object changed.
#[derive(Debug)]
struct Left {
    order: i64,
    hlc: Hlc,
    task: Option<TaskId>,
}

/// Everything that is kept of one document.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) document: Option<Held>,
    pub(crate) beside: Option<Row>,
    pub(crate) mark: Option<Mark>,
    /// Operations on their way, and the versions that they were made on.
    pub(crate) sent: BTreeMap<u64, (Option<u64>, Option<Json>)>,
    document_changed: bool,
    /// Place and generation of the document in the table.
    loaded: Option<(u64, i64)>,
    beside_changed: bool,
    /// The order of the mark among those that are new or changed.
    mark_changed: Option<i64>,
}

impl Entry {
    /// Whether a change of this machine is to be sent or answered.
    pub(crate) fn is_pending(&self) -> bool {
        self.mark.is_some() || !self.sent.is_empty()
    }

    pub(crate) fn set_document(&mut self, document: Option<Held>) {
        self.document = document;
        self.document_changed = true;
    }

    /// Whether nothing of the document is new but its moments and what there is to do about it: its content has its place.
    fn has_only_moved(&self) -> bool {
        let held = self.document.as_ref();
        self.loaded.is_some() && held.map(|held| (held.place, held.generation)) == self.loaded
    }

    pub(crate) fn set_beside(&mut self, row: Option<Row>) {
        if self.beside.is_some() || row.is_some() {
            self.beside = row;
            self.beside_changed = true;
        }
    }
}

impl SharedNeeds {
    pub(super) fn write(&self, script: &mut Script) {
        if self.sharing {
            script.push("SELECT 'sharing' AS kind_, * FROM sharing", []);
        }
        // Documents of operations are mostly asked for by name as well, and are to be read once.
        let mut of_operations = self.operations.as_ref().map(|numbers| {
            let ends: [Value; 2] = [
                column(*numbers.start()).into(),
                column(*numbers.end()).into(),
            ];
            script.push(OPERATIONS, ends.clone());
            (OF_OPERATIONS.to_owned(), ends.to_vec())
        });
        let keys: Vec<&Key> = self.documents.iter().collect();
        let mut wanted: Vec<(String, Vec<Value>)> = Vec::new();
        for chunk in keys.chunks(KEYS_AT_ONCE) {
            let named = format!("VALUES {}", vec!["(?, ?)"; chunk.len()].join(", "));
            let names = chunk
                .iter()
                .flat_map(|(kind, id)| [kind.as_str().into(), id.bytes().into()]);
            wanted.push(match of_operations.take() {
                None => (named, names.collect()),
                Some((sql, ends)) => (
                    format!("{sql} UNION SELECT * FROM ({named})"),
                    ends.into_iter().chain(names).collect(),
                ),
            });
        }
        wanted.extend(of_operations);
        for (keys, values) in wanted {
            for sql in kept(&keys) {
                script.push(&sql, values.clone());
            }
        }
        for chunk in chunks(&self.projects) {
            let sql = format!(
                "SELECT 'known_project' AS kind_, id FROM project WHERE id IN ({})",
                vec!["?"; chunk.len()].join(", ")
            );
            script.push(&sql, chunk);
        }
        if self.stale {
            script.push(STALE, []);
        }
        if let Some(number) = self.aside {
            script.push(
                "SELECT 'aside' AS kind_, number FROM set_aside WHERE number = ?",
                [column(number).into()],
            );
        }
    }
}

/// The name of a document in a row.
pub(crate) fn key(row: &QueryResult) -> Result<Key> {
    let kind: String = row.try_get("", "kind").map_err(from_db)?;
    let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
    Ok((Kind::from(kind), Uuid::read(&id)?))
}

pub(crate) fn whole(row: &QueryResult, name: &str) -> Result<Option<u64>> {
    let value: Option<i64> = row.try_get("", name).map_err(from_db)?;
    value.map(count).transpose()
}

/// A row of the server, as it is kept.
fn beside(row: &QueryResult) -> Result<Row> {
    let (kind, id) = key(row)?;
    let origin: Vec<u8> = row.try_get("", "origin").map_err(from_db)?;
    Ok(Row {
        kind,
        id,
        body: json(row, "body")?,
        hlc: hlc(row)?,
        origin: SystemId::read(&origin)?,
        seq: whole(row, "seq")?.ok_or_else(|| corrupt("place in the server's sequence"))?,
        epoch: whole(row, "epoch")?.map(FencingToken),
    })
}

impl Shared {
    /// Whether rows of this kind are its own.
    pub(super) fn has(kind: &str) -> bool {
        matches!(
            kind,
            "sharing"
                | "document"
                | "beside"
                | "mark"
                | "sent"
                | "own"
                | "operation"
                | "stale"
                | "aside"
                | "known_project"
        )
    }

    pub(super) fn take(&mut self, kind: &str, row: &QueryResult) -> Result<()> {
        match kind {
            "sharing" => {
                let model = sharing::Model::from_query_result(row, "").map_err(from_db)?;
                self.row = Some(model);
            }
            "known_project" => {
                let id: Vec<u8> = row.try_get("", "id").map_err(from_db)?;
                self.projects.insert(ProjectId::read(&id)?);
            }
            "aside" => self.aside = true,
            "own" => {
                self.own.insert(key(row)?);
            }
            "document" => {
                let held = Held::read(row)?;
                let entry = self.entry(key(row)?);
                entry.loaded = Some((held.place, held.generation));
                entry.document = Some(held);
            }
            "beside" => {
                let row = beside(row)?;
                let key = (row.kind.clone(), row.id);
                self.entry(key).beside = Some(row);
            }
            "mark" => {
                let mark = crate::replica::mark(row)?;
                let key = (mark.kind.clone(), mark.id);
                self.entry(key).mark = Some(mark);
            }
            "sent" => {
                let number = whole(row, "number")?.unwrap_or_default();
                let base = (whole(row, "base")?, json(row, "base_body")?);
                self.entry(key(row)?).sent.insert(number, base);
            }
            "operation" => {
                let uuid: Vec<u8> = row.try_get("", "uuid").map_err(from_db)?;
                let kind: Option<String> = row.try_get("", "kind").map_err(from_db)?;
                self.operations.push(Sent {
                    number: whole(row, "number")?.unwrap_or_default(),
                    uuid: Uuid::read(&uuid)?,
                    key: kind.map(|_| key(row)).transpose()?,
                });
            }
            _ => self.stale.push(stale(row)?),
        }
        Ok(())
    }

    /// What is kept of a document that was asked for.
    pub(crate) fn entry(&mut self, key: Key) -> &mut Entry {
        self.entries.entry(key).or_default()
    }

    /// Does something before all else that is written.
    pub(crate) fn before(&mut self, sql: impl Into<String>, values: Vec<Value>) {
        self.first.push((sql.into(), values));
    }

    /// Does something after documents and marks were written.
    pub(crate) fn after(&mut self, sql: impl Into<String>, values: Vec<Value>) {
        self.last.push((sql.into(), values));
    }

    /// What there is one of, to be changed.
    pub(crate) fn change(&mut self) -> Option<&mut sharing::Model> {
        self.changed = true;
        self.row.as_mut()
    }
}

fn stale(row: &QueryResult) -> Result<Stale> {
    let bytes = |name: &str| -> Result<Option<Vec<u8>>> { row.try_get("", name).map_err(from_db) };
    let origin = bytes("origin")?.ok_or_else(|| corrupt("id"))?;
    Ok(Stale {
        key: key(row)?,
        hlc: hlc(row)?,
        origin: SystemId::read(&origin)?,
        facts: Facts {
            project: optional_id(bytes("project_id")?.as_ref())?,
            task: optional_id(bytes("task_id")?.as_ref())?,
            run: optional_id(bytes("run_id")?.as_ref())?,
            succeeded: row.try_get("", "succeeded").map_err(from_db)?,
            ..Facts::default()
        },
        pending: row.try_get("", "pending").map_err(from_db)?,
    })
}

impl Work {
    /// The clock.
    pub(crate) fn clock(&self) -> Hlc {
        Hlc {
            time: self.meta.hlc_time,
            count: u32::try_from(self.meta.hlc_count).unwrap_or(u32::MAX),
        }
    }

    /// Raises the clock to what was seen elsewhere.
    pub(crate) fn see(&mut self, seen: Hlc) {
        let clock = self.clock().seen(seen);
        self.meta.hlc_time = clock.time;
        self.meta.hlc_count = i64::from(clock.count);
    }

    /// The moment of a change that is made now.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Hlc {
        let clock = self.clock().tick(now);
        self.see(clock);
        clock
    }

    /// Notes that something of this machine has to go out, while sharing is on.
    pub(crate) fn leave(&mut self, touched: Touched, now: Timestamp) {
        if !self.meta.sharing || (self.shared.settling && touched.kind == Kind::Task) {
            return;
        }
        let hlc = self.tick(now);
        self.shared.left += 1;
        let left = self.shared.touched.entry((touched.kind, touched.id));
        let left = left.or_insert(Left {
            order: self.shared.left,
            hlc,
            task: touched.task,
        });
        left.hlc = hlc;
    }

    /// Leaves the mark of a document that was asked for, or moves the moment of the one that is there.
    pub(crate) fn leave_document(&mut self, key: &Key, hlc: Hlc) {
        self.shared.left += 1;
        let order = self.shared.left;
        let entry = self.shared.entry(key.clone());
        let order = *entry.mark_changed.get_or_insert(order);
        entry.mark_changed = Some(order);
        if let Some(mark) = &mut entry.mark {
            mark.hlc = mark.hlc.max(hlc);
            return;
        }
        let has_body = key.0 == Kind::Task;
        let latest = entry.sent.values().next_back();
        let (base, base_body) = match (latest, &entry.document) {
            (Some(base), _) => base.clone(),
            (None, Some(held)) => {
                let body = held.body.clone();
                (held.seq, body.filter(|_| has_body && held.seq.is_some()))
            }
            (None, None) => (None, None),
        };
        entry.mark = Some(Mark {
            kind: key.0.clone(),
            id: key.1,
            hlc,
            base,
            base_body,
        });
    }

    /// Says of a mark that is there what it was made on.
    pub(crate) fn rebase(&mut self, key: &Key, base: Option<u64>, base_body: Option<Json>) {
        self.shared.left += 1;
        let order = self.shared.left;
        let entry = self.shared.entry(key.clone());
        if let Some(mark) = &mut entry.mark {
            (mark.base, mark.base_body) = (base, base_body);
            entry.mark_changed.get_or_insert(order);
        }
    }

    /// Definitions that were nothing to this machine before it had their project, and the wishes of their tasks.
    pub(crate) fn reopen_definitions(&mut self, project: ProjectId) {
        if !self.meta.sharing {
            return;
        }
        self.shared.after(
            "UPDATE document SET state = 0 WHERE kind = 'task' AND project_id = ? AND state = 2",
            vec![project.bytes().into()],
        );
        self.shared.after(
            "UPDATE document SET state = 0 WHERE kind = 'wish' AND state = 2 AND task_id IN \
             (SELECT id FROM document WHERE kind = 'task' AND project_id = ?)",
            vec![project.bytes().into()],
        );
    }

    /// Looks at what rows are about that wait beside documents: they may become what the documents are.
    pub(super) async fn look_beside(
        &mut self,
        connection: &mut PoolConnection<Sqlite>,
    ) -> Result<(), Trouble> {
        let mut needs = Needs::default();
        for ((kind, id), entry) in &self.shared.entries {
            if let Some(row) = &entry.beside {
                crate::replica::needs_of(&mut needs, kind, *id, row.body.as_ref());
            }
        }
        needs.forget(&self.shared.entries);
        let mut script = Script::default();
        needs.write(&mut script);
        if script.is_empty() {
            return Ok(());
        }
        for row in &script.run(connection).await? {
            self.take(row)?;
        }
        Ok(())
    }

    /// Marks of what changed.
    pub(super) fn marks(&self, script: &mut Script) {
        for (sql, values) in &self.shared.first {
            script.push(sql, values.clone());
        }
        // Of a task that was looked at it is known whether it was given up, also if that changes now.
        let given_up = |task: &TaskId| Some(self.tasks.get(task)?.get().task.yielded);
        let touched: Vec<(&Key, &Left, Option<TaskId>)> = self
            .shared
            .touched
            .iter()
            .filter_map(|(key, left)| match left.task.as_ref().and_then(given_up) {
                Some(true) => None,
                Some(false) => Some((key, left, None)),
                None => Some((key, left, left.task)),
            })
            .collect();
        for chunk in touched.chunks(ROWS_AT_ONCE) {
            let values = chunk.iter().flat_map(|((kind, id), left, task)| {
                [
                    Value::from(kind.as_str()),
                    id.bytes().into(),
                    left.hlc.time.into(),
                    i64::from(left.hlc.count).into(),
                    task.map(|task| task.bytes()).into(),
                    left.order.into(),
                ]
            });
            script.push(&leave(chunk.len()), values);
        }
    }

    /// Marks what becomes of the waiting tasks of a project, before it does.
    pub(super) fn mark_abandoned(&self, script: &mut Script, abandoned: &Abandoned) {
        let clock = self.clock();
        script.push(
            "INSERT INTO mark (kind, id, hlc_time, hlc_count) \
             SELECT 'report', id, ?, ? FROM task WHERE project_id = ? AND state = 'queued' AND yielded = 0 ORDER BY id \
             ON CONFLICT (kind, id) DO UPDATE SET hlc_time = excluded.hlc_time, hlc_count = excluded.hlc_count",
            [
                clock.time.into(),
                i64::from(clock.count).into(),
                abandoned.project.bytes().into(),
            ],
        );
    }

    /// Documents, and what belongs to them.
    pub(super) fn documents(&self, script: &mut Script) {
        let shared = &self.shared;
        if let Some(row) = shared.row.as_ref().filter(|_| shared.changed) {
            write_sharing(script, row);
        }
        let entries = || shared.entries.iter();
        let changed: Vec<_> = entries()
            .filter(|(_, entry)| entry.document_changed)
            .collect();
        let (kept, gone): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|(_, entry)| entry.document.is_some());
        let (moved, new): (Vec<_>, Vec<_>) = kept
            .into_iter()
            .partition(|(_, entry)| entry.has_only_moved());
        for chunk in new.chunks(ROWS_AT_ONCE) {
            let rows = chunk
                .iter()
                .filter_map(|(key, entry)| Some(entry.document.as_ref()?.columns(key)));
            script.push(&Held::upsert(chunk.len()), rows.flatten());
        }
        for chunk in moved.chunks(ROWS_AT_ONCE) {
            let rows = chunk
                .iter()
                .filter_map(|(key, entry)| Some(entry.document.as_ref()?.moments(key)));
            script.push(&Held::shift(chunk.len()), rows.flatten());
        }
        for (key, _) in gone {
            remove(script, "document", key);
        }
        for (key, entry) in entries().filter(|(_, entry)| entry.beside_changed) {
            remove(script, "beside", key);
            if let Some(row) = &entry.beside {
                write_beside(script, row);
            }
        }
        let mut marks: Vec<_> = entries()
            .filter_map(|(key, entry)| Some((entry.mark_changed?, key, entry)))
            .collect();
        marks.sort_by_key(|(order, ..)| *order);
        for mark in marks.iter().filter_map(|(.., entry)| entry.mark.as_ref()) {
            write_mark(script, mark);
        }
        for (sql, values) in &shared.last {
            script.push(sql, values.clone());
        }
    }
}

fn remove(script: &mut Script, table: &str, (kind, id): &Key) {
    script.push(
        &format!("DELETE FROM {table} WHERE kind = ? AND id = ?"),
        [kind.as_str().into(), id.bytes().into()],
    );
}

fn text(body: Option<&Json>) -> Value {
    body.map(Json::to_string).into()
}

fn write_beside(script: &mut Script, row: &Row) {
    script.push(
        "INSERT INTO beside (kind, id, hlc_time, hlc_count, origin, seq, epoch, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            row.kind.as_str().into(),
            row.id.bytes().into(),
            row.hlc.time.into(),
            i64::from(row.hlc.count).into(),
            row.origin.bytes().into(),
            column(row.seq).into(),
            row.epoch.map(|epoch| column(epoch.0)).into(),
            text(row.body.as_ref()),
        ],
    );
}

fn write_mark(script: &mut Script, mark: &Mark) {
    script.push(
        "INSERT INTO mark (kind, id, hlc_time, hlc_count, base, base_body) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (kind, id) DO UPDATE SET hlc_time = excluded.hlc_time, hlc_count = excluded.hlc_count, \
         base = excluded.base, base_body = excluded.base_body",
        [
            mark.kind.as_str().into(),
            mark.id.bytes().into(),
            mark.hlc.time.into(),
            i64::from(mark.hlc.count).into(),
            mark.base.map(column).into(),
            text(mark.base_body.as_ref()),
        ],
    );
}

fn write_sharing(script: &mut Script, row: &sharing::Model) {
    script.push(
        "INSERT OR REPLACE INTO sharing (id, system_id, incarnation, previous, acknowledged, acknowledged_uuid, sealed, \
         cursor, complete, generation, last_place, left_marks) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            row.system_id.clone().into(),
            row.incarnation.clone().into(),
            row.previous.clone().into(),
            row.acknowledged.into(),
            row.acknowledged_uuid.clone().into(),
            row.sealed.into(),
            row.cursor.into(),
            row.complete.into(),
            row.generation.into(),
            row.last_place.into(),
            row.left_marks.clone().into(),
        ],
    );
}
