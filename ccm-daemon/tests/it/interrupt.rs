//! Interrupting what an agent does.

use ccm_core::Reason;
use ccm_core::api::{
    self, Agent, AgentStateName, Input, InputKind, InputState, Interrupted, Page, Task,
};
use ccm_core::id::{ProjectId, TaskId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

async fn interrupt(server: &Server, task: TaskId, key: Option<&str>, body: Value) -> Reply {
    let path = format!("/api/v1/tasks/{task}/interrupt");
    let mut request = server
        .request(Method::POST, &path)
        .header("x-ccm-client", "ada");
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    server.send(request.json(&body)).await
}

/// A task whose program takes what it is told.
async fn talking(server: &Server, project: ProjectId) -> TaskId {
    let task = server.task(project, "talk").await.id;
    server.task_in(task, "running").await;
    task
}

#[tokio::test]
async fn an_interrupted_task_says_whom_it_waits_for_until_it_is_told_what_next() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = talking(&server, project).await;
    let done: Interrupted = interrupt(&server, task, Some("k"), json!({})).await.ok(201);
    assert_eq!(
        (done.interrupt.kind, done.interrupt.number),
        (InputKind::Interrupt, 2)
    );
    assert_eq!((&*done.interrupt.by, done.message), ("ada", None));
    let again: Interrupted = interrupt(&server, task, Some("k"), json!({})).await.ok(201);
    assert_eq!(again.interrupt.id, done.interrupt.id);
    let other = interrupt(&server, task, Some("k"), json!({"text": "x"})).await;
    other.problem("idempotency_key_reused");

    let mut head = ccm_core::Store::watch(&server.store);
    let agent = loop {
        head.mark_unchanged();
        let agents: Page<Agent> = server.get("/api/v1/agents").await.ok(200);
        let agent = agents.items.into_iter().next().unwrap();
        if agent.state == AgentStateName::Waiting {
            break agent;
        }
        head.changed().await.unwrap();
    };
    let sentence = "ada interrupted it; say what it is to do next, or cancel it";
    assert_eq!(agent.detail.as_deref(), Some(sentence));
    assert_eq!(agent.run_id, Some(done.interrupt.run_id));
    let shown: Task = server.get(&format!("/api/v1/tasks/{task}")).await.ok(200);
    assert_eq!(
        (shown.reason, shown.detail.as_deref()),
        (Some(Reason::Interrupted), Some(sentence))
    );
    let path = format!("/api/v1/runs/{}", done.interrupt.run_id);
    let run: api::Run = server.get(&path).await.ok(200);
    assert_eq!(
        (run.reason, run.detail.as_deref()),
        (Some(Reason::Interrupted), Some(sentence))
    );

    let next = json!({"text": "go on"});
    let messages = format!("/api/v1/tasks/{task}/messages");
    server.post(&messages, &next).await.ok::<Input>(201);
    let done = server.task_in(task, "succeeded").await;
    assert_eq!(
        (done.reason, done.result.as_deref()),
        (None, Some("talked"))
    );
    let late = interrupt(&server, task, None, json!({})).await;
    late.problem("wrong_state");
    // The same request once more is harmless, also after the end.
    interrupt(&server, task, Some("k"), json!({}))
        .await
        .ok::<Interrupted>(201);
}

#[tokio::test]
async fn an_interrupt_brings_its_message_along() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = talking(&server, project).await;
    let body = json!({"text": "rather that"});
    let done: Interrupted = interrupt(&server, task, Some("k"), body.clone())
        .await
        .ok(201);
    let message = done.message.unwrap();
    assert_eq!((message.kind, message.number), (InputKind::Message, 3));
    assert_eq!(message.text.as_deref(), Some("rather that"));
    let again: Interrupted = interrupt(&server, task, Some("k"), body).await.ok(201);
    assert_eq!(again.message.map(|input| input.id), Some(message.id));
    for changed in [json!({}), json!({"text": "or this"})] {
        let reply = interrupt(&server, task, Some("k"), changed).await;
        reply.problem("idempotency_key_reused");
    }
    server.task_in(task, "succeeded").await;
    let inputs = format!("/api/v1/runs/{}/inputs", message.run_id);
    let inputs: Page<Input> = server.get(&inputs).await.ok(200);
    let states: Vec<_> = inputs.items.iter().map(|input| input.state).collect();
    assert_eq!(states, [InputState::Delivered; 2]);
}

#[tokio::test]
async fn what_can_not_be_interrupted_says_why() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let ended = server.task(project, "once").await.id;
    server.task_in(ended, "succeeded").await;
    let refused = interrupt(&server, ended, None, json!({})).await;
    refused.problem("wrong_state");
    let task = server.task(project, "hold").await.id;
    server.task_in(task, "running").await;
    let queued = server.task(project, "later").await.id;
    let refused = interrupt(&server, queued, None, json!({})).await;
    refused.problem("wrong_state");
    let deaf = interrupt(&server, task, None, json!({})).await;
    let problem = deaf.problem("unsupported");
    assert!(problem.detail.contains("cancel the task"), "{problem:?}");
    let nowhere = interrupt(&server, TaskId::new(), None, json!({})).await;
    nowhere.problem("task_not_found");
    for wrong in [
        json!({"text": ""}),
        json!({"text": "a\0"}),
        json!({"text": 3}),
        json!({"words": "x"}),
    ] {
        interrupt(&server, task, None, wrong)
            .await
            .problem("invalid");
    }
    interrupt(&server, task, Some("a b"), json!({}))
        .await
        .problem("bad_request");
    server.runtime.release("go");
    server.task_in(task, "succeeded").await;
}
