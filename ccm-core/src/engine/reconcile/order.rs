//! What a run is launched with.

use super::Shared;
use super::agents::place;
use super::runs::Actor;
use crate::Result;
use crate::id::{AgentId, RunId};
use crate::project::Profile;
use crate::run::{Run, RunState, Verdict};
use crate::runtime::{LaunchOrder, Resume};
use crate::store::RunQuery;
use crate::task::SessionMode;

/// How many earlier runs are looked at for a conversation to go on with.
const LOOKED_AT: u32 = 50;

impl Actor {
    pub(super) async fn order(&self, profile: Profile) -> Result<LaunchOrder> {
        let store = &self.shared.parts.store;
        let project = store.project(self.run.project_id).await?;
        let agent = store.agent(self.run.agent_id).await?;
        let mut limits = profile.limits;
        limits.timeout = self.task.spec.timeout;
        Ok(LaunchOrder {
            run: self.run.id,
            task: self.task.id,
            place: place(&project, &agent),
            profile: profile.agent,
            limits,
            prompt: self.task.spec.text.clone(),
            resume: self.resume().await?,
            deadline: self.shared.host_deadline(self.task.id),
        })
    }

    /// The conversation to go on with: the task's own, if it broke off in mid-work, else the agent's last one, if the
    /// task belongs to it.
    async fn resume(&self) -> Result<Option<Resume>> {
        let query = RunQuery {
            task: Some(self.task.id),
            agent: None,
            before: Some(self.run.id),
            limit: LOOKED_AT,
        };
        let earlier = self.shared.parts.store.runs(&query).await?.items;
        for run in earlier.iter().take_while(|run| !lost_session(run)) {
            let Some(broke_off) = broke_off(run) else {
                continue;
            };
            // An attempt that a person asked for begins anew.
            let goes_on = broke_off.was_refused || self.run.attempt > 1;
            if goes_on && let Some(session_id) = run.session_id.clone() {
                return Ok(Some(Resume {
                    session_id,
                    cut: true,
                }));
            }
            break;
        }
        match self.task.spec.session {
            SessionMode::Fresh => Ok(None),
            SessionMode::Continue => self.last_session().await,
        }
    }

    /// The conversation of the agent's latest run that had one.
    async fn last_session(&self) -> Result<Option<Resume>> {
        let session = self
            .shared
            .last_session(self.run.agent_id, Some(self.run.id));
        Ok(session.await?.map(|session_id| Resume {
            session_id,
            cut: false,
        }))
    }
}

impl Shared {
    /// The conversation of an agent's latest run that had one, before this run.
    pub(in crate::engine) async fn last_session(
        &self,
        agent: AgentId,
        before: Option<RunId>,
    ) -> Result<Option<String>> {
        let query = RunQuery {
            task: None,
            agent: Some(agent),
            before,
            limit: LOOKED_AT,
        };
        let runs = self.parts.store.runs(&query).await?.items;
        Ok(runs
            .into_iter()
            .take_while(|run| !lost_session(run))
            .find_map(|run| run.session_id))
    }
}

struct BrokeOff {
    was_refused: bool,
}

/// Whether a run ended in the middle of its work. `None` for one that did nothing.
fn broke_off(run: &Run) -> Option<BrokeOff> {
    let RunState::Ended { outcome, .. } = &run.state else {
        return None;
    };
    let was_refused = match outcome.verdict {
        Verdict::Refused { .. } => true,
        Verdict::Failed { .. } | Verdict::Lost { .. } => false,
        _ => return None,
    };
    (run.usage.output_tokens > 0).then_some(BrokeOff { was_refused })
}

fn lost_session(run: &Run) -> bool {
    matches!(
        &run.state,
        RunState::Ended { outcome, .. }
            if matches!(outcome.verdict, Verdict::Refused { lost_session: true, .. })
    )
}
