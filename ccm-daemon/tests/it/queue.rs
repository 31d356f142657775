//! Tasks while they wait: many at once, edited, moved.

use ccm_core::Store;
use ccm_core::api::{self, BulkCreated, BulkResults, Page, TaskStateName};
use ccm_core::engine::EngineLimits;
use ccm_core::id::{ProjectId, TaskId};
use ccm_core::task::Setback;
use ccm_core::time::{Clock, SystemClock};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Reply, Server};

const BULK: &str = "/api/v1/tasks/bulk";

fn path(id: TaskId) -> String {
    format!("/api/v1/tasks/{id}")
}

async fn edit(server: &Server, id: TaskId, seen: &str, body: &Value) -> Reply {
    let request = server.request(Method::PATCH, &path(id));
    server
        .send(request.header("if-match", seen).json(body))
        .await
}

async fn queue(server: &Server, project: ProjectId) -> Vec<TaskId> {
    let mut ids = Vec::new();
    let list = format!("/api/v1/tasks?order=queue&project_id={project}&page_size=2");
    let mut part = list.clone();
    loop {
        let page: Page<api::Task> = server.get(&part).await.ok(200);
        ids.extend(page.items.iter().map(|task| task.id));
        let Some(token) = page.next_page_token else {
            return ids;
        };
        part = format!("{list}&page_token={token}");
    }
}

#[tokio::test]
async fn many_tasks_are_accepted_together_once() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let tasks: Vec<Value> = (0..1000)
        .map(|n| json!({"project_id": project, "text": format!("task {n}"), "priority": n % 3}))
        .collect();
    let body = json!({ "tasks": tasks });
    let send = |route: &str, key: &str, body: &Value| {
        let request = server.request(Method::POST, route);
        let request = request
            .header("idempotency-key", key)
            .header("x-ccm-client", "cli");
        server.send(request.json(body))
    };
    let before = server.store.log().await.unwrap().head;
    let first = send(BULK, "k", &body).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let first: BulkCreated = first.ok(201);
    let texts: Vec<&str> = first.items.iter().map(|task| &*task.text).collect();
    assert_eq!(
        (texts.len(), texts[0], texts[999]),
        (1000, "task 0", "task 999")
    );
    assert!(first.items.iter().all(|task| task.created_by == "cli"));
    assert_eq!(server.store.log().await.unwrap().head.0, before.0 + 1000);

    let again = send(BULK, "k", &body).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.ok::<BulkCreated>(201), first);
    let one = json!({ "tasks": [body["tasks"][0]] });
    send(BULK, "k", &one)
        .await
        .problem("idempotency_key_reused");
    // The same key for one task is another request.
    send("/api/v1/tasks", "k", &body["tasks"][0])
        .await
        .ok::<api::Task>(201);
    assert_eq!(server.store.counts().await.unwrap().queued, 1001);
}

#[tokio::test]
async fn of_many_tasks_a_wrong_one_is_told_with_its_place_and_none_is_accepted() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let good = json!({"project_id": project, "text": "x"});
    let nobody = TaskId::new();
    for (field, wrong, code, pointer) in [
        ("text", json!(""), "invalid", "/tasks/2/text"),
        ("text", json!(null), "invalid", "/tasks/2/text"),
        ("text", json!("a\0b"), "invalid", "/tasks/2/text"),
        ("title", json!("a\nb"), "invalid", "/tasks/2/title"),
        ("tags", json!(["good", "b d"]), "invalid", "/tasks/2/tags/1"),
        ("timeout_s", json!(0), "invalid", "/tasks/2/timeout_s"),
        ("priority", json!(1.5), "invalid", "/tasks/2/priority"),
        (
            "blocked_by",
            json!(vec![nobody; 101]),
            "invalid",
            "/tasks/2/blocked_by",
        ),
        (
            "blocked_by",
            json!([nobody]),
            "task_not_found",
            "/tasks/2/blocked_by/0",
        ),
        (
            "project_id",
            json!(nobody),
            "project_not_found",
            "/tasks/2/project_id",
        ),
        ("project_id", json!("x"), "invalid", "/tasks/2/project_id"),
    ] {
        let mut bad = good.clone();
        bad[field] = wrong;
        let body = json!({ "tasks": [good, good, bad, good] });
        let problem = server.post(BULK, &body).await.problem(code);
        assert_eq!(problem.errors[0].pointer, pointer);
        // What is wrong with one alone is told in the same way.
        let alone = server.post("/api/v1/tasks", &bad).await.problem(code);
        let part = pointer.strip_prefix("/tasks/2").unwrap();
        assert_eq!(alone.errors[0].pointer, part);
    }
    for (tasks, code) in [(0, "invalid"), (1001, "invalid")] {
        let body = json!({ "tasks": vec![good.clone(); tasks] });
        let problem = server.post(BULK, &body).await.problem(code);
        assert_eq!(problem.errors[0].pointer, "/tasks");
        assert!(problem.detail.contains("1 to 1000"), "{}", problem.detail);
    }
    let body = json!({ "tasks": [good], "more": 1 });
    server.post(BULK, &body).await.problem("invalid");
    assert_eq!(server.store.counts().await.unwrap().queued, 0);
}

