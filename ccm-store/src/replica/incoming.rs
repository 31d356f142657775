//! What comes in: rows of the server.

use ccm_core::Result;
use ccm_core::event::EventKind;
use ccm_core::id::{SystemId, TaskId};
use ccm_core::store::{Adopted, Adoption};
use ccm_core::sync::local::{Facts, is_made_here};
use ccm_core::sync::{Kind, Row};
use ccm_core::time::Timestamp;
use sea_orm::sea_query::Value;
use serde_json::{Value as Json, json};

use super::sharing::{kept, me};
use super::{Held, Key, State, needs_of};
use crate::values::{Id, column};
use crate::writer::{About, Change, Needs, Work};

/// Tells those that wait for a task of another machine that its success is not known any more.
const BLOCK: &str = "UPDATE task SET open_blockers = open_blockers + 1 \
     WHERE id IN (SELECT task_id FROM task_blocker WHERE blocker_id = ?) \
     AND NOT EXISTS (SELECT 1 FROM task AS own WHERE own.id = ? AND own.yielded = 0)";

/// Keeps what was pulled.
pub(crate) struct Adopt {
    pub(crate) adoption: Adoption,
    pub(crate) now: Timestamp,
}

impl Change for Adopt {
    type Answer = Adopted;
    const ALONE: bool = true;
    const GROWS: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
        for row in &self.adoption.rows {
            needs.document(&row.kind, row.id);
            needs_of(needs, &row.kind, row.id, row.body.as_ref());
        }
        if self.adoption.complete {
            needs.stale();
        }
    }

    fn apply(&self, work: &mut Work) -> Result<Adopted> {
        let adoption = &self.adoption;
        kept(work)?.previous = None;
        let mut adopted = Adopted::default();
        for row in &adoption.rows {
            take(work, row, self.now, &mut adopted)?;
        }
        let kept = kept(work)?;
        kept.cursor = column(adoption.cursor.0);
        if let Some(mark) = adoption.mark {
            kept.left_marks = mark.bytes();
        }
        if adoption.complete && !kept.complete {
            kept.complete = true;
            sweep(work, self.now)?;
        }
        Ok(adopted)
    }
}

fn take(work: &mut Work, row: &Row, now: Timestamp, adopted: &mut Adopted) -> Result<()> {
    let key = (row.kind.clone(), row.id);
    let me = me(work)?;
    let generation = kept(work)?.generation;
    work.see(row.hlc);
    if is_made_here(&key.0) && row.origin == me && work.shared.own.contains(&key) {
        // What it says is said better by the row itself.
        return forget(work, &key);
    }
    let entry = work.shared.entry(key.clone());
    let newer_than = |seq: Option<u64>| seq.is_none_or(|seq| seq < row.seq);
    let fresh = entry.document.as_ref();
    let fresh = fresh.filter(|held| held.generation == generation);
    if !newer_than(entry.beside.as_ref().map(|row| row.seq))
        || !newer_than(fresh.and_then(|held| held.seq))
    {
        return Ok(());
    }
    let pending = entry.is_pending();
    if let Some(mut held) = entry.document.clone()
        && held.generation != generation
    {
        held.generation = generation;
        let lost = held.origin == me && held.hlc > row.hlc && held.body != row.body;
        if lost && !pending && !is_made_here(&key.0) {
            // The server was put back to before it had this.
            let hlc = held.hlc;
            held.seq = (row.origin == me).then_some(row.seq);
            let base_body = held.seq.and(row.body.clone());
            let (base, base_body) = (held.seq, base_body.filter(|_| key.0 == Kind::Task));
            entry.set_document(Some(held));
            entry.set_beside(Some(row.clone()));
            work.leave_document(&key, hlc);
            work.rebase(&key, base, base_body);
            adopted.waiting += 1;
            return Ok(());
        }
        entry.set_document(Some(held));
    }
    if pending {
        entry.set_beside(Some(row.clone()));
        adopted.waiting += 1;
        return Ok(());
    }
    if keep(work, &key, row, now)? {
        adopted.changed += 1;
    }
    Ok(())
}

