//! Two daemons that share a queue by one server: what is written on one runs on the other, and is seen on both.

use std::sync::Arc;

use ccm_core::api::{
    Answer, Ask, AskStateName, AuditEntry, CancelAnswer, EntryBody, Page, Project, Run, System,
    Task, TaskStateName, Transcript,
};
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::project::{ProjectSharing, RemoteTasks};
use ccm_core::testing::memory::MemoryServer;
use ccm_core::time::SystemClock;
use ccm_core::{Reason, Store};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::asks::{asks, permission};
use crate::harness::{Line, PATIENCE, Server};

const REPOSITORY: &str = "example.com/me/shop";

struct Two {
    laptop: Server,
    server: Server,
    /// A project on the server.
    shop: ProjectId,
}

impl Two {
    async fn with(remote_tasks: RemoteTasks) -> Self {
        let net = MemoryServer::new(Arc::new(SystemClock));
        let line = || Line {
            backend: Some(Arc::new(net.connect())),
            ..Line::default()
        };
        let laptop = Server::sharing("laptop", line()).await;
        let of_server = line();
        *of_server.sharing.lock().unwrap() = ProjectSharing {
            repository: Some(REPOSITORY.to_owned()),
            remote_tasks,
        };
        let server = Server::sharing("server", of_server).await;
        let shop = server.project("shop").await;
        let path = format!("/api/v1/projects/{shop}");
        seen(&laptop, || async {
            let reply = laptop.get(&path).await;
            (reply.status == 200).then_some(())
        })
        .await;
        Self {
            laptop,
            server,
            shop,
        }
    }

    /// A task that is written on the laptop for the server.
    async fn task(&self, text: &str) -> TaskId {
        let body = json!({"project_id": self.shop, "text": text});
        let task: Task = self.laptop.post("/api/v1/tasks", &body).await.ok(201);
        assert_eq!(task.state, TaskStateName::Queued);
        task.id
    }

    /// The task as the laptop tells it, once it is as wanted.
    async fn on_laptop(&self, id: TaskId, wanted: impl Fn(&Task) -> bool) -> Task {
        when(&self.laptop, &format!("/api/v1/tasks/{id}"), wanted).await
    }

    async fn on_server(&self, id: TaskId, wanted: impl Fn(&Task) -> bool) -> Task {
        when(&self.server, &format!("/api/v1/tasks/{id}"), wanted).await
    }
}

