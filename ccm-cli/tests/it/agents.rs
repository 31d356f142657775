//! Agents that are started, stopped, shown, cleaned up and read, with real hosts and windows.

mod crash;
mod logs;

use ccm_core::api::{Agent, AgentStateName, Task, TaskStateName, Wanted};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, Project, block_on, until};

/// A project whose agent works until there is a file `go` in its folder.
fn patient<'a>(machine: &'a Machine, name: &str) -> Project<'a> {
    let script = "cat; while [ ! -e go ]; do sleep 0.05; done; echo done";
    machine.project(name, &["sh", "-c", script])
}

fn go(project: &Project<'_>) {
    std::fs::write(project.folder.join("go"), "").unwrap();
}

fn agent(machine: &Machine, name: &str) -> Agent {
    let shown = machine.ccm(&["agent", "show", name, "--json"]).json();
    serde_json::from_value(shown).unwrap()
}

fn task(machine: &Machine, id: &str) -> Task {
    let shown = machine.ccm(&["task", "show", id, "--json"]).json();
    serde_json::from_value(shown).unwrap()
}

#[track_caller]
fn until_state(machine: &Machine, name: &str, state: AgentStateName) {
    until(&format!("{name} is {}", state.as_str()), || {
        agent(machine, name).state == state
    });
}

/// The windows of the tmux server, by name.
fn windows(machine: &Machine) -> Vec<String> {
    let listed = machine.tmux(&["list-windows", "-a", "-F", "#{window_name}"]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_stopped_agent_rests_until_it_is_started_again() {
    let machine = Machine::with_tmux();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let other = machine.project("other", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    until("both have windows", || windows(&machine).len() == 2);
    let stopped = project.ccm(&["agent", "stop"]);
    assert_eq!(stopped.ok(), "");
    machine.snapshots(|| {
        insta::assert_snapshot!(stopped.stderr, @"demo is stopped; `ccm agent start demo` starts it again.");
    });
    assert_eq!(windows(&machine), ["other"]);
    assert_eq!(machine.hosts().len(), 1);

    // What it is given waits, and every list says why.
    let id = project.task("hello");
    let task_list = machine.ccm(&["task", "list", "--project", "demo"]).ok();
    assert!(task_list.contains("agent_stopped"), "{task_list}");
    let show = machine.ccm(&["task", "show", &id]).ok();
    assert!(show.contains("`ccm agent start demo`"), "{show}");
    let projects = machine.ccm(&["project", "list"]).ok();
    assert!(
        projects.contains("agent_stopped: cli stopped the agent"),
        "{projects}"
    );
    let agents = machine.ccm(&["agent", "list"]);
    assert!(agents.ok().contains("demo   stopped"), "{agents}");
    assert!(agents.stderr.contains("`ccm agent start demo`"), "{agents}");
    let attach = machine.ccm(&["agent", "attach", "demo"]).fails(5);
    assert!(attach.contains("ccm agent start demo"), "{attach}");
    let bystander = other.task("x");
    other.ccm(&["task", "wait", &bystander]).ok();

    // Whatever dies in between.
    daemon.kill();
    let _daemon = machine.daemon();
    machine.ccm(&["agent", "list"]).ok();
    assert_eq!(task(&machine, &id).state, TaskStateName::Queued);
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Down);
    assert_eq!(windows(&machine), ["other"]);

    let started = machine.ccm(&["agent", "start", "demo"]);
    assert_eq!(started.ok(), "");
    assert!(started.stderr.starts_with("demo is started ("), "{started}");
    project.ccm(&["task", "wait", &id]).ok();
    let again = project.ccm(&["agent", "start", "--json"]).json();
    assert_eq!(again["wanted"], "up");
    assert!(windows(&machine).contains(&"demo".to_owned()));
}

#[test]
fn what_an_agent_has_in_hand_is_not_given_up_unasked() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = patient(&machine, "demo");
    let id = project.task("The one task");
    until_state(&machine, "demo", AgentStateName::Working);
    for command in ["stop", "restart"] {
        let refused = project.ccm(&["agent", command]).fails(5);
        assert!(
            refused.contains("demo works on \"The one task\""),
            "{refused}"
        );
        assert!(refused.contains("--yes"), "{refused}");
    }
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Up);
    let stopped = project.ccm(&["agent", "stop", "--yes", "--json"]).json();
    assert_eq!(
        (&stopped["state"], &stopped["wanted"]),
        (&"stopped".into(), &"down".into())
    );
    assert!(machine.hosts().is_empty());
    let lost = task(&machine, &id);
    assert_eq!(lost.state, TaskStateName::Failed);
    let reason = (lost.reason.unwrap().as_str(), lost.detail.unwrap());
    assert_eq!(reason, ("lost", "stopped by cli with its agent".to_owned()));

    // A person may have it done again; with retries left it waits by itself.
    project.ccm(&["task", "retry", &id]).ok();
    go(&project);
    let started = project.ccm(&["agent", "start"]);
    assert_eq!(started.code, 0, "{started}");
    project.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn an_agent_that_does_not_answer_is_ended_by_a_forced_restart() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = patient(&machine, "demo");
    until_state(&machine, "demo", AgentStateName::Idle);
    let before = agent(&machine, "demo").pid;
    let polite = project.ccm(&["agent", "restart"]);
    assert_eq!(polite.code, 0, "{polite}");
    let pid = agent(&machine, "demo").pid.unwrap();
    assert_ne!(before, Some(pid));
    let id = project.task("x");
    until_state(&machine, "demo", AgentStateName::Working);
    kill(Pid::from_raw(pid as i32), Signal::SIGSTOP).unwrap();
    until_state(&machine, "demo", AgentStateName::Unresponsive);
    let shown = project.ccm(&["agent", "show"]).ok();
    assert!(
        shown.contains("problem:  it does not answer; `ccm agent restart demo`"),
        "{shown}"
    );
    project.ccm(&["agent", "restart"]).fails(5);
    let forced = project.ccm(&["agent", "restart", "--yes"]);
    assert_eq!(forced.code, 0, "{forced}");
    assert!(forced.stderr.starts_with("demo is restarted ("), "{forced}");
    assert_ne!(agent(&machine, "demo").pid, Some(pid));
    until("its task is over", || task(&machine, &id).state.is_final());
    go(&project);
    project.ccm(&["task", "retry", &id]).ok();
    project.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn an_idle_agent_gives_its_place_back_and_its_next_task_wakes_it() {
    let machine = Machine::with_tmux();
    machine.set("agents.max_idle_time", "1");
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    until("it sleeps", || {
        agent(&machine, "demo").wanted == Wanted::Asleep
    });
    until("its place is gone", || {
        machine.hosts().is_empty() && agent(&machine, "demo").state == AgentStateName::Stopped
    });
    assert!(windows(&machine).is_empty());
    let listed = machine.ccm(&["agent", "list"]);
    assert!(listed.ok().contains("demo  stopped (asleep)"), "{listed}");
    assert_eq!(listed.stderr, "", "that is no trouble");
    // A daemon that starts leaves it asleep.
    assert_eq!(daemon.stop().code(), Some(0));
    let _daemon = machine.daemon();
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Asleep);
    assert!(machine.hosts().is_empty());
    let id = project.task("hello");
    project.ccm(&["task", "wait", &id]).ok();
    let done = task(&machine, &id);
    assert_eq!((done.attempts, done.result.as_deref()), (1, Some("hello")));
    until("it sleeps again", || machine.hosts().is_empty());
}

