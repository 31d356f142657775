//! The contract's methods, each under one hold of the lock.

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;

use super::{About, MemoryStore};
use crate::agent::{Agent, AgentState, Evidence, Want};
use crate::ask::Ask;
use crate::event::{Event, EventKind};
use crate::id::{AgentId, AskId, Epoch, FencingToken, ProjectId, RunId, Seq, TaskId};
use crate::input::{Input, InputState};
use crate::project::Project;
use crate::reason::Reason;
use crate::run::Run;
use crate::stats::{Bucket, StatsQuery};
use crate::store::{
    AskQuery, Claim, Claimed, Counts, CreateTasks, Created, EventQuery, Finish, Intake, Interrupt,
    Interrupted, LogRange, Message, NewProject, Page, QueueQuery, Ready, Registered, Replica,
    Reply, ReplyEffect, RunQuery, Store, TaskEdit, TaskFilter, TaskMove, TaskQuery,
};
use crate::sync::local::system_document;
use crate::system::System;
use crate::task::{CancelEffect, Setback, StopIntent, Task};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

#[async_trait]
impl Store for MemoryStore {
    async fn begin(&self, system: &System, now: Timestamp) -> Result<Epoch> {
        let mut own = self.own_epoch();
        let mut state = self.lock();
        if state.system.as_ref().is_some_and(|old| old.id != system.id) {
            return Err(Error::new(
                ErrorKind::Taken(Noun::System),
                "the store belongs to another system",
            ));
        }
        state.system = Some(system.clone());
        state.epoch.0 += 1;
        let epoch = state.epoch;
        *own = Some(epoch);
        let data = json!({ "epoch": epoch });
        state.event(now, EventKind::DaemonStarted, About::default(), data);
        state.mark(system_document(system.id), now);
        self.shared.publish(&state);
        Ok(epoch)
    }

    async fn check(&self) -> Result<()> {
        self.write(|_| Ok(()))
    }

    async fn register_project(&self, new: NewProject) -> Result<Registered> {
        self.write(|state| state.register(new))
    }

    async fn project(&self, id: ProjectId) -> Result<Project> {
        self.lock().project(id)
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        Ok(self.lock().projects())
    }

