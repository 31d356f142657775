//! What a run gets, and how it is ended.

use ccm_core::Reason;
use ccm_core::api::{Stream, Task, TaskStateName};
use ccm_core::id::TaskId;

use crate::support::{Machine, block_on, until};

fn task_of(machine: &Machine, id: &str) -> Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

/// What the task's latest run wrote.
fn output(machine: &Machine, id: &str) -> Vec<u8> {
    let run = task_of(machine, id).run_id.unwrap();
    block_on(async {
        machine
            .client()
            .read_log(run, Stream::Out, 0, 1 << 20)
            .await
            .unwrap()
    })
    .bytes
    .to_vec()
}

#[test]
fn task_text_reaches_standard_input_byte_for_byte() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let megabyte = "0123456789abcde\n".repeat(64 * 1024);
    assert_eq!(megabyte.len(), 1 << 20);
    let texts = [
        "plain\n",
        "no newline at the end",
        "\n\n  leading and trailing space \n\n",
        "quotes ' \" ` $(touch /tmp/owned) ${HOME} \\ and ; | & < > ! # * ?\n",
        "two\nlines\r\nand a return\r",
        "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[200~pasted\x1b[201~ \x08\x7f\x01\n",
        "- leading dash\n",
        "--project other\n",
        "ümläut 漢字 🦀 \u{202e}override\u{feff}\n",
        " ",
        &megabyte,
    ];
    for text in texts {
        let id = project.task(text);
        machine.ccm(&["task", "wait", &id]).ok();
        assert_eq!(task_of(&machine, &id).text, text);
        assert!(
            output(&machine, &id) == text.as_bytes(),
            "{text:.40?} came out differently"
        );
    }
}

#[test]
fn a_leading_dash_can_be_given_as_an_argument() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let id = project
        .ccm(&["task", "create", "--", "-x is the task"])
        .ok();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(output(&machine, &id), b"-x is the task");
}

#[test]
fn text_that_cannot_be_a_task_is_refused_with_the_reason() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let too_long = vec![b'x'; (1 << 20) + 1];
    for (text, reason) in [
        (&b"a\0b"[..], "NUL"),
        (&b""[..], "empty"),
        (&b"\xff\xfe"[..], "UTF-8"),
        (&too_long[..], "1 MiB"),
    ] {
        let said = project.ccm_with(&["task", "create"], text).fails(2);
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(
        project.ccm(&["task", "list", "--json"]).json(),
        serde_json::json!([])
    );
}

#[test]
fn a_cancel_ends_an_agent_that_ignores_it_and_all_its_descendants() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let pids = machine.path("pids");
    let script = format!(
        "trap '' INT TERM HUP
         setsid sh -c 'trap \"\" INT TERM HUP; echo $$ >> {0}; while :; do sleep 1; done' &
         setsid setsid sh -c 'trap \"\" INT TERM HUP; (echo $$ >> {0}; while :; do sleep 1; done)' &
         echo $$ >> {0}
         while :; do sleep 1; done",
        pids.display()
    );
    let project = machine.project("demo", &["sh", "-c", &script]);
    let id = project.task("x");
    let mut alive = Vec::new();
    until("all processes are up", || {
        let text = std::fs::read_to_string(&pids).unwrap_or_default();
        alive = text.lines().map(str::to_owned).collect();
        alive.len() == 3
    });
    machine.ccm(&["task", "cancel", &id]).ok();
    machine.ccm(&["task", "wait", &id]).fails(1);
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Cancelled);
    for pid in alive {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        let left = stat.is_ok_and(|stat| {
            !stat
                .rsplit(')')
                .next()
                .unwrap()
                .trim_start()
                .starts_with('Z')
        });
        assert!(!left, "process {pid} is left");
    }
}

#[test]
fn a_run_over_its_time_is_ended() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sleep", "600"]);
    let id = project
        .ccm_with(&["task", "create", "--timeout", "1s"], b"x")
        .ok();
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!(
        (task.state, task.reason),
        (TaskStateName::Failed, Some(Reason::Timeout))
    );
}

