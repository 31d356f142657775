//! The memory of runs: whatever takes too much, however it hides, is ended with all of its run, and nobody else is.
//!
//! Each case runs with control groups and without. Where groups have the memory controller the system bounds a run with
//! one; everywhere else the host does.

use std::time::Duration;

use ccm_agents::ProcessRuntime;
use ccm_core::AgentRuntime;
use ccm_core::agent::AgentPlace;
use ccm_core::id::AgentId;
use ccm_core::project::RunLimits;
use ccm_core::runtime::{Exit, LaunchOrder, RunStatus};

use crate::bench::*;

const MIB: usize = 1 << 20;

/// Takes so much memory and keeps it: `dd` holds one block, and nobody reads what it writes.
fn takes(mib: usize) -> String {
    let bytes = mib * MIB;
    format!("dd if=/dev/zero bs={bytes} count=1 2>/dev/null | sleep 1000")
}

fn limited(bench: &Bench, limit_mb: u64, script: &str) -> LaunchOrder {
    LaunchOrder {
        limits: RunLimits {
            memory_mb: Some(limit_mb),
            ..RunLimits::default()
        },
        ..bench.sh(script)
    }
}

fn runtime(bench: &Bench, cgroups: bool) -> ProcessRuntime {
    let mut config = bench.config(1);
    config.cgroups = cgroups;
    ProcessRuntime::new(config).unwrap()
}

