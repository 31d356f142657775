//! One line of the journal: a call that changed something, with all it needs to have the same effect again.

use ccm_core::agent::{AgentState, Evidence, Want};
use ccm_core::id::{AgentId, AskId, FencingToken, LogId, ProjectId, RunId, TaskId};
use ccm_core::input::InputState;
use ccm_core::store::{
    Claim, CreateTasks, Finish, Intake, Interrupt, Message, NewProject, Reply, TaskEdit, TaskMove,
};
use ccm_core::system::System;
use ccm_core::task::{Setback, StopIntent};
use ccm_core::testing::memory::MemoryStore;
use ccm_core::time::Timestamp;
use ccm_core::{Reason, Result, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[rustfmt::skip] // one line a call, as in the file
pub(crate) enum Entry {
    /// The first line of every journal: the identity of its event log.
    Log(LogId),
    Begin { system: System, now: Timestamp },
    RegisterProject(NewProject),
    HoldProject { id: ProjectId, hold: Option<Setback>, now: Timestamp },
    PauseProject { id: ProjectId, paused: bool, now: Timestamp },
    RemoveProject { id: ProjectId, force: bool, by: String, now: Timestamp },
    ObserveAgent { id: AgentId, state: AgentState, evidence: Evidence },
    WantAgent { id: AgentId, want: Want },
    CreateTasks(CreateTasks),
    EditTask(TaskEdit),
    MoveTask(TaskMove),
    CancelTask { id: TaskId, by: String, now: Timestamp },
    RetryTask { id: TaskId, by: String, now: Timestamp },
    Claim(Claim),
    Renew { run: RunId, token: FencingToken, until: Timestamp },
    MarkStarted { run: RunId, token: FencingToken, started_at: Timestamp, now: Timestamp },
    MarkStopping { run: RunId, token: FencingToken, intent: StopIntent },
    MarkHeld { run: RunId, token: FencingToken, held: Option<Reason>, now: Timestamp },
    TakeIn { run: RunId, token: FencingToken, intake: Intake, now: Timestamp },
    Finish { run: RunId, token: FencingToken, finish: Finish, now: Timestamp },
    AnswerAsk { id: AskId, reply: Reply },
    SendMessage(Message),
    Interrupt(Interrupt),
    SettleInput { run: RunId, token: FencingToken, number: u32, state: InputState, now: Timestamp },
    CloseInputs { run: RunId, token: FencingToken },
}

impl Entry {
    /// Makes the call again. Ids and times are arguments, so its effect is what it was the first time.
    #[rustfmt::skip]
    pub(crate) async fn apply(self, to: &MemoryStore) -> Result<()> {
        match self {
            Self::Log(_) => Ok(()),
            Self::Begin { system, now } => to.begin(&system, now).await.map(drop),
            Self::RegisterProject(new) => to.register_project(new).await.map(drop),
            Self::HoldProject { id, hold, now } => to.hold_project(id, hold, now).await,
            Self::PauseProject { id, paused, now } => to.pause_project(id, paused, now).await.map(drop),
            Self::RemoveProject { id, force, by, now } => to.remove_project(id, force, &by, now).await.map(drop),
            Self::ObserveAgent { id, state, evidence } => to.observe_agent(id, state, evidence).await,
            Self::WantAgent { id, want } => to.want_agent(id, want).await.map(drop),
            Self::CreateTasks(request) => to.create_tasks(request).await.map(drop),
            Self::EditTask(edit) => to.edit_task(edit).await.map(drop),
            Self::MoveTask(wish) => to.move_task(wish).await.map(drop),
            Self::CancelTask { id, by, now } => to.cancel_task(id, &by, now).await.map(drop),
            Self::RetryTask { id, by, now } => to.retry_task(id, &by, now).await.map(drop),
            Self::Claim(claim) => to.claim(claim).await.map(drop),
            Self::Renew { run, token, until } => to.renew(run, token, until).await,
            Self::MarkStarted { run, token, started_at, now } => to.mark_started(run, token, started_at, now).await,
            Self::MarkStopping { run, token, intent } => to.mark_stopping(run, token, intent).await.map(drop),
            Self::MarkHeld { run, token, held, now } => to.mark_held(run, token, held, now).await,
            Self::TakeIn { run, token, intake, now } => to.take_in(run, token, intake, now).await,
            Self::Finish { run, token, finish, now } => to.finish(run, token, finish, now).await.map(drop),
            Self::AnswerAsk { id, reply } => to.answer_ask(id, reply).await.map(drop),
            Self::SendMessage(message) => to.send_message(message).await.map(drop),
            Self::Interrupt(interrupt) => to.interrupt(interrupt).await.map(drop),
            Self::SettleInput { run, token, number, state, now } => to.settle_input(run, token, number, state, now).await,
            Self::CloseInputs { run, token } => to.close_inputs(run, token).await.map(drop),
        }
    }
}
