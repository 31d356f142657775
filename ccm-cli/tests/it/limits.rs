//! What bounds agents and the queue, and how the daemon tells how it does.

use ccm_core::Reason;
use ccm_core::api::{CheckStatus, Readiness, Status, TaskStateName};
use ccm_core::id::TaskId;
use insta::assert_snapshot;

use crate::support::{Machine, Project, block_on, until};

/// A program that takes so much memory once the project has a file `go`, and keeps it.
fn takes(mib: usize) -> String {
    let bytes = mib << 20;
    format!(
        "echo up; until [ -e go ]; do sleep 0.02; done; \
         (setsid env -i sh -c 'dd if=/dev/zero bs={bytes} count=1 2>/dev/null | sleep 1000' &); exec sleep 1000"
    )
}

fn task(machine: &Machine, id: &str) -> ccm_core::api::Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

fn status(machine: &Machine) -> Status {
    block_on(async { machine.client().status().await.unwrap() })
}

fn ready(machine: &Machine) -> Result<Readiness, ccm_cli::client::Error> {
    block_on(async { machine.client().ready().await })
}

fn until_up(machine: &Machine, id: &str) {
    until("the run's output is there", || {
        machine.ccm(&["task", "logs", id]).stdout.starts_with(b"up")
    });
}

/// Waits until a project's agent takes so much.
fn until_taken(machine: &Machine, project: &str, mib: u64) {
    until("the memory is taken", || {
        let agents = machine.ccm(&["agent", "list", "--project", project, "--json"]);
        agents.json()[0]["memory_bytes"].as_u64() >= Some(mib << 20)
    });
}

fn go(project: &Project<'_>) {
    std::fs::write(project.folder.join("go"), "").unwrap();
}

#[test]
fn an_agent_that_takes_too_much_memory_is_ended_and_its_task_says_why() {
    let machine = Machine::new();
    machine.set("resources.max_agent_memory_mb", "64");
    let _daemon = machine.daemon();
    let greedy = machine.project("greedy", &["sh", "-c", &takes(96)]);
    let other = machine.project("other", &["sh", "-c", &takes(8)]);
    let (id, goes_on) = (greedy.task("x"), other.task("x"));
    for id in [&id, &goes_on] {
        until_up(&machine, id);
    }
    go(&greedy);
    go(&other);
    machine
        .ccm(&["task", "wait", &id, "--timeout", "60s"])
        .fails(1);
    let failed = task(&machine, &id);
    assert_eq!(failed.reason, Some(Reason::MemoryLimit));
    let detail = failed.detail.unwrap();
    for words in [
        "64 MiB",
        "limits.memory_mb",
        "resources.max_agent_memory_mb",
    ] {
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!(task(&machine, &goes_on).state, TaskStateName::Running);

    // What the machine allows is read again, and counts for runs that begin later.
    machine.set("resources.max_agent_memory_mb", "400");
    machine.ccm(&["daemon", "reload"]).ok();
    let id = greedy.task("as much as before");
    until_taken(&machine, "greedy", 96);
    assert_eq!(task(&machine, &id).state, TaskStateName::Running);
    machine.ccm(&["task", "cancel", &id]).ok();
    machine.ccm(&["task", "wait", &id]).fails(1);
    machine.set("resources.max_agent_memory_mb", "64");
    machine.ccm(&["daemon", "reload"]).ok();

    // The project's own limit beats the machine's, in both directions.
    greedy.set("limits.memory_mb", "400");
    let id = greedy.task("more may be taken");
    until_taken(&machine, "greedy", 96);
    other.set("limits.memory_mb", "16");
    machine.ccm(&["task", "cancel", &goes_on]).ok();
    let smaller = machine.project("smaller", &["sh", "-c", &takes(32)]);
    smaller.set("limits.memory_mb", "16");
    go(&smaller);
    let cut = smaller.task("less may be taken");
    machine
        .ccm(&["task", "wait", &cut, "--timeout", "60s"])
        .fails(1);
    assert_eq!(task(&machine, &cut).reason, Some(Reason::MemoryLimit));
    assert_eq!(task(&machine, &id).state, TaskStateName::Running);
    machine.ccm(&["task", "cancel", &id]).ok();
}

#[test]
fn the_memory_limit_holds_without_a_daemon_and_counts_as_an_attempt() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", &takes(96)]);
    project.set("limits.memory_mb", "64");
    let id = project.ccm(&["task", "create", "--retries", "1", "x"]).ok();
    until_up(&machine, &id);
    daemon.kill();
    go(&project);
    let run = |machine: &Machine| {
        let runs = std::fs::read_dir(machine.path("ccm/runs")).unwrap();
        runs.flatten().map(|run| run.path().join("exit")).next()
    };
    until("the host has ended the run", || {
        run(&machine).is_some_and(|exit| exit.exists())
    });
    let _daemon = machine.daemon();
    until("the task waits for its next attempt", || {
        let task = task(&machine, &id);
        task.state == TaskStateName::Queued && task.reason == Some(Reason::MemoryLimit)
    });
    assert_eq!(task(&machine, &id).attempts, 1);
    machine.ccm(&["task", "cancel", &id]).ok();
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    let machine = Machine::new();
    machine.set("resources.max_queue_size", "2");
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    machine.ccm(&["project", "pause", "demo"]).ok();
    let first = project.task("one");
    let second = project.task("two");
    let refused = project.ccm(&["task", "create", "three"]);
    assert_ne!(refused.code, 0);
    machine.snapshots(|| assert_snapshot!("queue_full", refused));
    assert_eq!(status(&machine).queue.queued, 2);
    // What leaves makes room, and what was accepted is done.
    machine.ccm(&["task", "cancel", &first]).ok();
    let third = project.task("three");
    machine.ccm(&["project", "resume", "demo"]).ok();
    machine.ccm(&["task", "wait", &second, &third]).ok();
}

