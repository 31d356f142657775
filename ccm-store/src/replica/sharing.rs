//! Switching sharing on and off, and beginning it again.

use ccm_core::Result;
use ccm_core::event::EventKind;
use ccm_core::id::SystemId;
use ccm_core::store::keep_left;
use ccm_core::sync::{Hlc, Identity};
use ccm_core::time::Timestamp;
use sea_orm::sea_query::Value;
use serde_json::json;
use uuid::Uuid;

use super::is_off;
use crate::entity::sharing;
use crate::values::{Id, column, id_list, id_list_bytes};
use crate::writer::{About, Change, Needs, Work};

/// Tells those that wait for tasks of other machines that nothing is known of these any more.
const FORGET_SUCCESSES: &str = "UPDATE task SET open_blockers = open_blockers + lost.by FROM \
     (SELECT edge.task_id, COUNT(*) AS by FROM document CROSS JOIN task_blocker AS edge ON edge.blocker_id = document.id \
     WHERE document.kind = 'report' AND document.succeeded = 1 AND document.origin <> ? \
     AND NOT EXISTS (SELECT 1 FROM task AS own WHERE own.id = document.id AND own.yielded = 0) \
     GROUP BY edge.task_id) AS lost WHERE task.id = lost.task_id";

/// Marks of what this machine's own rows say, and of definitions that there is no document of. Each has the clock's time
/// and count as its parameters.
const MARK_ALL: [&str; 6] = [
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'system', id, ?, ? FROM system WHERE 1 ORDER BY id",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'project', id, ?, ? FROM project WHERE 1 ORDER BY id",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'task', id, ?, ? FROM task WHERE yielded = 0 AND NOT EXISTS \
     (SELECT 1 FROM document WHERE document.kind = 'task' AND document.id = task.id) ORDER BY id",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'report', id, ?, ? FROM task WHERE yielded = 0 ORDER BY id",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'run', id, ?, ? FROM run WHERE task_id NOT IN \
     (SELECT id FROM task INDEXED BY task_yielded WHERE yielded = 1) ORDER BY id",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT 'ask', id, ?, ? FROM ask WHERE task_id NOT IN \
     (SELECT id FROM task INDEXED BY task_yielded WHERE yielded = 1) ORDER BY id",
];
const OR_LATER: &str = " ON CONFLICT (kind, id) DO UPDATE SET hlc_time = excluded.hlc_time, hlc_count = excluded.hlc_count";

/// Marks of what this machine wrote and the server may not have, of the moments when it did.
const MARK_DOCUMENTS: &str = "INSERT INTO mark (kind, id, hlc_time, hlc_count) SELECT kind, id, hlc_time, hlc_count \
     FROM document WHERE kind NOT IN ('project', 'report', 'run', 'ask') ORDER BY place \
     ON CONFLICT (kind, id) DO NOTHING";

/// Forgets which versions the server has, and makes marks of what was on its way.
const RENUMBER: [&str; 4] = [
    "UPDATE mark SET base = NULL, base_body = NULL",
    "UPDATE document SET seq = NULL",
    "INSERT INTO mark (kind, id, hlc_time, hlc_count) \
     SELECT sent.kind, sent.id, sent.hlc_time, sent.hlc_count FROM (SELECT MIN(number) AS first, MAX(number) AS last \
     FROM outbox WHERE kind IS NOT NULL GROUP BY kind, id) AS ends CROSS JOIN outbox AS sent ON sent.number = ends.last \
     ORDER BY ends.first ON CONFLICT (kind, id) DO NOTHING",
    "DELETE FROM outbox",
];

/// Switches sharing on.
pub(crate) struct Share {
    pub(crate) identity: Identity,
    pub(crate) now: Timestamp,
}

impl Change for Share {
    type Answer = ();
    const ALONE: bool = true;
    const GROWS: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let Identity {
            system,
            incarnation,
        } = self.identity;
        let old = work.shared.row.take();
        let same = |old: &sharing::Model| {
            old.system_id == system.bytes() && old.incarnation == incarnation.bytes()
        };
        if work.meta.sharing && old.as_ref().is_some_and(same) {
            return Ok(());
        }
        let before = old
            .as_ref()
            .map(|old| old.previous.as_ref().unwrap_or(&old.incarnation));
        let previous = before.filter(|before| **before != incarnation.bytes());
        work.shared.row = Some(sharing::Model {
            id: 1,
            system_id: system.bytes(),
            incarnation: incarnation.bytes(),
            previous: previous.cloned(),
            acknowledged: 0,
            acknowledged_uuid: None,
            sealed: 0,
            cursor: 0,
            complete: false,
            generation: 0,
            last_place: old.as_ref().map_or(0, |old| old.last_place),
            left_marks: Vec::new(),
        });
        work.shared.change();
        work.shared.switched = true;
        work.meta.sharing = true;
        forget(work, system);
        mark_all(work, self.now);
        work.shared.before(MARK_DOCUMENTS, vec![]);
        tell(work, true, self.now);
        Ok(())
    }
}