#[tokio::test]
async fn many_tasks_don_t_fit_a_queue_that_is_full_for_one_of_them() {
    let limits = EngineLimits {
        max_queued: 3,
        ..EngineLimits::default()
    };
    let server = Server::with_limits(limits).await;
    let project = server.paused_project("a").await;
    server.task(project, "first").await;
    let task = json!({"project_id": project, "text": "x"});
    let refused = server
        .post(BULK, &json!({ "tasks": vec![task.clone(); 3] }))
        .await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.problem("queue_full");
    assert_eq!(server.store.counts().await.unwrap().queued, 1);
    let fits = server.post(BULK, &json!({ "tasks": vec![task; 2] })).await;
    fits.ok::<BulkCreated>(201);
}

#[tokio::test]
async fn an_edit_needs_what_the_editor_saw() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let created = json!({"project_id": project, "text": "x"});
    let created = server.post("/api/v1/tasks", &created).await;
    assert_eq!(created.headers["etag"], "\"1\"");
    let task: api::Task = created.ok(201);
    let got = server.get(&path(task.id)).await;
    assert_eq!(got.headers["etag"], "\"1\"");

    let without = server.request(Method::PATCH, &path(task.id));
    let missing = server.send(without.json(&json!({"priority": 1}))).await;
    let missing = missing.problem("precondition_required");
    assert_eq!(missing.errors[0].pointer, "if-match");
    for wrong in ["1", "\"1", "", "\"1\" \"2\""] {
        edit(&server, task.id, wrong, &json!({}))
            .await
            .problem("bad_request");
    }
    let first = edit(&server, task.id, "\"1\"", &json!({"priority": 1})).await;
    assert_eq!(first.headers["etag"], "\"2\"");
    let first: api::Task = first.ok(200);
    assert_eq!((first.priority, first.revision.0), (1, 2));
    for stale in ["\"1\"", "W/\"2\"", "\"other\"", "\"1\", \"7\""] {
        edit(&server, task.id, stale, &json!({"priority": 9}))
            .await
            .problem("stale_revision");
    }
    let kept: api::Task = server.get(&path(task.id)).await.ok(200);
    assert_eq!(kept, first);
    for fits in ["\"2\"", "*", "\"1\", \"4\""] {
        let body = json!({"text": format!("for {fits}")});
        edit(&server, task.id, fits, &body)
            .await
            .ok::<api::Task>(200);
    }
}

#[tokio::test]
async fn an_edit_changes_what_it_says_and_null_unsets() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let blocker = server.task(project, "first").await.id;
    let task = server.task(project, "x").await;
    let all = json!({"text": "y", "title": "T", "priority": -3, "not_before": "2100-01-01T00:00:00Z",
        "blocked_by": [blocker], "max_retries": 2, "timeout_s": 60, "session": "continue", "tags": ["gpu"],
        "system_type": "devops"});
    let edited: Value = edit(&server, task.id, "*", &all).await.ok(200);
    for (field, value) in all.as_object().unwrap() {
        assert_eq!(&edited[field], value, "{field}");
    }
    let unset = json!({"title": null, "not_before": null, "timeout_s": null, "system_type": null,
        "blocked_by": [], "tags": []});
    let bare: api::Task = edit(&server, task.id, "*", &unset).await.ok(200);
    let want = api::Task {
        title: "y".to_owned(),
        text: "y".to_owned(),
        priority: -3,
        max_retries: 2,
        session: ccm_core::task::SessionMode::Continue,
        updated_at: bare.updated_at,
        revision: bare.revision,
        ..task
    };
    assert_eq!(bare, want);
    for (field, wrong, pointer) in [
        ("text", json!(null), "/text"),
        ("text", json!(""), "/text"),
        ("title", json!(""), "/title"),
        ("priority", json!(null), "/priority"),
        ("max_retries", json!(-1), "/max_retries"),
        ("timeout_s", json!(0), "/timeout_s"),
        ("session", json!("old"), "/session"),
        ("tags", json!([""]), "/tags/0"),
        ("blocked_by", json!(null), "/blocked_by"),
        ("blocked_by", json!([task.id]), "/blocked_by"),
        ("project_id", json!(project), "/project_id"),
    ] {
        let reply = edit(&server, task.id, "*", &json!({ field: wrong })).await;
        let problem = reply.problem("invalid");
        assert_eq!(problem.errors[0].pointer, pointer, "{problem:?}");
    }
    let unknown = json!({"blocked_by": [blocker, TaskId::new()]});
    let unknown = edit(&server, task.id, "*", &unknown).await;
    let unknown = unknown.problem("task_not_found");
    assert_eq!(unknown.errors[0].pointer, "/blocked_by/1");
    let follows = json!({"blocked_by": [task.id]});
    edit(&server, blocker, "*", &follows)
        .await
        .ok::<api::Task>(200);
    let circle = edit(&server, task.id, "*", &json!({"blocked_by": [blocker]})).await;
    let circle = circle.problem("invalid");
    assert_eq!(circle.errors[0].pointer, "/blocked_by/0");
    edit(&server, TaskId::new(), "*", &json!({}))
        .await
        .problem("task_not_found");
}