#[test]
fn cleaning_the_project_in_mid_run_disturbs_nothing() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let go = machine.path("go");
    let script = format!(
        "echo before; while [ ! -e '{}' ]; do sleep 0.02; done; echo after",
        go.display()
    );
    let project = machine.project("demo", &["sh", "-c", &script]);
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.invalid",
                "-c",
                "safe.directory=*",
            ])
            .args(args)
            .current_dir(&project.folder)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    git(&["init", "-q"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "all"]);
    let id = project.task("x");
    until("it works", || {
        task_of(&machine, &id).run_id.is_some() && output(&machine, &id) == b"before\n"
    });
    git(&["clean", "-fdxq"]);
    std::fs::write(&go, "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(output(&machine, &id), b"before\nafter\n");
    // The folder lost the id that git ignores, and is still the same project.
    let next = project.ccm_with(&["task", "create"], b"again").ok();
    machine.ccm(&["task", "wait", &next]).ok();
    assert_eq!(
        task_of(&machine, &next).project_id,
        task_of(&machine, &id).project_id
    );
}

#[test]
fn a_program_that_is_missing_is_no_attempt_and_is_told() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["no-such-program-anywhere"]);
    let id = project.task("x");
    until("it says why it waits", || {
        task_of(&machine, &id).reason == Some(Reason::NotStarted)
    });
    let task = task_of(&machine, &id);
    assert_eq!((task.state, task.attempts), (TaskStateName::Queued, 0));
    assert!(task.detail.unwrap().contains("no-such-program-anywhere"));
    // Mended, it is done without anybody's asking again.
    project.set("agent.command", "[cat]");
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn an_exit_code_fails_the_task_and_retries_are_bounded() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo no; exit 3"]);
    let id = project.task("x");
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!(
        (task.state, task.reason, task.attempts),
        (TaskStateName::Failed, Some(Reason::ExitCode), 1)
    );
    project.set("agent.command", "[cat]");
    machine.ccm(&["task", "retry", &id]).ok();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Succeeded);
}

/// An agent that only KILL ends, at work on a task.
fn stubborn(machine: &Machine) -> String {
    let up = machine.path("up");
    let script = format!(
        "trap '' INT TERM; echo up > '{}'; while :; do sleep 0.05; done",
        up.display()
    );
    let id = machine.project("demo", &["sh", "-c", &script]).task("x");
    until("it works", || up.exists());
    id
}

#[test]
fn a_cancel_that_is_repeated_says_that_the_run_is_still_being_stopped() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let id = stubborn(&machine);
    let cancel = || {
        machine
            .ccm(&["task", "cancel", "--no-wait", "--json", &id])
            .json()
    };
    assert_eq!(cancel()["stopping"], true);
    assert_eq!(cancel()["stopping"], true);
    machine.ccm(&["task", "wait", &id]).fails(1);
    assert_eq!(task_of(&machine, &id).state, TaskStateName::Cancelled);
    assert_eq!(cancel()["stopping"], false);
}

#[test]
fn a_cancel_waits_for_the_end_and_tells_it() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo up; exec sleep 600"]);
    let (first, second) = (project.task("a"), project.task("b"));
    until("the first one works", || {
        machine.ccm(&["task", "logs", &first]).stdout == b"up\n"
    });
    let told = machine.ccm(&["task", "cancel", &first, &second]);
    assert_eq!((told.ok().as_str(), told.code), ("", 0), "{told}");
    for id in [&first, &second] {
        assert!(
            told.stderr.contains(&format!("{id} is cancelled.\n")),
            "{told}"
        );
        assert_eq!(task_of(&machine, id).state, TaskStateName::Cancelled);
    }
}

#[test]
fn a_cancel_outlives_the_daemon_and_does_not_hold_up_the_next_one() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let id = stubborn(&machine);
    machine.ccm(&["task", "cancel", "--no-wait", &id]).ok();
    daemon.kill();
    let _daemon = machine.daemon();
    assert_eq!(task_of(&machine, &id).reason, Some(Reason::Cancelled));
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!((task.state, task.attempts), (TaskStateName::Cancelled, 1));
    let log = machine.log();
    assert!(!log.contains("have not answered"), "{log}");
}
