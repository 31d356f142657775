use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ProjectId, RunId, SystemId, TaskId};
use crate::reason::Reason;
use crate::run::{self, RunState, Usage, Verdict};
use crate::time::Timestamp;

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The task.
    pub task_id: TaskId,
    /// The task's project.
    pub project_id: ProjectId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The agent that does it.
    pub agent_id: AgentId,
    /// The machine it runs on.
    pub system_id: SystemId,
    /// Where it stands.
    pub state: RunStateName,
    /// Why it is held, waits, is being stopped, or ended as it did.
    pub reason: Option<Reason>,
    /// The reason in a sentence.
    pub detail: Option<String>,
    /// Until when the provider of its model lets it wait, where the coding CLI says so.
    pub until: Option<Timestamp>,
    /// How many of its asks wait for a person.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub open_asks: u32,
    /// When its program was started.
    pub started_at: Option<Timestamp>,
    /// When its outcome was committed.
    pub finished_at: Option<Timestamp>,
    /// The program's exit code.
    pub exit_code: Option<i32>,
    /// The coding CLI's name for the conversation.
    pub session_id: Option<String>,
    /// What the agent answered in the end.
    pub result: Option<String>,
    /// How many permissions were denied.
    pub denied: u32,
    /// What it used.
    pub usage: Usage,
    /// What it cost.
    pub cost_usd: Option<f64>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub enum RunStateName {
    Launching,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Lost,
    Superseded,
}

impl RunStateName {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
        }
    }
}

impl From<&Verdict> for RunStateName {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Succeeded => Self::Succeeded,
            Verdict::Failed { .. } | Verdict::NotStarted { .. } | Verdict::Refused { .. } => {
                Self::Failed
            }
            Verdict::Cancelled => Self::Cancelled,
            Verdict::Lost { .. } => Self::Lost,
            Verdict::Superseded => Self::Superseded,
        }
    }
}

impl From<run::Run> for Run {
    fn from(run: run::Run) -> Self {
        let mut wire = Self {
            id: run.id,
            task_id: run.task_id,
            project_id: run.project_id,
            attempt: run.attempt,
            agent_id: run.agent_id,
            system_id: run.system_id,
            state: RunStateName::Launching,
            reason: run.stop.map(|stop| stop.reason),
            detail: None,
            until: None,
            open_asks: run.waits.open_asks,
            started_at: None,
            finished_at: None,
            exit_code: None,
            session_id: run.session_id,
            result: None,
            denied: 0,
            usage: run.usage,
            cost_usd: run.cost_usd,
        };
        match run.state {
            RunState::Launching => {}
            RunState::Running { started_at, held } => {
                wire.state = RunStateName::Running;
                wire.started_at = Some(started_at);
                if let Some(interruption) = run.waits.interrupted.filter(|_| wire.reason.is_none())
                {
                    let wait = interruption.setback();
                    wire.reason = Some(wait.reason);
                    wire.detail = wait.detail;
                }
                if let Some(parking) = run.waits.parked.filter(|_| wire.reason.is_none()) {
                    wire.reason = Some(parking.cause.reason);
                    wire.detail = parking.cause.detail;
                    wire.until = parking.until;
                }
                wire.reason = held.or(wire.reason);
            }
            RunState::Ended {
                started_at,
                finished_at,
                outcome,
            } => {
                wire.state = RunStateName::from(&outcome.verdict);
                wire.started_at = started_at;
                wire.finished_at = Some(finished_at);
                wire.exit_code = outcome.exit_code;
                wire.denied = outcome.denied;
                wire.reason = None;
                if outcome.verdict != Verdict::Succeeded {
                    if let Verdict::Refused { until, .. } = outcome.verdict {
                        wire.until = until;
                    }
                    let setback = outcome.verdict.setback();
                    wire.reason = Some(setback.reason);
                    wire.detail = setback.detail;
                }
                wire.result = outcome.result;
            }
        }
        wire
    }
}