#[tokio::test]
async fn what_was_started_is_not_edited_and_an_edit_wakes_the_queue() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let later =
        json!({"project_id": project, "text": "hold", "not_before": "2100-01-01T00:00:00Z"});
    let task: api::Task = server.post("/api/v1/tasks", &later).await.ok(201);
    let now = edit(&server, task.id, "\"1\"", &json!({"not_before": null})).await;
    now.ok::<api::Task>(200);
    server.task_in(task.id, "running").await;
    for seen in ["\"2\"", "\"3\"", "*"] {
        let problem = edit(&server, task.id, seen, &json!({"text": "late"})).await;
        let problem = problem.problem("wrong_state");
        assert!(problem.detail.contains("running"), "{}", problem.detail);
    }
    let to = format!("{}/move", path(task.id));
    let moved = server.post(&to, &json!({"to": "first"})).await;
    moved.problem("wrong_state");
}

#[tokio::test]
async fn what_is_known_already_is_not_sent_again() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let task = server.task(project, "x").await;
    let known = |tag: &str| -> RequestBuilder {
        let request = server.request(Method::GET, &path(task.id));
        request.header("if-none-match", tag)
    };
    for tag in ["\"1\"", "W/\"1\"", "*", "\"0\", \"1\""] {
        let reply = server.send(known(tag)).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (304, 0), "{tag}");
        assert_eq!(reply.headers["etag"], "\"1\"");
    }
    for tag in ["\"2\"", "1", "\"\""] {
        let reply = server.send(known(tag)).await;
        assert_eq!(reply.ok::<api::Task>(200), task, "{tag}");
    }
    // A hold of the project is no change of the task, but it is told with it.
    let hold = Setback::new(ccm_core::Reason::ConfigUntrusted, "its settings changed");
    let store = server.app.engine().store();
    let held = store.hold_project(project, Some(hold), SystemClock.now());
    held.await.unwrap();
    let reply = server.send(known("\"1\"")).await;
    let tag = reply.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(tag, "\"1\"");
    assert!(reply.ok::<api::Task>(200).reason.is_some());
    assert_eq!(server.send(known(&tag)).await.status.as_u16(), 304);
    // It hinders no edit of what was seen before.
    for seen in ["\"1\"", tag.replace("\"1-", "\"2-").as_str()] {
        let body = json!({"text": format!("after {seen}")});
        edit(&server, task.id, seen, &body)
            .await
            .ok::<api::Task>(200);
    }
}

#[tokio::test]
async fn waiting_tasks_are_moved_and_listed_in_their_order() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    let tasks: Vec<Value> = [5, 0, 0, 0, -1]
        .map(|priority| json!({"project_id": project, "text": "x", "priority": priority}))
        .to_vec();
    let made = server.post(BULK, &json!({ "tasks": tasks })).await;
    let made: BulkCreated = made.ok(201);
    let ids: Vec<TaskId> = made.items.iter().map(|task| task.id).collect();
    let [a, b, c, d, e] = ids[..] else {
        panic!("five were made");
    };
    assert_eq!(queue(&server, project).await, ids);
    for (task, to, priority, want) in [
        (d, json!({"before": b}), 0, [a, d, b, c, e]),
        (e, json!({"after": a}), 5, [a, e, d, b, c]),
        (c, json!({"to": "first"}), 5, [c, a, e, d, b]),
        (a, json!({"to": "last"}), 0, [c, e, d, b, a]),
    ] {
        let reply = server.post(&format!("{}/move", path(task)), &to).await;
        let tag = reply.headers["etag"].to_str().unwrap().to_owned();
        let moved: api::Task = reply.ok(200);
        assert_eq!(tag, format!("\"{}\"", moved.revision));
        assert_eq!((moved.id, moved.priority), (task, priority));
        assert_eq!(queue(&server, project).await, want, "{to}");
    }
    let other = server.task(server.paused_project("b").await, "x").await.id;
    let to = format!("{}/move", path(a));
    for (wrong, code, pointer) in [
        (json!({"before": b, "after": c}), "invalid", ""),
        (json!({}), "invalid", ""),
        (json!({"to": "middle"}), "invalid", "/to"),
        (json!({"before": "x"}), "invalid", "/before"),
        (json!({"beside": b}), "invalid", "/beside"),
        (json!("first"), "invalid", ""),
        (json!({"before": a}), "invalid", "/before"),
        (json!({"after": other}), "invalid", "/after"),
        (json!({"after": TaskId::new()}), "task_not_found", "/after"),
    ] {
        let problem = server.post(&to, &wrong).await.problem(code);
        let got = problem.errors.first().map_or("", |part| &part.pointer);
        assert_eq!(got, pointer, "{problem:?}");
    }
    let nobody = format!("{}/move", path(TaskId::new()));
    let nobody = server.post(&nobody, &json!({"to": "last"})).await;
    nobody.problem("task_not_found");
    assert_eq!(queue(&server, project).await, [c, e, d, b, a]);
}

