use std::collections::HashMap;

use ccm_core::api::{self, OpenAsk};
use ccm_core::ask::{Answer, Ask, AskStateKind};
use ccm_core::id::{AgentId, AskId, TaskId};
use ccm_core::store::{AskQuery, Page};
use ccm_core::{Error, Result};

use super::App;

/// The most open asks that are looked at for one answer. Each belongs to a run under way, and those are few.
const MOST_OPEN: u32 = 1000;

/// The asks that wait for a person, oldest first, by whom they belong to.
#[derive(Debug, Default)]
pub(super) struct OpenAsks {
    of_tasks: HashMap<TaskId, Vec<OpenAsk>>,
    of_agents: HashMap<AgentId, Vec<OpenAsk>>,
}

impl OpenAsks {
    pub(super) fn of_task(&self, id: TaskId) -> Vec<OpenAsk> {
        self.of_tasks.get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn of_agent(&self, id: AgentId) -> Vec<OpenAsk> {
        self.of_agents.get(&id).cloned().unwrap_or_default()
    }
}

impl App {
    pub(crate) async fn ask(&self, id: AskId) -> Result<Ask> {
        self.engine().store().ask(id).await
    }

    pub(crate) async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>> {
        self.engine().store().asks(query).await
    }

    /// Answers an ask, or has the answer sent to the machine whose agent asks.
    pub(crate) async fn answer_ask(&self, id: AskId, answer: Answer, by: &str) -> Result<api::Ask> {
        let answered = self.engine().answer_ask(id, answer, by).await?;
        match self.ask_elsewhere(id).await? {
            Some(ask) if ask.machine.is_some() => Ok(ask),
            _ => Ok(answered.into()),
        }
    }

    /// The open asks among those that `query` is about: one look for a whole answer, however many objects are in it.
    pub(super) async fn open_asks(&self, query: AskQuery) -> Result<OpenAsks, Error> {
        let query = AskQuery {
            state: Some(AskStateKind::Open),
            limit: MOST_OPEN,
            ..query
        };
        let page = self.engine().store().asks(&query).await?;
        let mut open = OpenAsks::default();
        for ask in page.items.iter().rev() {
            let shown = OpenAsk::from(ask);
            let of_task = open.of_tasks.entry(ask.task_id).or_default();
            of_task.push(shown.clone());
            let of_agent = open.of_agents.entry(ask.agent_id).or_default();
            of_agent.push(shown);
        }
        Ok(open)
    }
}
