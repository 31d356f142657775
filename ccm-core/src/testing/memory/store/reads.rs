//! What readers see.

use std::num::NonZeroU32;

use super::{State, TaskRow};
use crate::agent::Agent;
use crate::event::Event;
use crate::id::ProjectId;
use crate::project::Project;
use crate::run::Run;
use crate::scheduler::{Candidate, Machine, Wants};
use crate::store::{
    Counts, EventQuery, Page, Ready, ReadyProject, RunQuery, TaskFilter, TaskQuery,
};
use crate::task::{Task, TaskState, TaskStateName};
use crate::time::Timestamp;
use crate::{Error, Result};

impl State {
    pub(super) fn project(&self, id: ProjectId) -> Result<Project> {
        let row = self.projects.get(&id).filter(|row| !row.removed);
        let row = row.ok_or_else(|| Error::no_project(id))?;
        let counts = self.counts(Some(id));
        Ok(Project {
            queued: counts.queued,
            running: counts.running,
            ..row.project.clone()
        })
    }

    pub(super) fn projects(&self) -> Vec<Project> {
        let ids = self.projects.keys();
        let mut projects: Vec<Project> = ids.filter_map(|id| self.project(*id).ok()).collect();
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        projects
    }

    pub(super) fn agents(&self) -> Vec<Agent> {
        let mut agents: Vec<Agent> = self
            .agents
            .values()
            .filter(|agent| self.project(agent.project_id).is_ok())
            .cloned()
            .collect();
        agents.sort_by(|a, b| a.name.cmp(&b.name));
        agents
    }

    pub(super) fn counts(&self, project: Option<ProjectId>) -> Counts {
        let mut counts = Counts::default();
        for TaskRow { task, .. } in self.tasks.values() {
            if project.is_none_or(|id| id == task.project_id) {
                match task.state.name() {
                    TaskStateName::Queued => counts.queued += 1,
                    TaskStateName::Running => counts.running += 1,
                    _ => {}
                }
            }
        }
        counts
    }

    pub(super) fn tasks(&self, query: &TaskQuery) -> Page<Task> {
        let tasks = self.tasks.values().rev().map(|row| &row.task);
        let wanted = tasks.filter(|task| {
            query.before.is_none_or(|before| task.id < before) && query.filter.holds(task)
        });
        shortened(
            page(wanted.skip(query.skip as usize), query.limit),
            query.cut,
        )
    }

    pub(super) fn count_tasks(&self, filter: &TaskFilter) -> u64 {
        let tasks = self.tasks.values().map(|row| &row.task);
        tasks.filter(|task| filter.holds(task)).count() as u64
    }

    pub(super) fn runs(&self, query: &RunQuery) -> Page<Run> {
        let wanted = self.runs.values().rev().filter(|run| {
            query.task.is_none_or(|id| id == run.task_id)
                && query.agent.is_none_or(|id| id == run.agent_id)
                && query.before.is_none_or(|before| run.id < before)
        });
        page(wanted, query.limit)
    }

    pub(super) fn events(&self, query: &EventQuery) -> Vec<Event> {
        // The first event has number 1, and there are no gaps.
        let after = usize::try_from(query.after.0).unwrap_or(usize::MAX);
        let wanted = self.events.iter().skip(after).filter(|event| {
            (query.project.is_none() || query.project == event.project_id)
                && (query.task.is_none() || query.task == event.task_id)
                && (query.run.is_none() || query.run == event.run_id)
                && (query.kinds.is_empty() || query.kinds.contains(&event.kind))
        });
        wanted.take(query.limit as usize).cloned().collect()
    }

    fn is_blocked(&self, task: &Task) -> bool {
        task.spec
            .blocked_by
            .iter()
            .any(|id| !self.has_succeeded(*id))
    }

    /// Whether the machine is what a task asks for, and may run it.
    fn fits(&self, task: &Task) -> bool {
        let machine = self.system.as_ref().map(Machine::from).unwrap_or_default();
        task.hold.is_none() && !task.yielded && Wants::from(&task.spec).met_by(&machine)
    }

    /// Whether a task waits for nothing but its date, if it has one.
    fn waits_for_date(&self, task: &Task) -> bool {
        matches!(task.state, TaskState::Queued { .. }) && !self.is_blocked(task) && self.fits(task)
    }

    pub(super) fn is_ready(&self, task: &Task, now: Timestamp) -> bool {
        task.due_at.is_none_or(|due| due <= now) && self.waits_for_date(task)
    }

    pub(super) fn ready(&self, now: Timestamp, per_project: u32) -> Ready {
        let mut ready = Ready::default();
        for (id, row) in &self.projects {
            if row.removed || row.project.paused {
                continue;
            }
            let mut own: Vec<&Task> = Vec::new();
            for TaskRow { task, .. } in self.tasks.values() {
                if task.project_id != *id {
                    continue;
                }
                if !self.waits_for_date(task) {
                    continue;
                }
                match task.due_at.filter(|due| *due > now) {
                    None => own.push(task),
                    due => ready.next_due = [ready.next_due, due].into_iter().flatten().min(),
                }
            }
            let Ok(project) = self.project(*id) else {
                continue;
            };
            if !own.is_empty() {
                ready.projects.push(ReadyProject {
                    project,
                    agent: row.agent,
                    last_started: row.last_started,
                    candidates: candidates(own, per_project as usize),
                });
            }
        }
        ready
    }
}

/// The first by priority, then those of the oldest that are not among them.
fn candidates(mut tasks: Vec<&Task>, per_project: usize) -> Vec<Candidate> {
    tasks.sort_by_key(|task| (task.rank, task.id));
    let oldest: Vec<&Task> = tasks.iter().take(per_project).copied().collect();
    // The sort is stable: within a priority the lowest rank stays first.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.spec.priority));
    tasks.truncate(per_project);
    for task in oldest {
        if !tasks.iter().any(|kept| kept.id == task.id) {
            tasks.push(task);
        }
    }
    tasks.into_iter().map(candidate).collect()
}

fn candidate(task: &Task) -> Candidate {
    Candidate {
        task: task.id,
        priority: task.spec.priority,
        rank: task.rank,
        due_at: task.due_at,
        wants: Wants::from(&task.spec),
    }
}

/// The same tasks with less of each.
pub(super) fn shortened(page: Page<Task>, cut: Option<NonZeroU32>) -> Page<Task> {
    let Some(chars) = cut else { return page };
    let tasks = page.items.into_iter();
    Page {
        items: tasks.map(|task| task.cut(chars)).collect(),
        ..page
    }
}

pub(super) fn page<'a, T: Clone + 'a>(items: impl Iterator<Item = &'a T>, limit: u32) -> Page<T> {
    let limit = limit as usize;
    let mut items: Vec<T> = items.take(limit + 1).cloned().collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Page { items, more }
}
