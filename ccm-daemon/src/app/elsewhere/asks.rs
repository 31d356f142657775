//! Questions of agents on other machines.

use ccm_core::api::{self, AskStateName};
use ccm_core::ask::AskStateKind;
use ccm_core::id::{AskId, ProjectId};
use ccm_core::store::{AskQuery, Document, DocumentQuery, Page};
use ccm_core::sync::Kind;
use ccm_core::sync::documents::Wanted;
use ccm_core::{ErrorKind, Noun, Result};

use super::tasks::newest;
use super::{Elsewhere, Machines, known, readable};
use crate::app::App;

/// How many documents are looked through at once.
const PART: u32 = 200;

impl App {
    /// Questions of agents on these machines, newest first, a part of them.
    pub(crate) async fn asks_of_machines(
        &self,
        machines: api::Machines,
        query: &AskQuery,
    ) -> Result<Page<api::Ask>> {
        let (local, elsewhere) = self.whose(machines).await?;
        let here = match local {
            true => self.asks(query).await?,
            false => Page {
                items: Vec::new(),
                more: false,
            },
        };
        let here = Page {
            items: here.items.into_iter().map(api::Ask::from).collect(),
            more: here.more,
        };
        let Some(elsewhere) = elsewhere else {
            return Ok(here);
        };
        let known_as = elsewhere.machines(&self.engine().system().hostname).await?;
        let there = elsewhere.asks(machines, query, &known_as).await?;
        Ok(newest(here, there, query.limit, |ask: &api::Ask| ask.id))
    }

    /// The ask, whichever machine's it is.
    pub(crate) async fn any_ask(&self, id: AskId) -> Result<api::Ask> {
        match self.ask(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Ask) => {
                self.ask_elsewhere(id).await?.ok_or(error)
            }
            found => found.map(api::Ask::from),
        }
    }

    pub(in crate::app) async fn ask_elsewhere(&self, id: AskId) -> Result<Option<api::Ask>> {
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(None);
        };
        let document = elsewhere
            .replica
            .document(&Kind::Ask, *id.as_uuid())
            .await?;
        let Some(document) = document else {
            return Ok(None);
        };
        let Some(ask) = readable::<api::Ask>(&document)? else {
            return Ok(None);
        };
        let machines = elsewhere.machines(&self.engine().system().hostname).await?;
        elsewhere.shown(ask, &document, &machines).await.map(Some)
    }

    /// The project of an ask, whichever machine's it is.
    pub(crate) async fn project_of_ask(&self, id: AskId) -> Result<Option<ProjectId>> {
        match self.any_ask(id).await {
            Ok(ask) => Ok(Some(ask.project_id)),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Ask) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Elsewhere<'_> {
    async fn asks(
        &self,
        of: api::Machines,
        wanted: &AskQuery,
        machines: &Machines,
    ) -> Result<Page<api::Ask>> {
        let mut query = DocumentQuery {
            kinds: vec![Kind::Ask],
            project: wanted.project,
            task: wanted.task,
            run: wanted.run,
            not_origin: Some(self.this),
            open: wanted.state == Some(AskStateKind::Open),
            after: wanted.before.map(|id| *id.as_uuid()),
            newest_first: true,
            limit: PART,
            ..DocumentQuery::default()
        };
        if let api::Machines::One(id) = of {
            query.origin = Some(id);
        }
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        loop {
            let documents = self.replica.documents(&query).await?;
            let last = documents.len() < PART as usize;
            query.after = documents.last().map(|document| document.id);
            for document in &documents {
                let Some(ask) = known::<api::Ask>(document) else {
                    continue;
                };
                if wanted.state.is_some_and(|state| !stands(ask.state, state)) {
                    continue;
                }
                if of == api::Machines::Mine && !self.is_mine(&ask).await? {
                    continue;
                }
                if page.items.len() == wanted.limit as usize {
                    page.more = true;
                    return Ok(page);
                }
                page.items.push(self.shown(ask, document, machines).await?);
            }
            if last {
                return Ok(page);
            }
        }
    }

    /// Whether its task was created on this machine.
    async fn is_mine(&self, ask: &api::Ask) -> Result<bool> {
        let task = *ask.task_id.as_uuid();
        let definition = self.replica.document(&Kind::Task, task).await?;
        let definition = definition.as_ref().and_then(known);
        Ok(definition
            .is_some_and(|one: ccm_core::sync::documents::Definition| self.is_this(one.created_on)))
    }

    async fn shown(
        &self,
        mut ask: api::Ask,
        document: &Document,
        machines: &Machines,
    ) -> Result<api::Ask> {
        ask.machine = machines.other(document.origin);
        if ask.state == AskStateName::Open {
            // The first one counts there.
            let wishes = self.wishes(ask.task_id).await?.into_iter().rev();
            ask.sent_answer = wishes
                .filter_map(|(_, wish)| match wish.what {
                    Wanted::Answer { ask_id, answer } if ask_id == ask.id => Some(answer),
                    _ => None,
                })
                .next();
        }
        Ok(ask)
    }
}

const fn stands(state: AskStateName, wanted: AskStateKind) -> bool {
    matches!(
        (state, wanted),
        (AskStateName::Open, AskStateKind::Open)
            | (AskStateName::Answered, AskStateKind::Answered)
            | (
                AskStateName::Void | AskStateName::Expired,
                AskStateKind::Void
            )
    )
}
