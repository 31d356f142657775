//! How runs end, and that nothing of them is left.

use std::time::{Duration, Instant};

use ccm_core::AgentRuntime;
use ccm_core::run::Stream;
use ccm_core::runtime::{RunEnd, RunStatus, Stopped};

use crate::bench::*;

/// A script that starts a grandchild in a session of its own and tells its number in `$BENCH/NAME`.
fn apart(name: &str, what: &str) -> String {
    format!("setsid sh -c 'echo $$ > \"$BENCH/{name}\"; {what}' & ")
}

#[tokio::test]
async fn a_killed_host_takes_its_run_along() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let stay = "trap \"\" TERM INT HUP; while :; do sleep 1; done";
    let order = bench.sh(&format!(
        "echo begun; {}exec sleep 1000",
        apart("apart", stay)
    ));
    let RunStatus::Running(process) = runtime.launch(&order).await.unwrap() else {
        panic!()
    };
    let apart = pid_in(&bench.dir.path().join("apart")).await;
    kill(bench.host_pid(), "KILL");
    let began = Instant::now();
    assert_eq!(end_of(&runtime, order.run).await, RunEnd::Gone);
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    assert!(!is_alive(process.pid) && !is_alive(apart));
    assert!(bench.strays().is_empty());
    assert_eq!(text_of(&runtime, order.run, Stream::Out).await, "begun\n");
    assert!(runtime.agents().await.unwrap().is_empty());
    // It is given another host, and works.
    assert_eq!(exit_of(&runtime, &bench.sh("true")).await.code, Some(0));
}

#[tokio::test]
async fn stop_ends_what_hides_in_sessions_of_its_own() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let stay = "trap \"\" TERM INT HUP; while :; do sleep 1; done";
    // One of them hides its mark, too; its descent tells.
    let order = bench.sh(&format!(
        "trap '' TERM INT; {}{}while :; do sleep 1; done",
        apart("one", stay),
        apart("two", "exec env -i sleep 1000"),
    ));
    runtime.launch(&order).await.unwrap();
    let one = pid_in(&bench.dir.path().join("one")).await;
    let two = pid_in(&bench.dir.path().join("two")).await;
    let grace = Duration::from_millis(200);
    assert_eq!(
        runtime.stop(order.run, grace).await.unwrap(),
        Stopped::Empty
    );
    assert!(!is_alive(one) && !is_alive(two));
    assert!(bench.strays().is_empty());
    let exit = exited(end_of(&runtime, order.run).await);
    assert_eq!(
        (exit.code, exit.signal, exit.stopped),
        (None, Some(9), true)
    );
    assert_eq!(
        runtime.stop(order.run, grace).await.unwrap(),
        Stopped::Empty
    );
}

#[tokio::test]
async fn an_interrupt_comes_before_anything_worse() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order =
        bench.sh("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done");
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, order.run, "ready\n").await;
    let stopped = runtime
        .stop(order.run, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(stopped, Stopped::Empty);
    let exit = exited(end_of(&runtime, order.run).await);
    assert_eq!((exit.code, exit.stopped), (Some(5), true));
    let text = text_of(&runtime, order.run, Stream::Out).await;
    assert!(text.ends_with("interrupted\n"), "{text}");
}

#[tokio::test]
async fn what_a_program_leaves_behind_does_not_hold_up_its_end() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh(&format!(
        "echo mine; {}until [ -e \"$BENCH/left\" ]; do sleep 0.01; done; exit 0",
        apart("left", "while :; do echo late; sleep 0.01; done"),
    ));
    let exit = exit_of(&runtime, &order).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), false));
    assert!(!is_alive(pid_in(&bench.dir.path().join("left")).await));
    // Nothing writes after the record, whose sizes are the end.
    let chunk = runtime
        .output(order.run, Stream::Out, 0, u64::MAX)
        .await
        .unwrap();
    assert_eq!(chunk.size, exit.out_bytes);
    let file = std::fs::metadata(bench.run_dir(order.run).join("spool.out")).unwrap();
    assert_eq!(file.len(), exit.out_bytes);
}

#[tokio::test]
async fn too_much_output_ends_a_run() {
    let bench = Bench::new();
    let mut config = bench.config(1);
    config.output_limit = 1 << 20;
    let runtime = ccm_agents::ProcessRuntime::new(config).unwrap();
    let exit = exit_of(&runtime, &bench.sh("trap '' INT TERM; yes; sleep 1000")).await;
    assert!(exit.output_cut && !exit.stopped, "{exit:?}");
    assert!(exit.out_bytes > 1 << 20);
    assert!(bench.strays().is_empty());
}

#[tokio::test]
async fn a_frozen_host_is_told_of_and_its_run_can_be_stopped() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh(&format!(
        "{}exec sleep 1000",
        apart("apart", "exec sleep 1000")
    ));
    let RunStatus::Running(process) = runtime.launch(&order).await.unwrap() else {
        panic!()
    };
    let apart = pid_in(&bench.dir.path().join("apart")).await;
    let host = bench.host_pid();
    kill(host, "STOP");
    let RunStatus::Running(seen) = runtime.inspect(order.run).await.unwrap() else {
        panic!()
    };
    assert!(!seen.answers && seen.pid == process.pid);
    let facts = runtime.agents().await.unwrap();
    assert!(!facts[0].answers && facts[0].pid == Some(host), "{facts:?}");
    let stopped = runtime
        .stop(order.run, Duration::from_millis(50))
        .await
        .unwrap();
    assert_eq!(stopped, Stopped::Empty);
    assert!(!is_alive(process.pid) && !is_alive(apart));
    assert!(is_alive(host), "the host is not its run's");
    let end = end_of(&runtime, order.run).await;
    assert_eq!(end, RunEnd::Gone);
    kill(host, "CONT");
}

#[tokio::test]
async fn a_host_that_is_ended_leaves_no_record_and_no_process() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh(&format!(
        "{}exec sleep 1000",
        apart("apart", "exec sleep 1000")
    ));
    runtime.launch(&order).await.unwrap();
    let apart = pid_in(&bench.dir.path().join("apart")).await;
    // A hangup is none of its business.
    kill(bench.host_pid(), "HUP");
    assert!(
        matches!(runtime.inspect(order.run).await.unwrap(), RunStatus::Running(process) if process.answers)
    );
    kill(bench.host_pid(), "TERM");
    assert_eq!(end_of(&runtime, order.run).await, RunEnd::Gone);
    assert!(!is_alive(apart));
}

#[tokio::test]
async fn orphans_do_not_pile_up_in_the_host() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh(
        "i=0; while [ $i -lt 20 ]; do (setsid true &); i=$((i+1)); done; \
         echo ready; until [ -e \"$BENCH/go\" ]; do sleep 0.01; done",
    );
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, order.run, "ready\n").await;
    let host = bench.host_pid();
    until("the orphans to be reaped", || {
        let children =
            std::fs::read_to_string(format!("/proc/{host}/task/{host}/children")).ok()?;
        (children.split_whitespace().count() == 1).then_some(())
    })
    .await;
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    assert_eq!(exited(end_of(&runtime, order.run).await).code, Some(0));
}
