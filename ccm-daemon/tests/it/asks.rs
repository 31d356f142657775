//! Questions of agents, messages to them, and what they said.

use ccm_core::Store;
use ccm_core::api::{
    self, Agent, AgentStateName, Answer, Ask, AskStateName, EntryBody, Input, InputKind,
    InputState, Page, Status, Task, Transcript,
};
use ccm_core::ask::{AskKind, Choice, ChoiceOption, Question};
use ccm_core::id::{AskId, ProjectId, RunId, TaskId};
use ccm_core::run::Observation;
use ccm_core::store::Intake;
use ccm_core::time::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

/// A task whose run goes on and said all that it says for now.
async fn held(server: &Server, project: ProjectId) -> (TaskId, RunId) {
    let task = server.task(project, "hold").await.id;
    let run = server.task_in(task, "running").await.run_id.unwrap();
    let mut head = server.store.watch();
    loop {
        head.mark_unchanged();
        let run = server.app.engine().store().run(run).await.unwrap();
        if run.checkpoint.out == 6 {
            return (task, run.id);
        }
        head.changed().await.unwrap();
    }
}

/// Lets a run ask, as if its program had.
pub(crate) async fn asks(server: &Server, run: RunId, request: &str, question: Question) -> AskId {
    let store = server.app.engine().store();
    let run = store.run(run).await.unwrap();
    let asked = Observation::Asked {
        request_id: request.to_owned(),
        question,
    };
    let place = run.checkpoint.clone();
    let intake = Intake::new(place.clone(), place, vec![asked]);
    let id = intake.ask_ids[0];
    let now = SystemClock.now();
    store.take_in(run.id, run.token, intake, now).await.unwrap();
    id
}

pub(crate) fn permission(title: &str) -> Question {
    Question {
        kind: AskKind::Permission,
        title: title.to_owned(),
        detail: "rm -rf build".to_owned(),
        choices: Vec::new(),
        payload: "secret".to_owned(),
    }
}

fn choice() -> Question {
    let option = |label: &str| ChoiceOption {
        label: label.to_owned(),
        description: format!("it is {label}"),
    };
    Question {
        kind: AskKind::Choice,
        choices: vec![Choice {
            question: "Which?".to_owned(),
            header: "Colour".to_owned(),
            options: vec![option("red"), option("blue")],
            multiple: false,
        }],
        ..permission("Which?")
    }
}

async fn answer(server: &Server, id: AskId, client: &str, body: Value) -> Reply {
    let request = server
        .request(Method::POST, &format!("/api/v1/asks/{id}/answer"))
        .header("x-ccm-client", client)
        .json(&body);
    server.send(request).await
}

async fn message(server: &Server, task: TaskId, key: Option<&str>, text: &str) -> Reply {
    let path = format!("/api/v1/tasks/{task}/messages");
    let mut request = server.request(Method::POST, &path);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    server.send(request.json(&json!({"text": text}))).await
}

#[tokio::test]
async fn a_question_is_listed_answered_once_and_says_by_whom() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let (task, run) = held(&server, project).await;
    let id = asks(&server, run, "1", permission("Bash")).await;

    let path = format!("/api/v1/asks/{id}");
    let reply = server.get(&path).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("secret"));
    let ask: Ask = reply.ok(200);
    assert_eq!(
        (ask.run_id, ask.task_id, ask.project_id),
        (run, task, project)
    );
    assert_eq!(
        (ask.kind, ask.state),
        (AskKind::Permission, AskStateName::Open)
    );

    let given = answer(&server, id, "ada", json!({"answer": "allow"})).await;
    let answered: Ask = given.ok(200);
    assert_eq!(answered.state, AskStateName::Answered);
    assert_eq!(answered.answer, Some(Answer::Allow));
    assert_eq!(answered.answered_by.as_deref(), Some("ada"));
    let same = answer(&server, id, "bob", json!({"answer": "allow"})).await;
    assert_eq!(same.ok::<Ask>(200), answered);
    let other = json!({"answer": "deny", "message": "no"});
    let problem = answer(&server, id, "bob", other)
        .await
        .problem("ask_answered");
    assert!(problem.detail.contains("ada"), "{problem:?}");
    assert_eq!(server.get(&path).await.ok::<Ask>(200), answered);

    let inputs = format!("/api/v1/runs/{run}/inputs");
    let inputs: Page<Input> = server.get(&inputs).await.ok(200);
    assert_eq!(inputs.items.len(), 1);
    assert_eq!(inputs.items[0].kind, InputKind::Answer);
    assert_eq!(inputs.items[0].ask_id, Some(id));
    assert_eq!((inputs.items[0].number, &*inputs.items[0].by), (2, "ada"));
}

