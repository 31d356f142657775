//! What agents ask, as people see it. The answers are a made-up daemon's: programs of one's own ask nothing.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::server::{Server, Turn, json as turn};
use crate::support::{Machine, Ran};

const ASK: &str = "019aa7a0-0000-7000-8000-3f2a9c1b7d4e";
const TASK: &str = "019aa7a0-0000-7000-8000-0000000000aa";
const RUN: &str = "019aa7a0-0000-7000-8000-0000000000bb";
const AGENT: &str = "019aa7a0-0000-7000-8000-0000000000cc";
const PROJECT: &str = "019aa7a0-0000-7000-8000-0000000000dd";
const LONG_AGO: &str = "2020-01-31T12:00:00Z";

fn ok(body: &Value) -> Turn {
    turn("200 OK", "application/json", &body.to_string())
}

fn list(items: &[Value]) -> Turn {
    ok(&json!({ "items": items }))
}

fn problem(status: &str, code: &str, detail: &str) -> Turn {
    let number: u16 = status[..3].parse().unwrap();
    let body = json!({"type": format!("/problems#{code}"), "title": "x", "status": number, "detail": detail,
        "code": code});
    turn(status, "application/problem+json", &body.to_string())
}

fn permission() -> Value {
    json!({"id": ASK, "run_id": RUN, "task_id": TASK, "project_id": PROJECT, "agent_id": AGENT,
        "kind": "permission", "title": "Bash", "detail": "rm -rf build\necho \u{1b}[2Jdone", "options": [],
        "questions": [], "state": "open", "answer": null, "answered_by": null, "created_at": LONG_AGO,
        "answered_at": null})
}

fn choice() -> Value {
    let mut ask = permission();
    ask["id"] = json!("019aa7a0-0000-7000-8000-77aa00000001");
    ask["kind"] = json!("choice");
    ask["title"] = json!("Which database?");
    ask["detail"] = json!("");
    ask["options"] = json!(["SQLite", "PostgreSQL"]);
    ask["questions"] = json!([{"question": "Which database?", "header": "Database", "multiple": false, "options": [
        {"label": "SQLite", "description": "a file"}, {"label": "PostgreSQL", "description": ""}]}]);
    ask
}

fn answered(by: &str, answer: Value) -> Value {
    let mut ask = permission();
    ask["state"] = json!("answered");
    ask["answer"] = answer;
    ask["answered_by"] = json!(by);
    ask["answered_at"] = json!(LONG_AGO);
    ask
}

fn project() -> Value {
    json!({"id": PROJECT, "name": "demo", "path": "/p", "system_id": AGENT, "state": "active", "detail": null,
        "queued": 0, "running": 1, "created_at": LONG_AGO})
}

fn open_ask(ask: &Value) -> Value {
    json!({"id": ask["id"], "kind": ask["kind"], "title": ask["title"], "created_at": LONG_AGO})
}

fn task(open_asks: &[Value]) -> Value {
    json!({"id": TASK, "project_id": PROJECT, "project": "demo", "title": "Clean up", "text": "Clean up",
        "state": "running", "reason": null, "detail": null, "priority": 0, "not_before": null, "blocked_by": [],
        "attempts": 1, "max_retries": 0, "timeout_s": null, "session": "fresh", "tags": [], "system_type": null,
        "created_by": "cli", "created_at": LONG_AGO, "updated_at": LONG_AGO, "finished_at": null,
        "open_asks": open_asks, "run_id": RUN, "result": null, "cost_usd": 0.25, "revision": 1})
}

fn run() -> Value {
    json!({"id": RUN, "task_id": TASK, "project_id": PROJECT, "attempt": 1, "agent_id": AGENT, "system_id": AGENT,
        "state": "running", "reason": "rate_limited", "detail": "the limit of the plan is used up",
        "until": "2020-01-31T22:53:00Z", "open_asks": 1, "started_at": LONG_AGO, "finished_at": null,
        "exit_code": null, "session_id": "5e5510", "result": null, "denied": 2, "usage": {"input_tokens": 100,
        "output_tokens": 30, "cache_read_tokens": 2000, "cache_write_tokens": 50}, "cost_usd": 0.25})
}

fn agent(state: &str, run: Option<&str>, open_asks: &[Value]) -> Value {
    json!({"id": AGENT, "project_id": PROJECT, "name": "demo", "driver": "claude", "mode": null, "state": state,
        "detail": null, "since": LONG_AGO, "evidence": {"source": "stream", "seen_at": LONG_AGO}, "until": null,
        "open_asks": open_asks, "run_id": run, "window": null, "pid": null, "memory_bytes": null,
        "cpu_percent": null})
}

