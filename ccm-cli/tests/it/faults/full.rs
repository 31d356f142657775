//! A disk that is full, at every write.
//!
//! The home has a disk of a few MiB. Something that is not ours fills it but for some pages, at each step of a task's
//! way; later it goes away again.

use std::path::PathBuf;

use ccm_cli::client::TaskFilter;
use ccm_core::Reason;
use ccm_core::api::{Task, TaskStateName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{
    agent, ended_once, let_go, nothing_is_left, runs_of, soon, started, starts, task_of, troubles,
};
use crate::claude::Claude;
use crate::stub::Stub;
use crate::support::{Machine, block_on, until};

const MIB: u64 = 12;
const KIB: u64 = 1024;

/// What is left of the disk, so that the cut hits one write after the other.
const LEFT: [u64; 4] = [0, 4 * KIB, 8 * KIB, 16 * KIB];

/// What the database gives up on a full disk.
fn reserve(machine: &Machine) -> PathBuf {
    machine.path("ccm/ccm.db.reserve")
}

/// Every combination of what is left, and of whether the database has its reserve to give up. Without it the disk stays
/// as full as it is.
fn cuts(lefts: &[u64]) -> impl Iterator<Item = (bool, u64)> {
    [true, false]
        .into_iter()
        .flat_map(move |kept| lefts.iter().map(move |left| (kept, *left)))
}

fn fill(machine: &Machine, reserve_is_kept: bool, left: u64) {
    if !reserve_is_kept {
        // It may be given up already.
        let _ = std::fs::remove_file(reserve(machine));
    }
    machine.disk().fill(left);
}

/// What a person who looks after the task is shown: it is over, or why it does not go on.
fn is_told(machine: &Machine, id: &str) -> bool {
    let task = task_of(machine, id);
    task.state.is_final() || task.detail.is_some() || !troubles(machine).is_empty()
}

/// Every task there is, by id.
fn tasks(machine: &Machine) -> Vec<String> {
    let listed = block_on(async {
        let client = machine.client();
        client.tasks(&TaskFilter::default()).all().await.unwrap()
    });
    let mut ids: Vec<String> = listed.iter().map(|task| task.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_task_is_accepted_or_it_is_told_that_the_disk_is_full() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let _daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    let mut accepted = Vec::new();
    let mut refused = 0;
    let lefts: Vec<u64> = (0..=2000).step_by(400).map(|kib| kib * KIB).collect();
    for (kept, left) in cuts(&lefts) {
        fill(&machine, kept, left);
        let text = format!("{left} {}\n", "x".repeat(500_000));
        let created = project.ccm_with(&["task", "create"], text.as_bytes());
        match created.code {
            0 => {
                let id = created.ok();
                soon("it is told how the task does", || is_told(&machine, &id));
                accepted.push(id);
            }
            _ => {
                let told = created.fails(1);
                assert!(told.contains("no room left"), "{told}");
                refused += 1;
            }
        }
        machine.disk().free();
        if let Some(id) = accepted.last() {
            ended_once(&machine, id);
        }
        // What was refused is not there. Ids grow with time.
        assert_eq!(tasks(&machine), accepted);
    }
    assert!(refused > 0);
    let after = project.task("with room\n");
    assert_eq!(ended_once(&machine, &after).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}

/// The disk is filled when a program comes to `step`, and has room again once it is told what that led to.
fn cut_at(step: &str, check: fn(&Task)) {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let _daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    for (kept, left) in cuts(&LEFT) {
        machine.hold(step);
        let asked = project.task_up_to(step, "do it\n");
        fill(&machine, kept, left);
        machine.release(step);
        let id = asked.id();
        soon("it is told how the task does", || is_told(&machine, &id));
        machine.disk().free();
        check(&ended_once(&machine, &id));
        soon("nothing is wrong any more", || {
            troubles(&machine).is_empty()
        });
    }
    nothing_is_left(&machine);
}

/// All that it said was written already.
fn is_done(task: &Task) {
    assert_eq!(task.state, TaskStateName::Succeeded, "{task:?}");
}

/// If the cut left room for a start but not for its words, it was told so.
fn is_done_or_failed(task: &Task) {
    if task.state != TaskStateName::Succeeded {
        assert_eq!(task.state, TaskStateName::Failed, "{task:?}");
        assert_eq!(task.reason, Some(Reason::ExitCode), "{task:?}");
    }
}

macro_rules! cut_at {
    ($($name:ident = $step:literal, $check:ident;)*) => {$(
        #[test]
        fn $name() {
            cut_at($step, $check);
        }
    )*};
}

cut_at! {
    full_after_the_claim = "launch.1.claimed", is_done_or_failed;
    full_after_the_launch_file = "launch.2.written", is_done_or_failed;
    full_after_the_fork = "launch.3.forked", is_done_or_failed;
    full_after_the_gate = "launch.4.gated", is_done_or_failed;
    full_after_the_release = "launch.5.released", is_done_or_failed;
    full_after_the_prompt = "launch.6.prompted", is_done_or_failed;
    full_after_the_end = "launch.7.ended", is_done;
    full_after_the_exit_record = "launch.7.recorded", is_done;
    full_before_the_outcome = "launch.8.finishing", is_done;
    full_after_the_outcome = "launch.8.finished", is_done;
}

#[test]
fn on_a_full_disk_runs_end_and_tasks_are_cancelled_but_none_is_created() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let _daemon = machine.daemon();
    let (one, two) = (agent(&machine, "one"), agent(&machine, "two"));
    let (ends, waits, is_stopped) = (one.task("a\n"), one.task("b\n"), two.task("c\n"));
    started(&machine, &ends);
    started(&machine, &is_stopped);
    machine.disk().fill(0);
    let big = "x".repeat(500_000);
    let told = one.ccm_with(&["task", "create"], big.as_bytes()).fails(1);
    assert!(told.contains("no room left"), "{told}");

    machine.ccm(&["task", "cancel", &waits]).ok();
    machine.ccm(&["task", "cancel", &is_stopped]).ok();
    let state = |id: &str| task_of(&machine, id).state;
    soon("what waited is cancelled", || {
        state(&waits) == TaskStateName::Cancelled
    });
    until("what ran is cancelled", || {
        state(&is_stopped) == TaskStateName::Cancelled
    });
    let_go(&machine);
    soon("what ended by itself has succeeded", || {
        state(&ends) == TaskStateName::Succeeded
    });

    machine.disk().free();
    let next = one.task("e\n");
    for id in [&ends, &next] {
        assert_eq!(ended_once(&machine, id).state, TaskStateName::Succeeded);
    }
    assert_eq!(tasks(&machine).len(), 4);
    assert!(starts(&machine, &waits).is_empty());
    nothing_is_left(&machine);
}

#[test]
fn a_run_that_waits_for_room_goes_on_when_there_is_some() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let _daemon = machine.daemon();
    let (wrote, refused) = (machine.path("wrote"), machine.path("refused"));
    // More than the database's reserve has room for.
    let script = format!(
        "i=0
         while [ $i -lt 5000 ]; do
             if printf '%01000d\\n' $i; then
                 i=$((i + 1)); [ $i -eq 100 ] && echo > '{}'
             else
                 echo > '{}'; sleep 0.02
             fi
         done
         exit 0",
        wrote.display(),
        refused.display(),
    );
    let id = machine.project("loud", &["sh", "-c", &script]).task("x");
    until("it has written something", || wrote.exists());
    machine.disk().fill(64 * KIB);
    until("there is no room for what it writes", || refused.exists());
    let run = runs_of(&machine, &id).remove(0);
    let task = task_of(&machine, &id);
    assert_eq!(task.state, TaskStateName::Running);
    assert_eq!(task.run_id, Some(run.id));
    machine.disk().free();
    machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(runs_of(&machine, &id).len(), 1);
    nothing_is_left(&machine);
}

#[test]
fn a_daemon_that_finds_no_room_says_so_and_a_later_one_adopts() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let mut daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let id = project.task("do it\n");
    let run = started(&machine, &id);
    let mut refused = 0;
    for (kept, left) in cuts(&LEFT) {
        daemon.kill();
        fill(&machine, kept, left);
        let start = machine.ccm(&["daemon", "start"]);
        if start.code == 0 {
            assert_eq!(task_of(&machine, &id).state, TaskStateName::Running);
            machine.ccm(&["daemon", "stop"]).ok();
        } else {
            let told = start.fails(1);
            assert!(
                told.contains("no room") || told.contains("No space left"),
                "{told}"
            );
            assert!(machine.info().is_none());
            refused += 1;
        }
        machine.disk().free();
        daemon = machine.daemon();
        assert_eq!(runs_of(&machine, &id), std::slice::from_ref(&run));
    }
    assert!(refused > 0);
    let_go(&machine);
    assert_eq!(ended_once(&machine, &id).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}

#[test]
fn a_host_that_dies_on_a_full_disk_has_lost_its_run() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let _daemon = machine.daemon();
    let id = agent(&machine, "demo").task("do it\n");
    started(&machine, &id);
    machine.disk().fill(0);
    for host in machine.hosts() {
        kill(Pid::from_raw(i32::try_from(host).unwrap()), Signal::SIGKILL).unwrap();
    }
    soon("the run is lost", || {
        task_of(&machine, &id).state == TaskStateName::Failed
    });
    machine.disk().free();
    assert_eq!(ended_once(&machine, &id).reason, Some(Reason::Lost));
    let_go(&machine);
    let next = machine.project("next", &["cat"]).task("x");
    machine.ccm(&["task", "wait", &next]).ok();
    nothing_is_left(&machine);
}