/// Forgets what is known of the server and of other machines.
fn forget(work: &mut Work, me: SystemId) {
    let me = || vec![Value::from(me.bytes())];
    work.shared.before(FORGET_SUCCESSES, me());
    for table in ["mark", "outbox", "set_aside", "beside", "lease"] {
        work.shared.before(format!("DELETE FROM {table}"), vec![]);
    }
    work.shared
        .before("DELETE FROM document WHERE origin <> ?", me());
    work.shared
        .before("UPDATE document SET seq = NULL, generation = 0", vec![]);
}

fn mark_all(work: &mut Work, now: Timestamp) {
    let clock = work.tick(now);
    let moment = || vec![clock.time.into(), i64::from(clock.count).into()];
    for sql in MARK_ALL {
        work.shared.before(format!("{sql}{OR_LATER}"), moment());
    }
}

fn tell(work: &mut Work, on: bool, now: Timestamp) {
    let data = json!({ "on": on });
    work.event(now, EventKind::SharingChanged, About::default(), &data);
}

/// Switches sharing off.
pub(crate) struct Unshare {
    pub(crate) now: Timestamp,
}

impl Change for Unshare {
    type Answer = ();
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        if !work.meta.sharing {
            return Ok(());
        }
        let row = work.shared.change().ok_or_else(is_off)?;
        (row.acknowledged, row.sealed, row.cursor) = (0, 0, 0);
        (row.acknowledged_uuid, row.complete) = (None, false);
        row.left_marks.clear();
        let me = SystemId::read(&row.system_id)?;
        work.shared.switched = true;
        work.meta.sharing = false;
        forget(work, me);
        tell(work, false, self.now);
        Ok(())
    }
}

/// Begins again with what the server has.
pub(crate) struct Resync {
    pub(crate) last_number: Option<u64>,
    pub(crate) now: Timestamp,
}

impl Change for Resync {
    type Answer = ();
    const ALONE: bool = true;
    const GROWS: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = kept(work)?;
        row.generation += 1;
        row.cursor = 0;
        row.complete = false;
        if let Some(last) = self.last_number {
            (row.sealed, row.acknowledged) = (column(last), column(last));
            row.acknowledged_uuid = None;
            row.left_marks.clear();
            for sql in RENUMBER {
                work.shared.before(sql, vec![]);
            }
        }
        work.shared.before("DELETE FROM beside", vec![]);
        mark_all(work, self.now);
        tell(work, true, self.now);
        Ok(())
    }
}

/// The statements that make a database that was put back another life of its machine, of which the server knew the life
/// `before` last. `clock` is after everything in it.
pub(crate) fn live_anew(before: Uuid, is_on: bool, clock: Hlc) -> Vec<(String, Vec<Value>)> {
    let before = Value::from(before.bytes());
    if !is_on {
        let sql = "UPDATE sharing SET incarnation = ?, previous = NULL";
        return vec![(sql.to_owned(), vec![before])];
    }
    let moment = || vec![clock.time.into(), i64::from(clock.count).into()];
    let mut statements = vec![
        (
            "UPDATE sharing SET incarnation = ?, previous = ?, acknowledged = 0, acknowledged_uuid = NULL, sealed = 0, \
             cursor = 0, complete = 0, generation = generation + 1, left_marks = x''"
                .to_owned(),
            vec![Uuid::now_v7().bytes().into(), before],
        ),
        (
            "UPDATE meta SET hlc_time = ?, hlc_count = ?".to_owned(),
            moment(),
        ),
        ("DELETE FROM beside".to_owned(), vec![]),
    ];
    statements.extend(RENUMBER.map(|sql| (sql.to_owned(), vec![])));
    statements.extend(MARK_ALL.map(|sql| (format!("{sql}{OR_LATER}"), moment())));
    statements
}

/// What is kept of sharing, to be changed, while it is on.
pub(super) fn kept(work: &mut Work) -> Result<&mut sharing::Model> {
    if !work.meta.sharing {
        return Err(is_off());
    }
    work.shared.change().ok_or_else(is_off)
}

/// Whose documents these are.
pub(super) fn me(work: &Work) -> Result<SystemId> {
    let row = work.shared.row.as_ref().filter(|_| work.meta.sharing);
    SystemId::read(&row.ok_or_else(is_off)?.system_id)
}

/// Raises the clock.
pub(crate) struct SeeClock(pub(crate) Hlc);

impl Change for SeeClock {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        if !work.meta.sharing {
            return Err(is_off());
        }
        if self.0 > work.clock() {
            work.see(self.0);
            work.shared.moved = true;
        }
        Ok(())
    }
}

/// Keeps a mark that is about to be left on the server.
pub(crate) struct LeaveMark(pub(crate) Uuid);

impl Change for LeaveMark {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.sharing();
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = kept(work)?;
        let mut left: Vec<Uuid> = id_list(&row.left_marks)?;
        keep_left(&mut left, self.0);
        row.left_marks = id_list_bytes(&left);
        Ok(())
    }
}