#[test]
fn who_is_looked_at_stays_awake() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    machine.project("other", &["cat"]);
    until_state(&machine, "demo", AgentStateName::Idle);
    until_state(&machine, "other", AgentStateName::Idle);
    let mut terminal =
        crate::terminal::Terminal::new(machine.command("ccm", &["agent", "attach", "demo"]));
    until("someone looks at it", || {
        let clients = machine.tmux(&["list-clients", "-F", "#{client_control_mode}"]);
        clients.lines().any(|line| line == "0")
    });
    let kept = machine.ccm(&["agent", "cleanup", "demo"]).fails(5);
    assert!(kept.contains("demo is looked at by someone"), "{kept}");
    let all = machine.ccm(&["agent", "cleanup", "--json"]).json();
    assert_eq!(all["asleep"][0]["name"], "other");
    assert_eq!(all["kept"][0]["name"], "demo");
    terminal.answer("", "\u{2}d");
    assert_eq!(terminal.end().0, 0);
    until("nobody looks any more", || {
        machine.ccm(&["agent", "cleanup", "demo"]).code == 0
    });
    // To attach to one that sleeps wakes it.
    let mut terminal =
        crate::terminal::Terminal::new(machine.command("ccm", &["agent", "attach", "other"]));
    until("it is awake", || {
        agent(&machine, "other").wanted == Wanted::Up
    });
    until("someone looks at it", || {
        let clients = machine.tmux(&["list-clients", "-F", "#{client_control_mode}"]);
        clients.lines().any(|line| line == "0")
    });
    terminal.answer("", "\u{2}d");
    terminal.end();
}