/// Makes a row what the document is. Says whether that is something new.
fn keep(work: &mut Work, key: &Key, row: &Row, now: Timestamp) -> Result<bool> {
    let me = me(work)?;
    let generation = kept(work)?.generation;
    let entry = work.shared.entry(key.clone());
    entry.set_beside(None);
    if let Some(mut held) = entry.document.clone()
        && held.body == row.body
        && held.origin == row.origin
    {
        held.hlc = row.hlc;
        held.seq = Some(row.seq);
        held.generation = generation;
        entry.set_document(Some(held));
        return Ok(false);
    }
    let own = row.origin == me && key.0 == Kind::Task && work.shared.own.contains(key);
    let state = match own {
        true => State::Settled,
        false => state_of(work, key, row.body.as_ref()),
    };
    let facts = Facts::of(&key.0, key.1, row.body.as_ref());
    let held = Held {
        body: row.body.clone(),
        hlc: row.hlc,
        origin: row.origin,
        seq: Some(row.seq),
        place: 0,
        state,
        generation,
    };
    replace(work, key, held, &facts, now)?;
    Ok(true)
}

/// Keeps another version of a document, and tells of it.
pub(super) fn replace(
    work: &mut Work,
    key: &Key,
    held: Held,
    facts: &Facts,
    now: Timestamp,
) -> Result<()> {
    let row = kept(work)?;
    row.last_place += 1;
    let place = row.last_place.unsigned_abs();
    let (origin, exists) = (held.origin, held.body.is_some());
    let held = Held { place, ..held };
    work.shared.entry(key.clone()).set_document(Some(held));
    match key.0 {
        Kind::Task => {
            let task = TaskId::from_uuid(key.1);
            work.known_tasks.entry(task).or_default().defined = exists;
            if is_local(work, facts) {
                reopen_wishes(work, task);
            }
        }
        Kind::Report => reported(work, TaskId::from_uuid(key.1), facts.succeeded),
        _ => {}
    }
    tell(work, key, facts, origin, now);
    Ok(())
}

/// Drops what is kept of a document.
fn forget(work: &mut Work, key: &Key) -> Result<()> {
    let entry = work.shared.entry(key.clone());
    entry.set_beside(None);
    if entry.document.is_some() {
        entry.set_document(None);
        if key.0 == Kind::Report {
            reported(work, TaskId::from_uuid(key.1), false);
        }
    }
    Ok(())
}

/// Notes whether another machine tells of a task's success.
fn reported(work: &mut Work, task: TaskId, succeeded: bool) {
    let known = work.known_tasks.entry(task).or_default();
    let changed = known.reported != succeeded;
    known.reported = succeeded;
    if changed && !known.runs_here() {
        work.unblock(task, if succeeded { -1 } else { 1 });
    }
}

fn tell(work: &mut Work, (kind, id): &Key, facts: &Facts, origin: SystemId, now: Timestamp) {
    let about = About {
        project: facts.project,
        task: facts.task,
        run: facts.run,
        agent: None,
    };
    let data = json!({ "kind": kind, "id": id, "origin": origin });
    work.event(now, EventKind::DocumentChanged, about, &data);
}

/// Whether a definition is this machine's to run: of a project that it has or had, or of a task that it runs.
fn is_local(work: &Work, facts: &Facts) -> bool {
    let project = facts.project;
    project.is_some_and(|id| work.shared.projects.contains(&id))
        || facts.task.is_some_and(|task| runs_here(work, task))
}

fn runs_here(work: &Work, task: TaskId) -> bool {
    let known = work.known_tasks.get(&task);
    known.is_some_and(|known| known.runs_here())
}

/// What this machine has to do about a document that became known.
pub(super) fn state_of(work: &Work, key: &Key, body: Option<&Json>) -> State {
    let facts = Facts::of(&key.0, key.1, body);
    let concerns = match key.0 {
        Kind::Task => is_local(work, &facts),
        Kind::Wish => facts.task.is_some_and(|task| {
            let key = (Kind::Task, *task.as_uuid());
            let definition = work.shared.entries.get(&key);
            let definition = definition.and_then(|entry| entry.document.as_ref());
            let local = |held: &Held| held.state != State::Elsewhere;
            runs_here(work, task) || definition.is_some_and(local)
        }),
        _ => return State::Settled,
    };
    match concerns {
        true => State::Open,
        false => State::Elsewhere,
    }
}

