//! What is seen and done here of tasks that other machines run, from documents alone.

mod other;

use ccm_core::Reason;
use ccm_core::api::{self, Ask, Page, Project, Run, System, Task, Transcript};
use ccm_core::id::{ProjectId, SystemId, TaskId};
use ccm_core::store::{Document, DocumentQuery};
use ccm_core::sync::Kind;
use ccm_core::sync::documents::{self, TranscriptPart, Wanted, Wish};
use ccm_core::time::Timestamp;
use ccm_core::transcript::EntryBody;
use reqwest::Method;
use serde_json::json;

use self::other::Other;
use crate::harness::Server;

async fn wishes(server: &Server) -> Vec<Wish> {
    let query = DocumentQuery {
        kinds: vec![Kind::Wish],
        limit: 100,
        ..DocumentQuery::default()
    };
    let replica = server.store_handle().replica().unwrap();
    let documents: Vec<Document> = replica.documents(&query).await.unwrap();
    documents
        .iter()
        .map(|one| documents::read(&one.kind, one.id, one.body.as_ref().unwrap()).unwrap())
        .collect()
}

fn texts(told: &Transcript) -> Vec<&str> {
    told.entries
        .iter()
        .map(|entry| match &entry.body {
            EntryBody::Text { text } => text.as_str(),
            EntryBody::Note { .. } => "(gap)",
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn ids(server: &Server, query: &str) -> Vec<TaskId> {
    let page: Page<Task> = server.get(&format!("/api/v1/tasks?{query}")).await.ok(200);
    page.items.iter().map(|task| task.id).collect()
}

#[tokio::test]
async fn machines_and_their_projects_are_listed_where_they_are_asked_for() {
    let server = Server::start().await;
    let here = server.paused_project("site").await;
    let systems: Page<System> = server.get("/api/v1/systems").await.ok(200);
    assert_eq!(systems.items.len(), 1);
    let other = Other::of(&server, "server", "shop").await;

    let systems: Page<System> = server.get("/api/v1/systems").await.ok(200);
    assert!(systems.items[0].this);
    let system = &systems.items[1];
    assert_eq!((system.id, &*system.hostname), (other.id, "server"));
    assert_eq!(system.version.as_deref(), Some("9.1.0"));
    assert!(system.last_seen.is_some());
    let one: System = server
        .get(&format!("/api/v1/systems/{}", other.id))
        .await
        .ok(200);
    assert_eq!(&one, system);

    let listed = async |query: &str| {
        let page: Page<Project> = server
            .get(&format!("/api/v1/projects{query}"))
            .await
            .ok(200);
        page.items
            .iter()
            .map(|project| project.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, [here]);
    assert_eq!(listed("?machine=local").await, [here]);
    assert_eq!(listed("?machine=all").await, [here, other.project]);
    assert_eq!(listed("?machine=all&name=shop").await, [other.project]);
    assert_eq!(
        listed(&format!("?machine={}", other.id)).await,
        [other.project]
    );
    assert_eq!(listed(&format!("?machine={}", SystemId::new())).await, []);
    server
        .get("/api/v1/projects?machine=server")
        .await
        .problem("bad_request");

    let project: Project = server
        .get(&format!("/api/v1/projects/{}", other.project))
        .await
        .ok(200);
    assert_eq!(project.machine.unwrap().hostname, "server");
    for path in ["pause", "resume", "refresh"] {
        let path = format!("/api/v1/projects/{}/{path}", other.project);
        let problem = server.poke(&path).await.problem("wrong_state");
        assert!(
            problem.detail.contains("it is on server"),
            "{}",
            problem.detail
        );
    }
    let path = format!("/api/v1/projects/{}", other.project);
    server.delete(&path).await.problem("wrong_state");
    for path in [
        format!("{path}/trust"),
        format!("{path}/config"),
        format!("{path}/templates"),
        format!("/api/v1/agents?project_id={}", other.project),
    ] {
        let problem = server.get(&path).await.problem("wrong_state");
        assert!(problem.detail.contains("it is on server"), "{path}");
    }
    let nobody = format!("/api/v1/projects/{}", ProjectId::new());
    server.get(&nobody).await.problem("project_not_found");
}

#[tokio::test]
async fn a_task_for_another_machine_is_written_down_here_and_told_as_that_machine_tells_it() {
    let server = Server::start().await;
    let other = Other::of(&server, "server", "shop").await;
    let body = json!({"project_id": other.project, "text": "Fix it\nplease", "priority": 3});
    let request = || {
        server
            .request(Method::POST, "/api/v1/tasks")
            .header("idempotency-key", "once")
    };
    let reply = server.send(request().json(&body)).await;
    let location = reply.headers["location"].to_str().unwrap().to_owned();
    assert!(!reply.headers.contains_key("idempotency-replayed"));
    let task: Task = reply.ok(201);
    assert_eq!(location, format!("/api/v1/tasks/{}", task.id));
    assert_eq!(
        (&*task.title, &*task.text, task.priority),
        ("Fix it", "Fix it\nplease", 3)
    );
    assert_eq!(
        (task.state, &*task.project),
        (api::TaskStateName::Queued, "shop")
    );
    let sharing = task.sharing.as_ref().unwrap();
    assert!(sharing.created_on.this && !sharing.heard && !sharing.sent);
    assert_eq!(sharing.runs_on.as_ref().unwrap().hostname, "server");
    assert_eq!(
        task.detail.as_deref(),
        Some("waits for server to hear of it (not sent yet)")
    );
    // The same request again makes no second one, and another with its key is refused.
    let again = server.send(request().json(&body)).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.ok::<Task>(201).id, task.id);
    let changed = json!({"project_id": other.project, "text": "Break it"});
    let reused = server.send(request().json(&changed)).await;
    reused.problem("idempotency_key_reused");

    // It is in no list of this machine's own, and counts nowhere.
    assert_eq!(ids(&server, "").await, []);
    assert_eq!(ids(&server, "machine=mine").await, [task.id]);
    assert_eq!(
        server.app.engine().store().counts().await.unwrap().queued,
        0
    );

    let path = format!("/api/v1/tasks/{}", task.id);
    let known = server.get(&path).await.headers["etag"].clone();
    let run = other.run(&server, task.id, |_| {}).await;
    other
        .report(&server, task.id, |task| {
            task.state = api::TaskStateName::Running;
            task.attempts = 1;
            task.run_id = Some(run);
            task.cost_usd = Some(0.25);
        })
        .await;
    let reply = server.get(&path).await;
    assert_ne!(reply.headers["etag"], known);
    let running: Task = reply.ok(200);
    assert_eq!(
        (running.state, running.run_id),
        (api::TaskStateName::Running, Some(run))
    );
    assert_eq!(
        (&*running.text, running.cost_usd),
        ("Fix it\nplease", Some(0.25))
    );
    assert!(running.sharing.unwrap().heard);
    assert_eq!(running.detail, None);
    let told: Run = server.get(&format!("/api/v1/runs/{run}")).await.ok(200);
    assert_eq!((told.id, told.system_id), (run, other.id));
    let runs: Page<Run> = server
        .get(&format!("/api/v1/runs?task_id={}", task.id))
        .await
        .ok(200);
    assert_eq!(runs.items[0].id, run);

    for (path, body) in [
        (format!("{path}/messages"), json!({"text": "and quickly"})),
        (format!("{path}/interrupt"), json!({})),
        (format!("{path}/move"), json!({"to": "first"})),
    ] {
        let problem = server.post(&path, &body).await.problem("wrong_state");
        assert!(
            problem.detail.contains("it is on server"),
            "{}",
            problem.detail
        );
    }
    server
        .poke(&format!("{path}/approve"))
        .await
        .problem("wrong_state");
    for path in ["log", "inputs"] {
        let reply = server.get(&format!("/api/v1/runs/{run}/{path}")).await;
        let problem = reply.problem("wrong_state");
        assert!(
            problem.detail.contains("it is on server"),
            "{}",
            problem.detail
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_task_for_another_machine_is_told_as_for_ones_own() {
    let server = Server::start().await;
    let here = server.paused_project("site").await;
    let other = Other::of(&server, "server", "shop").await;
    let create = async |body| server.post("/api/v1/tasks", &body).await.problem("invalid");
    let task = |more: serde_json::Value| {
        let mut body = json!({"project_id": other.project, "text": "x"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(
        create(task(json!({"text": ""}))).await.errors[0].pointer,
        "/text"
    );
    create(task(json!({"max_retries": 101}))).await;
    create(task(json!({"tags": ["a b"]}))).await;
    let blocked = task(json!({"blocked_by": [TaskId::new()]}));
    let problem = server
        .post("/api/v1/tasks", &blocked)
        .await
        .problem("task_not_found");
    assert_eq!(problem.errors[0].pointer, "/blocked_by/0");
    let nowhere = json!({"project_id": ProjectId::new(), "text": "x"});
    server
        .post("/api/v1/tasks", &nowhere)
        .await
        .problem("project_not_found");
    // In one piece there are only tasks for others, or only tasks for this machine.
    let mixed = json!({"tasks": [{"project_id": here, "text": "x"}, task(json!({}))]});
    let problem = server
        .post("/api/v1/tasks/bulk", &mixed)
        .await
        .problem("invalid");
    assert_eq!(problem.errors[0].pointer, "/tasks/1/project_id");
    assert_eq!(ids(&server, "machine=all").await, []);
    // This project has no repository that another machine could have.
    let any = json!({"project_id": here, "text": "x", "any_machine": true});
    assert_eq!(create(any).await.errors[0].pointer, "/any_machine");
}

#[tokio::test]
async fn a_task_for_any_machine_needs_sharing_and_waits_for_one_to_take_it() {
    let server = Server::start().await;
    let here = server.paused_project("site").await;
    let any = json!({"project_id": here, "text": "x", "any_machine": true});
    let problem = server.post("/api/v1/tasks", &any).await.problem("invalid");
    assert!(
        problem.detail.contains("no other one"),
        "{}",
        problem.detail
    );

    let other = Other::of(&server, "server", "shop").await;
    let any = json!({"project_id": other.project, "text": "x", "any_machine": true});
    let task: Task = server.post("/api/v1/tasks", &any).await.ok(201);
    let sharing = task.sharing.unwrap();
    assert!(sharing.any_machine && sharing.runs_on.is_none());
    assert_eq!(
        task.detail.as_deref(),
        Some("waits for a machine that has example.com/me/shop and takes it (not sent yet)")
    );
}

#[tokio::test]
async fn as_many_tasks_wait_to_be_heard_of_as_may_wait_here() {
    let server = Server::with_limits(ccm_core::engine::EngineLimits {
        max_queued: 2,
        ..ccm_core::engine::EngineLimits::default()
    })
    .await;
    let other = Other::of(&server, "server", "shop").await;
    let body = json!({"project_id": other.project, "text": "x"});
    let keyed = || {
        let request = server.request(Method::POST, "/api/v1/tasks");
        request.header("idempotency-key", "once").json(&body)
    };
    let first: Task = server.send(keyed()).await.ok(201);
    server.post("/api/v1/tasks", &body).await.ok::<Task>(201);
    let problem = server
        .post("/api/v1/tasks", &body)
        .await
        .problem("queue_full");
    // Whoever did not hear the answer hears it now.
    assert_eq!(server.send(keyed()).await.ok::<Task>(201).id, first.id);
    assert!(
        problem.detail.contains("resources.max_queue_size"),
        "{}",
        problem.detail
    );
    other.report(&server, first.id, |_| {}).await;
    server.post("/api/v1/tasks", &body).await.ok::<Task>(201);
}

#[tokio::test]
async fn what_is_wanted_of_another_machine_goes_there_as_a_wish() {
    let server = Server::start().await;
    let other = Other::of(&server, "server", "shop").await;
    let id = other.define(&server, "work").await;
    let path = format!("/api/v1/tasks/{id}");
    let run = other.run(&server, id, |_| {}).await;
    let running = |task: &mut Task| {
        task.state = api::TaskStateName::Running;
        task.run_id = Some(run);
    };
    other.report(&server, id, running).await;
    let ask = other.ask(&server, id, run).await;

    let asking: Task = server.get(&path).await.ok(200);
    assert_eq!(asking.open_asks[0].id, ask);
    let asks: Page<Ask> = server.get("/api/v1/asks?state=open").await.ok(200);
    assert_eq!(asks.items, []);
    let asks: Page<Ask> = server
        .get("/api/v1/asks?state=open&machine=all")
        .await
        .ok(200);
    assert_eq!(asks.items[0].id, ask);
    assert_eq!(asks.items[0].machine.as_ref().unwrap().hostname, "server");
    let answer = format!("/api/v1/asks/{ask}/answer");
    let wrong = json!({"answer": "text", "text": ["a", "b"]});
    server.post(&answer, &wrong).await.problem("invalid");
    let sent: Ask = server
        .post(&answer, &json!({"answer": "allow"}))
        .await
        .ok(200);
    assert_eq!(sent.state, api::AskStateName::Open);
    assert_eq!(sent.sent_answer, Some(api::Answer::Allow));
    let known: Ask = server.get(&format!("/api/v1/asks/{ask}")).await.ok(200);
    assert_eq!(known, sent);

    let answer: api::CancelAnswer = server.poke(&format!("{path}/cancel")).await.ok(200);
    assert!(answer.stopping);
    assert_eq!(
        answer.task.detail.as_deref(),
        Some("server is asked to call it off")
    );
    server
        .poke(&format!("{path}/retry"))
        .await
        .problem("wrong_state");
    other
        .report(&server, id, |task| {
            task.state = api::TaskStateName::Cancelled;
            task.reason = Some(Reason::Cancelled);
            task.detail = Some("cancelled by cli".to_owned());
        })
        .await;
    let ended: Task = server.get(&path).await.ok(200);
    assert_eq!(ended.detail.as_deref(), Some("cancelled by cli"));
    assert_eq!(ended.sharing.unwrap().wished, []);
    let task: Task = server.poke(&format!("{path}/retry")).await.ok(200);
    assert_eq!(
        task.detail.as_deref(),
        Some("server is asked to do it again")
    );
    let bulk = json!({"ids": [id, TaskId::new()]});
    let results: api::BulkResults = server.post("/api/v1/tasks/bulk/retry", &bulk).await.ok(200);
    assert!(results.results[0].task.is_some() && results.results[1].problem.is_some());

    let wished: Vec<Wanted> = wishes(&server)
        .await
        .into_iter()
        .map(|wish| wish.what)
        .collect();
    let answered = Wanted::Answer {
        ask_id: ask,
        answer: api::Answer::Allow,
    };
    assert_eq!(
        wished,
        [answered, Wanted::Cancel, Wanted::Retry, Wanted::Retry]
    );
}

#[tokio::test]
async fn a_task_of_another_machine_is_edited_by_who_saw_it_as_it_is() {
    let server = Server::start().await;
    let other = Other::of(&server, "server", "shop").await;
    let id = other.define(&server, "work").await;
    let path = format!("/api/v1/tasks/{id}");
    let edit = async |tag: &str, body: serde_json::Value| {
        let request = server.request(Method::PATCH, &path).header("if-match", tag);
        server.send(request.json(&body)).await
    };
    let seen = server.get(&path).await.headers["etag"]
        .to_str()
        .unwrap()
        .to_owned();
    let edited = edit(&seen, json!({"priority": 7})).await;
    let next = edited.headers["etag"].to_str().unwrap().to_owned();
    let edited: Task = edited.ok(200);
    assert_eq!(edited.priority, 7);
    assert!(!edited.sharing.unwrap().sent);
    edit(&seen, json!({"priority": 8}))
        .await
        .problem("stale_revision");
    // What its machine says of it is no change of what it is.
    other.report(&server, id, |task| task.attempts = 1).await;
    edit(&next, json!({"priority": 9})).await.ok::<Task>(200);
    other
        .report(&server, id, |task| {
            task.state = api::TaskStateName::Succeeded
        })
        .await;
    edit("*", json!({"priority": 1}))
        .await
        .problem("wrong_state");
}

#[tokio::test]
async fn lists_of_several_machines_are_paged_searched_and_counted_like_one() {
    let server = Server::start().await;
    let here = server.paused_project("site").await;
    let other = Other::of(&server, "server", "shop").await;
    let mut all = Vec::new();
    for n in 0..12 {
        all.push(match n % 3 {
            0 => server.task(here, &format!("local {n}")).await.id,
            1 => {
                let id = other.define(&server, &format!("theirs {n}")).await;
                if n > 6 {
                    let done = |task: &mut Task| task.state = api::TaskStateName::Succeeded;
                    other.report(&server, id, done).await;
                }
                id
            }
            _ => {
                let body = json!({"project_id": other.project, "text": format!("sent {n}")});
                server.post("/api/v1/tasks", &body).await.ok::<Task>(201).id
            }
        });
    }
    all.reverse();
    let of = |kinds: &[usize]| -> Vec<TaskId> {
        let places = all.iter().enumerate();
        let wanted = places.filter(|(n, _)| kinds.contains(&((11 - n) % 3)));
        wanted.map(|(_, id)| *id).collect()
    };
    assert_eq!(ids(&server, "").await, of(&[0]));
    assert_eq!(ids(&server, "machine=mine").await, of(&[0, 2]));
    assert_eq!(ids(&server, "machine=all").await, all);
    assert_eq!(
        ids(&server, &format!("machine={}", other.id)).await,
        of(&[1, 2])
    );
    assert_eq!(ids(&server, "machine=all&q=THEIRS").await, of(&[1]));
    assert_eq!(ids(&server, "machine=all&state=succeeded").await.len(), 2);
    assert_eq!(
        ids(
            &server,
            &format!("machine=all&project_id={}", other.project)
        )
        .await,
        of(&[1, 2])
    );
    assert_eq!(
        ids(&server, "machine=all&skip=5&page_size=4").await,
        all[5..9]
    );
    assert_eq!(ids(&server, "machine=all&skip=12").await, []);

    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/api/v1/tasks?machine=all&count=true&page_size=5{token}");
        let page: Page<Task> = server.get(&path).await.ok(200);
        assert_eq!(page.total, Some(12));
        seen.extend(page.items.iter().map(|task| task.id));
        match page.next_page_token {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    server
        .get(&format!(
            "/api/v1/tasks?order=queue&machine=all&project_id={here}"
        ))
        .await
        .problem("bad_request");
}

#[tokio::test]
async fn a_transcript_of_another_machine_is_read_from_either_end() {
    let server = Server::start().await;
    let other = Other::of(&server, "server", "shop").await;
    let task = other.define(&server, "work").await;
    let run = other.run(&server, task, |_| {}).await;
    let path = format!("/api/v1/runs/{run}/transcript");
    let read =
        async |query: &str| -> Transcript { server.get(&format!("{path}?{query}")).await.ok(200) };
    let none = read("").await;
    assert_eq!((none.entries.len(), none.next, none.complete), (0, 0, true));

    for part in 0..3 {
        other.part(&server, task, run, part, 100, false).await;
    }
    let all = read("").await;
    assert_eq!(texts(&all), ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]);
    assert_eq!((all.next, all.complete), (300, true));
    let some = read("limit=3").await;
    assert_eq!(
        (texts(&some), some.next, some.complete),
        (vec!["0.0", "0.1", "1.0"], 150, false)
    );
    let rest = read("after=150").await;
    assert_eq!(texts(&rest), ["1.1", "2.0", "2.1"]);
    assert_eq!(texts(&read("after=300").await), [""; 0]);
    let end = read("before=9223372036854775807&limit=2").await;
    assert_eq!(
        (texts(&end), end.begin, end.next),
        (vec!["2.0", "2.1"], 200, 300)
    );
    let earlier = read("before=200&limit=3").await;
    assert_eq!(
        (texts(&earlier), earlier.begin),
        (vec!["0.1", "1.0", "1.1"], 50)
    );
    assert_eq!(read("before=50").await.begin, 0);

    // Only the last parts of a long one are kept, and that is told.
    let kept = TranscriptPart::KEPT;
    for part in 3..kept + 10 {
        other.part(&server, task, run, part, 100, false).await;
    }
    let begin = read("limit=3").await;
    assert_eq!(texts(&begin)[..2], ["(gap)", "10.0"]);
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let part = read(&format!("after={after}&limit=7")).await;
        seen.extend(texts(&part).iter().map(|text| (*text).to_owned()));
        after = part.next;
        if part.complete {
            break;
        }
    }
    assert_eq!(seen.len(), 2 * kept as usize + 1);
    assert_eq!(seen.last().unwrap(), &format!("{}.1", kept + 9));
    let mut back = Vec::new();
    let mut before = u64::try_from(i64::MAX).unwrap();
    while before > 0 {
        let part = read(&format!("before={before}&limit=9")).await;
        back.splice(0..0, texts(&part).iter().map(|text| (*text).to_owned()));
        before = part.begin;
    }
    assert_eq!(back, seen);
}

#[tokio::test]
async fn a_transcript_is_complete_once_its_end_has_come() {
    let server = Server::start().await;
    let other = Other::of(&server, "server", "shop").await;
    let task = other.define(&server, "work").await;
    let ended = |run: &mut Run| {
        run.state = api::RunStateName::Succeeded;
        run.finished_at = Some(Timestamp::UNIX_EPOCH);
    };
    let run = other.run(&server, task, ended).await;
    let path = format!("/api/v1/runs/{run}/transcript");
    let complete = async || server.get(&path).await.ok::<Transcript>(200).complete;
    assert!(!complete().await);
    other.part(&server, task, run, 0, 100, false).await;
    assert!(!complete().await);
    other.part(&server, task, run, 0, 100, true).await;
    assert!(complete().await);
}

#[tokio::test]
async fn an_agent_sees_nothing_of_other_machines_projects() {
    let server = Server::start().await;
    let here = server.project("site").await;
    let other = Other::of(&server, "server", "shop").await;
    let task = other.define(&server, "secret").await;
    let run = other.run(&server, task, |_| {}).await;
    let ask = other.ask(&server, task, run).await;
    let own = server.task(here, "hold on").await;
    let own = server.task_in(own.id, "running").await;
    let token = server.app.agent_token(own.run_id.unwrap());
    let get = async |path: &str| {
        let url = format!("http://{}{path}", server.address);
        let request = reqwest::Client::new().get(url).bearer_auth(&token);
        server.send(request).await
    };
    for path in [
        format!("/api/v1/projects/{}", other.project),
        format!("/api/v1/tasks/{task}"),
        format!("/api/v1/tasks?machine=all&project_id={}", other.project),
        format!("/api/v1/runs/{run}"),
        format!("/api/v1/runs?task_id={task}"),
        format!("/api/v1/runs/{run}/transcript"),
        format!("/api/v1/asks/{ask}"),
    ] {
        get(&path).await.problem("forbidden");
    }
    let tasks: Page<Task> = get("/api/v1/tasks?machine=all").await.ok(200);
    assert_eq!(tasks.items.len(), 1);
    let projects: Page<Project> = get("/api/v1/projects?machine=all").await.ok(200);
    assert_eq!(projects.items.len(), 1);
    let asks: Page<Ask> = get("/api/v1/asks?machine=all").await.ok(200);
    assert_eq!(asks.items, []);
    for body in [
        json!({"project_id": other.project, "text": "x"}),
        json!({"project_id": here, "text": "x", "any_machine": true}),
    ] {
        let url = format!("http://{}/api/v1/tasks", server.address);
        let request = reqwest::Client::new().post(url).bearer_auth(&token);
        server.send(request.json(&body)).await.problem("forbidden");
    }
}