#[tokio::test]
async fn an_answer_has_to_fit_its_question() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let (_, run) = held(&server, project).await;
    let allowed = asks(&server, run, "1", permission("Bash")).await;
    let chosen = asks(&server, run, "2", choice()).await;
    for (id, body) in [
        (allowed, json!({"answer": "text", "text": ["x"]})),
        (chosen, json!({"answer": "allow"})),
        (chosen, json!({"answer": "text", "text": []})),
        (chosen, json!({"answer": "text", "text": ["1", "2"]})),
        (chosen, json!({"answer": "text", "text": [" "]})),
        (chosen, json!({"answer": "text", "text": "1"})),
        (chosen, json!({"answer": "maybe"})),
        (chosen, json!({})),
    ] {
        let reply = answer(&server, id, "api", body.clone()).await;
        let problem = reply.problem("invalid");
        assert!(!problem.detail.contains("secret"), "{body}: {problem:?}");
    }
    let text = json!({"answer": "text", "text": ["2"]});
    let ask: Ask = answer(&server, chosen, "api", text).await.ok(200);
    assert_eq!(ask.options, ["red", "blue"]);
    let wanted = Answer::Text {
        text: vec!["blue".to_owned()],
    };
    assert_eq!(ask.answer, Some(wanted));
    let denied = json!({"answer": "deny", "message": "not now"});
    let ask: Ask = answer(&server, allowed, "api", denied).await.ok(200);
    let wanted = Answer::Deny {
        message: Some("not now".to_owned()),
    };
    assert_eq!(ask.answer, Some(wanted));
}

#[tokio::test]
async fn a_question_ends_with_its_run() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let (task, run) = held(&server, project).await;
    let id = asks(&server, run, "1", permission("Bash")).await;
    server.runtime.release("go");
    let done = server.task_in(task, "succeeded").await;
    assert_eq!(done.open_asks, []);
    let ask: Ask = server.get(&format!("/api/v1/asks/{id}")).await.ok(200);
    assert_eq!(ask.state, AskStateName::Void);
    let late = answer(&server, id, "api", json!({"answer": "allow"})).await;
    late.problem("ask_answered");
    let never = answer(&server, AskId::new(), "api", json!({"answer": "allow"})).await;
    never.problem("ask_not_found");
}

#[tokio::test]
async fn lists_of_questions_have_filters_and_parts() {
    let server = Server::start().await;
    let (a, b) = (server.project("a").await, server.project("b").await);
    let (task_a, run_a) = held(&server, a).await;
    let (_, run_b) = held(&server, b).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(asks(&server, run_a, &n.to_string(), permission("A")).await);
    }
    ids.push(asks(&server, run_b, "0", permission("B")).await);
    let list = async |query: &str| -> Vec<AskId> {
        let page: Page<Ask> = server.get(&format!("/api/v1/asks?{query}")).await.ok(200);
        page.items.iter().map(|ask| ask.id).collect()
    };
    let newest_first: Vec<AskId> = ids.iter().rev().copied().collect();
    assert_eq!(list("").await, newest_first);
    assert_eq!(list("state=all").await, newest_first);
    assert_eq!(list(&format!("project_id={b}")).await, [ids[3]]);
    assert_eq!(list(&format!("task_id={task_a}")).await, newest_first[1..]);
    assert_eq!(list(&format!("run_id={run_b}")).await, [ids[3]]);
    answer(&server, ids[3], "api", json!({"answer": "allow"})).await;
    assert_eq!(list("state=open").await, newest_first[1..]);
    assert_eq!(list("state=answered").await, [ids[3]]);
    assert_eq!(list("state=void").await, []);
    let first: Page<Ask> = server.get("/api/v1/asks?page_size=3").await.ok(200);
    let token = first.next_page_token.unwrap();
    assert_eq!(list(&format!("page_token={token}")).await, [ids[0]]);
    for wrong in [
        "state=shut",
        "state=",
        "page_size=0",
        "colour=red",
        "task_id=x",
    ] {
        let reply = server.get(&format!("/api/v1/asks?{wrong}")).await;
        reply.problem("bad_request");
    }
}

