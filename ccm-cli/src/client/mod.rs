//! The typed client of CCM's HTTP API.
//!
//! ```no_run
//! use ccm_cli::client::{Client, Endpoint};
//! use ccm_core::api::CreateTask;
//!
//! # async fn example() -> ccm_cli::client::Result<()> {
//! let client = Client::new(&Endpoint::new("http://127.0.0.1:8765", "TOKEN"))?;
//! let project = client.projects().all().await?.remove(0);
//! let task = client.create_task(&CreateTask::new(project.id, "Say hello")).await?;
//! println!("{}", task.id);
//! # Ok(())
//! # }
//! ```

mod endpoint;
mod error;
mod events;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod pages;
mod sse;
mod sync;
mod transport;

pub use endpoint::Endpoint;
pub use error::{Error, Result};
pub use events::{EventFilter, EventStream, Notice};
pub use pages::Pages;
pub use transport::Locate;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ccm_core::api::{
    Agent, AgentCleanup, Answer, Ask, AttachCommand, AuditEntry, BulkCreate, BulkCreated, BulkIds,
    BulkResult, BulkResults, CancelAnswer, CleanUpAgents, CreateProject, CreateTask, EditTask,
    Health, Input, InterruptTask, Interrupted, Machines, MoveTask, Project, Readiness,
    RegisteredProject, Reload, Run, SendMessage, Session, Shutdown, ShutdownReport, SignInCode,
    Status, Stream, System, Task, TaskStateName, Transcript, Trust, TrustProject,
};
use ccm_core::event::Cursor;
use ccm_core::id::{AgentId, AskId, ProjectId, Revision, RunId, TaskId};
use ccm_core::task::Words;

use transport::{Call, Transport};

/// A daemon's API. Clones share their connections.
///
/// Calls that change nothing, or the same thing when they are made twice, are tried again for a few seconds when the
/// connection breaks in the middle; creating is among them, because each call has an idempotency key.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

/// Which tasks are wanted. Empty means all of them, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those in this state.
    pub state: Option<TaskStateName>,
    /// Only those with each of these words in title or text.
    pub words: Option<Words>,
    /// Only those that ask for this tag.
    pub tag: Option<String>,
    /// Only those that this client created.
    pub created_by: Option<String>,
    /// Whose; the daemon's own machine's without it.
    pub machine: Option<Machines>,
    /// No more than so many characters each of text, result and detail.
    pub text_limit: Option<u32>,
    /// How many to fetch at once.
    pub page_size: Option<u32>,
}

/// Which questions of agents are wanted. Empty means all of them, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskFilter {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those of this task.
    pub task_id: Option<TaskId>,
    /// Only those of this run.
    pub run_id: Option<RunId>,
    /// Only those that wait for an answer.
    pub open: bool,
    /// Whose; those of the daemon's own machine without it.
    pub machine: Option<Machines>,
    /// How many to fetch at once.
    pub page_size: Option<u32>,
}