/// What `look` finds, looked for after every change of the store.
async fn seen<T, F: Future<Output = Option<T>>>(server: &Server, look: impl Fn() -> F) -> T {
    let looking = async {
        let mut head = server.store.watch();
        loop {
            head.mark_unchanged();
            if let Some(found) = look().await {
                return found;
            }
            head.changed().await.unwrap();
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.expect("what is waited for comes")
}

async fn when<T: DeserializeOwned>(server: &Server, path: &str, wanted: impl Fn(&T) -> bool) -> T {
    seen(server, || async {
        let reply = server.get(path).await;
        if reply.status == 404 {
            return None;
        }
        Some(reply.ok::<T>(200)).filter(|found| wanted(found))
    })
    .await
}

/// What the log of who did what says of the making of an object. It is written beside the store, so nothing tells when.
async fn noted(server: &Server, path: &str) -> AuditEntry {
    let looking = async {
        loop {
            let audit: Page<AuditEntry> = server.get("/api/v1/audit").await.ok(200);
            let mut entries = audit.items.into_iter();
            let made = |entry: &AuditEntry| entry.created.as_deref() == Some(path);
            if let Some(entry) = entries.find(made) {
                return entry;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.expect("it is in the log")
}

fn is(state: TaskStateName) -> impl Fn(&Task) -> bool {
    move |task| task.state == state
}

#[tokio::test]
async fn a_task_runs_on_the_other_machine_and_its_result_comes_back() {
    let two = Two::with(RemoteTasks::Allow).await;
    let id = two.task("say hello").await;
    let task = two.on_laptop(id, is(TaskStateName::Succeeded)).await;
    assert_eq!(task.project, "shop");
    assert_eq!(task.text, "say hello");
    assert!(task.result.as_ref().unwrap().contains("say hello"));
    let sharing = task.sharing.unwrap();
    assert_eq!(sharing.runs_on.as_ref().unwrap().hostname, "server");
    assert!(sharing.created_on.this && sharing.heard);

    // The server says where it came from; its own project and machine are known on both.
    let there = two.on_server(id, |_| true).await;
    assert_eq!(there.sharing.unwrap().created_on.hostname, "laptop");
    let systems: Page<System> = two.laptop.get("/api/v1/systems").await.ok(200);
    assert_eq!(systems.items[1].hostname, "server");
    assert!(systems.items[1].last_seen.is_some());
    let projects: Page<Project> = two.laptop.get("/api/v1/projects?machine=all").await.ok(200);
    let known = &projects.items[0];
    assert_eq!(known.machine.as_ref().unwrap().hostname, "server");
    assert_eq!(known.repository.as_deref(), Some(REPOSITORY));
    assert!(known.agent_state.is_some());

    // What it said comes, too, to its end.
    let run = task.run_id.unwrap();
    let told: Transcript = when(
        &two.laptop,
        &format!("/api/v1/runs/{run}/transcript"),
        |told: &Transcript| told.complete && !told.entries.is_empty(),
    )
    .await;
    let EntryBody::Output { text } = &told.entries[0].body else {
        panic!("{told:?}");
    };
    assert!(text.contains("say hello"));
    let ended: Run = when(&two.laptop, &format!("/api/v1/runs/{run}"), |run: &Run| {
        run.finished_at.is_some()
    })
    .await;
    assert_eq!(ended.task_id, id);

    // Who did it is in the log of the machine that ran it.
    let entry = noted(&two.server, &format!("/api/v1/tasks/{id}")).await;
    assert!(entry.principal.starts_with("machine:"), "{entry:?}");
    assert!(entry.principal.contains("host=laptop"), "{entry:?}");
    assert_eq!((entry.status, &*entry.client), (201, "api"));
}

#[tokio::test]
async fn a_task_that_asks_first_waits_for_leave_on_its_machine() {
    let two = Two::with(RemoteTasks::Ask).await;
    let id = two.task("say hello").await;
    let held = |task: &Task| task.reason == Some(Reason::RemoteUnapproved);
    let there = two.on_server(id, held).await;
    assert!(
        there
            .detail
            .unwrap()
            .contains(&format!("ccm task approve {id}"))
    );
    let here = two.on_laptop(id, held).await;
    assert_eq!(
        here.detail.unwrap(),
        format!("waits for somebody to let it run on server: `ccm task approve {id}` there")
    );
    let waiting = || async {
        let path = "/api/v1/tasks?unapproved=true";
        let tasks: Page<Task> = two.server.get(path).await.ok(200);
        tasks
            .items
            .into_iter()
            .map(|task| task.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [id]);
    let approve = format!("/api/v1/tasks/{id}/approve");
    let problem = two.laptop.poke(&approve).await.problem("wrong_state");
    assert!(!problem.detail.is_empty());
    two.server.poke(&approve).await.ok::<Task>(200);
    two.on_laptop(id, is(TaskStateName::Succeeded)).await;
    assert!(waiting().await.is_empty());
    two.server.poke(&approve).await.problem("wrong_state");

    // Refusing it is calling it off.
    let unwanted = two.task("say goodbye").await;
    two.on_server(unwanted, held).await;
    let cancel = format!("/api/v1/tasks/{unwanted}/cancel");
    two.server.poke(&cancel).await.ok::<CancelAnswer>(200);
    two.on_laptop(unwanted, is(TaskStateName::Cancelled)).await;
}

#[tokio::test]
async fn a_project_that_takes_none_refuses_and_says_so() {
    let two = Two::with(RemoteTasks::Deny).await;
    let id = two.task("say hello").await;
    let task = two.on_laptop(id, is(TaskStateName::Failed)).await;
    assert_eq!(task.reason, Some(Reason::RemoteDenied));
    assert_eq!(task.attempts, 0);
    let path = format!("/api/v1/tasks/{id}");
    assert_eq!(noted(&two.server, &path).await.status, 403);
}

#[tokio::test]
async fn a_task_is_called_off_done_again_and_answered_from_afar() {
    let two = Two::with(RemoteTasks::Allow).await;
    let id = two.task("hold on").await;
    let running = two.on_laptop(id, is(TaskStateName::Running)).await;
    let path = format!("/api/v1/tasks/{id}");

    // It asks, and the answer goes there.
    let run = running.run_id.unwrap();
    let ask = asks(&two.server, run, "1", permission("Bash")).await;
    let asking = two.on_laptop(id, |task| !task.open_asks.is_empty()).await;
    assert_eq!(asking.open_asks[0].id, ask);
    let answer = format!("/api/v1/asks/{ask}/answer");
    let sent: Ask = two
        .laptop
        .post(&answer, &json!({"answer": "allow"}))
        .await
        .ok(200);
    assert_eq!(sent.machine.unwrap().hostname, "server");
    let answered = |ask: &Ask| ask.state == AskStateName::Answered;
    let there: Ask = when(&two.server, &format!("/api/v1/asks/{ask}"), answered).await;
    assert_eq!(there.answer, Some(Answer::Allow));
    let here: Ask = when(&two.laptop, &format!("/api/v1/asks/{ask}"), answered).await;
    assert_eq!(here.sent_answer, None);

    let stopping: CancelAnswer = two.laptop.poke(&format!("{path}/cancel")).await.ok(200);
    assert!(stopping.stopping);
    let cancelled = two.on_laptop(id, is(TaskStateName::Cancelled)).await;
    assert_eq!(cancelled.reason, Some(Reason::Cancelled));
    two.on_server(id, is(TaskStateName::Cancelled)).await;

    let again: Task = two.laptop.poke(&format!("{path}/retry")).await.ok(200);
    assert_eq!(
        again.detail.as_deref(),
        Some("server is asked to do it again")
    );
    two.on_server(id, is(TaskStateName::Running)).await;
    let running = two.on_laptop(id, is(TaskStateName::Running)).await;
    assert_ne!(running.run_id, Some(run));
    two.server.runtime.release("go");
    two.on_laptop(id, is(TaskStateName::Succeeded)).await;
}

#[tokio::test]
async fn a_task_for_any_machine_is_run_by_the_one_that_can() {
    let two = Two::with(RemoteTasks::Allow).await;
    // The laptop has the repository, too, but its project rests.
    let here = two.laptop.paused_project("shop").await;
    let line = two.laptop.line();
    line.sharing.lock().unwrap().repository = Some(REPOSITORY.to_owned());
    let body = json!({"project_id": here, "text": "say hello", "any_machine": true});
    let task: Task = two.laptop.post("/api/v1/tasks", &body).await.ok(201);
    assert!(task.sharing.unwrap().any_machine);
    let done = two.on_laptop(task.id, is(TaskStateName::Succeeded)).await;
    assert_eq!(done.sharing.unwrap().runs_on.unwrap().hostname, "server");
    let of_laptop: Page<Task> = two.laptop.get("/api/v1/tasks?machine=mine").await.ok(200);
    assert_eq!(of_laptop.items[0].id, task.id);
}

#[tokio::test]
async fn what_was_not_told_before_the_daemon_ended_is_told_by_the_next() {
    let mut two = Two::with(RemoteTasks::Allow).await;
    let id = two.task("hold on").await;
    let running = two.on_laptop(id, is(TaskStateName::Running)).await;
    let run = running.run_id.unwrap();
    let path = format!("/api/v1/runs/{run}/transcript");
    let begun = |told: &Transcript| !told.entries.is_empty();
    when(&two.laptop, &path, begun).await;
    two.server = two.server.restart().await;
    two.server.runtime.release("go");
    two.on_laptop(id, is(TaskStateName::Succeeded)).await;
    let told: Transcript = when(&two.laptop, &path, |told: &Transcript| {
        told.complete && told.next > 6
    })
    .await;
    let said: String = told
        .entries
        .iter()
        .map(|entry| match &entry.body {
            EntryBody::Output { text } => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, "begun\ndone\n");
}
