//! Every command there is: what it prints when all is well, and what it says to a mistake.
//!
//! A command that has no line in the table fails the test, so none can be forgotten.

use std::collections::BTreeSet;
use std::fmt::Write;

use insta::assert_snapshot;

use crate::help::walk;
use crate::support::{Machine, Project, Ran, until};

/// A command with a command line that works, one that doesn't, and the exit code of the latter.
struct Case {
    command: &'static str,
    good: &'static str,
    bad: &'static str,
    code: i32,
}

const fn case(command: &'static str, good: &'static str, bad: &'static str, code: i32) -> Case {
    Case {
        command,
        good,
        bad,
        code,
    }
}

/// Run in this order on one machine with a daemon, in the folder of the project `demo`. `{ended}` is a task that has
/// ended, `{queued}` one that waits, `{dir}` the machine's folder.
const CASES: &[Case] = &[
    case("version", "", "--nmae", 2),
    case("info", "", "more", 2),
    case("asks", "", "--project nowhere", 4),
    case("machines", "", "more", 2),
    case("init", "", "/ --name x", 2),
    case("project init", "", "--name ''", 2),
    case(
        "project add",
        "{dir}/work/other --name other",
        "{dir}/work/nowhere",
        4,
    ),
    case("project list", "--all", "more", 2),
    case("project show", "demo", "dmeo", 4),
    case("project pause", "other", "nowhere", 4),
    case("project resume", "other", "nowhere", 4),
    case("project trust", "demo", "nowhere", 4),
    case("project remove", "other --yes", "nowhere", 4),
    case(
        "task create",
        "--title Hello --not-before +9d hello",
        "--project nowhere x",
        4,
    ),
    case("task templates", "", "more", 2),
    case("task list", "--limit 3 --search HELLO", "--state done", 2),
    case("task show", "{ended}", "00000000", 4),
    case("task wait", "{ended}", "{queued} --timeout 0", 7),
    case("task logs", "{ended}", "{queued}", 5),
    case("task answer", "--help", "{ended} --allow", 5),
    case("task interrupt", "--help", "{ended}", 5),
    case(
        "task edit",
        "{queued} --priority 3 --unset timeout",
        "{ended} --priority 3",
        5,
    ),
    case("task move", "{queued} --first", "{ended} --last", 5),
    case("task approve", "--help", "{ended}", 5),
    case("task cancel", "{queued}", "{ended}", 5),
    case("task retry", "{ended}", "00000000", 4),
    case("agent list", "", "--project nowhere", 4),
    case("agent show", "", "dmeo", 4),
    case("agent logs", "-n 2", "nobody", 4),
    case("agent attach", "--help", "nobody", 4),
    case("agent send", "--help", "nobody hello", 4),
    case("agent interrupt", "--help", "nobody hello", 4),
    case("agent take-over", "--help", "nobody", 4),
    case("agent hand-back", "--help", "nobody", 4),
    case("agent stop", "", "nobody", 4),
    case("agent start", "", "nobody", 4),
    case("agent restart", "", "nobody", 4),
    case("agent cleanup", "", "nobody", 4),
    case("config path", "", "more", 2),
    case(
        "config get",
        "agents.max_concurrent",
        "agents.max_concurent",
        2,
    ),
    case(
        "config set",
        "agents.max_concurrent 9",
        "agents.max_concurrent nine",
        2,
    ),
    case(
        "config unset",
        "agents.max_concurrent",
        "agents.max_concurent",
        2,
    ),
    case("config show", "--project", "--orgin", 2),
    case("config edit", "--help", "more", 2),
    case("config schema", "--help", "more", 2),
    case("config validate", "", "--projct", 2),
    case("supabase status", "", "more", 2),
    case("supabase connect", "--help", "--email ada@example.com", 2),
    case("supabase disconnect", "", "more", 2),
    case("supabase devices", "--help", "", 5),
    case("supabase revoke", "--help", "laptop --yes", 5),
    case("supabase migrations", "--help", "more", 2),
    case("sync status", "", "more", 2),
    case("sync conflicts", "", "00000000", 4),
    case("sync now", "--help", "", 5),
    case("sync resolve", "--help", "00000000 --keep local", 4),
    case("sync set-aside", "", "7 --again", 5),
    case("daemon init", "--yes --no-service", "--profile half", 2),
    case("daemon status", "", "--verbose", 2),
    case("daemon reload", "", "now", 2),
    case("ui", "", "more", 2),
    case("completions", "--help", "tcsh", 2),
    case("man", "--help", "nothing", 2),
    case("doctor", "--help", "--fixx", 2),
    case("daemon start", "", "now", 2),
    case("daemon restart", "", "now", 2),
    case("backup", "{dir}/saved.tar", "{dir}/nowhere/saved.tar", 2),
    case("restore", "{dir}/saved.tar --yes", "{dir}/nothing.tar", 4),
    case("daemon logs", "--lines 1", "--lines many", 2),
    case("daemon stop", "--agents", "--agent-less", 2),
    case("uninstall", "--help", "--dta", 2),
];

