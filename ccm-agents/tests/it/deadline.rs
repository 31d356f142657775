//! The deadlines of shared tasks' runs: what no daemon moves any more is ended, and nothing else.

use std::time::Duration;

use ccm_core::AgentRuntime;
use ccm_core::Reason;
use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, RunId};
use ccm_core::runtime::{LaunchOrder, RunEnd, RunStatus};
use ccm_core::time::{Clock, SystemClock};

use crate::bench::*;

fn due_in(bench: &Bench, left: Duration, script: &str) -> LaunchOrder {
    LaunchOrder {
        deadline: Some(SystemClock.since_boot() + left),
        ..bench.sh(script)
    }
}

#[tokio::test]
async fn a_run_is_over_at_its_deadline_while_no_daemon_is_there() {
    let bench = Bench::new();
    let stubborn = "trap '' INT TERM; (setsid sh -c 'trap \"\" INT TERM; sleep 1000' &); \
                    while :; do sleep 1; done";
    let order = due_in(&bench, Duration::from_secs(3), stubborn);
    let other = LaunchOrder {
        place: AgentPlace {
            id: AgentId::new(),
            ..bench.place()
        },
        ..bench.sh("exec sleep 1000")
    };
    let first = bench.runtime();
    for order in [&order, &other] {
        first.launch(order).await.unwrap();
    }
    drop(first);
    let exit = bench.run_dir(order.run).join("exit");
    until("the record of an end", || exit.exists().then_some(())).await;
    let deadline = order.deadline.unwrap();
    let late = SystemClock.since_boot().saturating_sub(deadline);
    assert!(late > Duration::ZERO, "before its time");
    let runtime = bench.runtime_of(2);
    let exit = exited(end_of(&runtime, order.run).await);
    assert!(exit.deadline_cut && !exit.stopped, "{exit:?}");
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    // The other one has no deadline.
    let status = runtime.inspect(other.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(process) if process.answers));
    runtime.stop(other.run, Duration::ZERO).await.unwrap();
    let stopped = exited(end_of(&runtime, other.run).await);
    assert!(stopped.stopped && !stopped.deadline_cut);
    assert!(bench.strays().is_empty());
}

#[tokio::test]
async fn whoever_renews_the_lease_moves_the_deadline() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let begun = SystemClock.since_boot();
    let script = "until [ -e \"$BENCH/go\" ]; do sleep 0.01; done";
    let order = due_in(&bench, Duration::from_secs(2), script);
    runtime.launch(&order).await.unwrap();
    let far = begun + Duration::from_secs(1000);
    runtime.set_deadline(order.run, far).await.unwrap();
    // Longer than it had at first, and than a host takes to look.
    let past = begun + Duration::from_secs(4);
    until("the first deadline", || {
        (SystemClock.since_boot() > past).then_some(())
    })
    .await;
    let status = runtime.inspect(order.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(_)), "{status:?}");
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    let exit = exited(end_of(&runtime, order.run).await);
    assert_eq!((exit.code, exit.deadline_cut), (Some(0), false));

    // One that is over has none, and neither has one that nobody knows.
    runtime.set_deadline(order.run, far).await.unwrap();
    runtime.set_deadline(RunId::new(), far).await.unwrap();
}

#[tokio::test]
async fn what_comes_too_late_is_not_started() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let late = LaunchOrder {
        deadline: Some(Duration::ZERO),
        ..bench.sh("touch \"$BENCH/started\"")
    };
    let status = runtime.launch(&late).await.unwrap();
    let RunStatus::Ended {
        end: RunEnd::NeverStarted(why),
        ..
    } = status
    else {
        panic!("{status:?}");
    };
    assert_eq!(why.reason, Reason::NotStarted);
    assert!(!bench.dir.path().join("started").exists());
}