#[tokio::test]
async fn whatever_waits_for_a_person_shows_what_for() {
    let server = Server::start().await;
    let (a, b) = (server.project("a").await, server.project("b").await);
    let (task, run) = held(&server, a).await;
    let (other, _) = held(&server, b).await;
    let first = asks(&server, run, "1", permission("Bash")).await;
    let second = asks(&server, run, "2", choice()).await;

    let shown: Task = server.get(&format!("/api/v1/tasks/{task}")).await.ok(200);
    let ids = |asks: &[api::OpenAsk]| asks.iter().map(|ask| ask.id).collect::<Vec<_>>();
    assert_eq!(ids(&shown.open_asks), [first, second]);
    assert_eq!(shown.open_asks[0].title, "Bash");
    for query in [String::new(), format!("?project_id={a}")] {
        let tasks: Page<Task> = server.get(&format!("/api/v1/tasks{query}")).await.ok(200);
        for listed in tasks.items {
            let wanted: &[AskId] = if listed.id == task {
                &[first, second]
            } else {
                &[]
            };
            assert_eq!(ids(&listed.open_asks), wanted);
            assert!(listed.id == task || listed.id == other);
        }
    }
    let agents: Page<Agent> = server.get("/api/v1/agents").await.ok(200);
    let states: Vec<_> = agents.items.iter().map(|agent| agent.state).collect();
    assert_eq!(states, [AgentStateName::Waiting, AgentStateName::Working]);
    let path = format!("/api/v1/agents/{}", agents.items[0].id);
    let agent: Agent = server.get(&path).await.ok(200);
    assert_eq!(ids(&agent.open_asks), [first, second]);
    let status: Status = server.get("/api/v1/status").await.ok(200);
    assert_eq!(status.open_asks, 2);
    let run: api::Run = server.get(&format!("/api/v1/runs/{run}")).await.ok(200);
    assert_eq!(run.open_asks, 2);
}

#[tokio::test]
async fn a_message_reaches_the_run_once_under_its_key() {
    let server = Server::start().await;
    let (a, b) = (server.project("a").await, server.project("b").await);
    let (task, run) = held(&server, a).await;
    let (other, _) = held(&server, b).await;
    let first: Input = message(&server, task, Some("k"), "go on").await.ok(201);
    assert_eq!((first.run_id, first.number), (run, 2));
    assert_eq!(first.kind, InputKind::Message);
    assert_eq!(first.state, InputState::Accepted);
    assert_eq!(first.text.as_deref(), Some("go on"));
    let again: Input = message(&server, task, Some("k"), "go on").await.ok(201);
    assert_eq!((again.id, again.number), (first.id, 2));
    assert_eq!(first.id.as_uuid().get_version_num(), 8);
    let changed = message(&server, task, Some("k"), "stop").await;
    changed.problem("idempotency_key_reused");
    let elsewhere: Input = message(&server, other, Some("k"), "stop").await.ok(201);
    assert_ne!(elsewhere.id, first.id);
    let unnamed: Input = message(&server, task, None, "go on").await.ok(201);
    assert_eq!(unnamed.number, 3);
    let inputs = format!("/api/v1/runs/{run}/inputs");
    let inputs: Page<Input> = server.get(&inputs).await.ok(200);
    let ids: Vec<_> = inputs.items.iter().map(|input| input.id).collect();
    assert_eq!(ids, [first.id, unnamed.id]);
}

