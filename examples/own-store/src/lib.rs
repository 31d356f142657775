//! A store of one's own: [`JournalStore`], a queue that lives in one file.
//!
//! Every call that changes something becomes a line of JSON. A call goes like this:
//!
//! 1. lock the file and take in the lines that other handles added since;
//! 2. let a [`MemoryStore`] in this process decide: it knows all the rules of [`Store`] and may refuse;
//! 3. write the line and sync it to the disk; only now the caller gets the answer.
//!
//! Ids and times are arguments of the contract, never made by a store, so making the same calls again leads to the same
//! state: that is all there is to opening a journal.
//!
//! What it leaves out, so that it stays small: the file is never tidied up, opening costs as much as all that ever
//! happened, and every call, also one that only reads, waits for the write under way. `ccm-store` does better with
//! SQLite. The contract's suite runs over both.

mod entry;
mod journal;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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
    Interrupted, LogRange, Message, NewProject, Page, QueueQuery, Ready, Registered, Reply,
    ReplyEffect, RunQuery, TaskEdit, TaskFilter, TaskMove, TaskQuery,
};
use ccm_core::system::System;
use ccm_core::task::{CancelEffect, Setback, StopIntent, Task};
#[cfg(doc)]
use ccm_core::testing::memory::MemoryStore;
use ccm_core::time::Timestamp;
use ccm_core::{Reason, Result, Store};
use tokio::sync::{Mutex, watch};

use crate::entry::Entry;
use crate::journal::{Journal, Turn, blocking};

/// A [`Store`] in one file. Any number of handles, in any number of processes, may have the same file open.
pub struct JournalStore {
    journal: Arc<Mutex<Journal>>,
    head: watch::Sender<Seq>,
}

impl JournalStore {
    /// Opens the journal at `path`, or begins one there.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be read or written; `Corrupt` when a line of it is no call.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let (path, head) = (path.into(), watch::Sender::new(Seq(0)));
        let told = head.clone();
        let journal = blocking(move || Journal::open(path, told)).await?;
        let journal = Arc::new(Mutex::new(journal));
        Turn::take(&journal).await?;
        Ok(Self { journal, head })
    }

    /// A turn for reading.
    async fn look(&self) -> Result<Turn> {
        Turn::take(&self.journal).await
    }

    /// A turn for writing.
    async fn turn(&self) -> Result<Turn> {
        self.look().await?.fenced()
    }
}

impl fmt::Debug for JournalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for JournalStore {
    // --- what writes: decide, then keep ---

    async fn begin(&self, system: &System, now: Timestamp) -> Result<Epoch> {
        let turn = self.look().await?;
        let epoch = turn.memory.begin(system, now).await;
        let system = system.clone();
        turn.keep(Entry::Begin { system, now }, epoch).await
    }

    async fn check(&self) -> Result<()> {
        self.turn().await?.probe().await
    }

    async fn register_project(&self, new: NewProject) -> Result<Registered> {
        let turn = self.turn().await?;
        let registered = turn.memory.register_project(new.clone()).await;
        turn.keep(Entry::RegisterProject(new), registered).await
    }

    async fn hold_project(
        &self,
        id: ProjectId,
        hold: Option<Setback>,
        now: Timestamp,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.hold_project(id, hold.clone(), now).await;
        turn.keep(Entry::HoldProject { id, hold, now }, done).await
    }

    async fn pause_project(&self, id: ProjectId, paused: bool, now: Timestamp) -> Result<Project> {
        let turn = self.turn().await?;
        let project = turn.memory.pause_project(id, paused, now).await;
        turn.keep(Entry::PauseProject { id, paused, now }, project)
            .await
    }

    async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<RunId>> {
        let turn = self.turn().await?;
        let runs = turn.memory.remove_project(id, force, by, now).await;
        let by = by.to_owned();
        turn.keep(Entry::RemoveProject { id, force, by, now }, runs)
            .await
    }

    async fn observe_agent(
        &self,
        id: AgentId,
        state: AgentState,
        evidence: Evidence,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let (seen, by) = (state.clone(), evidence.clone());
        let done = turn.memory.observe_agent(id, seen, by).await;
        let entry = Entry::ObserveAgent {
            id,
            state,
            evidence,
        };
        turn.keep(entry, done).await
    }

    async fn want_agent(&self, id: AgentId, want: Want) -> Result<(Agent, Vec<RunId>)> {
        let turn = self.turn().await?;
        let wanted = turn.memory.want_agent(id, want.clone()).await;
        turn.keep(Entry::WantAgent { id, want }, wanted).await
    }

    async fn create_tasks(&self, request: CreateTasks) -> Result<Created> {
        let turn = self.turn().await?;
        let created = turn.memory.create_tasks(request.clone()).await;
        turn.keep(Entry::CreateTasks(request), created).await
    }

    async fn edit_task(&self, edit: TaskEdit) -> Result<Task> {
        let turn = self.turn().await?;
        let task = turn.memory.edit_task(edit.clone()).await;
        turn.keep(Entry::EditTask(edit), task).await
    }

    async fn move_task(&self, wish: TaskMove) -> Result<Task> {
        let turn = self.turn().await?;
        let task = turn.memory.move_task(wish.clone()).await;
        turn.keep(Entry::MoveTask(wish), task).await
    }

    async fn cancel_task(
        &self,
        id: TaskId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Task, CancelEffect)> {
        let turn = self.turn().await?;
        let cancelled = turn.memory.cancel_task(id, by, now).await;
        let by = by.to_owned();
        turn.keep(Entry::CancelTask { id, by, now }, cancelled)
            .await
    }