/// Wishes that were nothing to this machine before it had their task: those in the table, and those that came just now.
pub(super) fn reopen_wishes(work: &mut Work, task: TaskId) {
    work.shared.before(
        "UPDATE document SET state = 0 WHERE kind = 'wish' AND task_id = ? AND state = 2",
        vec![task.bytes().into()],
    );
    for ((kind, id), entry) in &mut work.shared.entries {
        let Some(held) = entry.document.as_ref().filter(|_| *kind == Kind::Wish) else {
            continue;
        };
        let of = Facts::of(kind, *id, held.body.as_ref()).task;
        if of == Some(task) && held.state == State::Elsewhere {
            let held = Held {
                state: State::Open,
                ..held.clone()
            };
            entry.set_document(Some(held));
        }
    }
}

/// Makes what the server has of a document what it is, unless something of it is still to be sent or answered. What is
/// kept of it must be loaded.
pub(super) fn release(work: &mut Work, key: &Key, row: Option<&Row>, now: Timestamp) -> Result<()> {
    let me = me(work)?;
    let generation = kept(work)?.generation;
    if let Some(row) = row {
        work.see(row.hlc);
    }
    let entry = work.shared.entry(key.clone());
    let beside = entry.beside.clone();
    let latest = [row.cloned(), beside].into_iter().flatten();
    let Some(latest) = latest.max_by_key(|row| row.seq) else {
        return Ok(());
    };
    if is_made_here(&key.0) && latest.origin == me && work.shared.own.contains(key) {
        return forget(work, key);
    }
    let entry = work.shared.entry(key.clone());
    if !entry.is_pending() {
        let held = entry.document.as_ref();
        let held = held.filter(|held| held.generation == generation);
        if held.is_some_and(|held| held.seq > Some(latest.seq)) {
            return Ok(());
        }
        return keep(work, key, &latest, now).map(drop);
    }
    entry.set_beside(Some(latest));
    // It was changed again: on what this machine itself had sent before, if that is what the server has.
    if let Some(row) = row.filter(|row| row.origin == me) {
        if let Some(mut held) = entry.document.clone() {
            held.seq = Some(row.seq);
            entry.set_document(Some(held));
        }
        let body = row.body.clone().filter(|_| key.0 == Kind::Task);
        work.rebase(key, Some(row.seq), body);
    }
    Ok(())
}

/// Removes what the server did not send again, and marks what it has to get again.
fn sweep(work: &mut Work, now: Timestamp) -> Result<()> {
    let me = me(work)?;
    let generation = kept(work)?.generation;
    for stale in std::mem::take(&mut work.shared.stale) {
        let key = stale.key;
        if work.shared.entries.get(&key).is_some_and(|entry| {
            let held = entry.document.as_ref();
            held.is_none_or(|held| held.generation == generation)
        }) {
            // It came just now.
            continue;
        }
        if stale.pending || (stale.origin == me && is_made_here(&key.0)) {
            continue;
        }
        let name: [Value; 2] = [key.0.as_str().into(), key.1.bytes().into()];
        if stale.origin == me {
            work.shared.after(
                "UPDATE document SET seq = NULL WHERE kind = ? AND id = ?",
                name.to_vec(),
            );
            let mut values = name.to_vec();
            values.extend([stale.hlc.time.into(), i64::from(stale.hlc.count).into()]);
            work.shared.after(
                "INSERT INTO mark (kind, id, hlc_time, hlc_count) VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO NOTHING",
                values,
            );
            continue;
        }
        if key.0 == Kind::Report && stale.facts.succeeded {
            let id = key.1.bytes();
            work.shared.after(BLOCK, vec![id.clone().into(), id.into()]);
        }
        work.shared.after(
            "DELETE FROM document WHERE kind = ? AND id = ?",
            name.to_vec(),
        );
        tell(work, &key, &stale.facts, stale.origin, now);
    }
    work.shared.after(
        "UPDATE document SET generation = ? WHERE generation < ?",
        vec![generation.into(), generation.into()],
    );
    Ok(())
}
