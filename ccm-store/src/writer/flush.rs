//! Writes what became of a group's rows, and commits, with one command.

use ccm_core::Reason;
use ccm_core::event::EventKind;
use ccm_core::task::TaskStateName;
use sea_orm::sea_query::Value;
use serde_json::json;

use super::script::Script;
use super::work::{Abandoned, Work};
use crate::entity::{
    agent, ask, event, idempotency_key, input, project, run, system, task, task_blocker,
};
use crate::projects::ProjectRecord;
use crate::tasks::TaskRecord;
use crate::values::{Id, micros};
use crate::{agents, asks, inputs, runs};

/// How many tasks leave the index of dates in one transaction.
const PROMOTED_AT_ONCE: i64 = 1000;

/// How many blockers one statement tells those that wait for them of.
const BLOCKERS_AT_ONCE: usize = 10_000;

/// How many tasks one statement gives another rank.
const RANKS_AT_ONCE: usize = 10_000;

/// Gives `count` tasks another rank.
pub(crate) fn shift(count: usize) -> String {
    format!(
        "UPDATE task SET rank = new.column2 FROM (VALUES {}) AS new WHERE task.id = new.column1",
        vec!["(?, ?)"; count].join(", ")
    )
}

/// Adds a number to the open blockers of everything that waits for one of `count` blockers.
pub(crate) fn unblock(count: usize) -> String {
    format!(
        "UPDATE task SET open_blockers = open_blockers + changed.by FROM (SELECT edge.task_id, SUM(blocker.column2) AS by \
         FROM (VALUES {}) AS blocker CROSS JOIN task_blocker AS edge ON edge.blocker_id = blocker.column1 \
         GROUP BY edge.task_id) AS changed WHERE task.id = changed.task_id",
        vec!["(?, ?)"; count].join(", ")
    )
}

/// Takes tasks whose date has come out of the index of dates, along that index.
pub(crate) const PROMOTE: &str = "UPDATE task SET dated = 0 WHERE rowid IN (SELECT due.rowid \
     FROM project CROSS JOIN task AS due INDEXED BY task_dated ON due.project_id = project.id \
     AND due.state = 'queued' AND due.open_blockers = 0 AND due.fits = 1 AND due.dated = 1 AND due.due_at <= ? LIMIT ?)";

/// Writes a row that no request can name.
const PROBE: &str = "INSERT INTO idempotency_key (principal, route, key, fingerprint, task_ids, created_at) \
     VALUES ('', '', '', '', x'', 0)";
/// Takes it out again.
const PROBED: &str = "DELETE FROM idempotency_key WHERE principal = '' AND route = '' AND key = ''";

/// Looks again which tasks a machine that became another one is right for, of those that it may run.
const FIT: &str = "UPDATE task SET fits = (system_type IS NULL OR system_type = ?) \
     AND NOT EXISTS (SELECT 1 FROM json_each(task.tags) AS wanted \
     WHERE wanted.value NOT IN (SELECT value FROM json_each(?))) AND hold IS NULL AND yielded = 0 \
     WHERE tags <> '[]' OR system_type IS NOT NULL";

impl Work {
    /// The command that makes it durable, or `None` if nothing changed.
    pub(super) fn flush(&self) -> Option<Script> {
        let mut script = Script::default();
        self.marks(&mut script);
        self.promotions(&mut script);
        self.systems(&mut script);
        self.projects_and_agents(&mut script);
        self.task_rows(&mut script);
        self.run_rows(&mut script);
        self.ask_rows(&mut script);
        self.input_rows(&mut script);
        self.key_rows(&mut script);
        self.counters(&mut script);
        self.probes(&mut script);
        self.documents(&mut script);
        if !self.events.is_empty() {
            script.insert::<event::Entity>(&self.events);
        }
        if script.is_empty() && !self.shared.moved {
            return None;
        }
        // The counter comes last, so that the numbers of two transactions can't mix.
        let counters = [
            self.meta.epoch.into(),
            self.meta.last_seq.into(),
            self.meta.queued.into(),
            self.meta.running.into(),
        ];
        if self.meta.sharing || self.shared.switched {
            let clock = [
                self.meta.sharing.into(),
                self.meta.hlc_time.into(),
                self.meta.hlc_count.into(),
            ];
            script.push(
                "UPDATE meta SET epoch = ?, last_seq = ?, queued = ?, running = ?, sharing = ?, hlc_time = ?, hlc_count = ?",
                counters.into_iter().chain(clock),
            );
        } else {
            script.push(
                "UPDATE meta SET epoch = ?, last_seq = ?, queued = ?, running = ?",
                counters,
            );
        }
        script.commit();
        Some(script)
    }

    fn promotions(&self, script: &mut Script) {
        if let Some(now) = self.promoted {
            script.push(PROMOTE, [now.as_micros().into(), PROMOTED_AT_ONCE.into()]);
        }
    }