#[test]
fn the_smaller_of_two_limits_of_runs_counts() {
    for (runs, agents) in [("1", "5"), ("5", "1")] {
        let machine = Machine::new();
        machine.set("agents.max_concurrent", runs);
        machine.set("resources.max_agents", agents);
        let told = machine.ccm(&["config", "validate"]);
        assert!(
            told.to_string().contains("the smaller one counts, 1"),
            "{told}"
        );
        let _daemon = machine.daemon();
        let script = "echo up; until [ -e go ]; do sleep 0.02; done";
        let one = machine.project("one", &["sh", "-c", script]);
        let two = machine.project("two", &["sh", "-c", script]);
        let (first, second) = (one.task("x"), two.task("x"));
        until_up(&machine, &first);
        let seen = status(&machine);
        assert_eq!((seen.queue.running, seen.queue.queued), (1, 1));
        assert_eq!(seen.queue.max_running, 1);
        go(&one);
        until_up(&machine, &second);
        assert_eq!(status(&machine).queue.running, 1);
        go(&two);
        machine.ccm(&["task", "wait", &first, &second]).ok();
    }
}

#[test]
fn a_project_beyond_the_windows_registers_and_waits_for_room() {
    let machine = Machine::with_tmux();
    machine.set("resources.max_tmux_windows", "1");
    machine.set("daemon.health_check_interval", "1");
    let _daemon = machine.daemon();
    let one = machine.project("one", &["cat"]);
    let two = machine.project("two", &["cat"]);
    let window_of = |name: &str| {
        let agents = machine
            .ccm(&["agent", "list", "--project", name, "--json"])
            .json();
        (agents[0]["window"].clone(), agents[0]["detail"].clone())
    };
    until("the first one has the window", || {
        window_of("one").0.is_string()
    });
    let (window, detail) = window_of("two");
    assert!(window.is_null(), "{window}");
    assert!(
        detail
            .as_str()
            .unwrap()
            .contains("resources.max_tmux_windows"),
        "{detail}"
    );
    let told = machine.ccm(&["agent", "list"]).to_string();
    assert!(told.contains("its window waits for room"), "{told}");
    until("the status tells it", || {
        let told = machine.ccm(&["daemon", "status"]).to_string();
        told.contains("1 agent waits for a window") && told.contains("tmux needs a look")
    });
    // It works all the same, and has its window when there is room.
    let id = two.task("x");
    machine.ccm(&["task", "wait", &id]).ok();
    drop(one);
    machine.ccm(&["project", "remove", "one"]).ok();
    until("the second one has a window", || {
        window_of("two").0.is_string()
    });
    until("the status is well", || {
        machine
            .ccm(&["daemon", "status"])
            .ok()
            .contains("all well (database, tmux, ")
    });
}

