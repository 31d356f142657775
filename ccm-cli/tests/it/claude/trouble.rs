//! When Claude Code is not let work: whose fault it is, what people are told, and what becomes of the task.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ccm_core::Reason;
use ccm_core::api::{AgentStateName, RunStateName, TaskStateName};

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Machine, until};

#[test]
fn a_program_that_is_missing_is_no_attempt() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    // Its folder is not on the PATH.
    let _daemon = machine.daemon_with(|command| {
        command
            .envs(claude.environment())
            .env("PATH", "/usr/bin:/bin")
    });
    let project = machine.plain_project("demo");
    let id = project.task("@say here I am");
    until("the task says why it waits", || {
        task(&machine, &id).reason.is_some()
    });
    let waiting = task(&machine, &id);
    assert_eq!(
        (waiting.state, waiting.reason),
        (TaskStateName::Queued, Some(Reason::NotStarted))
    );
    let detail = waiting.detail.unwrap();
    for words in [
        "Claude Code (claude)",
        "was not found on the PATH",
        "npm install -g @anthropic-ai/claude-code",
    ] {
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(waiting.attempts, 0);
    let program = serde_json::to_string(&[Claude::program()]).unwrap();
    project.set("agent.command", &program);
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!(
        (done.attempts, done.result.as_deref()),
        (1, Some("here I am"))
    );
}

#[test]
fn without_a_login_the_task_waits_and_says_how_to_log_in() {
    let machine = Machine::new();
    let stub = Stub::start();
    let mut claude = Claude::new(&machine, &stub);
    let key = claude.environment()["ANTHROPIC_API_KEY"].clone();
    claude.set("ANTHROPIC_API_KEY", "");
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let id = project.task("@say logged in");
    until("the task says why it waits", || {
        task(&machine, &id).reason.is_some()
    });
    let waiting = task(&machine, &id);
    assert_eq!(
        (waiting.state, waiting.reason),
        (TaskStateName::Queued, Some(Reason::NotStarted))
    );
    let detail = waiting.detail.unwrap();
    assert!(
        detail.contains("not logged in") && detail.contains("/login"),
        "{detail}"
    );
    assert_eq!(waiting.attempts, 0);
    let parked = agent(&machine);
    assert_eq!(
        (parked.state, parked.run_id),
        (AgentStateName::Parked, None)
    );
    assert!(parked.detail.unwrap().contains("not logged in"));
    project.set("agent.env", &format!("{{ANTHROPIC_API_KEY: {key}}}"));
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!(
        (done.attempts, done.result.as_deref()),
        (1, Some("logged in"))
    );
}

#[test]
fn failures_of_the_provider_are_told_apart() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    for (name, directive, state, reason, words) in [
        (
            "refused",
            "@fail 401",
            TaskStateName::Queued,
            Reason::NotStarted,
            "was refused (401",
        ),
        (
            "slow-down",
            "@fail 429",
            TaskStateName::Queued,
            Reason::RateLimited,
            "429",
        ),
        (
            "poor",
            "@fail 400 : Your credit balance is too low",
            TaskStateName::Queued,
            Reason::RateLimited,
            "quota",
        ),
        (
            "overloaded",
            "@fail 529",
            TaskStateName::Failed,
            Reason::AgentError,
            "529",
        ),
        (
            "broken",
            "@fail 500",
            TaskStateName::Failed,
            Reason::AgentError,
            "500",
        ),
        (
            "cut",
            "@cut",
            TaskStateName::Failed,
            Reason::AgentError,
            "API Error",
        ),
    ] {
        let project = machine.plain_project(name);
        let id = project.task(directive);
        // While Claude Code tries again by itself the task runs, and says so, too.
        until(&format!("{name} is told"), || {
            let task = task(&machine, &id);
            task.reason.is_some() && task.state != TaskStateName::Running
        });
        let told = task(&machine, &id);
        assert_eq!(
            (told.state, told.reason),
            (state, Some(reason)),
            "{name}: {told:?}"
        );
        let detail = told.detail.unwrap_or_default();
        assert!(detail.contains(words), "{name}: {detail}");
        assert_eq!(
            told.attempts,
            u32::from(state == TaskStateName::Failed),
            "{name}"
        );
        let run = runs(&machine, &id).remove(0);
        assert_eq!(run.state, RunStateName::Failed);
        if state == TaskStateName::Queued {
            machine.ccm(&["task", "cancel", &id]).ok();
        }
    }
}