/// Runs `ccm` against a daemon that answers so, and returns what it asked for.
fn against(turns: Vec<Turn>, line: &[&str]) -> (Ran, Vec<String>) {
    let machine = Machine::bare();
    let server = Server::new(turns);
    let mut command = machine.command("ccm", line);
    let ran = Ran::of(command.env("CCM_URL", &server.url).env("CCM_TOKEN", "x"));
    (ran, server.requests())
}

/// The same where only the output counts. Ages, which grow from day to day, and the columns they widen stay the same.
fn shown(turns: Vec<Turn>, line: &[&str]) -> String {
    let text = against(turns, line).0.to_string();
    let mut settled = String::new();
    for line in text.lines() {
        let begin = line.len() - line.trim_start().len();
        settled.push_str(&line[..begin]);
        let is_age = |word: &str| {
            let number = word.strip_suffix(['d', 'h', 'm', 's']).unwrap_or_default();
            number.parse::<u32>().is_ok()
        };
        let words: Vec<_> = line
            .split_whitespace()
            .filter(|word| !is_age(word))
            .collect();
        settled.push_str(&words.join(" "));
        settled.push('\n');
    }
    settled
}

#[test]
fn asks_are_listed_with_what_is_needed_to_decide() {
    let asks = || list(&[choice(), permission()]);
    let projects = || list(&[project()]);
    assert_snapshot!("asks", shown(vec![asks(), projects()], &["asks"]));
    assert_snapshot!("asks_none", shown(vec![list(&[])], &["asks"]));
    let one = vec![list(&[permission()]), projects()];
    assert_snapshot!("asks_one", shown(one, &["asks"]));
    let closed = answered("ada", json!({"answer": "deny", "message": "not now"}));
    let all = vec![list(&[closed]), projects()];
    assert_snapshot!("asks_all", shown(all, &["asks", "--all"]));
    let (ran, requests) = against(vec![asks()], &["asks", "--json"]);
    assert_eq!(ran.json()[0]["id"], ASK);
    assert!(requests[0].contains("state=open"), "{}", requests[0]);
}

#[test]
fn an_answer_says_what_was_answered() {
    for (line, body) in [
        (&["--allow"][..], json!({"answer": "allow"})),
        (&["--deny"], json!({"answer": "deny"})),
        (
            &["--deny", "--message", "no"],
            json!({"answer": "deny", "message": "no"}),
        ),
        (
            &["--text", "1", "--text=-x"],
            json!({"answer": "text", "text": ["1", "-x"]}),
        ),
    ] {
        let turns = vec![ok(&permission()), ok(&answered("cli", body.clone()))];
        let line = [&["task", "answer", ASK], line].concat();
        let (ran, requests) = against(turns, &line);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stderr.starts_with("Bash: "), "{ran}");
        assert!(requests[1].starts_with(&format!("POST /api/v1/asks/{ASK}/answer ")));
        let sent = requests[1].rsplit("\r\n\r\n").next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(sent).unwrap(), body);
    }
    let late = vec![
        ok(&answered("ada", json!({"answer": "allow"}))),
        problem(
            "409 Conflict",
            "ask_answered",
            "ada answered it before, and that answer counts",
        ),
    ];
    let (ran, _) = against(late, &["task", "answer", ASK, "--deny"]);
    assert!(ran.fails(5).contains("ada answered it before"), "{ran}");
}

#[test]
fn an_ask_is_named_by_its_end_or_its_task() {
    let done = || ok(&answered("cli", json!({"answer": "allow"})));
    let open = || list(&[choice(), permission()]);
    let (ran, _) = against(
        vec![open(), done()],
        &["task", "answer", "1b7d4e", "--allow"],
    );
    assert_eq!(ran.code, 0, "{ran}");
    let one = vec![list(&[permission()]), done()];
    let (ran, _) = against(one, &["task", "answer", "00aa", "--allow"]);
    assert_eq!(ran.code, 0, "{ran}");
    let gone = || problem("404 Not Found", "ask_not_found", "there is no ask");
    let by_task = || vec![gone(), ok(&task(&[]))];
    let mut turns = by_task();
    turns.push(open());
    let line = ["task", "answer", TASK, "--allow"];
    assert_snapshot!("answer_several", shown(turns, &line));
    let mut turns = by_task();
    turns.push(list(&[]));
    assert_snapshot!("answer_nothing", shown(turns, &line));
    let none = problem("404 Not Found", "task_not_found", "there is no task");
    assert_snapshot!("answer_nowhere", shown(vec![gone(), none], &line));
    let (ran, _) = against(Vec::new(), &["task", "answer", "hello", "--allow"]);
    ran.fails(2);
}

