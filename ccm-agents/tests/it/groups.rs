//! Runs in control groups of their own: what hides is found, also without the host, and nobody else is touched.
//!
//! Where this user can make no group, each test says so, and holds what is promised without them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ccm_agents::ProcessRuntime;
use ccm_core::AgentRuntime;
use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, RunId};
use ccm_core::runtime::{LaunchOrder, RunEnd, RunStatus, Stopped};

use crate::bench::*;

const STAYS: &str = "trap \"\" INT TERM HUP; while :; do sleep 1; done";
const GRACE: Duration = Duration::from_millis(200);

/// Processes that nobody would find after a failed test.
#[derive(Default)]
struct Hidden(Vec<u32>);

impl Hidden {
    /// Waits until a process that [`hides`] is what it wants to be.
    async fn of(&mut self, bench: &Bench, name: &str) -> u32 {
        let pid = pid_in(&bench.dir.path().join(name)).await;
        self.0.push(pid);
        until("a cleared environment", || {
            let env = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            (!env.windows(7).any(|word| word == b"CCM_RUN")).then_some(())
        })
        .await;
        pid
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        for pid in &self.0 {
            kill(*pid, "KILL");
        }
    }
}

/// A script that starts a process with no parent, no mark and a session of its own; its number is in `$BENCH/NAME`.
fn hides(name: &str, what: &str) -> String {
    format!("(setsid sh -c 'echo $$ > \"$BENCH/{name}\"; exec env -i {what}' &); ")
}

/// The same for what ignores every signal that can be ignored.
fn hides_and_stays(name: &str) -> String {
    hides(name, &format!("sh -c \"{}\"", STAYS.replace('"', "\\\"")))
}

/// The folder of the control group that tests, and with them hosts, are in.
fn own_group() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount.split(' ').nth(4)?).join(own))
}

/// Whether this user can make a group and put a process into it.
fn can_make_groups() -> bool {
    let tried = own_group().is_some_and(|own| {
        let probe = own.join(format!("ccm-probe-{}", RunId::new()));
        let made = std::fs::create_dir(&probe).is_ok() && {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            let entered = std::fs::write(probe.join("cgroup.procs"), child.id().to_string());
            child.kill().unwrap();
            child.wait().unwrap();
            entered.is_ok()
        };
        let _ = std::fs::remove_dir(&probe);
        made
    });
    if !tried {
        println!("NO CONTROL GROUP can be made here: only what holds without them is tested");
    }
    tried
}

/// The groups that a run has or had, wherever the home's is.
pub(crate) fn groups_of(run: RunId) -> Vec<PathBuf> {
    let name = format!("ccm-run-{run}");
    own_group()
        .and_then(|own| std::fs::read_dir(own).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join(&name))
        .filter(|path| path.exists())
        .collect()
}

/// The group that is written down in a run's gate.
fn recorded(bench: &Bench, run: RunId) -> Option<PathBuf> {
    let gate = std::fs::read(bench.run_dir(run).join("gate")).unwrap();
    let gate: serde_json::Value = serde_json::from_slice(&gate).unwrap();
    Some(PathBuf::from(gate.get("group")?.as_str().unwrap()))
}

fn runtime(bench: &Bench, epoch: u64, cgroups: bool) -> ProcessRuntime {
    let mut config = bench.config(epoch);
    config.cgroups = cgroups;
    ProcessRuntime::new(config).unwrap()
}

/// Launches, and returns the run's group if it must have one.
async fn launch(bench: &Bench, cgroups: bool, order: &LaunchOrder) -> Option<PathBuf> {
    let status = runtime(bench, 1, cgroups).launch(order).await.unwrap();
    let RunStatus::Running(process) = status else {
        panic!("{status:?}")
    };
    let group = recorded(bench, order.run);
    assert_eq!(group.is_some(), cgroups && can_make_groups());
    if let Some(group) = &group {
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        let program = process.pid.to_string();
        assert!(members.lines().any(|pid| pid == program), "{members}");
    }
    group
}

#[tokio::test]
async fn what_hides_is_found_after_its_host_was_killed() {
    for cgroups in [true, false] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let order = bench.sh(&format!("{}exec sleep 1000", hides("hidden", "sleep 1000")));
        let group = launch(&bench, cgroups, &order).await;
        let pid = hidden.of(&bench, "hidden").await;
        kill(bench.host_pid(), "KILL");
        let end = end_of(&runtime(&bench, 2, cgroups), order.run).await;
        assert_eq!(end, RunEnd::Gone);
        // Without a group there is nothing to find it by.
        assert_eq!(is_alive(pid), group.is_none());
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
}

