//! Agents.

use ccm_core::Result;
use ccm_core::agent::{Agent, AgentState, Evidence, Want, Wish};
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, ProjectId, RunId};
use ccm_core::task::StopIntent;
use ccm_core::time::Timestamp;
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::entity::agent;
use crate::error::{corrupt, from_db};
use crate::runs::note_stop;
use crate::values::{Id, from_json, to_json};
use crate::writer::{About, Change, Needs, Tracked, Work};

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
        wish: Wish {
            wanted: model
                .wanted
                .parse()
                .map_err(|_| corrupt("wish about an agent"))?,
            by: model.wanted_by,
            at: Timestamp::from_micros(model.wanted_at),
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
        wanted: agent.wish.wanted.as_str().to_owned(),
        wanted_by: agent.wish.by.clone(),
        wanted_at: agent.wish.at.as_micros(),
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

/// Decides what an agent is to be.
pub(crate) struct Decide {
    pub(crate) id: AgentId,
    pub(crate) want: Want,
}

impl Change for Decide {
    type Answer = (Agent, Vec<RunId>);

    fn needs(&self, needs: &mut Needs) {
        needs.agent(self.id);
        needs.open_runs_of(self.id);
    }

    fn apply(&self, work: &mut Work) -> Result<(Agent, Vec<RunId>)> {
        let open: Vec<_> = work
            .runs
            .values()
            .map(Tracked::get)
            .filter(|run| run.agent_id == self.id && !run.state.is_ended())
            .map(|run| (run.id, run.task_id))
            .collect();
        let next = work
            .agent(self.id)?
            .get()
            .want(&self.want, !open.is_empty())?;
        if self.want.force {
            let intent = StopIntent::with_agent(&self.want.wish);
            for (_, task) in &open {
                let next = work.task(*task)?.get().task.state.stop(intent.clone())?;
                note_stop(work, *task, next, intent.at)?;
            }
        }
        if let Some(wish) = next {
            decide(work, self.id, wish)?;
        }
        let runs = open.into_iter().map(|(run, _)| run).collect();
        Ok((work.agent(self.id)?.get().clone(), runs))
    }
}

/// Notes what an agent is to be.
pub(crate) fn decide(work: &mut Work, id: AgentId, wish: Wish) -> Result<()> {
    let agent = work.agent(id)?.change();
    agent.wish = wish.clone();
    let about = About {
        agent: Some(id),
        ..About::project(agent.project_id)
    };
    let data = json!({ "wanted": wish.wanted, "by": wish.by });
    work.event(wish.at, EventKind::AgentWanted, about, &data);
    Ok(())
}