#[tokio::test]
async fn a_queue_is_listed_of_one_project_and_of_what_waits() {
    let server = Server::start().await;
    let project = server.paused_project("a").await;
    server.task(project, "x").await;
    server.task(project, "y").await;
    let list = |query: &str| format!("/api/v1/tasks?page_size=1&{query}");
    let both: Page<api::Task> = server.get(&list("order=newest")).await.ok(200);
    let newest = both.next_page_token.unwrap();
    let of = format!("project_id={project}");
    let waits = format!("order=queue&{of}&state=queued");
    let page: Page<api::Task> = server.get(&list(&waits)).await.ok(200);
    assert_eq!(page.items[0].state, TaskStateName::Queued);
    let place = page.next_page_token.unwrap();
    for wrong in [
        "order=queue".to_owned(),
        format!("order=queue&{of}&state=running"),
        format!("order=queue&{of}&page_token={newest}"),
        format!("{of}&page_token={place}"),
        format!("order=age&{of}"),
        format!("order=queue&{of}&page_token=after-1_2"),
        format!("order=queue&{of}&page_token={place}_1"),
    ] {
        server.get(&list(&wrong)).await.problem("bad_request");
    }
}

#[tokio::test]
async fn many_are_called_off_and_queued_again_and_one_spoils_no_other() {
    let server = Server::start().await;
    let project = server.project("a").await;
    let done = server.task(project, "once").await.id;
    server.task_in(done, "succeeded").await;
    let runs = server.task(project, "hold").await.id;
    server.task_in(runs, "running").await;
    let waits = server.task(project, "x").await.id;
    let nobody = TaskId::new();
    let ids = [waits, nobody, done, runs, waits];
    let body = json!({ "ids": ids });
    let reply = server.post(&format!("{BULK}/cancel"), &body).await;
    let BulkResults { results } = reply.ok(200);
    let got: Vec<TaskId> = results.iter().map(|result| result.id).collect();
    assert_eq!(got, ids);
    let states = results
        .iter()
        .map(|result| match (&result.task, &result.problem) {
            (Some(task), None) => task.state.as_str(),
            (None, Some(problem)) => problem.code.as_str(),
            both => panic!("{both:?}"),
        });
    let states: Vec<&str> = states.collect();
    let want = [
        "cancelled",
        "task_not_found",
        "wrong_state",
        "running",
        "cancelled",
    ];
    assert_eq!(states, want);
    server.task_in(runs, "cancelled").await;

    server
        .app
        .engine()
        .pause_project(project, true)
        .await
        .unwrap();
    let body = json!({ "ids": [nobody, runs, done, waits] });
    let reply = server.post(&format!("{BULK}/retry"), &body).await;
    let BulkResults { results } = reply.ok(200);
    assert!(results[0].task.is_none());
    for result in &results[1..] {
        let task = result.task.as_ref().unwrap();
        assert_eq!(task.state, TaskStateName::Queued);
    }
    let again = server.post(&format!("{BULK}/retry"), &body).await;
    let BulkResults { results } = again.ok(200);
    assert!(results.iter().all(|result| result.task.is_none()));
    for route in ["cancel", "retry"] {
        for wrong in [
            json!({"ids": []}),
            json!({"ids": vec![done; 1001]}),
            json!({"ids": ["x"]}),
        ] {
            let reply = server.post(&format!("{BULK}/{route}"), &wrong).await;
            let problem = reply.problem("invalid");
            assert!(problem.errors[0].pointer.starts_with("/ids"));
        }
    }
}
