//! The contract of storage: durable when it returns, compare-and-set everywhere, one gap-free log.

mod queries;
mod replica;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::agent::{Agent, AgentState, Evidence, Want};
use crate::ask::{Answer, Ask};
use crate::event::{Cursor, Event};
use crate::id::{
    AgentId, AskId, Epoch, FencingToken, InputId, LogId, ProjectId, Revision, RunId, Seq, SystemId,
    TaskId,
};
use crate::input::{Input, InputBody, InputState};
use crate::project::Project;
use crate::reason::Reason;
use crate::run::{Checkpoint, Observation, Outcome, Run, Usage};
use crate::scheduler::Candidate;
use crate::stats::{Bucket, StatsQuery};
use crate::system::System;
use crate::task::{CancelEffect, Place, Setback, SpecEdit, StopIntent, Task, TaskSpec, TaskText};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Result};

pub use queries::{AskQuery, EventQuery, Page, QueueQuery, RunQuery, TaskFilter, TaskQuery};
pub use replica::{
    Act, Adopted, Adoption, Document, DocumentQuery, LeaseRecord, Mark, NewDocument, Pending,
    Replica, SealedOperation, SetAside, Settle, Sharing, keep_left,
};

/// Keeps everything that must outlive a process.
///
/// # Contract
///
/// - **Durable**: when a writing method returns `Ok`, a power cut changes nothing about it.
/// - **Atomic**: each method takes effect as a whole, its events included, or not at all. One caller's bad operation
///   never fails another's.
/// - **Fenced**: every write is made under the epoch of [`begin`](Self::begin); once another handle has begun, the
///   older one's writes fail with `Superseded` and change nothing. Writes about a run need the task's current token.
/// - **One log**: every change writes its events in the same transaction. Sequence numbers have no gaps, and a reader
///   that has seen `n` never later finds something new below `n`.
/// - **Readers** never wait for writers.
///
/// # Errors
/// Beside what each method names: `DiskFull`, `Corrupt`, `Unavailable` (nothing took effect), and `Unknown` when a
/// commit got no answer.
///
/// # Cancellation
/// Dropping the future of a write leaves the write either done or not done, never half.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Takes the store over for this machine: raises the epoch and keeps what the machine is. Writes `daemon.started`.
    ///
    /// Must be called before any other write. The system's id must be the one of earlier calls.
    ///
    /// # Errors
    /// `Taken(System)` when the store belongs to a system with another id.
    async fn begin(&self, system: &System, now: Timestamp) -> Result<Epoch>;

    /// Tries whether something new could be written now, as durably as any other write. What is stored stays as it is
    /// and as large as it is, and there is no event.
    async fn check(&self) -> Result<()>;

    // --- projects and their agents ---

    /// Registers a folder with its dedicated agent, or finds it again.
    ///
    /// By id: the same id and path is found unchanged; the same id and another path moves the project there (the
    /// caller has made sure that the old folder is gone). A name that is taken gets `-2`, `-3` ... unless
    /// [`NewProject::exact_name`] is set.
    ///
    /// # Errors
    /// `Taken(Project)` for an exact name that is taken, and for a path that another project has.
    async fn register_project(&self, new: NewProject) -> Result<Registered>;

    /// The project `id`.
    ///
    /// # Errors
    /// `NotFound(Project)`; also for one that was removed.
    async fn project(&self, id: ProjectId) -> Result<Project>;

    /// All projects by name.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// Sets or lifts a project's hold. Unchanged is no write and no event.
    async fn hold_project(
        &self,
        id: ProjectId,
        hold: Option<Setback>,
        now: Timestamp,
    ) -> Result<()>;

    /// Pauses or resumes a project's queue. Unchanged is no write and no event.
    async fn pause_project(&self, id: ProjectId, paused: bool, now: Timestamp) -> Result<Project>;

    /// Removes a project. Its waiting tasks fail and its runs are to be stopped, both as `project_removed`; its tasks
    /// stay readable. Returns the runs to stop.
    ///
    /// # Errors
    /// `WrongState(Project)` when tasks wait or run and `force` is not set; nothing changes then.
    async fn remove_project(
        &self,
        id: ProjectId,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<RunId>>;

    /// The agent `id`.
    ///
    /// # Errors
    /// `NotFound(Agent)`.
    async fn agent(&self, id: AgentId) -> Result<Agent>;

    /// All agents of projects that are registered, by name.
    async fn agents(&self) -> Result<Vec<Agent>>;

    /// Keeps what was seen of an agent. The same state again only refreshes the evidence, without an event.
    async fn observe_agent(&self, id: AgentId, state: AgentState, evidence: Evidence)
    -> Result<()>;

    /// Decides what an agent is to be ([`Agent::want`]). Unchanged is no write and no event.
    ///
    /// With [`Want::force`] the runs that it has in hand are to be stopped as `lost`, in the same commit. Returns the
    /// agent and all the runs that it has in hand.
    ///
    /// # Errors
    /// `NotFound(Agent)`. `WrongState(Agent)` when it has a run in hand and is to sleep, to be taken over, or to be down
    /// without force; when it is to sleep or to be taken over and is down; and when it is taken over and this does not hand
    /// it back. Nothing changes then.
    async fn want_agent(&self, id: AgentId, want: Want) -> Result<(Agent, Vec<RunId>)>;

    // --- tasks ---

    /// Accepts tasks, all of them or none.
    ///
    /// First the key is looked up: if it was used by the same principal and route with the same fingerprint, the
    /// tasks of that time are returned as they were then ([`Task::as_created`]) and nothing is written. Then the limit
    /// is checked against all waiting tasks.
    ///
    /// # Errors
    /// `KeyReused` for the same key with another fingerprint; `QueueFull`; `NotFound(Project)`; `NotFound(Task)` for a
    /// blocker that does not exist. [`Error::part`](crate::Error::part) says of which task: `/tasks/3/blocked_by/0`.
    async fn create_tasks(&self, request: CreateTasks) -> Result<Created>;

    /// The task `id`.
    ///
    /// # Errors
    /// `NotFound(Task)`.
    async fn task(&self, id: TaskId) -> Result<Task>;

    /// Those of `ids` that are there, in any order.
    async fn tasks_of(&self, ids: &[TaskId]) -> Result<Vec<Task>> {
        let mut found = Vec::new();
        for id in ids {
            match self.task(*id).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => {}
                task => found.push(task?),
            }
        }
        Ok(found)
    }

    /// Tasks, newest first.
    ///
    /// The cost of a part does not depend on how many tasks there are, but for what is skipped, and for words, tags and
    /// creators, which may have to be looked for in every task. The memory that it takes does not depend on it in any case.
    async fn tasks(&self, query: &TaskQuery) -> Result<Page<Task>>;

    /// How many tasks there are of a kind. Costs as much as looking at each of them.
    async fn count_tasks(&self, filter: &TaskFilter) -> Result<u64>;

    /// Calls a task off: at once if it waits, else as a durable intent that forbids a requeue.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when it succeeded or failed.
    async fn cancel_task(
        &self,
        id: TaskId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Task, CancelEffect)>;

    /// Queues an ended task again, with fresh attempts. Does not count against the queue limit.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when it waits or runs; `WrongState(Project)` when its project was removed.
    async fn retry_task(&self, id: TaskId, by: &str, now: Timestamp) -> Result<Task>;

    /// Changes what a waiting task asks for ([`Task::edited`]). Unchanged is no write and no event. A claim that came
    /// first wins.
    ///
    /// Its place among tasks of its priority stays what it was.
    ///
    /// # Errors
    /// `NotFound(Task)`; those of [`Task::edited`]; then `NotFound(Task)` for a blocker that does not exist, and `Invalid`
    /// for one that waits for this task itself, be it through others.
    async fn edit_task(&self, edit: TaskEdit) -> Result<Task>;

    /// Gives a waiting task another place among the waiting tasks of its project ([`Place`]). Being there already is no
    /// write and no event.
    ///
    /// It gets the priority of its place, and a rank there. Others may get other ranks as well, but keep their order,
    /// their revision and about the moment since which they count as waiting. The cost of many moves does not depend on
    /// the length of the queue.
    ///
    /// # Errors
    /// `NotFound(Task)` and `WrongState(Task)` for either task, the other one with the part `/before` or `/after`;
    /// `Invalid` for a place next to itself or in another project.
    async fn move_task(&self, wish: TaskMove) -> Result<Task>;

    /// The waiting tasks of a project in the order of its queue: by priority, then by rank ([`Task::spot`]). This is the
    /// order in which they start as far as they are ready and equally long waiting.
    async fn queue(&self, query: &QueueQuery) -> Result<Page<Task>>;

    /// How many tasks wait and run. Cheap at any size.
    async fn counts(&self) -> Result<Counts>;

    // --- dispatch and runs ---

    /// What is ready, per project: the first `per_project` by priority and rank, and the `per_project` of the lowest
    /// ranks, which are the oldest unless some were moved.
    ///
    /// Ready is: queued, due at `now`, not blocked, and the machine of [`begin`](Self::begin) is what it asks for.
    /// Projects that are paused or removed are left out; held ones are not. [`Ready::next_due`] is the earliest date of
    /// a task that is not ready only because it is not due yet. The cost does not depend on the length of the queue.
    async fn ready(&self, now: Timestamp, per_project: u32) -> Result<Ready>;

    /// Hands a queued task to exactly one caller: makes the run, raises the task's token. An agent that sleeps is
    /// wanted up by it ([`Agent::claim`]), in the same commit.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when it is not ready now, also because another caller has it;
    /// `WrongState(Agent)` when the agent is down.
    async fn claim(&self, claim: Claim) -> Result<Claimed>;

    /// Puts the end of a lease further away.
    ///
    /// # Errors
    /// `Superseded` with an old token or after the run ended.
    async fn renew(&self, run: RunId, token: FencingToken, until: Timestamp) -> Result<()>;

    /// Notes that a run's program was started. Idempotent.
    ///
    /// # Errors
    /// `Superseded` with an old token or after the run ended.
    async fn mark_started(
        &self,
        run: RunId,
        token: FencingToken,
        started_at: Timestamp,
        now: Timestamp,
    ) -> Result<()>;

    /// Notes a decision to end a run; see [`StopIntent::or`] for two of them. Idempotent.
    ///
    /// # Errors
    /// `Superseded` with an old token or after the run ended.
    async fn mark_stopping(
        &self,
        run: RunId,
        token: FencingToken,
        intent: StopIntent,
    ) -> Result<Run>;

    /// Notes that a run is over but held, or lifts that.
    async fn mark_held(
        &self,
        run: RunId,
        token: FencingToken,
        held: Option<Reason>,
        now: Timestamp,
    ) -> Result<()>;

    /// Takes in a part of a run's output: checkpoint, observations, what they mean for the run, its asks and its inputs,
    /// and their events, in one commit.
    ///
    /// `Asked` makes an ask with the id of [`Intake::ask_ids`] at its place among the observations of its kind, unless
    /// the run has one of that request already.
    ///
    /// # Errors
    /// `Superseded` with an old token, after the run ended, or when the kept checkpoint is not `intake.from`: then
    /// another taking-in came first, and the caller reads the run again.
    async fn take_in(
        &self,
        run: RunId,
        token: FencingToken,
        intake: Intake,
        now: Timestamp,
    ) -> Result<()>;

    /// Commits a run's outcome and what it means for its task, in one commit with their events. A task commits one
    /// outcome: the same call again answers with the task as it is.
    ///
    /// Open asks become void and inputs what [`InputState::at_end`] says, and the run takes no more. What the run used
    /// counts as it was taken in where `finish` does not say it.
    ///
    /// A verdict that is no attempt ([`Verdict::is_no_attempt`](crate::run::Verdict::is_no_attempt)) takes it back. With
    /// `finish.retry_at` the task waits again until then, unless a stop forbids it or the verdict is a success.
    ///
    /// # Errors
    /// `Superseded` with an old token; the task is untouched. If the task has another claim meanwhile and the run has no
    /// outcome yet, this one is kept on it as `superseded`; an outcome that was committed never changes, and a wrong
    /// token never ends a run whose own claim still counts.
    async fn finish(
        &self,
        run: RunId,
        token: FencingToken,
        finish: Finish,
        now: Timestamp,
    ) -> Result<Task>;

    /// The run `id`.
    ///
    /// # Errors
    /// `NotFound(Run)`.
    async fn run(&self, id: RunId) -> Result<Run>;

    /// All runs that have not ended, oldest first.
    async fn open_runs(&self) -> Result<Vec<Run>>;

    /// Runs, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Page<Run>>;

    /// What happened in each part of a time. Looks at what happened in that time and at nothing else.
    async fn stats(&self, query: &StatsQuery) -> Result<Vec<Bucket>>;

    // --- asks and inputs ---

    /// The ask `id`.
    ///
    /// # Errors
    /// `NotFound(Ask)`.
    async fn ask(&self, id: AskId) -> Result<Ask>;

    /// Asks, newest first.
    async fn asks(&self, query: &AskQuery) -> Result<Page<Ask>>;

    /// Answers an ask and accepts the input that carries the answer to its run, in one commit. The first answer
    /// counts: later ones get the ask as it is and change nothing.
    ///
    /// # Errors
    /// `NotFound(Ask)`; `Invalid` for an answer that does not fit the question (see
    /// [`Question::resolve`](crate::ask::Question::resolve)) and for an input id that is in use; `WrongState(Ask)` when
    /// no answer is wanted any more.
    async fn answer_ask(&self, id: AskId, reply: Reply) -> Result<(Ask, ReplyEffect)>;

    /// Accepts a message for the run that works on a task now. Idempotent by the message's id. A run that waited for a
    /// person after an interrupt goes on with it.
    ///
    /// # Errors
    /// `NotFound(Task)`; `WrongState(Task)` when no run works on it, it is being stopped, or its run takes no more
    /// input; `KeyReused` for the id of another message.
    async fn send_message(&self, message: Message) -> Result<Input>;

    /// Accepts an interrupt for the run that works on a task now, and the message that follows it if there is one, in one
    /// commit. Idempotent by the interrupt's id. Without a message the run waits for a person from then on
    /// ([`Waits::interrupted`](crate::run::Waits)), until one comes or the run ends.
    ///
    /// # Errors
    /// Those of [`send_message`](Self::send_message); `KeyReused` also for the id of an interrupt with another message, and
    /// `Invalid` for a message whose id is in use.
    async fn interrupt(&self, interrupt: Interrupt) -> Result<Interrupted>;

    /// A run's inputs after its prompt, in their order.
    async fn inputs(&self, run: RunId) -> Result<Vec<Input>>;

    /// Notes what became of an input; see [`InputState::then`] for what is known already. Idempotent. A run that an
    /// interrupt could not reach does not wait for a person because of it.
    ///
    /// # Errors
    /// `Superseded` with an old token or after the run ended.
    async fn settle_input(
        &self,
        run: RunId,
        token: FencingToken,
        number: u32,
        state: InputState,
        now: Timestamp,
    ) -> Result<()>;

    /// Takes no more input for a run, unless one was accepted and not written yet, or it waits for a person: an ask is
    /// open, or it was interrupted. Returns whether it is closed. Idempotent.
    ///
    /// # Errors
    /// `Superseded` with an old token or after the run ended.
    async fn close_inputs(&self, run: RunId, token: FencingToken) -> Result<bool>;

    // --- the log ---

    /// Where the log begins and ends now.
    async fn log(&self) -> Result<LogRange>;

    /// Events after a place, oldest first.
    async fn events(&self, query: &EventQuery) -> Result<Vec<Event>>;

    /// What this store shares with other machines; `None` for one that keeps to itself.
    fn replica(&self) -> Option<&dyn Replica> {
        None
    }

    /// Wakes readers: the value is the last committed sequence number. It may skip numbers; the truth is in
    /// [`events`](Self::events).
    fn watch(&self) -> watch::Receiver<Seq>;
}

