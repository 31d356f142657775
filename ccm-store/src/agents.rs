//! Agents.

use ccm_core::Result;
use ccm_core::agent::{Agent, AgentState, Evidence};
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::time::Timestamp;
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::entity::agent;
use crate::error::from_db;
use crate::values::{Id, from_json, to_json};
use crate::writer::{About, Change, Needs, Work};

/// From a row of the table.
pub(crate) fn read(row: &QueryResult) -> Result<Agent> {
    let model = agent::Model::from_query_result(row, "").map_err(from_db)?;
    Ok(Agent {
        id: AgentId::read(&model.id)?,
        project_id: ProjectId::read(&model.project_id)?,
        name: model.name,
        state: from_json(&model.state, "state of an agent")?,
        since: Timestamp::from_micros(model.since),
        evidence: Evidence {
            source: model.source,
            seen_at: Timestamp::from_micros(model.seen_at),
        },
    })
}

/// For a row of the table.
pub(crate) fn model(agent: &Agent) -> agent::Model {
    agent::Model {
        id: agent.id.bytes(),
        project_id: agent.project_id.bytes(),
        name: agent.name.clone(),
        state: to_json(&agent.state),
        since: agent.since.as_micros(),
        source: agent.evidence.source.clone(),
        seen_at: agent.evidence.seen_at.as_micros(),
    }
}

/// Keeps what was seen of an agent.
pub(crate) struct Observe {
    pub(crate) id: AgentId,
    pub(crate) state: AgentState,
    pub(crate) evidence: Evidence,
}

impl Change for Observe {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.agent(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        let row = work.agent(self.id)?;
        if row.get().state == self.state && row.get().evidence == self.evidence {
            return Ok(());
        }
        let agent = row.change();
        agent.evidence = self.evidence.clone();
        if agent.state == self.state {
            return Ok(());
        }
        agent.state = self.state.clone();
        agent.since = self.evidence.seen_at;
        let about = About {
            project: Some(agent.project_id),
            task: None,
            run: agent.state.run(),
            agent: Some(agent.id),
        };
        let mut data = json!(agent.state);
        data["source"] = json!(agent.evidence.source);
        work.event(self.evidence.seen_at, EventKind::AgentUpdated, about, &data);
        Ok(())
    }
}
