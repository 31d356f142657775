//! The contract's methods: each hands its change to the writer, or reads.

use async_trait::async_trait;
use ccm_core::agent::{Agent, AgentState, Evidence, Want};
use ccm_core::ask::Ask;
use ccm_core::event::Event;
use ccm_core::id::{AgentId, AskId, Epoch, FencingToken, ProjectId, RunId, Seq, TaskId};
use ccm_core::input::{Input, InputState};
use ccm_core::project::Project;
use ccm_core::run::Run;
use ccm_core::stats::{Bucket, StatsQuery};
use ccm_core::store::{
    AskQuery, Claim, Claimed, Counts, CreateTasks, Created, EventQuery, Finish, Intake, Interrupt,
    Interrupted, LogRange, Message, NewProject, Page, QueueQuery, Ready, Registered, Replica,
    Reply, ReplyEffect, RunQuery, Store, TaskEdit, TaskFilter, TaskMove, TaskQuery,
};
use ccm_core::system::System;
use ccm_core::task::{CancelEffect, Setback, StopIntent, Task};
use ccm_core::time::Timestamp;
use ccm_core::{Reason, Result};
use tokio::sync::watch;

use crate::SqliteStore;
use crate::agents::{Decide, Observe};
use crate::asks::AnswerAsk;
use crate::inputs::{Close, InterruptRun, SendMessage, Settle};
use crate::projects::{Hold, Pause, Register, Remove};
use crate::queue::{Edit, Move};
use crate::runs::{End, MarkHeld, MarkStarted, MarkStopping, Renew, Take, TakeIn};
use crate::systems::{Begin, Check};
use crate::tasks::{Again, Cancel, Create, Promote};

#[async_trait]
impl Store for SqliteStore {
    async fn begin(&self, system: &System, now: Timestamp) -> Result<Epoch> {
        let system = system.clone();
        self.writer.write(Begin { system, now }).await
    }

    async fn check(&self) -> Result<()> {
        self.writer.write(Check).await
    }

    async fn register_project(&self, new: NewProject) -> Result<Registered> {
        self.writer.write(Register(new)).await
    }

    async fn project(&self, id: ProjectId) -> Result<Project> {
        self.reader.project(id).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.reader.projects().await
    }

    async fn hold_project(
        &self,
        id: ProjectId,
        hold: Option<Setback>,
        now: Timestamp,
    ) -> Result<()> {
        self.writer.write(Hold { id, hold, now }).await
    }

    async fn pause_project(&self, id: ProjectId, paused: bool, now: Timestamp) -> Result<Project> {
        self.writer.write(Pause { id, paused, now }).await
    }

    async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<RunId>> {
        let by = by.to_owned();
        let remove = Remove { id, force, by, now };
        self.writer.write(remove).await
    }

    async fn agent(&self, id: AgentId) -> Result<Agent> {
        self.reader.agent(id).await
    }

    async fn agents(&self) -> Result<Vec<Agent>> {
        self.reader.agents().await
    }

    async fn observe_agent(
        &self,
        id: AgentId,
        state: AgentState,
        evidence: Evidence,
    ) -> Result<()> {
        let observe = Observe {
            id,
            state,
            evidence,
        };
        self.writer.write(observe).await
    }

    async fn want_agent(&self, id: AgentId, want: Want) -> Result<(Agent, Vec<RunId>)> {
        self.writer.write(Decide { id, want }).await
    }

    async fn create_tasks(&self, request: CreateTasks) -> Result<Created> {
        self.writer.write(Create(request)).await
    }

    async fn task(&self, id: TaskId) -> Result<Task> {
        self.reader.task(id).await
    }

