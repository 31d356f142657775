//! A home of its own for each test, with hosts that end when the test does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccm_agents::{HostCommand, ProcessRuntime, RuntimeConfig};
use ccm_core::AgentRuntime;
use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, Epoch, ProjectId, RunId, TaskId};
use ccm_core::project::{AgentProfile, RunLimits};
use ccm_core::run::{Checkpoint, Observation, Report, Reported, Stream};
use ccm_core::runtime::{Exit, LaunchOrder, RunEnd, RunStatus};
use ccm_core::task::TaskText;

/// How long anything may take that is expected to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A machine home and a project.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) agent: AgentId,
    pub(crate) project: ProjectId,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project/.ccm")).unwrap();
        Self {
            dir,
            agent: AgentId::new(),
            project: ProjectId::new(),
        }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn run_dir(&self, run: RunId) -> PathBuf {
        self.home().join("runs").join(run.to_string())
    }

    pub(crate) fn agent_dir(&self) -> PathBuf {
        self.home().join("agents").join(self.agent.to_string())
    }

    pub(crate) fn config(&self, epoch: u64) -> RuntimeConfig {
        RuntimeConfig::new(self.home(), Epoch(epoch), host_command())
    }

    pub(crate) fn runtime(&self) -> ProcessRuntime {
        self.runtime_of(1)
    }

    pub(crate) fn runtime_of(&self, epoch: u64) -> ProcessRuntime {
        ProcessRuntime::new(self.config(epoch)).unwrap()
    }

    pub(crate) fn place(&self) -> AgentPlace {
        AgentPlace {
            id: self.agent,
            project_id: self.project,
            name: "bench".to_owned(),
            folder: self.folder(),
        }
    }

    /// An order for `sh -c SCRIPT`.
    pub(crate) fn sh(&self, script: &str) -> LaunchOrder {
        self.order(&["sh", "-c", script], "do it")
    }

    pub(crate) fn order(&self, command: &[&str], prompt: &str) -> LaunchOrder {
        LaunchOrder {
            run: RunId::new(),
            task: TaskId::new(),
            place: self.place(),
            profile: AgentProfile {
                env: BTreeMap::from([("BENCH".to_owned(), self.dir.path().display().to_string())]),
                ..AgentProfile::command(command.iter().copied())
            },
            limits: RunLimits::default(),
            prompt: TaskText::new(prompt).unwrap(),
            resume: None,
            deadline: None,
        }
    }

    /// The host's process id.
    pub(crate) fn host_pid(&self) -> u32 {
        let text = std::fs::read(self.agent_dir().join("host.json")).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        u32::try_from(value["process"]["pid"].as_u64().unwrap()).unwrap()
    }

    /// Processes with a word of this bench in their environment, by number.
    pub(crate) fn strays(&self) -> Vec<u32> {
        let mark = format!("BENCH={}", self.dir.path().display());
        processes(|pid| {
            let env = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            env.split(|byte| *byte == 0)
                .any(|entry| entry == mark.as_bytes())
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A failed test must leave nothing behind: its hosts, then whatever carries its mark.
        let own = self.home().join("agents");
        let own = own.to_string_lossy();
        let hosts = processes(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&*own)
        });
        for pid in hosts {
            kill(pid, "KILL");
        }
        for pid in self.strays() {
            kill(pid, "KILL");
        }
        let _ = std::fs::remove_dir_all(self.socket_dir());
        self.remove_groups();
    }
}