#[test]
fn cleaning_up_tells_what_came_back() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    machine.project("one", &["cat"]);
    machine.project("two", &["cat"]);
    let busy = patient(&machine, "busy");
    let id = busy.task("x");
    until_state(&machine, "busy", AgentStateName::Working);
    for name in ["one", "two"] {
        until_state(&machine, name, AgentStateName::Idle);
    }
    let cleaned = machine.ccm(&["agent", "cleanup"]);
    let lines = cleaned.ok();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].starts_with("NAME  FREED"), "{cleaned}");
    assert!(
        lines[1].starts_with("one   ") && lines[2].starts_with("two   "),
        "{cleaned}"
    );
    assert!(lines[1].ends_with("iB"), "{cleaned}");
    assert!(
        cleaned
            .stderr
            .starts_with("2 agents sleep until the next task; "),
        "{cleaned}"
    );
    assert_eq!(machine.hosts().len(), 1);
    let again = machine.ccm(&["agent", "cleanup"]);
    assert_eq!(again.ok(), "");
    insta::assert_snapshot!(again.stderr, @"Nothing to clean up: no agent is idle (busy works).");
    let named = machine.ccm(&["agent", "cleanup", "busy"]);
    assert_eq!(named.code, 5);
    insta::assert_snapshot!(named.stderr, @"
    error: busy works
    hint: only idle agents are put to sleep; `ccm agent stop` stops others
    ");
    let asleep = machine.ccm(&["agent", "cleanup", "one"]);
    assert_eq!(asleep.ok(), "");
    insta::assert_snapshot!(asleep.stderr, @"Nothing to clean up: no agent is idle.");
    let json = machine.ccm(&["agent", "cleanup", "--json"]).json();
    assert_eq!(json["asleep"], serde_json::json!([]));
    assert_eq!(json["freed_bytes"], 0);
    go(&busy);
    busy.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn everything_is_shown_of_an_agent() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = patient(&machine, "demo");
    until_state(&machine, "demo", AgentStateName::Idle);
    let shown = |args: &[&str]| {
        let text = project.ccm(args).ok();
        // Figures are there or not at a moment's notice, and others than these tests look at them.
        let is_figure = |line: &&str| line.starts_with("memory:") || line.starts_with("cpu:");
        let lines: Vec<_> = text.lines().filter(|line| !is_figure(line)).collect();
        lines.join("\n")
    };
    let idle = shown(&["agent", "show"]);
    let first = project.task("The first");
    until_state(&machine, "demo", AgentStateName::Working);
    let working = shown(&["agent", "show", "demo"]);
    go(&project);
    project.ccm(&["task", "wait", &first]).ok();
    until_state(&machine, "demo", AgentStateName::Idle);
    project.ccm(&["agent", "stop"]).ok();
    let stopped = shown(&["agent", "show"]);
    machine.snapshots(|| {
        insta::assert_snapshot!("agent_show_idle", idle);
        insta::assert_snapshot!("agent_show_working", working);
        insta::assert_snapshot!("agent_show_stopped", stopped);
    });
}

#[test]
fn mistakes_are_told_with_what_helps() {
    let machine = Machine::new();
    let without = machine.ccm(&["agent", "start", "demo"]).fails(3);
    assert!(without.contains("daemon start"), "{without}");
    let _daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    for command in ["show", "start", "stop", "restart", "logs", "cleanup"] {
        let typo = machine.ccm(&["agent", command, "dmeo"]).fails(4);
        assert!(typo.contains("there is no agent \"dmeo\""), "{typo}");
        assert!(typo.contains("hint: there is an agent \"demo\""), "{typo}");
        if command != "cleanup" {
            let nowhere = machine.ccm(&["agent", command]).fails(4);
            assert!(nowhere.contains("is in no project"), "{nowhere}");
        }
    }
    // Of several, those that are there are done.
    let some = machine.ccm(&["agent", "stop", "nobody", "demo"]);
    assert_eq!(some.code, 4, "{some}");
    assert_eq!(agent(&machine, "demo").wanted, Wanted::Down);
    // One that can't be started says why.
    std::fs::remove_dir_all(machine.path("ccm/agents")).unwrap();
    std::fs::write(machine.path("ccm/agents"), "").unwrap();
    let failed = machine.ccm(&["agent", "start", "demo"]);
    assert!(failed.code == 1 || failed.code == 3, "{failed}");
    assert!(failed.stderr.contains("error: "), "{failed}");
}

#[test]
fn sleep_and_work_at_once_lose_nothing() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let folder = &project.folder;
    let cleaning = std::sync::atomic::AtomicBool::new(true);
    let tasks: Vec<String> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = machine.client();
            let all = ccm_core::api::CleanUpAgents::default();
            while cleaning.load(std::sync::atomic::Ordering::Relaxed) {
                block_on(async { client.clean_up_agents(&all).await }).unwrap();
            }
        });
        let tasks = (0..12).map(|n| {
            let id = machine.ccm_in(folder, &["task", "create", &format!("task {n}")]);
            let id = id.ok();
            machine.ccm(&["task", "wait", &id]).ok();
            id
        });
        let tasks = tasks.collect();
        cleaning.store(false, std::sync::atomic::Ordering::Relaxed);
        tasks
    });
    for id in tasks {
        let done = task(&machine, &id);
        assert_eq!((done.state, done.attempts), (TaskStateName::Succeeded, 1));
        let id = id.parse().unwrap();
        let runs = block_on(async { machine.client().runs(id).all().await.unwrap() });
        assert_eq!(runs.len(), 1, "none was begun in vain: {runs:#?}");
    }
}