#[test]
fn tasks_and_agents_show_that_they_wait_for_a_person() {
    let open = open_ask(&permission());
    let listed = vec![list(&[task(std::slice::from_ref(&open))])];
    assert_snapshot!("task_list_asks", shown(listed, &["task", "list"]));
    let shows = vec![ok(&task(std::slice::from_ref(&open))), ok(&run())];
    assert_snapshot!("task_show_asks", shown(shows, &["task", "show", TASK]));
    let agents = vec![
        list(&[project()]),
        list(&[agent("waiting", Some(RUN), &[open])]),
    ];
    assert_snapshot!("agent_list_asks", shown(agents, &["agent", "list"]));
    let mut parked = agent("parked", None, &[]);
    parked["until"] = json!("2020-01-31T22:53:00Z");
    parked["detail"] = json!("the limit of the plan is used up");
    let agents = vec![list(&[project()]), list(&[parked])];
    let (ran, _) = against(agents, &["agent", "list"]);
    assert!(ran.ok().contains("parked (until 2020-0"), "{ran}");
}

#[test]
fn a_message_goes_to_the_run_that_an_agent_has_in_hand() {
    let working = || list(&[agent("working", Some(RUN), &[])]);
    let input = json!({"id": ASK, "run_id": RUN, "number": 2, "kind": "message", "text": "go on", "ask_id": null,
        "state": "written", "by": "cli", "created_at": LONG_AGO});
    let turns = vec![
        working(),
        ok(&run()),
        turn("201 Created", "application/json", &input.to_string()),
    ];
    let (ran, requests) = against(turns, &["agent", "send", "demo", "go", "on"]);
    assert_eq!(ran.ok(), format!("{ASK} written"));
    assert!(requests[2].starts_with(&format!("POST /api/v1/tasks/{TASK}/messages ")));
    assert!(requests[2].ends_with(r#"{"text":"go on"}"#));
    assert!(crate::server::header(&requests[2], "idempotency-key").is_some());
    let idle = vec![list(&[agent("idle", None, &[])])];
    let line = ["agent", "send", "demo", "hello"];
    assert_snapshot!("send_idle", shown(idle, &line));
    let deaf = vec![
        working(),
        ok(&run()),
        problem(
            "409 Conflict",
            "wrong_state",
            "the task's run takes no more input",
        ),
    ];
    let (ran, _) = against(deaf, &line);
    ran.fails(5);
}

#[test]
fn the_log_of_a_coding_cli_is_told_in_entries() {
    let entries = json!([
        {"offset": 0, "type": "session", "session_id": "1", "model": "m", "version": "2"},
        {"offset": 10, "type": "text", "text": "I begin.\u{1b}]0;x\u{7}"},
        {"offset": 20, "type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}},
    ]);
    let part = json!({"entries": entries, "next": 30, "complete": true});
    let logs = || vec![ok(&task(&[])), ok(&part), ok(&part)];
    let (ran, _) = against(logs(), &["task", "logs", TASK]);
    assert_eq!(ran.ok(), "m, version 2\nI begin.\n● Bash ls");
    let (ran, _) = against(
        vec![ok(&task(&[])), ok(&part)],
        &["task", "logs", TASK, "--json"],
    );
    let lines: Vec<Value> = ran
        .ok()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), entries);
    let raw = Turn::Say(
        "HTTP/1.1 200 OK\r\nx-log-offset: 0\r\nx-log-size: 2\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
            .to_owned(),
    );
    let (ran, _) = against(vec![ok(&task(&[])), raw], &["task", "logs", TASK, "--raw"]);
    assert_eq!(ran.ok(), "{}");
}

/// An event stream that says nothing, and ends.
fn events() -> Turn {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    Turn::Say(head.to_owned())
}

fn succeeded() -> Value {
    let mut task = task(&[]);
    task["state"] = json!("succeeded");
    task["finished_at"] = json!(LONG_AGO);
    task
}

#[test]
fn waiting_tells_once_what_is_asked_and_goes_on() {
    let asking = || ok(&task(&[open_ask(&permission()), open_ask(&choice())]));
    let turns = vec![asking(), events(), asking(), events(), ok(&succeeded())];
    let (ran, _) = against(turns, &["task", "wait", TASK]);
    assert_eq!(ran.ok(), format!("{TASK} succeeded"));
    for told in [
        &*format!(
            "{TASK} asks: Bash\nhint: answer with `ccm task answer 3f2a9c1b7d4e --allow`, or --deny\n"
        ),
        "asks: Which database?\nhint: answer with `ccm task answer 77aa00000001 --text TEXT`\n",
    ] {
        assert_eq!(ran.stderr.matches(told).count(), 1, "{ran}");
    }
}

#[test]
fn a_cancel_that_came_too_late_says_so() {
    let stopping = json!({"task": task(&[]), "stopping": true});
    let turns = vec![ok(&stopping), events(), ok(&succeeded())];
    assert_snapshot!("task_cancel_late", shown(turns, &["task", "cancel", TASK]));
}
