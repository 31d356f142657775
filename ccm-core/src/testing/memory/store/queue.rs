//! Changing what waiting tasks ask for, and their places in the queue.

use std::collections::BTreeSet;

use serde_json::json;

use super::reads::{page, shortened};
use super::{About, State};
use crate::event::EventKind;
use crate::id::{ProjectId, TaskId};
use crate::store::{Page, QueueQuery, TaskEdit, TaskMove};
use crate::task::{Gap, Place, Rank, Side, Spot, Task, TaskState};
use crate::time::Timestamp;
use crate::{Error, Result};

impl State {
    /// The waiting tasks of a project, in order.
    fn line(&self, project: ProjectId) -> Vec<&Task> {
        let tasks = self.tasks.values().map(|row| &row.task);
        let waits = |task: &&Task| {
            task.project_id == project && matches!(task.state, TaskState::Queued { .. })
        };
        let mut line: Vec<&Task> = tasks.filter(waits).collect();
        line.sort_by_key(|task| task.spot());
        line
    }

    pub(super) fn queue(&self, query: &QueueQuery) -> Page<Task> {
        let line = self.line(query.project).into_iter();
        let wanted = line.filter(|task| query.after.is_none_or(|after| task.spot() > after));
        shortened(page(wanted, query.limit), query.cut)
    }

    pub(super) fn edit(&mut self, edit: TaskEdit) -> Result<Task> {
        let TaskEdit {
            id,
            revision,
            edit,
            by,
            now,
        } = edit;
        let task = &self.task_row(id)?.task;
        let Some((next, changes)) = task.edited(revision, edit, now)? else {
            return Ok(task.clone());
        };
        self.replace_checked(next, &changes, &by, now)
    }

    /// Keeps a task as it was changed to be, if it can wait for what it is to wait for.
    pub(super) fn replace_checked(
        &mut self,
        next: Task,
        changes: &[&str],
        by: &str,
        now: Timestamp,
    ) -> Result<Task> {
        let id = next.id;
        for (place, blocker) in next.spec.blocked_by.iter().enumerate() {
            if !self.is_known(*blocker) {
                return Err(Error::no_task(*blocker).at(format!("/blocked_by/{place}")));
            }
            if self.waits_for(*blocker, id) {
                return Err(Error::invalid(format!(
                    "the task {blocker} waits for this one, so this one can't wait for it"
                ))
                .at(format!("/blocked_by/{place}")));
            }
        }
        self.keep(next, changes, by, now)
    }

    /// Whether `task` has `other` among its blockers, be it through others.
    fn waits_for(&self, task: TaskId, other: TaskId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![task];
        while let Some(next) = open.pop() {
            if next == other {
                return true;
            }
            if seen.insert(next)
                && let Some(row) = self.tasks.get(&next)
            {
                open.extend(&row.task.spec.blocked_by);
            }
        }
        false
    }

    pub(super) fn relocate(&mut self, wish: &TaskMove) -> Result<Task> {
        let task = self.task_row(wish.id)?.task.clone();
        task.waits("moved")?;
        let own = task.spot();
        let project = task.project_id;
        if let Some((other, part)) = wish.place.neighbour() {
            let other = self.task_row(other).map(|row| &row.task);
            let fits = other.and_then(|other| task.may_be_next_to(other));
            fits.map_err(|error| error.at(part))?;
        }
        let tasks = self.tasks.values().map(|row| &row.task);
        let others = tasks.filter(|task| task.project_id == project && task.id != wish.id);
        let ready = others.filter(|task| self.is_ready(task, wish.now));
        let oldest = ready.map(|task| task.rank).min();
        let line = self.line(project).into_iter().map(Task::spot);
        let line: Vec<Spot> = line.filter(|spot| spot.task != wish.id).collect();
        let gap = gap(&line, wish.place, oldest, wish.now);
        let Some(gap) = gap.filter(|gap| !gap.holds(own)) else {
            return Ok(self.task_row(wish.id)?.task.clone());
        };
        let fit = gap.fit();
        let fit = fit.ok_or_else(|| Error::internal("the whole line was too little"))?;
        for (other, rank) in fit.shifted {
            self.task_row(other)?.task.rank = rank;
        }
        let task = &self.task_row(wish.id)?.task;
        let (next, changes) = task.moved(gap.priority, fit.rank, wish.now);
        self.keep(next, &changes, &wish.by, wish.now)
    }

    /// Keeps a task as it was changed to be.
    fn keep(&mut self, next: Task, changes: &[&str], by: &str, now: Timestamp) -> Result<Task> {
        let row = self.task_row(next.id)?;
        let first = &row.task.spec;
        row.first.get_or_insert_with(|| first.clone());
        row.task = next.clone();
        let data = json!({ "fields": changes, "by": by });
        self.event(now, EventKind::TaskUpdated, About::task(&next), data);
        Ok(next)
    }
}

/// The gap at `place` in a line without the task that is moved. `None` if nobody is in the line.
fn gap(line: &[Spot], place: Place, oldest: Option<Rank>, now: Timestamp) -> Option<Gap> {
    let at = |id: TaskId| line.iter().position(|spot| spot.task == id);
    let (next, side) = match place {
        Place::Before(other) => (at(other)?, Side::High),
        Place::After(other) => (at(other)? + 1, Side::Low),
        Place::First => (0, Side::First(oldest)),
        Place::Last => (line.len(), Side::Last(now)),
    };
    let neighbour = match side {
        Side::Low | Side::Last(_) => line.get(next.checked_sub(1)?)?,
        Side::High | Side::First(_) => line.get(next)?,
    };
    let priority = neighbour.priority;
    let beside = |spot: &&Spot| spot.priority == priority;
    let (before, after) = line.split_at_checked(next)?;
    Some(Gap {
        priority,
        low: before.last().filter(beside).copied(),
        high: after.iter().take_while(beside).copied().collect(),
        complete: true,
        side,
    })
}