/// A folder to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewProject {
    /// The id in its `.ccm/`.
    pub id: ProjectId,
    /// The id of its dedicated agent, if the project is new.
    pub agent_id: AgentId,
    /// The wished name.
    pub name: String,
    /// Whether another name is not acceptable.
    pub exact_name: bool,
    /// The folder with symlinks resolved.
    pub path: PathBuf,
    /// When.
    pub now: Timestamp,
}

/// What a registration led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The project.
    pub project: Project,
    /// Its dedicated agent.
    pub agent: Agent,
    /// What was done for it.
    pub effect: RegisterEffect,
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum RegisterEffect {
    Created,
    Moved,
    Unchanged,
}

/// Tasks to accept together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTasks {
    /// What is wanted, in order.
    pub tasks: Vec<NewTask>,
    /// Who wants it.
    pub created_by: String,
    /// Makes a repeated request harmless.
    pub key: Option<IdempotencyKey>,
    /// The most tasks that may wait in all.
    pub max_queued: u64,
    /// When.
    pub now: Timestamp,
}

/// One task to accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id, made by the caller.
    pub id: TaskId,
    /// The project whose agent is to do it.
    pub project_id: ProjectId,
    /// What it asks for.
    pub spec: TaskSpec,
}

/// A caller's name for a request. Kept for at least seven days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// Who asks.
    pub principal: String,
    /// What for.
    pub route: String,
    /// The caller's key.
    pub key: String,
    /// A digest of the request's body.
    pub fingerprint: String,
}

