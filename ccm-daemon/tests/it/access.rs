//! Who may do what: the owner, browsers, agents; and what is written down of it.

use ccm_core::api::{AuditEntry, Page, Session, SignInCode, Task};
use ccm_core::id::{ProjectId, RunId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{DOCUMENT, PATIENCE, Reply, Server};

/// A browser, as far as it matters here.
struct Browser {
    client: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Browser {
    /// One that was signed in.
    async fn signed_in(server: &Server) -> Self {
        let code: SignInCode = server.poke("/api/v1/sign-in-codes").await.ok(201);
        let answer = open(&code.url).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let place = answer.headers()["location"].to_str().unwrap();
        let csrf = place.strip_prefix("/#csrf=").expect(place).to_owned();
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        let port = server.address.port();
        assert!(set.starts_with(&format!("ccm_session_{port}=")), "{set}");
        for flag in [
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=2592000",
        ] {
            assert!(set.contains(flag), "{set}");
        }
        Self {
            client: plain(),
            base: format!("http://localhost:{port}"),
            cookie: set.split(';').next().unwrap().to_owned(),
            csrf,
        }
    }

    /// A request as the page itself makes it.
    fn own(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.bare(method, path)
            .header("x-ccm-csrf", &self.csrf)
            .header("origin", &self.base)
            .header("sec-fetch-site", "same-origin")
    }

    /// A request with nothing but the cookie.
    fn bare(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .header("cookie", &self.cookie)
    }
}

fn plain() -> reqwest::Client {
    let policy = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(policy).build().unwrap()
}

async fn open(url: &str) -> reqwest::Response {
    plain()
        .get(url)
        .header("user-agent", "Browser/1")
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_code_signs_one_browser_in_once_and_over_restarts() {
    let server = Server::start().await;
    let code: SignInCode = server.poke("/api/v1/sign-in-codes").await.ok(201);
    assert!(code.url.ends_with(&format!("/sign-in?code={}", code.code)));
    for spoiler in [
        plain().head(&code.url),
        plain()
            .get(&code.url)
            .header("sec-purpose", "prefetch;prerender"),
    ] {
        assert_eq!(
            spoiler.send().await.unwrap().status(),
            StatusCode::FORBIDDEN
        );
    }
    assert_eq!(open(&code.url).await.status(), StatusCode::SEE_OTHER);
    let again = open(&code.url).await;
    assert_eq!(again.status(), StatusCode::FORBIDDEN);
    assert!(again.headers().get("set-cookie").is_none());
    assert!(again.text().await.unwrap().contains("ccm ui"));

    let browser = Browser::signed_in(&server).await;
    let sessions: Page<Session> = server
        .send(browser.own(Method::GET, "/api/v1/sessions"))
        .await
        .ok(200);
    let this: Vec<_> = sessions.items.iter().map(|one| one.this).collect();
    assert_eq!(this, [false, true]);
    assert_eq!(sessions.items[1].browser, "Browser/1");

    // The next daemon has another port, hence another cookie's name; what is in it is still good.
    let server = server.restart().await;
    let port = server.address.port();
    let value = browser.cookie.split_once('=').unwrap().1;
    let browser = Browser {
        base: format!("http://localhost:{port}"),
        cookie: format!("ccm_session_{port}={value}"),
        ..browser
    };
    let status = server
        .send(browser.own(Method::GET, "/api/v1/status"))
        .await;
    assert_eq!(status.status, 200);

    let own = format!("/api/v1/sessions/{}", sessions.items[1].id);
    let ended = server.send(browser.own(Method::DELETE, &own)).await;
    assert_eq!(ended.status, 204);
    let after = server
        .send(browser.own(Method::GET, "/api/v1/status"))
        .await;
    after.problem("unauthorized");
    server.delete(&own).await.problem("session_not_found");
    server
        .delete("/api/v1/sessions/x")
        .await
        .problem("bad_request");
}

#[tokio::test]
async fn the_cookie_alone_opens_nothing() {
    let server = Server::start().await;
    let browser = Browser::signed_in(&server).await;
    let ask = |request: reqwest::RequestBuilder| server.send(request);
    let (status, reload) = ("/api/v1/status", "/api/v1/reload");
    assert_eq!(ask(browser.own(Method::GET, status)).await.status, 200);
    assert_eq!(ask(browser.own(Method::POST, reload)).await.status, 200);

    // Another server of this machine that was sent the cookie has not what the page keeps.
    for method in [Method::GET, Method::POST] {
        ask(browser.bare(method.clone(), status))
            .await
            .problem("unauthorized");
        let wrong = browser
            .bare(method, status)
            .header("x-ccm-csrf", "0".repeat(64));
        ask(wrong).await.problem("unauthorized");
    }
    let other = Browser::signed_in(&server).await;
    let mixed = browser
        .bare(Method::GET, status)
        .header("x-ccm-csrf", &other.csrf);
    ask(mixed).await.problem("unauthorized");
    let bare = plain().get(format!(
        "http://localhost:{}{status}",
        server.address.port()
    ));
    ask(bare.header("x-ccm-csrf", &browser.csrf))
        .await
        .problem("unauthorized");
    // The secrets are no tokens.
    for secret in [&browser.csrf, browser.cookie.split_once('=').unwrap().1] {
        let request = reqwest::Client::new().get(format!("http://{}{status}", server.address));
        ask(request.bearer_auth(secret))
            .await
            .problem("unauthorized");
    }
}

#[tokio::test]
async fn what_changes_something_comes_from_the_page_itself() {
    let server = Server::start().await;
    let browser = Browser::signed_in(&server).await;
    let port = server.address.port();
    let csrf = |request: reqwest::RequestBuilder| request.header("x-ccm-csrf", &browser.csrf);
    let post = || csrf(browser.bare(Method::POST, "/api/v1/reload"));
    for request in [
        post(),
        post().header("sec-fetch-site", "same-origin"),
        post().header("origin", "null"),
        post().header("origin", format!("http://127.0.0.1:{port}")),
        post().header("origin", "http://box.example"),
        post().header("origin", "http://evil.example"),
        browser
            .own(Method::POST, "/api/v1/reload")
            .header("origin", &browser.base),
        post()
            .header("origin", &browser.base)
            .header("sec-fetch-site", "same-site"),
        post()
            .header("origin", &browser.base)
            .header("sec-fetch-site", "cross-site"),
        csrf(browser.bare(Method::GET, "/api/v1/status")).header("sec-fetch-site", "cross-site"),
        csrf(browser.bare(Method::GET, "/api/v1/status")).header("sec-fetch-site", "none"),
    ] {
        server.send(request).await.problem("forbidden");
    }
    // A form can send this much without being asked.
    let form = browser
        .own(Method::POST, "/api/v1/tasks")
        .header("content-type", "text/plain")
        .body("{}");
    server.send(form).await.problem("unsupported_media_type");
    // A browser that is signed in can't keep itself in by signing others in.
    let code = browser.own(Method::POST, "/api/v1/sign-in-codes");
    server.send(code).await.problem("forbidden");
}

#[tokio::test]
async fn the_page_is_served_so_that_no_other_page_can_use_it() {
    let server = Server::start().await;
    // What the page is made of: its own address names it, and views have the same file.
    let page = server.get("/").await;
    let page = String::from_utf8(page.body).unwrap();
    let linked = page.split('"').filter(|text| text.starts_with("/assets/"));
    let mut paths = vec![
        "/",
        "/tasks",
        "/tasks/no-such-task",
        "/icon.svg",
        "/refused.html",
    ];
    paths.extend(linked);
    assert!(paths.len() > 6, "a script and a style: {page}");
    for path in paths {
        let answer = server
            .send(reqwest::Client::new().get(format!("http://{}{path}", server.address)))
            .await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains(&server.token));
        assert!(
            !text.contains("<style") && !text.contains(" style="),
            "{path}"
        );
        assert!(
            !text.contains("<script>") && !text.contains(" onclick"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn codes_can_not_be_guessed_at_and_wrong_tokens_are_told_to_wait() {
    let server = Server::start().await;
    let code: SignInCode = server.poke("/api/v1/sign-in-codes").await.ok(201);
    let guess = code.url.replace(&code.code, &"0".repeat(32));
    for _ in 0..10 {
        assert_eq!(open(&guess).await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(
        open(&code.url).await.status(),
        StatusCode::FORBIDDEN,
        "void by now"
    );

    let url = format!("http://{}/api/v1/status", server.address);
    let client = reqwest::Client::new();
    let mut last = None;
    for n in 0..200 {
        let request = client.get(&url).bearer_auth(format!("{n:064x}"));
        let reply = server.send(request).await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            last = Some(reply);
            break;
        }
        reply.problem("unauthorized");
    }
    let last = last.expect("the flood is stemmed");
    assert!(last.headers.contains_key("retry-after"));
    last.problem("too_many_attempts");
    // Whoever is in is not held up.
    assert_eq!(server.get("/api/v1/status").await.status, 200);
}

/// A project with a run that goes on, and a client with the token of its agent.
struct Agent {
    project: ProjectId,
    task: Task,
    run: RunId,
    token: String,
}

impl Agent {
    async fn start(server: &Server, name: &str) -> Self {
        let project = server.project(name).await;
        let task = server.task(project, "hold on").await;
        let task = server.task_in(task.id, "running").await;
        let run = task.run_id.unwrap();
        Self {
            project,
            task,
            run,
            token: server.app.agent_token(run),
        }
    }

    async fn ask(&self, server: &Server, method: Method, path: &str, body: Option<Value>) -> Reply {
        let url = format!("http://{}{path}", server.address);
        let mut request = reqwest::Client::new()
            .request(method, url)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        server.send(request).await
    }

    async fn get(&self, server: &Server, path: &str) -> Reply {
        self.ask(server, Method::GET, path, None).await
    }
}

#[tokio::test]
async fn an_agent_sees_its_project_and_queues_tasks_there_and_no_more() {
    let server = Server::start().await;
    let own = Agent::start(&server, "own").await;
    let other = Agent::start(&server, "other").await;

    let text = json!({"project_id": own.project, "text": "hold, a follow-up"});
    let made: Task = own
        .ask(&server, Method::POST, "/api/v1/tasks", Some(text))
        .await
        .ok(201);
    // Whatever it calls itself.
    assert_eq!(made.created_by, format!("run:{}", own.run));
    let text = json!({"project_id": other.project, "text": "x"});
    own.ask(&server, Method::POST, "/api/v1/tasks", Some(text))
        .await
        .problem("forbidden");

    for (list, count) in [("projects", 1), ("agents", 1), ("tasks", 2), ("asks", 0)] {
        let page: Page<Value> = own.get(&server, &format!("/api/v1/{list}")).await.ok(200);
        assert_eq!(page.items.len(), count, "{list}: {page:?}");
        if list != "projects" {
            let of = |id| format!("/api/v1/{list}?project_id={id}");
            assert_eq!(own.get(&server, &of(own.project)).await.status, 200);
            own.get(&server, &of(other.project))
                .await
                .problem("forbidden");
        }
    }
    let of = |task: &Task| format!("/api/v1/runs?task_id={}", task.id);
    let runs: Page<Value> = own.get(&server, &of(&own.task)).await.ok(200);
    assert_eq!(runs.items.len(), 1);
    own.get(&server, &of(&other.task))
        .await
        .problem("forbidden");
    own.get(&server, "/api/v1/runs")
        .await
        .problem("bad_request");
    let foreign = format!("/api/v1/events?project_id={}", other.project);
    own.get(&server, &foreign).await.problem("forbidden");

    // Written in another way it is the same id, and no way around.
    let id = other.task.id.to_string();
    let encoded = format!("/api/v1/tasks/%{:02x}{}", id.as_bytes()[0], &id[1..]);
    for path in [encoded, format!("/api/v1/tasks/{}", id.to_uppercase())] {
        assert_ne!(own.get(&server, &path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_operation_is_closed_to_agents_unless_it_is_meant_for_them() {
    let server = Server::start().await;
    let own = Agent::start(&server, "own").await;
    let other = Agent::start(&server, "other").await;
    // What an agent may ask at all. The rest is forbidden, also about its own project.
    let open = [
        "get_health",
        "get_ready",
        "get_openapi",
        "get_status",
        "list_systems",
        "get_system",
        "get_sync",
        "list_projects",
        "get_project",
        "list_agents",
        "get_agent",
        "list_tasks",
        "create_task",
        "create_tasks",
        "get_task",
        "list_runs",
        "get_run",
        "get_run_log",
        "list_inputs",
        "get_transcript",
        "list_asks",
        "get_ask",
        "stream_events",
    ];
    let mut seen = Vec::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let method: Method = method.to_uppercase().parse().unwrap();
            let objects = |agent: &Agent| -> Option<String> {
                Some(match path.split('/').nth(3)? {
                    "projects" => agent.project.to_string(),
                    "tasks" => agent.task.id.to_string(),
                    "runs" => agent.run.to_string(),
                    _ => return None,
                })
            };
            if open.contains(&id) {
                seen.push(id);
                if let Some(foreign) = objects(&other).filter(|_| path.contains("{id}")) {
                    let path = path.replace("{id}", &foreign);
                    own.ask(&server, method, &path, None)
                        .await
                        .problem("forbidden");
                }
                continue;
            }
            let mine = objects(&own).unwrap_or_else(|| RunId::new().to_string());
            let path = path.replace("{id}", &mine);
            let reply = own.ask(&server, method.clone(), &path, None).await;
            assert_eq!(reply.status, 403, "{method} {path} ({id})");
            reply.problem("forbidden");
        }
    }
    assert_eq!(seen.len(), open.len(), "{seen:?}");
    assert!(!server.app.stopping().is_cancelled());
}

#[tokio::test]
async fn an_agents_token_ends_with_its_run() {
    let server = Server::start().await;
    let agent = Agent::start(&server, "own").await;
    assert_eq!(agent.get(&server, "/api/v1/status").await.status, 200);
    // Also over a restart of the daemon, which adopts the run.
    let server = server.restart().await;
    assert_eq!(agent.get(&server, "/api/v1/status").await.status, 200);
    server.runtime.release("go");
    server.task_in(agent.task.id, "succeeded").await;
    let refused = agent
        .get(&server, "/api/v1/status")
        .await
        .problem("unauthorized");
    assert!(refused.detail.contains("over"), "{}", refused.detail);
    let unknown = Agent {
        token: server.app.agent_token(RunId::new()),
        ..agent
    };
    unknown
        .get(&server, "/api/v1/status")
        .await
        .problem("unauthorized");
}

#[tokio::test]
async fn keys_of_agents_and_of_the_owner_do_not_meet() {
    let server = Server::start().await;
    let agent = Agent::start(&server, "own").await;
    let body = json!({"project_id": agent.project, "text": "hold"});
    let with_key = |token: &str| {
        reqwest::Client::new()
            .post(format!("http://{}/api/v1/tasks", server.address))
            .bearer_auth(token)
            .header("idempotency-key", "k")
            .json(&body)
    };
    let first: Task = server.send(with_key(&server.token)).await.ok(201);
    let agents: Task = server.send(with_key(&agent.token)).await.ok(201);
    assert_ne!(first.id, agents.id);
    let again: Task = server.send(with_key(&agent.token)).await.ok(201);
    assert_eq!(agents.id, again.id);
}

#[tokio::test]
async fn it_is_written_down_who_did_what() {
    let server = Server::start().await;
    let agent = Agent::start(&server, "own").await;
    let browser = Browser::signed_in(&server).await;
    let cancel = format!("/api/v1/tasks/{}/cancel", agent.task.id);
    agent
        .ask(&server, Method::POST, &cancel, None)
        .await
        .problem("forbidden");
    server.send(browser.own(Method::POST, &cancel)).await;
    let request = server
        .request(Method::POST, &cancel)
        .header("x-ccm-client", "me");
    server.send(request).await;
    server.get("/api/v1/tasks").await;

    let page: Page<AuditEntry> = server.get("/api/v1/audit").await.ok(200);
    let told: Vec<String> = page
        .items
        .iter()
        .rev()
        .map(|entry| {
            let principal = entry.principal.split(':').next().unwrap();
            format!(
                "{principal} {} {} {}",
                entry.client, entry.operation, entry.status
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "token api POST /api/v1/tasks 201".to_owned(),
            "token api POST /api/v1/sign-in-codes 201".to_owned(),
            "browser web GET /sign-in 303".to_owned(),
            format!("run run:{} POST /api/v1/tasks/{{id}}/cancel 403", agent.run),
            "browser web POST /api/v1/tasks/{id}/cancel 200".to_owned(),
            "token me POST /api/v1/tasks/{id}/cancel 200".to_owned(),
        ]
    );
    let made = page.items.last().unwrap();
    assert_eq!(
        made.created,
        Some(format!("/api/v1/tasks/{}", agent.task.id))
    );
    assert_eq!(page.items[0].path, cancel);

    // In parts, without a gap.
    let mut parts = Vec::new();
    let mut path = "/api/v1/audit?page_size=4".to_owned();
    loop {
        let part: Page<AuditEntry> = server.get(&path).await.ok(200);
        parts.extend(part.items);
        let Some(token) = part.next_page_token else {
            break;
        };
        path = format!("/api/v1/audit?page_size=4&page_token={token}");
    }
    assert_eq!(parts, page.items);

    let file = server.home.path().join("ccm/logs/audit.log");
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in [&server.token, &agent.token, &browser.csrf] {
        assert!(!text.contains(secret.as_str()));
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Reads an open stream to its end.
async fn until_closed(mut stream: reqwest::Response) {
    let reading = async { while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the stream ends");
}

#[tokio::test]
async fn streams_end_with_the_right_to_see_them() {
    let server = Server::start().await;
    let browser = Browser::signed_in(&server).await;
    let open = |request: reqwest::RequestBuilder| async {
        let mut stream = request.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        stream.chunk().await.unwrap().expect("its place");
        stream
    };
    let events = "/api/v1/events";
    let of_browser = open(browser.own(Method::GET, events)).await;
    let of_owner = open(server.request(Method::GET, events)).await;
    let sessions: Page<Session> = server.get("/api/v1/sessions").await.ok(200);
    let path = format!("/api/v1/sessions/{}", sessions.items[0].id);
    assert_eq!(server.delete(&path).await.status, 204);
    until_closed(of_browser).await;

    let agent = Agent::start(&server, "own").await;
    let url = format!("http://{}{events}", server.address);
    let of_agent = open(plain().get(url).bearer_auth(&agent.token)).await;
    server.runtime.release("go");
    server.task_in(agent.task.id, "succeeded").await;
    until_closed(of_agent).await;
    // The owner's goes on: it has what happened meanwhile.
    let mut of_owner = of_owner;
    let chunk = tokio::time::timeout(PATIENCE, of_owner.chunk()).await;
    assert!(chunk.unwrap().unwrap().is_some());
}
