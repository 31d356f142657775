//! tmux, real, on a server of each test's own.

mod attach;
mod conformance;
mod control;
mod live;
mod lost;
mod windows;

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use ccm_agents::{TmuxConfig, TmuxRuntime};
use ccm_core::agent::AgentPlace;
use ccm_core::id::{AgentId, ProjectId};
use ccm_core::runtime::{AgentRuntime, LaunchOrder, RunStatus};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bench::{Bench, kill, until};

/// A folder for sockets, and the server in it.
pub(crate) struct Server {
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn config(&self) -> TmuxConfig {
        TmuxConfig {
            tmpdir: Some(self.dir.path().to_owned()),
            ..TmuxConfig::default()
        }
    }

    /// A client of the server, as a person has it.
    pub(crate) fn client(&self) -> std::process::Command {
        let mut client = std::process::Command::new("tmux");
        client
            .env("TMUX_TMPDIR", self.dir.path())
            .env_remove("TMUX")
            .args(["-u", "-f", "/dev/null", "-L", "ccm"]);
        client
    }

    /// What a tmux command prints; what it complains about, if it fails.
    pub(crate) fn try_run<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, String> {
        let done = self.client().args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(text(&done.stderr))
        }
    }

    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.try_run(args).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.run(&["display-message", "-p", "#{pid}"])
            .parse()
            .unwrap()
    }

    /// Id and name of every window, without those of views.
    pub(crate) fn windows(&self) -> Vec<(String, String)> {
        let listed = self.try_run(&[
            "list-windows",
            "-t",
            "=ccm:",
            "-F",
            "#{window_id} #{window_name}",
        ]);
        let listed = listed.unwrap_or_default();
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.windows().into_iter().map(|(_, name)| name).collect()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.try_run(&["kill-server"]);
    }
}

/// A home whose agents have windows. Its server goes first, then its hosts.
pub(crate) struct Desk {
    pub(crate) server: Arc<Server>,
    pub(crate) runtime: Arc<TmuxRuntime>,
    bench: Bench,
}

impl Deref for Desk {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(Server::new()), |config| config)
    }

    pub(crate) fn on(server: Arc<Server>, change: impl FnOnce(TmuxConfig) -> TmuxConfig) -> Self {
        let bench = Bench::new();
        let config = change(server.config());
        Self {
            runtime: Arc::new(TmuxRuntime::new(bench.config(1), config).unwrap()),
            server,
            bench,
        }
    }

    /// A second handle on the same home, as a daemon has that was started anew.
    pub(crate) fn another(&self, epoch: u64) -> TmuxRuntime {
        TmuxRuntime::new(self.config(epoch), self.server.config()).unwrap()
    }

    /// One more agent.
    pub(crate) fn place_named(&self, name: &str) -> AgentPlace {
        AgentPlace {
            id: AgentId::new(),
            project_id: ProjectId::new(),
            name: name.to_owned(),
            ..self.place()
        }
    }

    /// Keeps the windows until the answer is dropped.
    pub(crate) fn keep(&self) -> DropGuard {
        let cancel = CancellationToken::new();
        let runtime = self.runtime.clone();
        let until = cancel.clone();
        tokio::spawn(async move { runtime.keep_windows(until).await });
        cancel.drop_guard()
    }

    /// A run that ends when [`Desk::finish`] says so.
    pub(crate) async fn working(&self) -> LaunchOrder {
        let go = self.folder().join("go");
        let order = self.sh(&format!(
            "while [ ! -e '{}' ]; do sleep 0.05; done; echo done",
            go.display()
        ));
        let status = self.runtime.launch(&order).await.unwrap();
        assert!(matches!(status, RunStatus::Running(_)), "{status:?}");
        order
    }

    pub(crate) fn finish(&self) {
        std::fs::write(self.folder().join("go"), "").unwrap();
    }

    pub(crate) async fn is_running(&self, order: &LaunchOrder) -> bool {
        let status = self.runtime.inspect(order.run).await.unwrap();
        matches!(status, RunStatus::Running(_))
    }

    /// The window that an agent has now.
    pub(crate) async fn window_of(&self, agent: AgentId) -> Option<String> {
        let agents = self.runtime.agents().await.unwrap();
        agents.into_iter().find(|facts| facts.id == agent)?.window
    }

    /// The id of the one window of that name, once there is one other than `old`.
    pub(crate) async fn redrawn(&self, name: &str, old: &str, old_server: u32) -> String {
        until("the window to be drawn again", || {
            let (id, _) = self.server.windows().into_iter().find(|(_, n)| n == name)?;
            let same = id == old && self.server.pid() == old_server;
            (!same).then_some(id)
        })
        .await
    }
}

/// Ends a process that this test knows to be its own.
pub(crate) fn end(pid: u32) {
    kill(pid, "KILL");
}