/// Accepted tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The tasks, in the order they were asked for.
    pub tasks: Vec<Task>,
    /// Whether this is the answer to an earlier request.
    pub replayed: bool,
}

/// A wish to change what a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEdit {
    /// The task.
    pub id: TaskId,
    /// The revision that the editor saw; `None` if it does not matter.
    pub revision: Option<Revision>,
    /// The changes.
    pub edit: SpecEdit,
    /// Who wants it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// A wish to give a task another place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMove {
    /// The task.
    pub id: TaskId,
    /// Where to.
    pub place: Place,
    /// Who wants it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// How many tasks are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks that run.
    pub running: u64,
}

/// What is ready to run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ready {
    /// Projects with at least one ready task.
    pub projects: Vec<ReadyProject>,
    /// When the next task becomes due.
    pub next_due: Option<Timestamp>,
}

/// One project's ready tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyProject {
    /// The project.
    pub project: Project,
    /// Its dedicated agent.
    pub agent: AgentId,
    /// When one of its tasks was started last.
    pub last_started: Option<Timestamp>,
    /// Its tasks, without doubles.
    pub candidates: Vec<Candidate>,
}

/// A wish to run a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The task.
    pub task: TaskId,
    /// The id that the run gets.
    pub run: RunId,
    /// The agent that will do it.
    pub agent: AgentId,
    /// The machine it will run on.
    pub system: SystemId,
    /// Until when the claim holds without being renewed; `None` for a task of this machine alone.
    pub lease_until: Option<Timestamp>,
    /// When.
    pub now: Timestamp,
}