/// Readers are threads of the daemon that bear their name.
#[test]
#[cfg(target_os = "linux")]
fn no_more_connections_read_than_there_may_be() {
    let machine = Machine::new();
    machine.set("resources.connection_pool_size", "2");
    let daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    let readers = || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let names = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.starts_with("ccm-db-read")).count()
    };
    let lists: Vec<_> = (0..16)
        .map(|_| {
            let mut list = machine.command("ccm", &["task", "list"]);
            list.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut most = readers();
    for mut list in lists {
        most = most.max(readers());
        assert!(list.wait().unwrap().success());
    }
    assert!((1..=2).contains(&most), "{most} connections");
}

#[test]
fn a_disk_without_room_is_told_without_being_asked_and_until_there_is_some() {
    let Some(machine) = Machine::on_a_small_disk(64) else {
        return;
    };
    machine.set("daemon.health_check_interval", "1");
    let _daemon = machine.daemon();
    let well = ready(&machine).unwrap();
    let disk = well
        .checks
        .iter()
        .find(|check| check.name == "disk")
        .unwrap();
    // A disk that is small as a whole has little room, and enough.
    assert_eq!(disk.status, CheckStatus::Warning);
    machine.disk().fill(512 * 1024);
    until("the log tells it", || {
        machine
            .log()
            .contains("free some room, or tasks are refused")
    });
    let refused = ready(&machine).unwrap_err().to_string();
    assert!(refused.contains("free on the disk of"), "{refused}");
    let told = machine.ccm(&["daemon", "status"]);
    assert!(told.ok().contains("disk failed"), "{told}");
    assert!(told.to_string().contains("warning: only "), "{told}");
    machine.disk().free();
    until("there is room again", || ready(&machine).is_ok());
}

#[test]
fn checks_are_no_older_than_their_interval() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    machine.set("daemon.health_check_interval", "1");
    machine.ccm(&["daemon", "reload"]).ok();
    let first = status(&machine).checks;
    let names: Vec<&str> = first.iter().map(|check| &*check.name).collect();
    assert_eq!(names, ["database", "disk", "clock", "spool"]);
    let (database, clock) = (&first[0], &first[2]);
    assert_eq!(database.status, CheckStatus::Ok);
    assert!(database.detail.starts_with("a write took "), "{database:?}");
    until("a later look", || {
        let again = status(&machine).checks;
        again[2].checked_at > clock.checked_at
    });
    let answer = machine.ccm(&["daemon", "status", "--json"]).json();
    assert_eq!(answer["checks"][0]["name"], "database");
    assert_eq!(answer["checks"][0]["status"], "ok");
}

/// With the usual interval a daemon that has nothing to do sleeps.
#[test]
#[cfg(target_os = "linux")]
fn an_idle_daemon_is_not_woken_by_its_checks() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let sleeps = || -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let text = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("status")).ok());
        text.map(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches"));
            let number = line.and_then(|line| line.split_whitespace().last());
            number.map_or(0, |number| number.parse().unwrap_or(0))
        })
        .sum()
    };
    // Helpers of its start leave after ten seconds.
    until("three seconds without a wake-up", || {
        let before = sleeps();
        std::thread::sleep(std::time::Duration::from_secs(3));
        sleeps() == before
    });
}

#[test]
fn agents_have_figures() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let busy = "echo up; (setsid env -i sh -c 'while :; do :; done' &); exec sleep 1000";
    let project = machine.project("busy", &["sh", "-c", busy]);
    machine.project("idle", &["cat"]);
    let id = project.task("x");
    until_up(&machine, &id);
    let figures = |name: &str| {
        let agents = machine
            .ccm(&["agent", "list", "--project", name, "--json"])
            .json();
        let agent = &agents[0];
        (
            agent["memory_bytes"].as_u64().unwrap_or(0),
            agent["cpu_percent"].as_f64().unwrap_or(-1.0),
        )
    };
    until("what hides is counted", || figures("busy").1 > 5.0);
    let (memory, cpu) = figures("idle");
    assert!(memory > 0 && (0.0..20.0).contains(&cpu), "{memory} {cpu}");
    let listed = machine.ccm(&["agent", "list"]).ok();
    assert!(
        listed.lines().next().unwrap().ends_with("MEMORY  CPU"),
        "{listed}"
    );
    assert!(listed.contains('%') && listed.contains("MiB"), "{listed}");
    machine.ccm(&["task", "cancel", &id]).ok();
}