    fn systems(&self, script: &mut Script) {
        let Some(row) = &self.system else {
            return;
        };
        if let Some(model) = row.to_insert() {
            script.insert::<system::Entity>(std::slice::from_ref(model));
        }
        if let Some(model) = row.to_update() {
            use system::Column::{Hostname, Id, Kind, Tags};
            script.update::<system::Entity>(
                Id,
                &[Hostname, Kind, Tags],
                std::slice::from_ref(model),
            );
            script.push(FIT, [model.kind.clone().into(), model.tags.clone().into()]);
        }
    }

    fn projects_and_agents(&self, script: &mut Script) {
        let rows = || self.projects.values();
        let new: Vec<project::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(ProjectRecord::model)
            .collect();
        if !new.is_empty() {
            script.insert::<project::Entity>(&new);
        }
        let changed: Vec<project::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(ProjectRecord::model)
            .collect();
        if !changed.is_empty() {
            use project::Column as C;
            // Not its counters: those change by what is added to them.
            let columns = [
                C::Name,
                C::Path,
                C::SystemId,
                C::Paused,
                C::HoldReason,
                C::HoldDetail,
                C::CreatedAt,
                C::RemovedAt,
            ];
            script.update::<project::Entity>(C::Id, &columns, &changed);
        }
        let rows = || self.agents.values();
        let new: Vec<agent::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(agents::model)
            .collect();
        if !new.is_empty() {
            script.insert::<agent::Entity>(&new);
        }
        let changed: Vec<agent::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(agents::model)
            .collect();
        if !changed.is_empty() {
            use agent::Column as C;
            let columns = [
                C::Name,
                C::State,
                C::Since,
                C::Source,
                C::SeenAt,
                C::Wanted,
                C::WantedBy,
                C::WantedAt,
            ];
            script.update::<agent::Entity>(C::Id, &columns, &changed);
        }
    }

    fn task_rows(&self, script: &mut Script) {
        // Before the new rows, which were counted with what is in memory.
        for chunk in self.unblocked.chunks(BLOCKERS_AT_ONCE) {
            let values = chunk
                .iter()
                .flat_map(|(blocker, by)| [Value::from(blocker.bytes()), Value::from(*by)]);
            script.push(&unblock(chunk.len()), values);
        }
        let rows = || self.tasks.values();
        let new: Vec<task::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(TaskRecord::model)
            .collect();
        if !new.is_empty() {
            script.insert::<task::Entity>(&new);
        }
        let edges: Vec<task_blocker::Model> = self
            .edges
            .iter()
            .map(|(blocker, task)| task_blocker::Model {
                blocker_id: blocker.bytes(),
                task_id: task.bytes(),
            })
            .collect();
        if !edges.is_empty() {
            script.insert::<task_blocker::Entity>(&edges);
        }
        let changed: Vec<task::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(TaskRecord::model)
            .collect();
        if !changed.is_empty() {
            use task::Column as C;
            // Not what was asked for, which an edit changes, nor whether it fits, which changes with the machine, and
            // not the blockers, which change by what is added.
            let columns = [
                C::State,
                C::DueAt,
                C::Dated,
                C::Token,
                C::Attempts,
                C::FalseStarts,
                C::Revision,
                C::UpdatedAt,
                C::RunId,
                C::LatestRun,
                C::Reason,
                C::Detail,
                C::EndedAt,
                C::EndedBy,
                C::Stop,
                C::CostUsd,
                C::Result,
                C::Hold,
                C::Yielded,
            ];
            script.update::<task::Entity>(C::Id, &columns, &changed);
        }
        self.edited_tasks(script);
        for abandoned in &self.abandoned {
            if self.meta.sharing {
                self.mark_abandoned(script, abandoned);
            }
            abandon(script, abandoned);
        }
    }

    fn edited_tasks(&self, script: &mut Script) {
        for (blocker, task) in &self.cut_edges {
            script.push(
                "DELETE FROM task_blocker WHERE blocker_id = ? AND task_id = ?",
                [blocker.bytes().into(), task.bytes().into()],
            );
        }
        let edited: Vec<task::Model> = self
            .edited
            .iter()
            .filter_map(|id| self.tasks.get(id))
            .map(|row| row.get().model())
            .collect();
        if !edited.is_empty() {
            use task::Column as C;
            let columns = [
                C::Priority,
                C::OpenBlockers,
                C::Fits,
                C::NotBefore,
                C::MaxRetries,
                C::Timeout,
                C::Session,
                C::Tags,
                C::SystemType,
                C::BlockedBy,
                C::Title,
                C::Rank,
                C::Text,
                C::FirstSpec,
            ];
            script.update::<task::Entity>(C::Id, &columns, &edited);
        }
        for chunk in self.ranks.chunks(RANKS_AT_ONCE) {
            let values = chunk.iter().flat_map(|(task, rank)| {
                [Value::from(task.bytes()), Value::from(rank.as_number())]
            });
            script.push(&shift(chunk.len()), values);
        }
    }