#[test]
fn while_it_tries_again_by_itself_it_is_parked_and_not_at_work() {
    let machine = Machine::new();
    let stub = Stub::start();
    let mut claude = Claude::new(&machine, &stub);
    claude.set("CLAUDE_CODE_MAX_RETRIES", "3");
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    // It keeps to the time that the answer names.
    let id = project.task("@fail 429 retry-after=3 x1\n@hold gate\n@say at last");
    until("the agent is parked", || {
        agent(&machine).state == AgentStateName::Parked
    });
    let parked = agent(&machine);
    assert_eq!(parked.evidence.source, "stream");
    assert!(parked.detail.unwrap().contains("(429)"));
    assert_eq!(run(&machine, &id).reason, Some(Reason::RateLimited));
    let listed = machine.ccm(&["task", "list"]).ok();
    assert!(listed.contains("rate_limited"), "{listed}");
    stub.waits_at("gate");
    stub.open("gate");
    project.ccm(&["task", "wait", &id]).ok();
    let done = run(&machine, &id);
    assert_eq!((done.state, done.reason), (RunStateName::Succeeded, None));
}

#[test]
fn a_limit_parks_the_agent_until_its_end_and_the_task_goes_on_where_it_was() {
    let machine = Machine::new();
    let stub = Stub::start();
    let mut claude = Claude::new(&machine, &stub);
    claude.subscribe();
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let until_s = (now + Duration::from_secs(6)).as_secs();
    let path = project.folder.join("made");
    let write = serde_json::json!({ "file_path": path, "content": "x" });
    let limit = format!(
        "anthropic-ratelimit-unified-status=rejected anthropic-ratelimit-unified-reset={until_s} \
         anthropic-ratelimit-unified-representative-claim=five_hour"
    );
    let id = project.task(&format!(
        "@tool Write {write}\n@fail 429 {limit} x1\n@say went on"
    ));
    let other = project.task("@say me too");
    until("the agent is parked", || {
        let agent = agent(&machine);
        agent.state == AgentStateName::Parked && agent.run_id.is_none()
    });
    let parked = agent(&machine);
    let until_at = parked.until.unwrap().as_micros() / 1_000_000;
    let until_s = i64::try_from(until_s).unwrap();
    assert!(
        (until_s..=until_s + 10).contains(&until_at),
        "{until_at} {until_s}"
    );
    assert!(parked.detail.unwrap().contains("limit"));
    let waiting = task(&machine, &id);
    assert_eq!(
        (waiting.state, waiting.reason),
        (TaskStateName::Queued, Some(Reason::RateLimited))
    );
    // Nothing else is tried against the limit meanwhile.
    assert_eq!(task(&machine, &other).attempts, 0);
    project.ccm(&["task", "wait", &id, &other]).ok();
    let runs = runs(&machine, &id);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].session_id, runs[1].session_id);
    assert_eq!(
        runs[0].until.map(|at| at.as_micros() / 1_000_000),
        Some(until_s)
    );
    let done = task(&machine, &id);
    assert_eq!(
        (done.attempts, done.result.as_deref()),
        (1, Some("went on"))
    );
    let turns = stub.turns();
    let told = turns.iter().any(|turn| {
        turn.last_user_text()
            .is_some_and(|text| text.contains("went on"))
            && turn.body.to_string().contains("was cut off")
    });
    assert!(told, "the agent was not told that it was cut off");
}

#[test]
fn an_argument_that_it_does_not_know_is_told_in_its_own_words() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = daemon(&machine, &claude);
    let project = machine.plain_project("demo");
    project.set("agent.args", "[--no-such-flag]");
    let id = project.task("@say never");
    assert_eq!(project.ccm(&["task", "wait", &id]).code, 1);
    let failed = task(&machine, &id);
    assert_eq!(failed.reason, Some(Reason::ExitCode));
    assert!(failed.detail.unwrap().contains("no-such-flag"));
}