/// A task that was handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The task, now running.
    pub task: Task,
    /// The run, with the token for everything that follows.
    pub run: Run,
}

/// A part of a run's output to take in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intake {
    /// The checkpoint that the part begins at.
    pub from: Checkpoint,
    /// The checkpoint after it.
    pub to: Checkpoint,
    /// What was seen in between.
    pub observations: Vec<Observation>,
    /// The ids of the asks that may come of it, one for each `Asked`.
    pub ask_ids: Vec<AskId>,
}

impl Intake {
    /// How many asks may come of it.
    pub fn asked(&self) -> usize {
        let asked = |seen: &&Observation| matches!(seen, Observation::Asked { .. });
        self.observations.iter().filter(asked).count()
    }

    /// A part with fresh ids for its asks.
    pub fn new(from: Checkpoint, to: Checkpoint, observations: Vec<Observation>) -> Self {
        let mut intake = Self {
            from,
            to,
            observations,
            ask_ids: Vec::new(),
        };
        intake.ask_ids = (0..intake.asked()).map(|_| AskId::new()).collect();
        intake
    }
}

/// A person's answer to an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Who gives it.
    pub by: String,
    /// The id of the input that carries it.
    pub input_id: InputId,
    /// When.
    pub now: Timestamp,
}

/// What an answer led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyEffect {
    /// It is the answer.
    Answered,
    /// The ask had one; it is the same or another.
    Unchanged,
}

