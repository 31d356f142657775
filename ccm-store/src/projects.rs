//! Projects.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use ccm_core::agent::{Agent, AgentState, Evidence, Wish};
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, ProjectId, RunId, SystemId};
use ccm_core::project::Project;
use ccm_core::store::{NewProject, RegisterEffect, Registered};
use ccm_core::task::{Setback, StopIntent};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result};
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::entity::project;
use crate::error::from_db;
use crate::runs::note_stop;
use crate::values::{Id, count, date, micros, reason};
use crate::writer::{About, Change, Needs, Tracked, Work};

/// A project with what only the store knows of it.
#[derive(Debug, Clone)]
pub(crate) struct ProjectRecord {
    pub(crate) project: Project,
    pub(crate) agent: AgentId,
    pub(crate) last_started: Option<Timestamp>,
    pub(crate) removed_at: Option<Timestamp>,
}

impl ProjectRecord {
    /// From a row of the table.
    pub(crate) fn read(row: &QueryResult) -> Result<Self> {
        let model = project::Model::from_query_result(row, "").map_err(from_db)?;
        let hold = reason(model.hold_reason.as_ref())?.map(|reason| Setback {
            reason,
            detail: model.hold_detail,
        });
        Ok(Self {
            project: Project {
                id: ProjectId::read(&model.id)?,
                name: model.name,
                path: PathBuf::from(OsStr::from_bytes(&model.path)),
                system_id: SystemId::read(&model.system_id)?,
                paused: model.paused,
                hold,
                queued: count(model.queued)?,
                running: count(model.running)?,
                created_at: Timestamp::from_micros(model.created_at),
            },
            agent: AgentId::read(&model.agent_id)?,
            last_started: date(model.last_started),
            removed_at: date(model.removed_at),
        })
    }

    /// For a row of the table. A new project begins with counters of 0 whatever is in memory, because they are written
    /// by adding to them.
    pub(crate) fn model(&self) -> project::Model {
        let project = &self.project;
        project::Model {
            id: project.id.bytes(),
            name: project.name.clone(),
            path: project.path.as_os_str().as_bytes().to_vec(),
            system_id: project.system_id.bytes(),
            agent_id: self.agent.bytes(),
            paused: project.paused,
            hold_reason: project
                .hold
                .as_ref()
                .map(|hold| hold.reason.as_str().to_owned()),
            hold_detail: project.hold.as_ref().and_then(|hold| hold.detail.clone()),
            queued: 0,
            running: 0,
            last_started: None,
            created_at: project.created_at.as_micros(),
            removed_at: micros(self.removed_at),
        }
    }
}

/// Registers a folder.
pub(crate) struct Register(pub(crate) NewProject);

impl Change for Register {
    type Answer = Registered;

    fn needs(&self, needs: &mut Needs) {
        needs.all_projects();
    }

    fn apply(&self, work: &mut Work) -> Result<Registered> {
        let new = &self.0;
        let registered = |row: &&Tracked<ProjectRecord>| row.get().removed_at.is_none();
        let mut others = work.projects.values().filter(registered);
        if others.any(|row| {
            let project = &row.get().project;
            project.id != new.id && project.path == new.path
        }) {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Project),
                format!(
                    "the folder {} is registered as another project",
                    new.path.display()
                ),
            ));
        }
        let Ok(row) = work.project(new.id) else {
            return self.create(work);
        };
        let agent = row.get().agent;
        let effect = if row.get().project.path == new.path {
            RegisterEffect::Unchanged
        } else {
            row.change().project.path.clone_from(&new.path);
            RegisterEffect::Moved
        };
        let project = row.get().project.clone();
        if effect == RegisterEffect::Moved {
            tell(work, &project, new.now);
        }
        Ok(Registered {
            project,
            agent: work.agent(agent)?.get().clone(),
            effect,
        })
    }
}

