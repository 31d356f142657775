//! Takes the places of agents that have been idle for long. Their next task makes them anew.
//!
//! How long an agent is idle is counted by a clock that nobody sets, from when this engine saw it first: a daemon that
//! starts gives each its time again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::agents::Rest;
use crate::agent::{Agent, AgentState, Wanted};
use crate::id::AgentId;
use crate::time::Timestamp;
use crate::{Result, chain};

/// Who puts agents to sleep, as the log has it.
const BY: &str = "max_idle_time";
/// How long to wait after the store or the runtime could not answer.
const RETRY: Duration = Duration::from_secs(30);

pub(super) async fn run(shared: Arc<Shared>) {
    let mut idle = Idle::default();
    loop {
        let round = tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            round = reconcile(&shared, &mut idle) => round,
        };
        let next = match round {
            Ok(next) => next,
            Err(error) if shared.superseded(&error) => return,
            Err(error) => {
                tracing::warn!(error = chain(&error), "idle agents can't be put to sleep");
                Some(RETRY)
            }
        };
        let timer = async {
            match next {
                Some(period) => shared.parts.clock.wait(period).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop_dispatch.cancelled() => return,
            () = shared.idle.notified() => {}
            () = timer => {}
        }
    }
}

/// Puts to sleep who has been idle for long enough. Returns when the next one will have been, if any is idle.
async fn reconcile(shared: &Shared, idle: &mut Idle) -> Result<Option<Duration>> {
    let Some(most) = shared.limits().max_idle else {
        *idle = Idle::default();
        return Ok(None);
    };
    let agents = shared.parts.store.agents().await?;
    let now = shared.parts.clock.uptime();
    idle.note(&agents, now, |agent| shared.actors.ended_of(agent));
    for agent in idle.due(now, most) {
        match shared.put_to_sleep(agent, BY).await? {
            Rest::Asleep { .. } => idle.forget(agent),
            // Someone looks at it, or it is about to work: its time begins anew.
            Rest::Kept(_) => idle.restart(agent, now),
        }
    }
    Ok(idle.next(now, most))
}

/// Since when which agents are idle.
#[derive(Debug, Default)]
struct Idle(BTreeMap<AgentId, Since>);

#[derive(Debug)]
struct Since {
    /// The mark of this time of being idle: another one has another. A short run may begin and end between two looks,
    /// so runs are counted.
    mark: (Timestamp, u64),
    /// When it was seen first, in the clock's uptime.
    seen: Duration,
}

impl Idle {
    fn note(&mut self, agents: &[Agent], now: Duration, runs: impl Fn(AgentId) -> u64) {
        let is_idle =
            |agent: &&Agent| agent.state == AgentState::Idle && agent.wish.wanted == Wanted::Up;
        let mut before = std::mem::take(&mut self.0);
        for agent in agents.iter().filter(is_idle) {
            let mark = (agent.since, runs(agent.id));
            let known = before.remove(&agent.id);
            let known = known.filter(|since| since.mark == mark);
            let since = known.unwrap_or(Since { mark, seen: now });
            self.0.insert(agent.id, since);
        }
    }

    fn due(&self, now: Duration, most: Duration) -> Vec<AgentId> {
        let due = |since: &Since| now.saturating_sub(since.seen) >= most;
        let agents = self.0.iter().filter(|(_, since)| due(since));
        agents.map(|(agent, _)| *agent).collect()
    }

    fn next(&self, now: Duration, most: Duration) -> Option<Duration> {
        let left = |since: &Since| most.saturating_sub(now.saturating_sub(since.seen));
        self.0.values().map(left).min()
    }

    fn forget(&mut self, agent: AgentId) {
        self.0.remove(&agent);
    }

    fn restart(&mut self, agent: AgentId, now: Duration) {
        if let Some(since) = self.0.get_mut(&agent) {
            since.seen = now;
        }
    }
}