    fn run_rows(&self, script: &mut Script) {
        let rows = || self.runs.values();
        let new: Vec<run::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(runs::model)
            .collect();
        if !new.is_empty() {
            script.insert::<run::Entity>(&new);
        }
        let changed: Vec<run::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(runs::model)
            .collect();
        if !changed.is_empty() {
            use run::Column as C;
            let columns = [
                C::LeaseUntil,
                C::State,
                C::StartedAt,
                C::FinishedAt,
                C::Held,
                C::Stop,
                C::OutOffset,
                C::ErrOffset,
                C::ParserVersion,
                C::ParserData,
                C::SessionId,
                C::InputTokens,
                C::OutputTokens,
                C::CacheReadTokens,
                C::CacheWriteTokens,
                C::CostUsd,
                C::Outcome,
                C::OpenAsks,
                C::AskedSince,
                C::Waited,
                C::Parked,
                C::LastInput,
                C::InputsClosed,
                C::Interrupted,
            ];
            script.update::<run::Entity>(C::Id, &columns, &changed);
        }
    }

    fn ask_rows(&self, script: &mut Script) {
        let rows = || self.asks.values();
        let new: Vec<ask::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(asks::model)
            .collect();
        if !new.is_empty() {
            script.insert::<ask::Entity>(&new);
        }
        let changed: Vec<ask::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(asks::model)
            .collect();
        if !changed.is_empty() {
            use ask::Column as C;
            let columns = [C::State, C::EndedAt, C::AnsweredBy, C::Answer];
            script.update::<ask::Entity>(C::Id, &columns, &changed);
        }
    }

    fn input_rows(&self, script: &mut Script) {
        let rows = || self.inputs.values();
        let new: Vec<input::Model> = rows()
            .filter_map(|row| row.to_insert())
            .map(inputs::model)
            .collect();
        if !new.is_empty() {
            script.insert::<input::Entity>(&new);
        }
        let changed: Vec<input::Model> = rows()
            .filter_map(|row| row.to_update())
            .map(inputs::model)
            .collect();
        if !changed.is_empty() {
            use input::Column as C;
            script.update::<input::Entity>(C::Id, &[C::State], &changed);
        }
    }

    fn key_rows(&self, script: &mut Script) {
        if let Some(before) = self.pruned_keys {
            script.push(
                "DELETE FROM idempotency_key WHERE created_at < ?",
                [before.as_micros().into()],
            );
        }
        let new: Vec<idempotency_key::Model> = self
            .keys
            .values()
            .filter_map(|row| row.to_insert().cloned())
            .collect();
        if !new.is_empty() {
            script.insert::<idempotency_key::Entity>(&new);
        }
    }

    /// A page that was written to is written out, whatever it comes to in the end.
    fn probes(&self, script: &mut Script) {
        if self.probed {
            script.push(PROBE, []);
            script.push(PROBED, []);
        }
    }

    fn counters(&self, script: &mut Script) {
        for (project, load) in &self.loads {
            script.push(
                "UPDATE project SET queued = queued + ?, running = running + ?, \
                 last_started = COALESCE(?, last_started) WHERE id = ?",
                [
                    load.queued.into(),
                    load.running.into(),
                    micros(load.last_started).into(),
                    project.bytes().into(),
                ],
            );
        }
    }
}

/// Does to all waiting tasks of a project what `TaskState::abandon` does to one: a queued task is the only one that it
/// lets through, and what it makes of it has neither a run nor anything else that differs between tasks.
fn abandon(script: &mut Script, abandoned: &Abandoned) {
    let project: Value = abandoned.project.bytes().into();
    let at: Value = abandoned.at.as_micros().into();
    let queued = TaskStateName::Queued.as_str();
    let data = json!({ "reason": Reason::ProjectRemoved, "detail": null }).to_string();
    script.push(
        "INSERT INTO event (seq, time, kind, project_id, task_id, data) \
         SELECT ? + row_number() OVER (ORDER BY id), ?, ?, project_id, id, ? \
         FROM task WHERE project_id = ? AND state = ?",
        [
            abandoned.before.into(),
            at.clone(),
            EventKind::TaskFailed.as_str().into(),
            data.into(),
            project.clone(),
            queued.into(),
        ],
    );
    script.push(
        "UPDATE task SET state = ?, reason = ?, detail = NULL, run_id = NULL, ended_at = ?, due_at = NULL, dated = 0, \
         updated_at = ?, revision = revision + 1 WHERE project_id = ? AND state = ?",
        [
            TaskStateName::Failed.as_str().into(),
            Reason::ProjectRemoved.as_str().into(),
            at.clone(),
            at,
            project,
            queued.into(),
        ],
    );
}