impl Register {
    fn create(&self, work: &mut Work) -> Result<Registered> {
        let new = &self.0;
        let system = work
            .system
            .as_ref()
            .map(|row| SystemId::read(&row.get().id));
        let system_id =
            system.unwrap_or_else(|| Err(Error::internal("the database has no system")))?;
        let name = self.name(work)?;
        // A folder whose project was removed still has the id, and gets its agent and its old tasks back.
        let old = work.projects.get(&new.id);
        let agent_id = old.map_or(new.agent_id, |row| row.get().agent);
        if old.is_none() && work.agents.contains_key(&agent_id) {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Agent),
                format!("there is an agent {agent_id} already"),
            ));
        }
        let project = Project {
            id: new.id,
            name: name.clone(),
            path: new.path.clone(),
            system_id,
            paused: false,
            hold: None,
            queued: 0,
            running: old.map_or(0, |row| row.get().project.running),
            created_at: new.now,
        };
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
        let record = ProjectRecord {
            project: project.clone(),
            agent: agent_id,
            last_started: None,
            removed_at: None,
        };
        put(&mut work.projects, new.id, record);
        put(&mut work.agents, agent_id, agent.clone());
        let about = About {
            agent: Some(agent_id),
            ..About::project(new.id)
        };
        let data = json!({ "name": name, "path": new.path.to_string_lossy() });
        work.event(new.now, EventKind::ProjectCreated, about, &data);
        work.reopen_definitions(new.id);
        Ok(Registered {
            project,
            agent,
            effect: RegisterEffect::Created,
        })
    }

    fn name(&self, work: &Work) -> Result<String> {
        let new = &self.0;
        let taken = |name: &str| {
            work.projects
                .values()
                .any(|row| row.get().removed_at.is_none() && row.get().project.name == name)
        };
        if !taken(&new.name) {
            return Ok(new.name.clone());
        }
        if new.exact_name {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Project),
                format!("there is a project {:?} already", new.name),
            ));
        }
        let mut number = 2_usize;
        loop {
            let name = format!("{}-{number}", new.name);
            if !taken(&name) {
                return Ok(name);
            }
            number += 1;
        }
    }
}

fn put<K: Ord, V>(rows: &mut std::collections::BTreeMap<K, Tracked<V>>, key: K, value: V) {
    match rows.get_mut(&key) {
        Some(row) => *row.change() = value,
        None => {
            rows.insert(key, Tracked::new(value));
        }
    }
}

fn tell(work: &mut Work, project: &Project, now: Timestamp) {
    let (state, detail) = match &project.hold {
        Some(hold) if hold.reason == Reason::ProjectMissing => ("missing", hold.detail.as_deref()),
        Some(hold) => (hold.reason.as_str(), hold.detail.as_deref()),
        None if project.paused => ("paused", None),
        None => ("active", None),
    };
    let data = json!({
        "name": project.name,
        "path": project.path.to_string_lossy(),
        "state": state,
        "detail": detail,
    });
    work.event(
        now,
        EventKind::ProjectUpdated,
        About::project(project.id),
        &data,
    );
}

/// Sets or lifts a hold.
pub(crate) struct Hold {
    pub(crate) id: ProjectId,
    pub(crate) hold: Option<Setback>,
    pub(crate) now: Timestamp,
}

impl Change for Hold {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.project(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = work.project(self.id)?;
        if row.get().project.hold != self.hold {
            row.change().project.hold.clone_from(&self.hold);
            let project = row.get().project.clone();
            tell(work, &project, self.now);
        }
        Ok(())
    }
}

/// Pauses or resumes.
pub(crate) struct Pause {
    pub(crate) id: ProjectId,
    pub(crate) paused: bool,
    pub(crate) now: Timestamp,
}

impl Change for Pause {
    type Answer = Project;

    fn needs(&self, needs: &mut Needs) {
        needs.project(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<Project> {
        let row = work.project(self.id)?;
        let changed = row.get().project.paused != self.paused;
        if changed {
            row.change().project.paused = self.paused;
        }
        let project = row.get().project.clone();
        if changed {
            tell(work, &project, self.now);
        }
        Ok(project)
    }
}

/// Removes a project.
pub(crate) struct Remove {
    pub(crate) id: ProjectId,
    pub(crate) force: bool,
    pub(crate) by: String,
    pub(crate) now: Timestamp,
}

impl Change for Remove {
    type Answer = Vec<RunId>;
    // Its waiting tasks fail by one statement, which must not meet others' changes of the same rows in memory.
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.project(self.id);
        needs.running_of(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<Vec<RunId>> {
        let project = work.project(self.id)?.get().project.clone();
        if !self.force && project.queued + project.running > 0 {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                format!(
                    "{} tasks of the project {} wait and {} run",
                    project.queued, project.name, project.running
                ),
            ));
        }
        let runs: Vec<RunId> = work.runs.keys().copied().collect();
        let stops = runs
            .iter()
            .map(|run| {
                let intent = StopIntent {
                    reason: Reason::ProjectRemoved,
                    by: self.by.clone(),
                    at: self.now,
                };
                let task = work.run(*run)?.get().task_id;
                let next = work.task(task)?.get().task.state.stop(intent)?;
                Ok((task, next))
            })
            .collect::<Result<Vec<_>>>()?;
        if project.queued > 0 {
            work.abandon(self.id, project.queued, self.now);
        }
        for (task, next) in stops {
            note_stop(work, task, next, self.now)?;
        }
        work.project(self.id)?.change().removed_at = Some(self.now);
        let about = About::project(self.id);
        work.event(self.now, EventKind::ProjectRemoved, about, &json!({}));
        Ok(runs)
    }
}
