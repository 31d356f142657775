//! What this machine has for shared tasks, and where one would run.

use super::{Candidate, read};
use crate::Result;
use crate::agent::Wanted as WantedAgent;
use crate::engine::reconcile::sync::bodies;
use crate::engine::reconcile::sync::line::Line;
use crate::engine::sync::spec;
use crate::id::{ProjectId, TaskId};
use crate::project::{Project, RemoteTasks};
use crate::scheduler::{Machine, Wants};
use crate::sync::Kind;
use crate::sync::documents::{Definition, Report};
use crate::task::TaskStateName;
use crate::time::Timestamp;

/// What this machine has for shared tasks.
#[derive(Debug, Default)]
pub(super) struct Room {
    slots: u32,
    projects: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    project: Project,
    repository: String,
    remote_tasks: RemoteTasks,
    /// The first of its own tasks that may start: what it has itself comes first if it is as urgent and older.
    first: Option<(i32, Timestamp)>,
    free: bool,
}

impl Room {
    /// The project in which a task would run: its own if it is here.
    fn place_for(
        &mut self,
        definition: &Definition,
        may: impl Fn(&Place) -> bool,
    ) -> Option<&mut Place> {
        if self.slots == 0 {
            return None;
        }
        let repository = definition.repository.as_deref()?;
        let urgency = (
            definition.priority,
            std::cmp::Reverse(definition.created_at),
        );
        let fits = |place: &&mut Place| {
            let first = place
                .first
                .map(|(priority, at)| (priority, std::cmp::Reverse(at)));
            place.free
                && place.repository == repository
                && first.is_none_or(|first| urgency > first)
                && may(place)
        };
        let places = self.projects.iter_mut().filter(fits);
        places.max_by_key(|place| place.project.id == definition.project_id)
    }

    /// A task is to run in a project from now on.
    pub(super) fn fill(&mut self, project: ProjectId) {
        self.slots = self.slots.saturating_sub(1);
        let mut places = self.projects.iter_mut();
        if let Some(place) = places.find(|place| place.project.id == project) {
            place.free = false;
        }
    }

    /// Whether a project here is of this repository.
    pub(super) fn has(&self, repository: Option<&str>) -> bool {
        let mut places = self.projects.iter();
        places.any(|place| Some(place.repository.as_str()) == repository)
    }
}

impl Line {
    /// Where a task may run now, if it may on this machine.
    pub(super) async fn place(
        &self,
        one: &Candidate,
        room: &mut Room,
    ) -> Result<Option<ProjectId>> {
        let definition = &one.definition;
        let parts = &self.shared.parts;
        let Ok(spec) = spec(definition) else {
            return Ok(None);
        };
        let is_due = definition.not_before.is_none_or(|at| at <= self.now());
        if !is_due || !Wants::from(&spec).met_by(&Machine::from(&parts.system)) {
            return Ok(None);
        }
        let is_own = definition.created_on == parts.system.id;
        let approved = is_own || self.shared.sync.is_approved(one.id);
        let may = |place: &Place| match place.remote_tasks {
            RemoteTasks::Allow => true,
            RemoteTasks::Ask => approved,
            RemoteTasks::Deny => is_own,
        };
        let Some(place) = room.place_for(definition, may) else {
            return Ok(None);
        };
        let project = place.project.id;
        Ok((!self.is_blocked(&spec.blocked_by).await?).then_some(project))
    }

    async fn is_blocked(&self, blockers: &[TaskId]) -> Result<bool> {
        for blocker in blockers {
            let own = match self.shared.parts.store.task(*blocker).await {
                Ok(task) if !task.yielded => Some(task.state.name()),
                Err(error) if !bodies::is_missing(&error) => return Err(error),
                _ => None,
            };
            let state = match own {
                Some(state) => Some(state),
                None => {
                    let report: Option<Report> =
                        read(self.replica()?, &Kind::Report, *blocker).await;
                    report.map(|report| report.task.state)
                }
            };
            if state != Some(TaskStateName::Succeeded) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn room(&self) -> Result<Room> {
        let parts = &self.shared.parts;
        let now = self.now();
        let running = parts.store.counts().await?.running;
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let agents = parts.store.agents().await?;
        let ready = parts.store.ready(now, 1).await?;
        let mut projects = Vec::new();
        for project in parts.store.projects().await? {
            let sharing = parts.profiles.sharing(&project).await;
            let Some(repository) = sharing.repository else {
                continue;
            };
            let agent = agents.iter().find(|agent| agent.project_id == project.id);
            let can_work = agent.is_some_and(|agent| {
                matches!(agent.wish.wanted, WantedAgent::Up | WantedAgent::Asleep)
                    && agent.state.parked_until(now).is_none()
            });
            let own = ready
                .projects
                .iter()
                .find(|own| own.project.id == project.id);
            let own = own.and_then(|own| own.candidates.first());
            projects.push(Place {
                repository,
                remote_tasks: sharing.remote_tasks,
                first: own.map(|own| (own.priority, own.rank.moment())),
                free: can_work
                    && project.running == 0
                    && !project.paused
                    && parts.profiles.profile(&project).await.is_ok(),
                project,
            });
        }
        Ok(Room {
            slots: self.shared.limits().max_running.saturating_sub(running),
            projects,
        })
    }
}