#[tokio::test]
async fn a_message_needs_a_run_and_a_text() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let task = server.task(project, "once").await.id;
    server.task_in(task, "succeeded").await;
    let problem = message(&server, task, None, "x")
        .await
        .problem("wrong_state");
    assert!(problem.detail.contains("`continue`"), "{problem:?}");
    let (task, _) = held(&server, project).await;
    message(&server, task, None, "").await.problem("invalid");
    message(&server, task, None, "a\0").await.problem("invalid");
    let path = format!("/api/v1/tasks/{task}/messages");
    let unknown = json!({"text": "x", "colour": "red"});
    server.post(&path, &unknown).await.problem("invalid");
    let key = message(&server, task, Some("a b"), "x").await;
    key.problem("bad_request");
    let nowhere = message(&server, TaskId::new(), None, "x").await;
    nowhere.problem("task_not_found");
    let inputs = format!("/api/v1/runs/{}/inputs", RunId::new());
    server.get(&inputs).await.problem("run_not_found");
}

#[tokio::test]
async fn a_transcript_is_read_part_by_part() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let (task, run) = held(&server, project).await;
    let path = format!("/api/v1/runs/{run}/transcript");
    let begun: Transcript = server.get(&path).await.ok(200);
    assert_eq!(begun.entries.len(), 1);
    assert_eq!((begun.next, begun.complete), (6, true));
    server.runtime.release("go");
    server.task_in(task, "succeeded").await;
    let after = format!("{path}?after={}&limit=1", begun.next);
    let rest: Transcript = server.get(&after).await.ok(200);
    let json = serde_json::to_value(&rest.entries).unwrap();
    assert_eq!(
        json,
        json!([{"offset": 6, "type": "output", "text": "done\n"}])
    );
    let end = server.get(&format!("{path}?after={}", rest.next)).await;
    assert_eq!(end.ok::<Transcript>(200).entries, []);
    for wrong in ["limit=0", "limit=1001", "after=-1", "from=1"] {
        let reply = server.get(&format!("{path}?{wrong}")).await;
        reply.problem("bad_request");
    }
    let nowhere = format!("/api/v1/runs/{}/transcript", RunId::new());
    server.get(&nowhere).await.problem("run_not_found");
}

#[tokio::test]
async fn a_transcript_is_read_from_its_end() {
    let server = Server::start().await;
    let project = server.project("a").await;
    // Lines of many lengths, one of them longer than what is looked at for one part.
    let line = |number: usize| match number {
        1500 => format!("{number} {}\n", "x".repeat(300_000)),
        _ => format!("{number} {}\n", "ä".repeat(number % 300)),
    };
    let text: String = (0..2500).map(line).collect();
    assert!(text.len() > 900_000);
    let task = server.task(project, &text).await;
    let task = server.task_in(task.id, "succeeded").await;
    let path = format!("/api/v1/runs/{}/transcript", task.run_id.unwrap());
    let texts = |part: &Transcript| -> String {
        let texts = part.entries.iter().map(|entry| match &entry.body {
            EntryBody::Output { text } => text.as_str(),
            other => panic!("{other:?}"),
        });
        texts.collect()
    };
    let (mut before, mut read, mut parts) = (i64::MAX as u64, String::new(), 0);
    while before > 0 {
        let part: Transcript = server.get(&format!("{path}?before={before}")).await.ok(200);
        if parts == 0 {
            assert!(part.complete);
            assert_eq!(part.next, text.len() as u64);
        } else {
            assert_eq!((part.complete, part.next), (false, before));
        }
        assert!(part.begin < before);
        assert_eq!(part.entries[0].offset, part.begin);
        read.insert_str(0, &texts(&part));
        (before, parts) = (part.begin, parts + 1);
    }
    assert!(read == text, "it is told once and whole");
    assert!(parts > 3, "{parts}");
    let first: Transcript = server.get(&format!("{path}?before=0")).await.ok(200);
    assert_eq!((first.entries.len(), first.begin, first.next), (0, 0, 0));
    for wrong in ["before=-1", "before=1&after=1", "before=1&limit=0"] {
        let reply = server.get(&format!("{path}?{wrong}")).await;
        reply.problem("bad_request");
    }
    let nowhere = format!("/api/v1/runs/{}/transcript?before=9", RunId::new());
    server.get(&nowhere).await.problem("run_not_found");
}