/// A message to the run that works on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id, made by the caller.
    pub id: InputId,
    /// The task.
    pub task: TaskId,
    /// What it says.
    pub text: TaskText,
    /// Who sends it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

/// A wish that the run which works on a task stops what it does, and waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// Its id, made by the caller.
    pub id: InputId,
    /// The task.
    pub task: TaskId,
    /// What the agent is to do instead, and the id of the message that says so.
    pub then: Option<(InputId, TaskText)>,
    /// Who wants it.
    pub by: String,
    /// When.
    pub now: Timestamp,
}

impl Interrupt {
    /// What it is as an input.
    pub fn body(&self) -> InputBody {
        InputBody::Interrupt {
            then: self.then.as_ref().map(|(id, _)| *id),
        }
    }

    /// The answer when an input of its id is there already: `known`, of a run of `task`. `message` is the input with the id of
    /// its message, if there is one.
    ///
    /// # Errors
    /// `KeyReused` when that was something else.
    pub fn replayed(
        &self,
        known: &Input,
        task: TaskId,
        message: Option<&Input>,
    ) -> Result<Interrupted> {
        let says = |text: &TaskText| {
            message.is_some_and(
                |input| matches!(&input.body, InputBody::Message { text: of } if of == text),
            )
        };
        let same_message = self.then.as_ref().is_none_or(|(_, text)| says(text));
        if task != self.task || known.body != self.body() || !same_message {
            return Err(Error::new(
                ErrorKind::KeyReused,
                "the interrupt's id was used for another one",
            ));
        }
        Ok(Interrupted {
            interrupt: known.clone(),
            message: message.cloned(),
        })
    }
}

/// An interrupt that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The interrupt.
    pub interrupt: Input,
    /// The message that follows it.
    pub message: Option<Input>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// What came of it.
    pub outcome: Outcome,
    /// When the program had been started, if that was not noted before.
    pub started_at: Option<Timestamp>,
    /// What it used, if the program's report says so.
    pub usage: Option<Usage>,
    /// What it cost, if the program's report says so.
    pub cost_usd: Option<f64>,
    /// When another attempt may be made, if the policy wants one.
    pub retry_at: Option<Timestamp>,
}

/// The extent of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// Which log.
    pub log: LogId,
    /// Everything up to this one was removed; 0 if nothing was.
    pub pruned: Seq,
    /// The last event.
    pub head: Seq,
}

impl LogRange {
    /// Whether a reader at `cursor` can go on from there without having missed anything.
    pub fn holds(&self, cursor: Cursor) -> bool {
        cursor.log == self.log && cursor.seq >= self.pruned && cursor.seq <= self.head
    }
}