/// A piece of a run's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// The place of its first byte.
    pub offset: u64,
    /// How many bytes the log has by now.
    pub size: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Client {
    /// The client of the daemon at `endpoint`. Nothing is sent yet.
    pub fn new(endpoint: &Endpoint) -> Result<Self> {
        Self::with(endpoint, "client", None)
    }

    /// The same with a name that the daemon notes as the creator of what it creates, and with a way to find the daemon
    /// again when it is no longer there.
    pub fn with(endpoint: &Endpoint, name: &str, locate: Option<Locate>) -> Result<Self> {
        let transport = Transport::new(endpoint, name, locate)?;
        Ok(Self {
            transport: Arc::new(transport),
        })
    }

    /// Where the daemon was last found.
    pub fn url(&self) -> String {
        self.transport.url()
    }

    /// Whether the daemon is alive.
    pub async fn health(&self) -> Result<Health> {
        self.call(Call::get("/health")).await
    }

    /// Whether the daemon can do its work.
    pub async fn ready(&self) -> Result<Readiness> {
        self.call(Call::get("/ready")).await
    }

    /// The daemon at a glance.
    pub async fn status(&self) -> Result<Status> {
        self.call(Call::get("/api/v1/status")).await
    }

    /// Has the daemon read its config file again.
    pub async fn reload(&self) -> Result<Reload> {
        self.call(Call::put("/api/v1/reload")).await
    }

    /// A code that signs a browser in.
    pub async fn sign_in_code(&self) -> Result<SignInCode> {
        self.call(Call::post("/api/v1/sign-in-codes")).await
    }

    /// The browsers that are signed in.
    pub fn sessions(&self) -> Pages<Session> {
        self.pages(Call::get("/api/v1/sessions"))
    }

    /// Signs a browser out.
    pub async fn end_session(&self, id: &str) -> Result<()> {
        let call = Call::delete(format!("/api/v1/sessions/{id}"));
        self.transport.send(&call).await.map(drop)
    }

    /// Who did what, newest first.
    pub fn audit(&self) -> Pages<AuditEntry> {
        self.pages(Call::get("/api/v1/audit"))
    }

    /// Stops the daemon.
    pub async fn shutdown(&self, how: &Shutdown) -> Result<ShutdownReport> {
        self.call(Call::post("/api/v1/shutdown").json(how)).await
    }

    /// The machines.
    pub fn systems(&self) -> Pages<System> {
        self.pages(Call::get("/api/v1/systems"))
    }

    /// The projects.
    pub fn projects(&self) -> Pages<Project> {
        self.pages(Call::get("/api/v1/projects"))
    }

    /// The projects of these machines.
    pub fn projects_of(&self, machines: Machines) -> Pages<Project> {
        self.pages(Call::get("/api/v1/projects").query("machine", Some(machines)))
    }

    /// The project of this name on the daemon's machine.
    pub async fn project_named(&self, name: &str) -> Result<Option<Project>> {
        let call = Call::get("/api/v1/projects").query("name", Some(name));
        let found = self.pages::<Project>(call).all().await?;
        Ok(found.into_iter().find(|project| project.name == name))
    }

    /// A project.
    pub async fn project(&self, id: ProjectId) -> Result<Project> {
        self.call(Call::get(format!("/api/v1/projects/{id}"))).await
    }

    /// Registers a folder that was set up.
    pub async fn create_project(&self, wish: &CreateProject) -> Result<RegisteredProject> {
        self.call(Call::create("/api/v1/projects").json(wish)).await
    }

    /// Removes a project; with `force` also when tasks wait or run.
    pub async fn remove_project(&self, id: ProjectId, force: bool) -> Result<()> {
        let call = Call::delete(format!("/api/v1/projects/{id}")).query("force", Some(force));
        self.transport.send(&call).await.map(drop)
    }

    /// Lets a project's queue rest.
    pub async fn pause_project(&self, id: ProjectId) -> Result<Project> {
        self.call(Call::put(format!("/api/v1/projects/{id}/pause")))
            .await
    }

    /// Lets a project's queue move again.
    pub async fn resume_project(&self, id: ProjectId) -> Result<Project> {
        self.call(Call::put(format!("/api/v1/projects/{id}/resume")))
            .await
    }

    /// Has the daemon look at the project's folder and settings now.
    pub async fn refresh_project(&self, id: ProjectId) -> Result<Project> {
        self.call(Call::put(format!("/api/v1/projects/{id}/refresh")))
            .await
    }

    /// A project's settings, as far as they can run code.
    pub async fn trust(&self, id: ProjectId) -> Result<Trust> {
        self.call(Call::get(format!("/api/v1/projects/{id}/trust")))
            .await
    }

    /// Trusts the settings that have this digest.
    pub async fn set_trust(&self, id: ProjectId, digest: &str) -> Result<Trust> {
        let call = Call::put(format!("/api/v1/projects/{id}/trust")).json(&TrustProject {
            digest: digest.to_owned(),
        });
        self.call(call).await
    }

    /// The agents, or those of one project.
    pub fn agents(&self, project: Option<ProjectId>) -> Pages<Agent> {
        self.pages(Call::get("/api/v1/agents").query("project_id", project))
    }

    /// An agent.
    pub async fn agent(&self, id: AgentId) -> Result<Agent> {
        self.call(Call::get(format!("/api/v1/agents/{id}"))).await
    }

    /// Wants an agent up.
    pub async fn start_agent(&self, id: AgentId) -> Result<Agent> {
        self.call(Call::put(format!("/api/v1/agents/{id}/start")))
            .await
    }

    /// Wants an agent down; with `force` also in the middle of a run, which is lost then.
    pub async fn stop_agent(&self, id: AgentId, force: bool) -> Result<Agent> {
        let call = Call::put(format!("/api/v1/agents/{id}/stop")).query("force", Some(force));
        self.call(call).await
    }

    /// Gives an agent a new place; with `force` also in the middle of a run, which is lost then.
    pub async fn restart_agent(&self, id: AgentId, force: bool) -> Result<Agent> {
        let call = Call::post(format!("/api/v1/agents/{id}/restart")).query("force", Some(force));
        self.call(call).await
    }

    /// Takes an agent over: no tasks, and its terminal is for a person to type into.
    pub async fn take_over_agent(&self, id: AgentId) -> Result<Agent> {
        let call = Call::put(format!("/api/v1/agents/{id}/take-over"));
        self.call(call).await
    }

    /// Hands an agent back that was taken over.
    pub async fn hand_back_agent(&self, id: AgentId) -> Result<Agent> {
        let call = Call::put(format!("/api/v1/agents/{id}/hand-back"));
        self.call(call).await
    }

    /// Puts idle agents to sleep.
    pub async fn clean_up_agents(&self, which: &CleanUpAgents) -> Result<AgentCleanup> {
        let call = Call::post("/api/v1/agents/cleanup").json(which);
        self.call(call).await
    }

    /// What a person on the daemon's machine runs to see an agent's terminal.
    pub async fn attach_command(&self, id: AgentId) -> Result<AttachCommand> {
        self.call(Call::get(format!("/api/v1/agents/{id}/attach")))
            .await
    }

    /// Accepts a task. When this returns, the task is durable.
    pub async fn create_task(&self, wish: &CreateTask) -> Result<Task> {
        self.call(Call::create("/api/v1/tasks").json(wish)).await
    }

    /// Accepts tasks, all of them or none, at most [`MAX_BULK`](ccm_core::api::MAX_BULK). When this returns, they are
    /// durable. The same `key` with the same tasks gets the first answer again.
    pub async fn create_tasks(
        &self,
        tasks: Vec<CreateTask>,
        key: Option<&str>,
    ) -> Result<Vec<Task>> {
        let call = Call::create("/api/v1/tasks/bulk").named(key);
        let created: BulkCreated = self.call(call.json(&BulkCreate { tasks })).await?;
        Ok(created.items)
    }

    /// Changes a waiting task that was seen at `revision`. Refused with `StaleRevision` if it is at another one by now.
    pub async fn edit_task(&self, id: TaskId, revision: Revision, edit: &EditTask) -> Result<Task> {
        let call = Call::patch(format!("/api/v1/tasks/{id}"), format!("\"{revision}\""));
        self.call(call.json(edit)).await
    }

    /// Gives a waiting task another place in the queue of its project.
    pub async fn move_task(&self, id: TaskId, to: MoveTask) -> Result<Task> {
        let call = Call::put(format!("/api/v1/tasks/{id}/move")).json(&to);
        self.call(call).await
    }

    /// The waiting tasks of a project, in the order of its queue.
    pub fn queue(&self, project: ProjectId) -> Pages<Task> {
        self.pages(
            Call::get("/api/v1/tasks")
                .query("order", Some("queue"))
                .query("project_id", Some(project)),
        )
    }

    /// Tasks, newest first.
    pub fn tasks(&self, filter: &TaskFilter) -> Pages<Task> {
        self.pages(
            Call::get("/api/v1/tasks")
                .query("project_id", filter.project_id)
                .query("state", filter.state)
                .query("q", filter.words.as_ref())
                .query("tag", filter.tag.as_ref())
                .query("created_by", filter.created_by.as_ref())
                .query("machine", filter.machine)
                .query("text_limit", filter.text_limit)
                .query("page_size", filter.page_size),
        )
    }

    /// A task.
    pub async fn task(&self, id: TaskId) -> Result<Task> {
        self.call(Call::get(format!("/api/v1/tasks/{id}"))).await
    }

    /// Calls a task off.
    pub async fn cancel_task(&self, id: TaskId) -> Result<CancelAnswer> {
        self.call(Call::put(format!("/api/v1/tasks/{id}/cancel")))
            .await
    }

    /// Has an ended task done again.
    pub async fn retry_task(&self, id: TaskId) -> Result<Task> {
        self.call(Call::post(format!("/api/v1/tasks/{id}/retry")))
            .await
    }

    /// Lets a task that came from another machine run on the daemon's.
    pub async fn approve_task(&self, id: TaskId) -> Result<Task> {
        self.call(Call::put(format!("/api/v1/tasks/{id}/approve")))
            .await
    }

    /// Calls tasks off, each on its own, at most [`MAX_BULK`](ccm_core::api::MAX_BULK).
    pub async fn cancel_tasks(&self, ids: &[TaskId]) -> Result<Vec<BulkResult>> {
        self.bulk(Call::put("/api/v1/tasks/bulk/cancel"), ids).await
    }

    /// Has ended tasks done again, each on its own, at most [`MAX_BULK`](ccm_core::api::MAX_BULK).
    pub async fn retry_tasks(&self, ids: &[TaskId]) -> Result<Vec<BulkResult>> {
        self.bulk(Call::post("/api/v1/tasks/bulk/retry"), ids).await
    }

    async fn bulk(&self, call: Call, ids: &[TaskId]) -> Result<Vec<BulkResult>> {
        let ids = ids.to_vec();
        let answer: BulkResults = self.call(call.json(&BulkIds { ids })).await?;
        Ok(answer.results)
    }

    /// Tells the run that works on a task something. When this returns, the message is durable.
    pub async fn send_message(&self, id: TaskId, text: &str) -> Result<Input> {
        let call = Call::create(format!("/api/v1/tasks/{id}/messages")).json(&SendMessage {
            text: text.to_owned(),
        });
        self.call(call).await
    }

    /// Has the run that works on a task stop what it does: it goes on with `text`, or waits for a message. When this returns,
    /// the interrupt is durable.
    pub async fn interrupt_task(&self, id: TaskId, text: Option<&str>) -> Result<Interrupted> {
        let wish = InterruptTask {
            text: text.map(str::to_owned),
        };
        let call = Call::create(format!("/api/v1/tasks/{id}/interrupt")).json(&wish);
        self.call(call).await
    }

    /// Questions of agents, newest first.
    pub fn asks(&self, filter: &AskFilter) -> Pages<Ask> {
        self.pages(
            Call::get("/api/v1/asks")
                .query("state", filter.open.then_some("open"))
                .query("project_id", filter.project_id)
                .query("task_id", filter.task_id)
                .query("run_id", filter.run_id)
                .query("machine", filter.machine)
                .query("page_size", filter.page_size),
        )
    }

    /// A question of an agent.
    pub async fn ask(&self, id: AskId) -> Result<Ask> {
        self.call(Call::get(format!("/api/v1/asks/{id}"))).await
    }

    /// Answers a question. The first answer counts; the same one again is harmless.
    pub async fn answer(&self, id: AskId, answer: &Answer) -> Result<Ask> {
        let call = Call::put(format!("/api/v1/asks/{id}/answer")).json(answer);
        self.call(call).await
    }

    /// The attempts at a task, newest first.
    pub fn runs(&self, task: TaskId) -> Pages<Run> {
        self.pages(Call::get("/api/v1/runs").query("task_id", Some(task)))
    }

    /// The runs of an agent, newest first.
    pub fn agent_runs(&self, agent: AgentId) -> Pages<Run> {
        self.pages(Call::get("/api/v1/runs").query("agent_id", Some(agent)))
    }

    /// An attempt.
    pub async fn run(&self, id: RunId) -> Result<Run> {
        self.call(Call::get(format!("/api/v1/runs/{id}"))).await
    }

    /// A run's output from `offset` on, at most `limit` bytes of it.
    pub async fn read_log(
        &self,
        id: RunId,
        stream: Stream,
        offset: u64,
        limit: u64,
    ) -> Result<LogPart> {
        let call = Call::get(format!("/api/v1/runs/{id}/log"))
            .query("stream", Some(stream.as_str()))
            .query("offset", Some(offset))
            .query("limit", Some(limit));
        let answer = self.transport.send(&call).await?;
        Ok(LogPart {
            offset: answer.number("x-log-offset")?,
            size: answer.number("x-log-size")?,
            bytes: answer.body,
        })
    }

    /// What a run was given after its prompt, in its order.
    pub fn inputs(&self, id: RunId) -> Pages<Input> {
        self.pages(Call::get(format!("/api/v1/runs/{id}/inputs")))
    }

    /// What a run's agent said and did after a place, about `limit` entries of it.
    pub async fn transcript(&self, id: RunId, after: u64, limit: u32) -> Result<Transcript> {
        let call = Call::get(format!("/api/v1/runs/{id}/transcript"))
            .query("after", Some(after))
            .query("limit", Some(limit));
        self.call(call).await
    }

    /// The events after a place in the log; without one, what happens from now on.
    pub fn events(&self, after: Option<Cursor>, filter: &EventFilter) -> EventStream {
        EventStream::new(Arc::clone(&self.transport), after, filter)
    }

    async fn call<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T> {
        self.transport.send(&call).await?.json()
    }

    fn pages<T: serde::de::DeserializeOwned>(&self, call: Call) -> Pages<T> {
        Pages::new(Arc::clone(&self.transport), call)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}