    async fn retry_task(&self, id: TaskId, by: &str, now: Timestamp) -> Result<Task> {
        let turn = self.turn().await?;
        let task = turn.memory.retry_task(id, by, now).await;
        let by = by.to_owned();
        turn.keep(Entry::RetryTask { id, by, now }, task).await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed> {
        let turn = self.turn().await?;
        let claimed = turn.memory.claim(claim.clone()).await;
        turn.keep(Entry::Claim(claim), claimed).await
    }

    async fn renew(&self, run: RunId, token: FencingToken, until: Timestamp) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.renew(run, token, until).await;
        turn.keep(Entry::Renew { run, token, until }, done).await
    }

    async fn mark_started(
        &self,
        run: RunId,
        token: FencingToken,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.mark_started(run, token, started_at, now).await;
        let entry = Entry::MarkStarted {
            run,
            token,
            started_at,
            now,
        };
        turn.keep(entry, done).await
    }

    async fn mark_stopping(
        &self,
        run: RunId,
        token: FencingToken,
        intent: StopIntent,
    ) -> Result<Run> {
        let turn = self.turn().await?;
        let stopping = turn.memory.mark_stopping(run, token, intent.clone()).await;
        turn.keep(Entry::MarkStopping { run, token, intent }, stopping)
            .await
    }

    async fn mark_held(
        &self,
        run: RunId,
        token: FencingToken,
        held: Option<Reason>,
        now: Timestamp,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.mark_held(run, token, held, now).await;
        let entry = Entry::MarkHeld {
            run,
            token,
            held,
            now,
        };
        turn.keep(entry, done).await
    }

    async fn take_in(
        &self,
        run: RunId,
        token: FencingToken,
        intake: Intake,
        now: Timestamp,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.take_in(run, token, intake.clone(), now).await;
        let entry = Entry::TakeIn {
            run,
            token,
            intake,
            now,
        };
        turn.keep(entry, done).await
    }

    async fn finish(
        &self,
        run: RunId,
        token: FencingToken,
        finish: Finish,
        now: Timestamp,
    ) -> Result<Task> {
        let turn = self.turn().await?;
        let task = turn.memory.finish(run, token, finish.clone(), now).await;
        let entry = Entry::Finish {
            run,
            token,
            finish,
            now,
        };
        turn.keep(entry, task).await
    }

    async fn answer_ask(&self, id: AskId, reply: Reply) -> Result<(Ask, ReplyEffect)> {
        let turn = self.turn().await?;
        let answered = turn.memory.answer_ask(id, reply.clone()).await;
        turn.keep(Entry::AnswerAsk { id, reply }, answered).await
    }

    async fn send_message(&self, message: Message) -> Result<Input> {
        let turn = self.turn().await?;
        let input = turn.memory.send_message(message.clone()).await;
        turn.keep(Entry::SendMessage(message), input).await
    }

    async fn interrupt(&self, interrupt: Interrupt) -> Result<Interrupted> {
        let turn = self.turn().await?;
        let done = turn.memory.interrupt(interrupt.clone()).await;
        turn.keep(Entry::Interrupt(interrupt), done).await
    }

    async fn settle_input(
        &self,
        run: RunId,
        token: FencingToken,
        number: u32,
        state: InputState,
        now: Timestamp,
    ) -> Result<()> {
        let turn = self.turn().await?;
        let done = turn.memory.settle_input(run, token, number, state, now);
        let done = done.await;
        let entry = Entry::SettleInput {
            run,
            token,
            number,
            state,
            now,
        };
        turn.keep(entry, done).await
    }

    async fn close_inputs(&self, run: RunId, token: FencingToken) -> Result<bool> {
        let turn = self.turn().await?;
        let closed = turn.memory.close_inputs(run, token).await;
        turn.keep(Entry::CloseInputs { run, token }, closed).await
    }

    // --- what reads: look ---

    async fn project(&self, id: ProjectId) -> Result<Project> {
        self.look().await?.memory.project(id).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.look().await?.memory.projects().await
    }

    async fn agent(&self, id: AgentId) -> Result<Agent> {
        self.look().await?.memory.agent(id).await
    }

    async fn agents(&self) -> Result<Vec<Agent>> {
        self.look().await?.memory.agents().await
    }

    async fn task(&self, id: TaskId) -> Result<Task> {
        self.look().await?.memory.task(id).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task>> {
        self.look().await?.memory.tasks(query).await
    }

    async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64> {
        self.look().await?.memory.count_tasks(filter).await
    }

    async fn queue(&self, query: &QueueQuery) -> Result<Page<Task>> {
        self.look().await?.memory.queue(query).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.look().await?.memory.counts().await
    }

    async fn ready(&self, now: Timestamp, per_project: u32) -> Result<Ready> {
        self.look().await?.memory.ready(now, per_project).await
    }

    async fn run(&self, id: RunId) -> Result<Run> {
        self.look().await?.memory.run(id).await
    }

    async fn open_runs(&self) -> Result<Vec<Run>> {
        self.look().await?.memory.open_runs().await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.look().await?.memory.runs(query).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>> {
        self.look().await?.memory.stats(query).await
    }

    async fn ask(&self, id: AskId) -> Result<Ask> {
        self.look().await?.memory.ask(id).await
    }

    async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>> {
        self.look().await?.memory.asks(query).await
    }

    async fn inputs(&self, run: RunId) -> Result<Vec<Input>> {
        self.look().await?.memory.inputs(run).await
    }

    async fn log(&self) -> Result<LogRange> {
        let turn = self.look().await?;
        let log = turn.log;
        Ok(LogRange {
            log,
            ..turn.memory.log().await?
        })
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<Event>> {
        self.look().await?.memory.events(query).await
    }

    fn watch(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}
