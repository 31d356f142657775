//! Projects of other machines.

use std::collections::HashMap;

use ccm_core::api::{self, AgentStateName};
use ccm_core::id::{ProjectId, SystemId};
use ccm_core::store::DocumentQuery;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::ProjectReport;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::{Elsewhere, Machines, known, only_there, readable};
use crate::app::App;

/// What is known of projects of other machines.
pub(super) type Projects = HashMap<ProjectId, ProjectReport>;

impl App {
    /// The projects of these machines, or those of them with this name; those of this machine first.
    pub(crate) async fn projects_of(
        &self,
        machines: api::Machines,
        name: Option<&str>,
    ) -> Result<Vec<api::Project>> {
        let here = self.engine().system().id;
        let wanted = match machines {
            api::Machines::Local | api::Machines::Mine => return self.projects(name).await,
            api::Machines::One(id) if id == here => return self.projects(name).await,
            api::Machines::All => None,
            api::Machines::One(id) => Some(id),
        };
        let mut projects = match wanted {
            None => self.projects(name).await?,
            Some(_) => Vec::new(),
        };
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(projects);
        };
        let machines = elsewhere.machines(&self.engine().system().hostname).await?;
        let others = elsewhere.projects().await?.into_values();
        let mut others: Vec<api::Project> = others
            .filter(|report| report.removed_at.is_none())
            .filter(|report| wanted.is_none_or(|wanted| report.project.system_id == wanted))
            .filter(|report| name.is_none_or(|name| report.project.name == name))
            .map(|report| shown(report, &machines))
            .collect();
        let host = |project: &api::Project| project.machine.as_ref().map(|m| m.hostname.clone());
        others.sort_by_cached_key(|project| (host(project), project.name.clone(), project.id));
        projects.extend(others);
        Ok(projects)
    }

    /// The project of another machine.
    pub(in crate::app) async fn project_elsewhere(
        &self,
        id: ProjectId,
    ) -> Result<Option<api::Project>> {
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(None);
        };
        let Some(report) = elsewhere.project(id).await? else {
            return Ok(None);
        };
        let machines = elsewhere.machines(&self.engine().system().hostname).await?;
        Ok(Some(shown(report, &machines)))
    }

    /// Why something can't be done with a project that is not here: it is on another machine, or nowhere.
    pub(in crate::app) async fn not_this_project(
        &self,
        error: Error,
        id: ProjectId,
        how: &str,
    ) -> Error {
        if error.kind() != ErrorKind::NotFound(Noun::Project) {
            return error;
        }
        match self.project_elsewhere(id).await {
            Ok(Some(project)) => match project.machine {
                Some(machine) => only_there(Noun::Project, &machine, how),
                None => error,
            },
            Ok(None) => error,
            Err(error) => error,
        }
    }
}

impl Elsewhere<'_> {
    /// All projects of other machines, removed ones as well.
    pub(super) async fn projects(&self) -> Result<Projects> {
        let query = DocumentQuery {
            kinds: vec![Kind::Project],
            not_origin: Some(self.this),
            ..DocumentQuery::default()
        };
        let documents = self.all(query).await?;
        let reports = documents.iter().filter_map(|document| {
            let report = known::<ProjectReport>(document)?;
            Some((report.project.id, report))
        });
        Ok(reports
            .filter(|(_, report)| !self.is_this(report.project.system_id))
            .collect())
    }

    /// The project of another machine, unless it was removed there.
    pub(super) async fn project(&self, id: ProjectId) -> Result<Option<ProjectReport>> {
        let document = self.replica.document(&Kind::Project, *id.as_uuid()).await?;
        let Some(document) = document else {
            return Ok(None);
        };
        let report = readable::<ProjectReport>(&document)?;
        Ok(report.filter(|report| {
            report.removed_at.is_none() && !self.is_this(report.project.system_id)
        }))
    }
}

fn shown(report: ProjectReport, machines: &Machines) -> api::Project {
    let mut project = report.project;
    let id: SystemId = project.system_id;
    project.machine = machines.other(id);
    // Of a state that only a newer program knows nothing is said.
    let state = |name: String| {
        AgentStateName::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
    };
    project.agent_state = report.agent_state.and_then(state);
    project.repository = report.repository;
    project
}
