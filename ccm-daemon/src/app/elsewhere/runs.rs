//! Runs on other machines.

use ccm_core::api;
use ccm_core::id::{ProjectId, RunId};
use ccm_core::store::{DocumentQuery, Page, RunQuery};
use ccm_core::sync::Kind;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::{Elsewhere, known, only_there, readable, uuid_in};
use crate::app::App;

impl App {
    /// The run, whichever machine's it is.
    pub(crate) async fn any_run(&self, id: RunId) -> Result<api::Run> {
        match self.run(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => {
                match self.elsewhere() {
                    Some(elsewhere) => elsewhere.run(id).await?.ok_or(error),
                    None => Err(error),
                }
            }
            found => found.map(api::Run::from),
        }
    }

    /// Runs, newest first; those of another machine if they are asked for by a task of it.
    pub(crate) async fn any_runs(&self, query: &RunQuery) -> Result<Page<api::Run>> {
        let page = self.runs(query).await?;
        let here = Page {
            items: page.items.into_iter().map(api::Run::from).collect(),
            more: page.more,
        };
        let Some(task) = query.task.filter(|_| query.agent.is_none()) else {
            return Ok(here);
        };
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(here);
        };
        let documents = DocumentQuery {
            kinds: vec![Kind::Run],
            task: Some(task),
            not_origin: Some(elsewhere.this),
            after: query.before.map(|id| *id.as_uuid()),
            newest_first: true,
            limit: query.limit.saturating_add(1),
            ..DocumentQuery::default()
        };
        let documents = elsewhere.replica.documents(&documents).await?;
        let there = Page {
            more: documents.len() > query.limit as usize,
            items: documents.iter().filter_map(known).collect(),
        };
        Ok(super::tasks::newest(
            here,
            there,
            query.limit,
            |run: &api::Run| run.id,
        ))
    }

    /// The project of a run, whichever machine's it is.
    pub(crate) async fn project_of_run(&self, id: RunId) -> Result<Option<ProjectId>> {
        match self.any_run(id).await {
            Ok(run) => Ok(Some(run.project_id)),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Why something of a run is not here: it is on another machine, or nowhere.
    pub(in crate::app) async fn not_this_run(&self, error: Error, id: RunId, how: &str) -> Error {
        if error.kind() != ErrorKind::NotFound(Noun::Run) {
            return error;
        }
        let there = async {
            let Some(elsewhere) = self.elsewhere() else {
                return Ok(None);
            };
            let Some(run) = elsewhere.run(id).await? else {
                return Ok(None);
            };
            let machines = elsewhere.machines(&self.engine().system().hostname).await?;
            Ok(Some(machines.get(run.system_id)))
        };
        match there.await {
            Ok(Some(machine)) => only_there(Noun::Run, &machine, how),
            Ok(None) => error,
            Err(error) => error,
        }
    }
}

impl Elsewhere<'_> {
    /// A run of another machine.
    pub(super) async fn run(&self, id: RunId) -> Result<Option<api::Run>> {
        let document = self.replica.document(&Kind::Run, *id.as_uuid()).await?;
        match document {
            Some(document) => {
                let of = document
                    .body
                    .as_ref()
                    .and_then(|body| uuid_in(body, "system_id"));
                if of == Some(*self.this.as_uuid()) {
                    return Ok(None);
                }
                readable(&document)
            }
            None => Ok(None),
        }
    }
}
