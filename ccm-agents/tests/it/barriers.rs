//! Hosts that are held, or killed, at the steps of a launch.

use std::path::PathBuf;
use std::sync::Arc;

use ccm_agents::{HostCommand, ProcessRuntime};
use ccm_core::AgentRuntime;
use ccm_core::runtime::{RunEnd, RunStatus};

use crate::bench::*;
use crate::groups::groups_of;
use crate::races::{COUNTS, never_started, starts};

/// Holds what comes to a barrier.
struct Barrier {
    dir: PathBuf,
    name: &'static str,
}

impl Barrier {
    /// A runtime whose hosts stop at `name`.
    fn hold(bench: &Bench, name: &'static str) -> (Self, ProcessRuntime) {
        let dir = bench.dir.path().join("barriers");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("{name}.hold")), "").unwrap();
        let mut config = bench.config(1);
        let mut setting = std::ffi::OsString::from("CCM_BARRIERS=");
        setting.push(&dir);
        let mut argv = vec!["env".into(), setting];
        argv.extend(config.host.argv);
        config.host = HostCommand { argv };
        let runtime = ProcessRuntime::new(config).unwrap();
        (Self { dir, name }, runtime)
    }

    /// The process that stands at it.
    async fn reached(&self) -> u32 {
        let path = self.dir.join(format!("{}.reached", self.name));
        until(self.name, || {
            std::fs::read_to_string(&path).ok()?.parse().ok()
        })
        .await
    }

    fn release(&self) {
        std::fs::remove_file(self.dir.join(format!("{}.hold", self.name))).unwrap();
    }
}

#[tokio::test]
async fn a_host_killed_at_any_step_leaves_the_truth() {
    for (name, starts_at_most, truth) in [
        ("launch.3.forked", 0, "never"),
        ("launch.4.gated", 0, "gone"),
        ("launch.5.released", 1, "gone"),
        ("launch.6.prompted", 1, "gone"),
        ("launch.7.ended", 1, "gone"),
        ("launch.7.recorded", 1, "exited"),
    ] {
        let bench = Bench::new();
        let (barrier, runtime) = Barrier::hold(&bench, name);
        let runtime = Arc::new(runtime);
        let order = bench.sh(COUNTS);
        let launch = tokio::spawn({
            let (runtime, order) = (runtime.clone(), order.clone());
            async move { runtime.launch(&order).await }
        });
        let host = barrier.reached().await;
        assert_eq!(host, bench.host_pid());
        kill(host, "KILL");
        let _ = launch.await.unwrap();
        let end = end_of(&*runtime, order.run).await;
        let seen = match &end {
            RunEnd::NeverStarted(_) => "never",
            RunEnd::Gone => "gone",
            RunEnd::Exited(_) => "exited",
        };
        assert_eq!(seen, truth, "{name}");
        assert!(starts(&bench) <= starts_at_most, "{name}");
        assert!(bench.strays().is_empty(), "{name}");
        // Whatever is tried with it later, it is not started again.
        barrier.release();
        let again = runtime.launch(&order).await.unwrap();
        assert!(
            matches!(again, RunStatus::Ended { end: again, .. } if again == end),
            "{name}"
        );
        assert!(starts(&bench) <= starts_at_most, "{name}");
        // A group that was made before the gate is told of nowhere, and found by the next host.
        exit_of(&bench.runtime(), &bench.sh("true")).await;
        assert!(groups_of(order.run).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_void_wins_before_the_gate_and_loses_after_it() {
    for (name, wins) in [("launch.3.forked", true), ("launch.4.gated", false)] {
        let bench = Bench::new();
        let (barrier, runtime) = Barrier::hold(&bench, name);
        let runtime = Arc::new(runtime);
        let order = bench.sh(COUNTS);
        let launch = tokio::spawn({
            let (runtime, order) = (runtime.clone(), order.clone());
            async move { runtime.launch(&order).await }
        });
        barrier.reached().await;
        let seen = bench.runtime().inspect(order.run).await.unwrap();
        match (&seen, wins) {
            (RunStatus::Ended { end, .. }, true) => assert!(never_started(end)),
            (RunStatus::Running(process), false) => assert!(!process.answers),
            _ => panic!("{seen:?}"),
        }
        barrier.release();
        launch.await.unwrap().unwrap();
        let end = end_of(&*runtime, order.run).await;
        assert_eq!(never_started(&end), wins, "{end:?}");
        assert_eq!(starts(&bench), usize::from(!wins));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_along() {
    let bench = Bench::new();
    let (barrier, runtime) = Barrier::hold(&bench, "launch.4.gated");
    let order = bench.sh(COUNTS);
    let launch = tokio::spawn({
        let order = order.clone();
        async move { runtime.launch(&order).await }
    });
    barrier.reached().await;
    launch.abort();
    assert!(launch.await.is_err());
    barrier.release();
    let end = end_of(&bench.runtime(), order.run).await;
    assert!(
        matches!(end, RunEnd::Exited(ref exit) if exit.code == Some(0)),
        "{end:?}"
    );
    assert_eq!(starts(&bench), 1);
}