/// The end of a run that must have been cut at `limit_mb`, and of which nothing is left.
async fn assert_cut(bench: &Bench, exit: &Exit, limit_mb: u64) {
    let cut = exit.memory_cut.unwrap_or_else(|| panic!("{exit:?}"));
    assert_eq!(cut.limit_mb, limit_mb);
    assert!(cut.used_mb >= limit_mb, "{cut:?}");
    assert!(!exit.stopped && !exit.output_cut, "{exit:?}");
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert!(bench.strays().is_empty());
    // It is told once it is on record.
    until("the line about it", || {
        let log = std::fs::read_to_string(bench.folder().join(".ccm/agent.log")).ok()?;
        log.contains("took more memory than it may").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_child_a_hidden_grandchild_and_a_crowd_are_counted() {
    let crowd = format!("for i in 1 2 3 4 5 6 7 8; do {} & done; wait", takes(12));
    let hidden = format!("(setsid env -i sh -c '{}' &); exec sleep 1000", takes(96));
    for script in [takes(96), hidden, crowd] {
        for cgroups in [true, false] {
            let bench = Bench::new();
            let runtime = runtime(&bench, cgroups);
            let order = limited(&bench, 64, &format!("trap '' INT TERM; {script}"));
            let exit = exit_of(&runtime, &order).await;
            assert_cut(&bench, &exit, 64).await;
        }
    }
}

#[tokio::test]
async fn what_stays_below_the_limit_is_left_alone() {
    for cgroups in [true, false] {
        let bench = Bench::new();
        let runtime = runtime(&bench, cgroups);
        // As much as it may for long enough to be looked at often, and more than that in all.
        let script = "for i in 1 2 3 4 5; do \
                      (dd if=/dev/zero bs=41943040 count=1 2>/dev/null; sleep 0.2) | tail -c 1 >/dev/null; done";
        let exit = exit_of(&runtime, &limited(&bench, 128, script)).await;
        assert_eq!((exit.code, exit.memory_cut), (Some(0), None));
        let exit = exit_of(&runtime, &bench.sh("true")).await;
        assert_eq!((exit.code, exit.memory_cut), (Some(0), None));
    }
}

/// What processes share is counted once, where the system tells what that is.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_family_that_shares_its_memory_takes_it_once() {
    let bench = Bench::new();
    let runtime = runtime(&bench, false);
    let script = "x=$(head -c 16777216 /dev/zero | tr '\\0' x); \
                  for i in 1 2 3 4; do (while :; do sleep 0.05; done) & family=\"$family $!\"; done; \
                  sleep 1; kill $family; exit 3";
    let exit = exit_of(&runtime, &limited(&bench, 96, script)).await;
    assert_eq!((exit.code, exit.memory_cut), (Some(3), None));
}

#[tokio::test]
async fn the_limit_holds_while_no_daemon_is_there() {
    let bench = Bench::new();
    let (others, script) = (
        AgentPlace {
            id: AgentId::new(),
            ..bench.place()
        },
        "until [ -e \"$BENCH/go\" ]; do sleep 0.01; done; ",
    );
    let order = limited(&bench, 64, &format!("{script}{}", takes(96)));
    let other = LaunchOrder {
        place: others,
        ..limited(&bench, 64, &format!("{script}sleep 1000"))
    };
    let first = runtime(&bench, true);
    for order in [&order, &other] {
        first.launch(order).await.unwrap();
    }
    drop(first);
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    let exit = bench.run_dir(order.run).join("exit");
    until("the record of an end", || exit.exists().then_some(())).await;
    let runtime = bench.runtime_of(2);
    let exit = exited(end_of(&runtime, order.run).await);
    assert_eq!(exit.memory_cut.map(|cut| cut.limit_mb), Some(64));
    let status = runtime.inspect(other.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(process) if process.answers));
    runtime.stop(other.run, Duration::ZERO).await.unwrap();
    let stopped = exited(end_of(&runtime, other.run).await);
    assert_eq!((stopped.stopped, stopped.memory_cut), (true, None));
}

/// Which of the two ways bounds a run is a matter of the machine; this tells which one was tried.
#[tokio::test]
async fn a_group_with_the_controller_has_the_limit() {
    let bench = Bench::new();
    let runtime = runtime(&bench, true);
    let order = limited(&bench, 64, "exec sleep 1000");
    runtime.launch(&order).await.unwrap();
    let groups = crate::groups::groups_of(order.run);
    let limits = groups.iter().map(|group| group.join("memory.max"));
    let limits: Vec<_> = limits.filter(|limit| limit.exists()).collect();
    if limits.is_empty() {
        println!("NO MEMORY CONTROLLER is handed down here: hosts look after the memory of runs");
    }
    for limit in limits {
        let text = std::fs::read_to_string(limit).unwrap();
        assert_eq!(text.trim(), (64 * MIB).to_string());
    }
    runtime.stop(order.run, Duration::ZERO).await.unwrap();
}

/// An agent's figures are those of its host and of all that its run started, what hides included.
#[tokio::test]
async fn figures_are_of_everything_that_an_agent_started() {
    for cgroups in [true, false] {
        let bench = Bench::new();
        let runtime = runtime(&bench, cgroups);
        runtime.start_agent(&bench.place()).await.unwrap();
        let idle = runtime.resources(bench.agent).await.unwrap().unwrap();
        assert_eq!(idle.processes, 1);
        let order = bench.sh(&format!(
            "(setsid env -i sh -c 'echo hidden; {}' &); \
             i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo counted; exec sleep 1000",
            takes(64)
        ));
        runtime.launch(&order).await.unwrap();
        wait_for(&runtime, order.run, "hidden").await;
        wait_for(&runtime, order.run, "counted").await;
        let deadline = std::time::Instant::now() + PATIENCE;
        let busy = loop {
            let used = runtime.resources(bench.agent).await.unwrap().unwrap();
            // `dd` may still be filling its block.
            if used.memory_bytes > 64 * MIB as u64 {
                break used;
            }
            assert!(std::time::Instant::now() < deadline, "{used:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(busy.processes >= 5, "{busy:?}");
        assert!(busy.memory_bytes < 128 * MIB as u64, "{busy:?}");
        assert!(busy.cpu_time > idle.cpu_time, "{busy:?}");
        runtime.stop(order.run, Duration::ZERO).await.unwrap();
        let after = runtime.resources(bench.agent).await.unwrap().unwrap();
        assert_eq!(after.processes, 1);
        assert!(after.memory_bytes < 16 * MIB as u64, "{after:?}");
    }
}
