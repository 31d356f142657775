//! Projects and their agents.

use serde_json::json;

use super::{About, ProjectRow, State, touch};
use crate::agent::{Agent, AgentState, Evidence, Want, Wish};
use crate::event::EventKind;
use crate::id::{AgentId, ProjectId, RunId};
use crate::project::Project;
use crate::reason::Reason;
use crate::store::{NewProject, RegisterEffect, Registered};
use crate::task::{Setback, StopIntent, TaskState};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

impl State {
    pub(super) fn register(&mut self, new: NewProject) -> Result<Registered> {
        if self
            .projects
            .values()
            .any(|row| !row.removed && row.project.path == new.path && row.project.id != new.id)
        {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Project),
                format!(
                    "the folder {} belongs to another project",
                    new.path.display()
                ),
            ));
        }
        let known = self.projects.get_mut(&new.id).filter(|row| !row.removed);
        let Some(row) = known else {
            return self.register_new(new);
        };
        let agent = row.agent;
        let effect = if row.project.path == new.path {
            RegisterEffect::Unchanged
        } else {
            row.project.path = new.path;
            self.tell_project(new.id, new.now);
            RegisterEffect::Moved
        };
        Ok(Registered {
            project: self.project(new.id)?,
            agent: self.known_agent(agent)?,
            effect,
        })
    }

    fn register_new(&mut self, new: NewProject) -> Result<Registered> {
        let system_id = match &self.system {
            Some(system) => system.id,
            None => return Err(Error::internal("the store was not taken over yet")),
        };
        let name = self.free_name(&new)?;
        // A folder that was removed keeps its id in `.ccm/` and so finds its agent again.
        let agent_id = self
            .projects
            .get(&new.id)
            .map_or(new.agent_id, |row| row.agent);
        let agent = Agent {
            id: agent_id,
            project_id: new.id,
            name: name.clone(),
            state: AgentState::Stopped,
            since: new.now,
            evidence: Evidence {
                source: "engine".to_owned(),
                seen_at: new.now,
            },
            wish: Wish::first(new.now),
        };
        let data = json!({ "name": name, "path": new.path });
        let project = Project {
            id: new.id,
            name,
            path: new.path,
            system_id,
            paused: false,
            hold: None,
            queued: 0,
            running: 0,
            created_at: new.now,
        };
        self.agents.insert(agent_id, agent.clone());
        let row = ProjectRow {
            project,
            agent: agent_id,
            removed: false,
            last_started: None,
        };
        self.projects.insert(new.id, row);
        let about = About {
            project: Some(new.id),
            agent: Some(agent_id),
            ..About::default()
        };
        self.event(new.now, EventKind::ProjectCreated, about, data);
        self.reopen_definitions(new.id);
        Ok(Registered {
            project: self.project(new.id)?,
            agent,
            effect: RegisterEffect::Created,
        })
    }

    fn free_name(&self, new: &NewProject) -> Result<String> {
        let taken = |name: &str| {
            let mut rows = self.projects.values();
            rows.any(|row| !row.removed && row.project.name == name)
        };
        if !taken(&new.name) {
            return Ok(new.name.clone());
        }
        if new.exact_name {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Project),
                format!("the name {:?} belongs to another project", new.name),
            ));
        }
        let mut number = 2_u64;
        loop {
            let name = format!("{}-{number}", new.name);
            if !taken(&name) {
                return Ok(name);
            }
            number += 1;
        }
    }

    fn known_agent(&self, id: AgentId) -> Result<Agent> {
        let agent = self.agents.get(&id).cloned();
        agent.ok_or_else(|| Error::no_agent(id))
    }

    fn tell_project(&mut self, id: ProjectId, now: Timestamp) {
        let Some(row) = self.projects.get(&id) else {
            return;
        };
        let project = &row.project;
        let (state, detail) = match &project.hold {
            _ if project.paused => ("paused", None),
            Some(hold) if hold.reason == Reason::ProjectMissing => ("missing", hold.detail.clone()),
            Some(hold) => (hold.reason.as_str(), hold.detail.clone()),
            None => ("active", None),
        };
        let data = json!({
            "name": project.name, "path": project.path, "state": state, "detail": detail,
        });
        let about = About {
            project: Some(id),
            ..About::default()
        };
        self.event(now, EventKind::ProjectUpdated, about, data);
    }

    pub(super) fn hold(
        &mut self,
        id: ProjectId,
        hold: Option<Setback>,
        now: Timestamp,
    ) -> Result<()> {
        let project = &mut self.project_row(id)?.project;
        if project.hold != hold {
            project.hold = hold;
            self.tell_project(id, now);
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, id: ProjectId, paused: bool, now: Timestamp) -> Result<Project> {
        let project = &mut self.project_row(id)?.project;
        if project.paused != paused {
            project.paused = paused;
            self.tell_project(id, now);
        }
        self.project(id)
    }

    pub(super) fn remove(
        &mut self,
        id: ProjectId,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<RunId>> {
        self.project_row(id)?;
        let counts = self.counts(Some(id));
        if !force && counts.queued + counts.running > 0 {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                format!(
                    "{} tasks of the project wait and {} run",
                    counts.queued, counts.running
                ),
            ));
        }
        let mut events = Vec::new();
        let mut runs = Vec::new();
        for row in self.tasks.values_mut() {
            let task = &mut row.task;
            if task.project_id != id {
                continue;
            }
            match &task.state {
                TaskState::Queued { .. } => {
                    task.state = task.state.abandon(now)?;
                    touch(task, now);
                    let data = json!({ "reason": Reason::ProjectRemoved, "detail": null });
                    events.push((EventKind::TaskFailed, About::task(task), data));
                }
                TaskState::Running { run, stop } => {
                    let run = *run;
                    let intent = StopIntent {
                        reason: Reason::ProjectRemoved,
                        by: by.to_owned(),
                        at: now,
                    };
                    let next = task.state.stop(intent)?;
                    let TaskState::Running { stop: merged, .. } = &next else {
                        continue;
                    };
                    runs.push(run);
                    if stop == merged {
                        continue;
                    }
                    let merged = merged.clone();
                    if let Some(kept) = self.runs.get_mut(&run) {
                        kept.stop = merged;
                    }
                    task.state = next;
                    touch(task, now);
                    let data = json!({ "reason": Reason::ProjectRemoved, "by": by });
                    events.push((EventKind::TaskStopping, About::task(task), data));
                }
                _ => {}
            }
        }
        self.project_row(id)?.removed = true;
        for (kind, about, data) in events {
            self.event(now, kind, about, data);
        }
        let about = About {
            project: Some(id),
            ..About::default()
        };
        self.event(now, EventKind::ProjectRemoved, about, json!({}));
        Ok(runs)
    }

    pub(super) fn observe(
        &mut self,
        id: AgentId,
        state: AgentState,
        evidence: Evidence,
    ) -> Result<()> {
        let agent = self
            .agents
            .get_mut(&id)
            .ok_or_else(|| Error::no_agent(id))?;
        let changed = agent.state != state;
        let now = evidence.seen_at;
        if changed {
            agent.state = state;
            agent.since = now;
        }
        agent.evidence = evidence;
        if changed {
            let mut data = json!(agent.state);
            data["source"] = json!(agent.evidence.source);
            let about = About {
                project: Some(agent.project_id),
                task: None,
                run: agent.state.run(),
                agent: Some(id),
            };
            self.event(now, EventKind::AgentUpdated, about, data);
        }
        Ok(())
    }

    pub(super) fn want(&mut self, id: AgentId, want: &Want) -> Result<(Agent, Vec<RunId>)> {
        let runs: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.agent_id == id && !run.state.is_ended())
            .map(|run| run.id)
            .collect();
        let agent = self.known_agent(id)?;
        let next = agent.want(want, !runs.is_empty())?;
        if want.force {
            for run in &runs {
                let token = self.runs.get(run).map(|run| run.token).unwrap_or_default();
                self.mark_stopping(*run, token, StopIntent::with_agent(&want.wish))?;
            }
        }
        if let Some(wish) = next {
            self.decide(id, wish);
        }
        Ok((self.known_agent(id)?, runs))
    }

    /// Notes what an agent is to be.
    pub(super) fn decide(&mut self, id: AgentId, wish: Wish) {
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        let about = About {
            project: Some(agent.project_id),
            agent: Some(id),
            ..About::default()
        };
        let (at, data) = (wish.at, json!({ "wanted": wish.wanted, "by": wish.by }));
        agent.wish = wish;
        self.event(at, EventKind::AgentWanted, about, data);
    }
}