    async fn tasks_of(&self, ids: &[TaskId]) -> Result<Vec<Task>> {
        self.reader.tasks_of(ids).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task>> {
        self.reader.tasks(query).await
    }

    async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64> {
        self.reader.count_tasks(filter).await
    }

    async fn cancel_task(
        &self,
        id: TaskId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Task, CancelEffect)> {
        let by = by.to_owned();
        self.writer.write(Cancel { id, by, now }).await
    }

    async fn retry_task(&self, id: TaskId, _by: &str, now: Timestamp) -> Result<Task> {
        self.writer.write(Again { id, now }).await
    }

    async fn edit_task(&self, edit: TaskEdit) -> Result<Task> {
        self.writer.write(Edit(edit)).await
    }

    async fn move_task(&self, wish: TaskMove) -> Result<Task> {
        self.writer.write(Move(wish)).await
    }

    async fn queue(&self, query: &QueueQuery) -> Result<Page<Task>> {
        self.reader.queue(query).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.reader.counts().await
    }

    async fn ready(&self, now: Timestamp, per_project: u32) -> Result<Ready> {
        let answer = self.reader.ready(now, per_project).await?;
        if answer.promote {
            self.writer.offer(Promote(now));
        }
        Ok(answer.ready)
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed> {
        self.writer.write(Take(claim)).await
    }

    async fn renew(&self, run: RunId, token: FencingToken, until: Timestamp) -> Result<()> {
        self.writer.write(Renew { run, token, until }).await
    }

    async fn mark_started(
        &self,
        run: RunId,
        token: FencingToken,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let started = MarkStarted {
            run,
            token,
            started_at,
            now,
        };
        self.writer.write(started).await
    }

    async fn mark_stopping(
        &self,
        run: RunId,
        token: FencingToken,
        intent: StopIntent,
    ) -> Result<Run> {
        let stopping = MarkStopping { run, token, intent };
        self.writer.write(stopping).await
    }

    async fn mark_held(
        &self,
        run: RunId,
        token: FencingToken,
        held: Option<Reason>,
        now: Timestamp,
    ) -> Result<()> {
        let held = MarkHeld {
            run,
            token,
            held,
            now,
        };
        self.writer.write(held).await
    }

    async fn take_in(
        &self,
        run: RunId,
        token: FencingToken,
        intake: Intake,
        now: Timestamp,
    ) -> Result<()> {
        let part = TakeIn {
            run,
            token,
            intake,
            now,
        };
        self.writer.write(part).await
    }

    async fn finish(
        &self,
        run: RunId,
        token: FencingToken,
        finish: Finish,
        now: Timestamp,
    ) -> Result<Task> {
        let end = End {
            run,
            token,
            finish,
            now,
        };
        self.writer.write(end).await
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        self.reader.run(id).await
    }

    async fn open_runs(&self) -> Result<Vec<Run>> {
        self.reader.open_runs().await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.reader.runs(query).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>> {
        self.reader.stats(query).await
    }

    async fn ask(&self, id: AskId) -> Result<Ask> {
        self.reader.ask(id).await
    }

    async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>> {
        self.reader.asks(query).await
    }

    async fn answer_ask(&self, id: AskId, reply: Reply) -> Result<(Ask, ReplyEffect)> {
        self.writer.write(AnswerAsk { id, reply }).await
    }

    async fn send_message(&self, message: Message) -> Result<Input> {
        self.writer.write(SendMessage(message)).await
    }

    async fn interrupt(&self, interrupt: Interrupt) -> Result<Interrupted> {
        self.writer.write(InterruptRun(interrupt)).await
    }

    async fn inputs(&self, run: RunId) -> Result<Vec<Input>> {
        self.reader.inputs(run).await
    }

    async fn settle_input(
        &self,
        run: RunId,
        token: FencingToken,
        number: u32,
        state: InputState,
        now: Timestamp,
    ) -> Result<()> {
        let settle = Settle {
            run,
            token,
            number,
            state,
            now,
        };
        self.writer.write(settle).await
    }

    async fn close_inputs(&self, run: RunId, token: FencingToken) -> Result<bool> {
        self.writer.write(Close { run, token }).await
    }

    async fn log(&self) -> Result<LogRange> {
        self.reader.log().await
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Event>> {
        self.reader.events(query).await
    }

    fn replica(&self) -> Option<&dyn Replica> {
        Some(self)
    }

    fn watch(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}