#[tokio::test]
async fn what_hides_is_found_by_a_live_host() {
    for cgroups in [true, false] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let order = bench.sh(&format!("{}exec sleep 1000", hides("hidden", "sleep 1000")));
        launch(&bench, cgroups, &order).await;
        let pid = hidden.of(&bench, "hidden").await;
        let runtime = runtime(&bench, 1, cgroups);
        let stopped = runtime.stop(order.run, GRACE).await.unwrap();
        assert_eq!(stopped, Stopped::Empty);
        assert!(!is_alive(pid));
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
}

#[tokio::test]
async fn what_ignores_signals_is_killed_after_the_grace() {
    for (cgroups, host_lives) in [(true, true), (false, true), (true, false)] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let order = bench.sh(&format!(
            "{}{}{STAYS}",
            hides_and_stays("one"),
            hides_and_stays("two")
        ));
        let group = launch(&bench, cgroups, &order).await;
        let pids = [
            hidden.of(&bench, "one").await,
            hidden.of(&bench, "two").await,
        ];
        if !host_lives {
            kill(bench.host_pid(), "KILL");
        }
        let began = Instant::now();
        let runtime = runtime(&bench, 2, cgroups);
        let stopped = runtime.stop(order.run, GRACE).await.unwrap();
        assert_eq!(stopped, Stopped::Empty);
        if host_lives || group.is_some() {
            assert!(began.elapsed() >= GRACE, "{:?}", began.elapsed());
            assert!(pids.iter().all(|pid| !is_alive(*pid)));
        }
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
}