impl Bench {
    /// Removes the control groups of runs whose hosts were killed just now.
    fn remove_groups(&self) {
        let runs = std::fs::read_dir(self.home().join("runs"));
        for run in runs.into_iter().flatten().flatten() {
            let gate = std::fs::read(run.path().join("gate")).unwrap_or_default();
            let gate: serde_json::Value = serde_json::from_slice(&gate).unwrap_or_default();
            if let Some(group) = gate["group"].as_str().map(Path::new) {
                // They may take a moment to be empty.
                for _ in 0..50 {
                    match std::fs::remove_dir(group) {
                        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                            std::thread::sleep(Duration::from_millis(2));
                        }
                        _ => break,
                    }
                }
                let _ = group.parent().map(std::fs::remove_dir);
            }
        }
    }

    /// Where the hosts of this bench listen, if there are any.
    fn socket_dir(&self) -> PathBuf {
        std::fs::read_dir(self.home().join("agents"))
            .into_iter()
            .flatten()
            .flatten()
            .find_map(|entry| {
                let text = std::fs::read(entry.path().join("place.json")).ok()?;
                let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
                let socket = PathBuf::from(value["socket"].as_str()?);
                Some(socket.parent()?.to_path_buf())
            })
            .unwrap_or_else(|| self.dir.path().join("none"))
    }
}

fn processes(wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_alive(*pid) && wanted(*pid))
        .collect()
}

/// The program in `examples/host.rs`, which cargo builds for the tests.
pub(crate) fn host_command() -> HostCommand {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/host");
    assert!(
        path.exists(),
        "{} is missing: run the tests with `cargo test -p ccm-agents` or `cargo nextest run -p ccm-agents`",
        path.display()
    );
    HostCommand {
        argv: vec![path.into()],
    }
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or("").trim().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}

pub(crate) fn kill(pid: u32, signal: &str) {
    let signal: nix::sys::signal::Signal = format!("SIG{signal}").parse().unwrap();
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal);
}

/// Waits until `done` gives something.
pub(crate) async fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number that a program wrote into a file.
pub(crate) async fn pid_in(path: &Path) -> u32 {
    until("a process number", || {
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.trim().parse().ok()
    })
    .await
}

/// Waits for a run's end as the engine does.
pub(crate) async fn end_of(runtime: &dyn AgentRuntime, run: RunId) -> RunEnd {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let RunStatus::Ended { end, .. } = runtime.inspect(run).await.unwrap() {
            return end;
        }
        assert!(Instant::now() < deadline, "run {run} does not end");
        let _ = tokio::time::timeout(PATIENCE, runtime.changed(run)).await;
    }
}

/// The record of an end.
pub(crate) fn exited(end: RunEnd) -> Exit {
    match end {
        RunEnd::Exited(exit) => exit,
        other => panic!("{other:?}"),
    }
}

/// Launches, and waits for the exit.
pub(crate) async fn exit_of(runtime: &dyn AgentRuntime, order: &LaunchOrder) -> Exit {
    runtime.launch(order).await.unwrap();
    match end_of(runtime, order.run).await {
        RunEnd::Exited(exit) => exit,
        other => panic!("{other:?}"),
    }
}

/// Everything that is read of a run that is over.
pub(crate) async fn read_all(
    runtime: &dyn AgentRuntime,
    run: RunId,
    end: &RunEnd,
) -> (Vec<Observation>, Option<Report>) {
    let mut at = Checkpoint::default();
    let mut seen = Vec::new();
    loop {
        let batch = runtime.read(run, &at, Some(end)).await.unwrap();
        seen.extend(batch.observations);
        at = batch.checkpoint;
        if batch.complete {
            let report = match batch.reported {
                Reported::Whole(report) => Some(report),
                Reported::Nothing | Reported::Cut => None,
            };
            return (seen, report);
        }
    }
}

/// A whole stream as text.
pub(crate) async fn text_of(runtime: &dyn AgentRuntime, run: RunId, stream: Stream) -> String {
    let chunk = runtime.output(run, stream, 0, u64::MAX).await.unwrap();
    String::from_utf8(chunk.bytes).unwrap()
}

/// Waits until a run has written `text`.
pub(crate) async fn wait_for(runtime: &dyn AgentRuntime, run: RunId, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !text_of(runtime, run, Stream::Out).await.contains(text) {
        assert!(Instant::now() < deadline, "waited in vain for {text:?}");
        let _ = tokio::time::timeout(PATIENCE, runtime.changed(run)).await;
    }
}
