//! Launches that meet kills, voids, other daemons and other starts of the machine.

use std::process::{Child, Command};
use std::sync::Arc;

use ccm_core::runtime::{LaunchOrder, RunEnd, RunStatus};
use ccm_core::{AgentRuntime, ErrorKind};

use crate::bench::*;

/// A script that counts its starts.
pub(crate) const COUNTS: &str = "echo x >> \"$BENCH/starts\"; cat >/dev/null; echo done";

pub(crate) fn starts(bench: &Bench) -> usize {
    let text = std::fs::read_to_string(bench.dir.path().join("starts")).unwrap_or_default();
    text.lines().count()
}

pub(crate) fn never_started(end: &RunEnd) -> bool {
    matches!(end, RunEnd::NeverStarted(_))
}

#[tokio::test]
async fn many_launches_start_one_program() {
    let bench = Bench::new();
    let order = bench.sh(COUNTS);
    let mut launches = tokio::task::JoinSet::new();
    for _ in 0..8 {
        // As many daemons of one epoch, which is worse than anything that may happen.
        let runtime = bench.runtime();
        let order = order.clone();
        launches.spawn(async move { runtime.launch(&order).await });
    }
    for launch in launches.join_all().await {
        let status = launch.unwrap();
        let started = match &status {
            RunStatus::Running(_) => true,
            RunStatus::Ended { end, .. } => matches!(end, RunEnd::Exited(_)),
            RunStatus::Unstoppable(_) => false,
        };
        assert!(started, "{status:?}");
    }
    end_of(&bench.runtime(), order.run).await;
    assert_eq!(starts(&bench), 1);
    let hosts = bench.runtime().agents().await.unwrap();
    assert_eq!(hosts.len(), 1);
}

#[tokio::test]
async fn a_launch_and_its_void_agree_on_one() {
    let bench = Bench::new();
    let runtime = Arc::new(bench.runtime());
    runtime.start_agent(&bench.place()).await.unwrap();
    for round in 0..15u64 {
        let order = bench.sh(COUNTS);
        let before = starts(&bench);
        let launch = tokio::spawn({
            let (runtime, order) = (runtime.clone(), order.clone());
            async move { runtime.launch(&order).await }
        });
        // At different moments of the launch.
        tokio::time::sleep(std::time::Duration::from_micros(round * 500)).await;
        let other = bench.runtime();
        let seen = other.inspect(order.run).await.unwrap();
        let launched = launch.await.unwrap();
        let end = end_of(&other, order.run).await;
        let voided = never_started(&end);
        assert_eq!(starts(&bench) - before, usize::from(!voided), "{end:?}");
        if let RunStatus::Ended { end, .. } = seen {
            assert_eq!(never_started(&end), voided);
        }
        if let Ok(RunStatus::Ended { end, .. }) = launched {
            assert_eq!(never_started(&end), voided);
        }
    }
}

#[tokio::test]
async fn a_lower_epoch_is_refused() {
    let bench = Bench::new();
    let old = bench.runtime_of(1);
    let order = bench.sh("until [ -e \"$BENCH/go\" ]; do sleep 0.01; done");
    old.launch(&order).await.unwrap();
    let new = bench.runtime_of(2);
    let status = new.inspect(order.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(process) if process.answers));
    let refused = |error: ccm_core::Error| assert_eq!(error.kind(), ErrorKind::Superseded);
    refused(old.inspect(order.run).await.unwrap_err());
    let grace = std::time::Duration::ZERO;
    refused(old.stop(order.run, grace).await.unwrap_err());
    new.start_agent(&bench.place()).await.unwrap();
    refused(old.start_agent(&bench.place()).await.unwrap_err());
    refused(old.launch(&bench.sh("true")).await.unwrap_err());
    refused(old.stop_agent(bench.agent).await.unwrap_err());
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    assert!(matches!(end_of(&new, order.run).await, RunEnd::Exited(_)));
}

/// A process that belongs to nobody here, with its identity as a gate writes it.
fn stranger() -> (Child, u64) {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start = stat.rsplit(')').next().unwrap().split_whitespace().nth(19);
    (child, start.unwrap().parse().unwrap())
}

/// Rewrites the gate of a run.
fn forge(bench: &Bench, order: &LaunchOrder, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = bench.run_dir(order.run).join("gate");
    let mut gate = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut gate);
    std::fs::write(&path, gate.to_string()).unwrap();
}

#[tokio::test]
async fn a_number_alone_is_nobodys_identity() {
    let (mut child, start) = stranger();
    for (boot, start) in [(Some("another-boot"), start), (None, start + 1)] {
        let bench = Bench::new();
        let runtime = bench.runtime();
        let order = bench.sh("sleep 1000");
        runtime.launch(&order).await.unwrap();
        kill(bench.host_pid(), "KILL");
        until("the run's lock", || {
            (!is_alive(bench.host_pid())).then_some(())
        })
        .await;
        forge(&bench, &order, |gate| {
            gate["child"]["pid"] = child.id().into();
            gate["child"]["start"] = start.into();
            if let Some(boot) = boot {
                gate["machine"]["boot"] = boot.into();
            }
        });
        assert_eq!(end_of(&runtime, order.run).await, RunEnd::Gone);
        assert!(is_alive(child.id()));
        assert!(
            bench.strays().is_empty(),
            "its mark tells what is of the run"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