#[test]
fn every_command_is_shown_with_what_it_prints_and_says() {
    let machine = Machine::new();
    let mut daemon = Some(machine.daemon());
    machine.folder("other");
    let demo = machine.project("demo", &["sh", "-c", "cat; exit 0"]);
    let ended = demo.task("say hello");
    let rest = || {
        machine.ccm(&["task", "wait", &ended]).ok();
        until("the agent rests", || {
            machine.ccm(&["agent", "list", "--json"]).json()[0]["state"] == "idle"
        });
    };
    rest();
    let queued = demo
        .ccm(&["task", "create", "--not-before", "+9d", "later"])
        .ok();
    let all = leaves(&machine);
    let shown: BTreeSet<_> = CASES.iter().map(|case| case.command.to_owned()).collect();
    assert_eq!(shown.len(), CASES.len(), "a command is shown twice");
    assert_eq!(shown, all);
    let dir = machine.path("");
    let fill = |line: &str| {
        line.replace("{ended}", &ended)
            .replace("{queued}", &queued)
            .replace("{dir}", dir.to_str().unwrap().trim_end_matches('/'))
    };
    for case in CASES {
        // From here on the commands under test have the daemon.
        if case.command == "daemon start"
            && let Some(daemon) = daemon.take()
        {
            assert!(daemon.stop().success());
        }
        // The task that was queued again is done.
        if case.command == "agent list" {
            rest();
        }
        let bad = run(&demo, case.command, &fill(case.bad));
        assert_eq!(bad.code, case.code, "{}: {bad}", case.command);
        assert!(bad.stderr.starts_with("error: "), "{}: {bad}", case.command);
        assert!(bad.stdout.is_empty(), "{}: {bad}", case.command);
        let good = run(&demo, case.command, &fill(case.good));
        assert_eq!(good.code, 0, "{}: {good}", case.command);
        let mut text = String::new();
        for (line, ran) in [(case.good, &good), (case.bad, &bad)] {
            let line = format!("ccm {} {line}", case.command);
            writeln!(text, "$ {}\n{ran}", line.trim_end()).unwrap();
        }
        machine.snapshots(|| {
            assert_snapshot!(case.command.replace(' ', "_"), text.trim_end());
        });
    }
}

fn run(demo: &Project<'_>, command: &str, rest: &str) -> Ran {
    let words = command.split(' ').chain(rest.split_whitespace());
    let words: Vec<_> = words.map(|word| word.trim_matches('\'')).collect();
    demo.ccm(&words)
}

/// Every command that has no commands of its own.
fn leaves(machine: &Machine) -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    walk(machine, &[], &mut |path, _, leaf| {
        if leaf && !path.is_empty() {
            leaves.insert(path.join(" "));
        }
    });
    leaves
}