/// Claude Code goes on as if it had been heard, and waits for more; at the end of its input it ends with exit code 0.
#[test]
fn claude_code_whose_words_found_no_room_has_not_succeeded() {
    let Some(machine) = Machine::on_a_small_disk(MIB) else {
        return;
    };
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = machine.daemon_with(|command| command.envs(claude.environment()));
    let folder = machine.folder("demo");
    machine.ccm_in(&folder, &["init"]).ok();
    let program = serde_json::to_string(&[Claude::program()]).unwrap();
    for (key, value) in [("agent.command", &*program), ("agent.driver", "claude")] {
        machine
            .ccm_in(&folder, &["config", "set", "--project", key, value])
            .ok();
    }
    let big = 64 * KIB;
    let script = format!("@hold gate\n@big {big}\n");
    let id = machine.ccm_in(&folder, &["task", "create", &script]).ok();
    stub.waits_at("gate");
    until("it is known to work", || {
        runs_of(&machine, &id)
            .iter()
            .any(|run| run.session_id.is_some())
    });
    fill(&machine, false, 0);
    stub.open("gate");
    let run = task_of(&machine, &id).run_id.unwrap();
    let spool = machine
        .path("ccm/runs")
        .join(run.to_string())
        .join("spool.out");
    until("its words are cut", || {
        std::fs::read(&spool).unwrap().last() != Some(&b'\n')
    });
    assert_ne!(task_of(&machine, &id).state, TaskStateName::Succeeded);
    machine.disk().free();
    machine.ccm(&["task", "wait", &id]).fails(1);
    let task = task_of(&machine, &id);
    assert_eq!((task.state, task.attempts), (TaskStateName::Failed, 1));
    let reason = task.reason.unwrap();
    assert!(
        matches!(
            reason,
            Reason::NoResult | Reason::LostOutput | Reason::ExitCode
        ),
        "{task:?}"
    );
    assert_eq!(stub.turns().len(), 1, "it was asked twice");
    // With room it does the next one.
    let next = machine
        .ccm_in(&folder, &["task", "create", "@say fine"])
        .ok();
    machine.ccm(&["task", "wait", &next]).ok();
    nothing_is_left(&machine);
}