    async fn hold_project(
        &self,
        id: ProjectId,
        hold: Option<Setback>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|state| state.hold(id, hold, now))
    }

    async fn pause_project(&self, id: ProjectId, paused: bool, now: Timestamp) -> Result<Project> {
        self.write(|state| state.pause(id, paused, now))
    }

    async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<RunId>> {
        self.write(|state| state.remove(id, force, by, now))
    }

    async fn agent(&self, id: AgentId) -> Result<Agent> {
        let state = self.lock();
        let agent = state.agents.get(&id).cloned();
        agent.ok_or_else(|| Error::no_agent(id))
    }

    async fn agents(&self) -> Result<Vec<Agent>> {
        Ok(self.lock().agents())
    }

    async fn observe_agent(
        &self,
        id: AgentId,
        state: AgentState,
        evidence: Evidence,
    ) -> Result<()> {
        self.write(|kept| kept.observe(id, state, evidence))
    }

    async fn want_agent(&self, id: AgentId, want: Want) -> Result<(Agent, Vec<RunId>)> {
        self.write(|state| state.want(id, &want))
    }

    async fn create_tasks(&self, request: CreateTasks) -> Result<Created> {
        self.write(|state| state.create(request))
    }

    async fn task(&self, id: TaskId) -> Result<Task> {
        Ok(self.lock().task_row(id)?.task.clone())
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task>> {
        Ok(self.lock().tasks(query))
    }

    async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64> {
        Ok(self.lock().count_tasks(filter))
    }

    async fn cancel_task(
        &self,
        id: TaskId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Task, CancelEffect)> {
        self.write(|state| state.cancel(id, by, now))
    }

    async fn retry_task(&self, id: TaskId, by: &str, now: Timestamp) -> Result<Task> {
        self.write(|state| state.retry(id, by, now))
    }

    async fn edit_task(&self, edit: TaskEdit) -> Result<Task> {
        self.linger().await;
        self.write(|state| state.edit(edit))
    }

    async fn move_task(&self, wish: TaskMove) -> Result<Task> {
        self.write(|state| state.relocate(&wish))
    }

    async fn queue(&self, query: &QueueQuery) -> Result<Page<Task>> {
        Ok(self.lock().queue(query))
    }

    async fn counts(&self) -> Result<Counts> {
        Ok(self.lock().counts(None))
    }

    async fn ready(&self, now: Timestamp, per_project: u32) -> Result<Ready> {
        Ok(self.lock().ready(now, per_project))
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed> {
        self.write(|state| state.claim(claim))
    }

    async fn renew(&self, run: RunId, token: FencingToken, until: Timestamp) -> Result<()> {
        self.write(|state| {
            state.current(run, token)?.lease_until = Some(until);
            Ok(())
        })
    }

    async fn mark_started(
        &self,
        run: RunId,
        token: FencingToken,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|state| state.mark_started(run, token, started_at, now))
    }

    async fn mark_stopping(
        &self,
        run: RunId,
        token: FencingToken,
        intent: StopIntent,
    ) -> Result<Run> {
        self.write(|state| state.mark_stopping(run, token, intent))
    }

    async fn mark_held(
        &self,
        run: RunId,
        token: FencingToken,
        held: Option<Reason>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|state| state.mark_held(run, token, held, now))
    }

    async fn take_in(
        &self,
        run: RunId,
        token: FencingToken,
        intake: Intake,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|state| state.take_in(run, token, intake, now))
    }

    async fn finish(
        &self,
        run: RunId,
        token: FencingToken,
        finish: Finish,
        now: Timestamp,
    ) -> Result<Task> {
        self.write(|state| state.finish(run, token, finish, now))
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        let state = self.lock();
        let run = state.runs.get(&id).cloned();
        run.ok_or_else(|| Error::no_run(id))
    }

    async fn open_runs(&self) -> Result<Vec<Run>> {
        let state = self.lock();
        let open = state.runs.values().filter(|run| !run.state.is_ended());
        Ok(open.cloned().collect())
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        Ok(self.lock().runs(query))
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>> {
        Ok(self.lock().stats(query))
    }

    async fn ask(&self, id: AskId) -> Result<Ask> {
        self.lock().ask(id)
    }

    async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>> {
        Ok(self.lock().asks(query))
    }

    async fn answer_ask(&self, id: AskId, reply: Reply) -> Result<(Ask, ReplyEffect)> {
        self.write(|state| state.answer(id, reply))
    }

    async fn send_message(&self, message: Message) -> Result<Input> {
        self.write(|state| state.send(message))
    }

    async fn interrupt(&self, interrupt: Interrupt) -> Result<Interrupted> {
        self.write(|state| state.interrupt(interrupt))
    }

    async fn inputs(&self, run: RunId) -> Result<Vec<Input>> {
        Ok(self.lock().inputs(run))
    }

    async fn settle_input(
        &self,
        run: RunId,
        token: FencingToken,
        number: u32,
        state: InputState,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|kept| kept.settle(run, token, number, state, now))
    }

    async fn close_inputs(&self, run: RunId, token: FencingToken) -> Result<bool> {
        self.write(|state| state.close_inputs(run, token))
    }

    async fn log(&self) -> Result<LogRange> {
        let state = self.lock();
        Ok(LogRange {
            log: state.log,
            pruned: Seq(0),
            head: state.head(),
        })
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Event>> {
        Ok(self.lock().events(query))
    }

    fn replica(&self) -> Option<&dyn Replica> {
        Some(self)
    }

    fn watch(&self) -> watch::Receiver<Seq> {
        self.shared.head.subscribe()
    }
}