/// A process that starts its successor and ends, again and again, is nowhere for long enough to be signalled.
#[tokio::test]
async fn what_never_stays_in_one_process_is_ended() {
    let bench = Bench::new();
    // It can't outlive the bench, whatever becomes of the test.
    let script = "echo . >> \"$1/hops\" || exit; [ -e \"$1/project\" ] || exit\n\
                  (setsid env -i sh \"$1/hop\" \"$1\" &)\n";
    std::fs::write(bench.dir.path().join("hop"), script).unwrap();
    let order = bench.sh("sh \"$BENCH/hop\" \"$BENCH\"; exec sleep 1000");
    if launch(&bench, true, &order).await.is_none() {
        return;
    }
    let hops = || std::fs::metadata(bench.dir.path().join("hops")).map_or(0, |file| file.len());
    until("some hops", || (hops() > 20).then_some(())).await;
    kill(bench.host_pid(), "KILL");
    let runtime = runtime(&bench, 2, true);
    let stopped = runtime.stop(order.run, GRACE).await.unwrap();
    assert_eq!(stopped, Stopped::Empty);
    let before = hops();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hops(), before);
    assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn another_run_and_a_stranger_are_not_touched() {
    for host_lives in [true, false] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let mut stranger = Command::new("setsid")
            .args(["sleep", "1000"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        hidden.0.push(stranger.id());
        let mine = bench.sh(&format!("{}exec sleep 1000", hides("mine", "sleep 1000")));
        let theirs = LaunchOrder {
            place: AgentPlace {
                id: AgentId::new(),
                ..bench.place()
            },
            ..bench.sh(&format!("{}exec sleep 1000", hides("theirs", "sleep 1000")))
        };
        let group = launch(&bench, true, &mine).await;
        let other = launch(&bench, true, &theirs).await;
        assert!(group.is_none() || group != other);
        let pid = hidden.of(&bench, "mine").await;
        let other_pid = hidden.of(&bench, "theirs").await;
        if !host_lives {
            kill(bench.host_pid(), "KILL");
        }
        let runtime = runtime(&bench, 2, true);
        let stopped = runtime.stop(mine.run, GRACE).await.unwrap();
        assert_eq!(stopped, Stopped::Empty);
        assert_eq!(is_alive(pid), !host_lives && group.is_none());
        assert!(is_alive(other_pid) && stranger.try_wait().unwrap().is_none());
        let status = runtime.inspect(theirs.run).await.unwrap();
        assert!(matches!(status, RunStatus::Running(process) if process.answers));
        assert_eq!(groups_of(theirs.run).first(), other.as_ref());
        runtime.stop(theirs.run, Duration::ZERO).await.unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

#[tokio::test]
async fn a_run_that_ends_by_itself_leaves_no_group() {
    let bench = Bench::new();
    let runtime = runtime(&bench, 1, true);
    // Also one that leaves something, and one that is no program at all.
    for script in ["true", "setsid sleep 1000 & exit 0"] {
        let order = bench.sh(script);
        assert_eq!(exit_of(&runtime, &order).await.code, Some(0));
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
    let order = bench.order(&["/no/such/program"], "x");
    runtime.launch(&order).await.unwrap();
    end_of(&runtime, order.run).await;
    assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    if let Some(folder) = can_make_groups().then(|| bench.sh("exec sleep 1000")) {
        // The home's own group goes with the last of its runs.
        let group = launch(&bench, true, &folder).await.unwrap();
        let above = group.parent().unwrap();
        assert!(above.exists());
        runtime.stop(folder.run, Duration::ZERO).await.unwrap();
        assert!(!above.exists());
    }
}

#[tokio::test]
async fn groups_within_the_group_belong_to_the_run() {
    for host_lives in [true, false] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let order = bench.sh(&format!(
            "{}until [ -s \"$BENCH/group\" ] && [ -s \"$BENCH/deep\" ]; do sleep 0.01; done; \
             inner=$(cat \"$BENCH/group\")/inner; mkdir \"$inner\" \"$inner/deep\" \"$inner/empty\"; \
             cat \"$BENCH/deep\" > \"$inner/deep/cgroup.procs\"; echo moved; exec sleep 1000",
            hides_and_stays("deep")
        ));
        let Some(group) = launch(&bench, true, &order).await else {
            return;
        };
        let pid = hidden.of(&bench, "deep").await;
        std::fs::write(bench.dir.path().join("group"), group.to_str().unwrap()).unwrap();
        let runtime = runtime(&bench, 1, true);
        wait_for(&runtime, order.run, "moved\n").await;
        let deep = std::fs::read_to_string(group.join("inner/deep/cgroup.procs")).unwrap();
        assert!(deep.lines().any(|line| line == pid.to_string()), "{deep:?}");
        if !host_lives {
            kill(bench.host_pid(), "KILL");
        }
        let stopped = runtime.stop(order.run, GRACE).await.unwrap();
        assert_eq!(stopped, Stopped::Empty);
        assert!(!is_alive(pid));
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
}

#[tokio::test]
async fn a_daemon_that_a_run_started_lives_on_with_its_family() {
    for host_lives in [true, false] {
        let (bench, mut hidden) = (Bench::new(), Hidden::default());
        let daemon = "sh -c \"env -i sleep 1000 & echo \\$! > $BENCH/child; wait\"";
        let order = bench.sh(&format!(
            "{}{}exec sleep 1000",
            hides("daemon", daemon),
            hides_and_stays("other"),
        ));
        let group = launch(&bench, true, &order).await;
        let daemon = hidden.of(&bench, "daemon").await;
        let child = hidden.of(&bench, "child").await;
        let other = hidden.of(&bench, "other").await;
        std::fs::create_dir_all(bench.home().join("run")).unwrap();
        let file = bench.home().join("run/daemon.json");
        std::fs::write(file, format!("{{\"pid\":{daemon}}}")).unwrap();
        if !host_lives {
            kill(bench.host_pid(), "KILL");
        }
        let runtime = runtime(&bench, 2, true);
        let stopped = runtime.stop(order.run, GRACE).await.unwrap();
        assert_eq!(stopped, Stopped::Empty);
        assert!(is_alive(daemon) && is_alive(child));
        assert_eq!(is_alive(other), !host_lives && group.is_none());
        // Its group stays while they are in it, and goes when a host starts after that.
        assert_eq!(groups_of(order.run).first(), group.as_ref());
        drop(hidden);
        until("them to end", || {
            (!is_alive(daemon) && !is_alive(child)).then_some(())
        })
        .await;
        if host_lives {
            runtime.stop_agent(bench.agent).await.unwrap();
        }
        assert_eq!(exit_of(&runtime, &bench.sh("true")).await.code, Some(0));
        assert_eq!(groups_of(order.run), [] as [PathBuf; 0]);
    }
}

#[tokio::test]
async fn a_copied_home_and_another_start_of_the_machine_leave_a_group_alone() {
    let (bench, mut hidden) = (Bench::new(), Hidden::default());
    let order = bench.sh(&format!("{}exec sleep 1000", hides("hidden", "sleep 1000")));
    let Some(group) = launch(&bench, true, &order).await else {
        return;
    };
    let pid = hidden.of(&bench, "hidden").await;
    // A copy, in which the run's lock is free.
    let copy = Bench::new();
    let run = copy.run_dir(order.run);
    std::fs::create_dir_all(&run).unwrap();
    for name in ["gate", "launch"] {
        std::fs::copy(bench.run_dir(order.run).join(name), run.join(name)).unwrap();
    }
    let there = copy.runtime();
    assert_eq!(end_of(&there, order.run).await, RunEnd::Gone);
    there.stop(order.run, Duration::ZERO).await.unwrap();
    assert!(is_alive(pid) && group.exists());
    // The same run, as it would be found after another start; the mark alone counts, which what hides has not.
    let gate = bench.run_dir(order.run).join("gate");
    let text = std::fs::read_to_string(&gate).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()));
    kill(bench.host_pid(), "KILL");
    std::fs::write(&gate, text.replace(boot.trim(), "another")).unwrap();
    assert_eq!(end_of(&bench.runtime(), order.run).await, RunEnd::Gone);
    assert!(is_alive(pid) && group.exists());
    std::fs::write(&gate, text).unwrap();
    assert_eq!(end_of(&bench.runtime(), order.run).await, RunEnd::Gone);
    assert!(!is_alive(pid) && !group.exists());
}
