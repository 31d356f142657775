//! Agents with windows in tmux.
//!
//! A window shows an agent and is nothing that the agent needs: runs belong to hosts, which live outside of tmux. So a
//! window that is closed, or a server that dies, ends nothing and is drawn again.
//!
//! Architecture invariant: only windows that carry our home's mark are ever touched, and only by their id.

pub mod control;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod keep;
mod live;
mod parse;
mod picture;
mod program;
mod quote;
mod server;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::{AgentId, RunId};
use ccm_core::input::Input;
use ccm_core::run::{Checkpoint, Stream};
use ccm_core::runtime::{
    AttachCommand, Batch, Chunk, InsideCommand, LaunchOrder, Resources, RunEnd, RunStatus, Sent,
    SittingOrder, Stopped,
};
use ccm_core::transcript::Transcript;
use ccm_core::{AgentRuntime, Error, ErrorKind, Noun, Result, chain};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::hosts::{Hosts, RuntimeConfig};
use crate::record::fnv;

use keep::Keeper;
pub use live::{Frame, Terminal, TerminalEnd};
use live::{Source, WeakSource};
pub use picture::{Cursor, Screen};
pub use program::{how_to_install, is_too_old};
pub use quote::{Command, quote};
use server::{Link, Server};
pub use server::{TmuxConfig, TmuxSocket};
use windows::{Window, Windows};

/// How long a person's session may take to end when its agent's place is taken away.
const CLEARING: Duration = Duration::from_secs(5);
/// How long a launch waits for its window before it goes on without.
const WINDOW_WAIT: Duration = Duration::from_secs(2);

/// How tmux does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmuxHealth {
    /// What it calls itself, such as `tmux 3.3a`.
    pub version: String,
    /// How many windows this home's agents have.
    pub windows: usize,
    /// The agents whose windows wait for room.
    pub waiting: Vec<AgentId>,
}

/// Runs agents in hosts of their own, each shown in a window of one tmux session.
#[derive(Debug)]
pub struct TmuxRuntime {
    hosts: Hosts,
    keeper: Keeper,
    /// The panes that somebody looks at through a [`Terminal`]. Held while one is begun, so that there is one a pane.
    sources: Mutex<BTreeMap<AgentId, WeakSource>>,
}

impl TmuxRuntime {
    /// A runtime for the agents of one home. Neither tmux nor its server need to be there yet.
    ///
    /// # Errors
    /// When the home's folders can't be made.
    pub fn new(config: RuntimeConfig, tmux: TmuxConfig) -> Result<Self> {
        let scopes = config.scopes.clone();
        let hosts = Hosts::new(config)?;
        let home_id = home_id(hosts.home());
        Ok(Self {
            hosts,
            keeper: Keeper::new(Windows::new(Server::new(tmux, scopes), &home_id)),
            sources: Mutex::default(),
        })
    }

    /// The hosts behind it.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Whether a tmux that is new enough is there.
    ///
    /// # Errors
    /// `Unavailable` if not, with the sentence that says how to get it.
    pub async fn check(&self) -> Result<()> {
        self.keeper.windows.server.program().await.map(drop)
    }

    /// How tmux does, asked just now.
    ///
    /// # Errors
    /// `Unavailable` when it is missing, too old or does not answer, with the sentence that says what to do.
    pub async fn health(&self) -> Result<TmuxHealth> {
        let version = self.keeper.windows.server.version().await?;
        let (windows, waiting) = self.keeper.windows_and_waiting().await?;
        Ok(TmuxHealth {
            version,
            windows,
            waiting,
        })
    }

    /// The agents whose windows wait for room.
    ///
    /// # Errors
    /// `Unavailable` when tmux can't be asked.
    pub async fn waiting_for_room(&self) -> Result<Vec<AgentId>> {
        Ok(self.keeper.windows_and_waiting().await?.1)
    }

    /// Allows this many windows from now on. Those that there are stay, and agents that wait for one get it if there is
    /// room.
    pub fn set_max_windows(&self, most: Option<usize>) {
        self.keeper.windows.server.set_max_windows(most);
    }

    /// A look at what an agent's pane shows, live. It changes nothing about the pane, its size least of all; all who look
    /// at the same agent share one connection to tmux.
    ///
    /// # Errors
    /// `WrongState(Agent)` when the agent has no window now; `Unavailable` when tmux can't be asked.
    pub async fn terminal(&self, agent: AgentId) -> Result<Terminal> {
        let mut sources = self.sources.lock().await;
        sources.retain(|_, source| source.upgrade().is_some());
        if let Some(source) = sources.get(&agent).and_then(WeakSource::upgrade) {
            return Ok(Terminal::of(source));
        }
        let pane = self.keeper.windows.pane(agent).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!("agent {agent} has no window now"),
            )
        })?;
        let server = &self.keeper.windows.server;
        let client = server.control_client(&server.program().await?, &pane.session, live::FLAGS);
        let source = Source::start(client, pane.window, pane.id)
            .map_err(|error| Error::unavailable("tmux can't be run").with_source(error))?;
        sources.insert(agent, source.downgrade());
        Ok(Terminal::of(source))
    }

    /// The path of the server's socket, if the server runs.
    ///
    /// # Errors
    /// `Unavailable` when it can't be asked.
    pub async fn socket(&self) -> Result<Option<String>> {
        Ok(self.keeper.windows.link().await?.map(|link| link.socket))
    }

    /// Draws windows that were lost, at once when that happens, until `cancel`; to be run for as long as the daemon is.
    /// Agents that have a host already when this begins are included. While nothing changes it does nothing.
    pub async fn keep_windows(&self, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => return,
            adopted = self.adopt() => {
                if let Err(error) = adopted {
                    let error = chain(&error);
                    tracing::warn!(%error, "agents from before get their windows when they are started again");
                }
            }
        }
        self.keeper.keep(cancel).await;
    }

    async fn adopt(&self) -> Result<()> {
        for facts in self.hosts.agents().await? {
            if let Some(place) = self.hosts.place(facts.id).await? {
                let view = self.hosts.terminal_command(facts.id);
                self.keeper.adopt(facts.id, &place.name, view).await;
            }
        }
        Ok(())
    }

    /// Sees to an agent's window. An agent does without one that can't be had.
    async fn window(&self, place: &AgentPlace) -> Option<Window> {
        let view = self.hosts.terminal_command(place.id);
        match self.keeper.want(place.id, &place.name, view).await {
            Ok(window) => window,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(agent = %place.id, %error, "the agent goes on without a window");
                None
            }
        }
    }

    /// Has an agent's window run what it is to show now, whatever ran there. False without room for a window.
    async fn show(&self, agent: AgentId, name: &str) -> Result<bool> {
        let command = self.hosts.terminal_command(agent);
        self.show_this(agent, name, command).await
    }

    async fn show_this(&self, agent: AgentId, name: &str, command: Vec<OsString>) -> Result<bool> {
        if self
            .keeper
            .want(agent, name, command.clone())
            .await?
            .is_none()
        {
            return Ok(false);
        }
        self.keeper.windows.run(agent, &command).await?;
        Ok(true)
    }

    /// Ends the session of a person who sits in the place of an agent whose place is taken away.
    async fn clear(&self, agent: AgentId) -> Result<()> {
        match self.hosts.stand_up(agent, CLEARING).await? {
            Stopped::Empty => Ok(()),
            Stopped::Unstoppable(pids) => Err(Error::unavailable(format!(
                "processes {pids:?} of the session in the agent's place can't be ended"
            ))),
        }
    }

    async fn close_window(&self, agent: AgentId) {
        if let Err(error) = self.keeper.unwant(agent).await {
            let error = chain(&error);
            tracing::warn!(%agent, %error, "the window of a stopped agent is closed later");
        }
    }

    /// The windows that people look at, as far as can be seen.
    async fn looked_at(&self) -> BTreeSet<String> {
        let looked_at = self.keeper.windows.looked_at().await;
        looked_at.unwrap_or_else(|error| {
            let error = chain(&error);
            tracing::debug!(%error, "who looks at agents' windows can't be seen");
            BTreeSet::new()
        })
    }

    /// The agents that somebody looks at through a [`Terminal`].
    async fn looked_at_live(&self) -> BTreeSet<AgentId> {
        let sources = self.sources.lock().await;
        let living = sources
            .iter()
            .filter(|(_, source)| source.upgrade().is_some());
        living.map(|(agent, _)| *agent).collect()
    }

    /// The windows there are, as far as can be seen.
    async fn windows(&self) -> Vec<Window> {
        match self.keeper.windows.list().await {
            Ok(windows) => windows,
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(%error, "agents' windows can't be seen");
                Vec::new()
            }
        }
    }
}

#[async_trait]
impl AgentRuntime for TmuxRuntime {
    async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        self.check().await?;
        let facts = self.hosts.start_agent(place).await?;
        let window = self.window(place).await;
        Ok(AgentFacts {
            window: window.map(|window| window.words),
            ..facts
        })
    }

    async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        self.hosts.stop_agent(agent).await?;
        self.close_window(agent).await;
        self.clear(agent).await
    }

    async fn kill_agent(&self, agent: AgentId) -> Result<()> {
        self.hosts.kill_agent(agent).await?;
        self.close_window(agent).await;
        self.clear(agent).await
    }

    async fn take_over(&self, order: &SittingOrder) -> Result<()> {
        self.check().await?;
        let agent = order.place.id;
        self.hosts.sit_down(order).await?;
        let shown = self.show(agent, &order.place.name).await;
        match shown {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::unavailable(
                "the agent has no window: there are as many as resources.max_tmux_windows allows",
            )),
            Err(error) => Err(error),
        }
    }

    async fn hand_back(&self, agent: AgentId, grace: Duration) -> Result<Stopped> {
        // The terminal first, so that it starts nothing anew.
        if let Some(place) = self.hosts.place(agent).await? {
            let view = self.hosts.view_command(agent);
            self.show_this(agent, &place.name, view).await?;
        }
        self.hosts.stand_up(agent, grace).await
    }

    async fn agents(&self) -> Result<Vec<AgentFacts>> {
        let mut agents = self.hosts.agents().await?;
        let windows = self.windows().await;
        let live = self.looked_at_live().await;
        let looked_at = match windows.is_empty() {
            true => BTreeSet::new(),
            false => self.looked_at().await,
        };
        for window in windows {
            let watched =
                window.shared || looked_at.contains(&window.id) || live.contains(&window.agent);
            let words = Some(window.words);
            match agents.iter_mut().find(|facts| facts.id == window.agent) {
                Some(facts) => {
                    facts.window = words;
                    facts.watched = watched;
                }
                None => agents.push(AgentFacts {
                    id: window.agent,
                    pid: None,
                    window: words,
                    answers: false,
                    run: None,
                    watched,
                }),
            }
        }
        Ok(agents)
    }

    async fn attach_command(&self, agent: AgentId) -> Result<AttachCommand> {
        let place = self.hosts.place(agent).await?;
        let there = self.keeper.windows.list().await?;
        let mut window = there.into_iter().find(|window| window.agent == agent);
        if window.is_none() {
            let place = place.ok_or_else(|| Error::no_agent(agent))?;
            let view = self.hosts.terminal_command(agent);
            window = self.keeper.want(agent, &place.name, view).await?;
        }
        let window = window.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::Agent),
                format!(
                    "agent {agent} has no window yet: there are as many as resources.max_tmux_windows allows"
                ),
            )
        })?;
        let link = self.keeper.windows.link().await?;
        let link = link.ok_or_else(|| Error::unavailable("the tmux server has just ended"))?;
        let program = self.keeper.windows.server.program().await?;
        Ok(attach(&program, &link, &window))
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        if let Err(error) = self.check().await
            && !self.hosts.runs().await?.contains(&order.run)
        {
            return Err(error);
        }
        let window = tokio::time::timeout(WINDOW_WAIT, self.window(&order.place));
        let (status, window) = tokio::join!(self.hosts.launch(order), window);
        if window.is_err() {
            self.keeper.look_again();
        }
        status
    }

    async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        self.hosts.inspect(run).await
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        self.hosts.runs().await
    }

    async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        self.hosts.read(run, from, end).await
    }

    async fn output(&self, run: RunId, stream: Stream, offset: u64, limit: u64) -> Result<Chunk> {
        self.hosts.output(run, stream, offset, limit).await
    }

    async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        limit: u32,
    ) -> Result<Transcript> {
        self.hosts.transcript(run, from, to, limit).await
    }

    async fn send(&self, run: RunId, input: &Input) -> Result<Sent> {
        self.hosts.send(run, input).await
    }

    async fn can_interrupt(&self, run: RunId) -> Result<bool> {
        self.hosts.can_interrupt(run).await
    }

    async fn close_input(&self, run: RunId) -> Result<()> {
        self.hosts.close_input(run).await
    }

    async fn changed(&self, run: RunId) -> Result<()> {
        self.hosts.changed(run).await
    }

    async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped> {
        self.hosts.stop(run, grace).await
    }

    async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        self.hosts.resources(agent).await
    }

    async fn set_deadline(&self, run: RunId, deadline: Duration) -> Result<()> {
        self.hosts.set_deadline(run, deadline).await
    }

    async fn discard(&self, run: RunId) -> Result<()> {
        self.hosts.discard(run).await
    }
}

/// The commands that open a view of one's own: a session that shares the windows, and is gone when nobody looks.
fn attach(program: &Path, link: &Link, window: &Window) -> AttachCommand {
    let own = Command::new("set-option").args(["destroy-unattached", "on"]);
    let outside = [
        Command::new("new-session").args(["-t", &link.session]),
        own,
        Command::new("select-window").args(["-t", &format!(":{}", window.id)]),
    ];
    // A session that is made detached needs a name to be found by; it must be gone only when it was looked at.
    let id = RunId::new().as_uuid().simple().to_string();
    let view = format!("ccm-view-{}", &id[id.len() - 8..]);
    let inside = [
        Command::new("new-session").args(["-d", "-t", &link.session, "-s", &view]),
        Command::new("select-window").args(["-t", &format!("={view}:{}", window.id)]),
        Command::new("switch-client").args(["-t", &format!("={view}")]),
        Command::new("set-option").args(["-t", &format!("={view}"), "destroy-unattached", "on"]),
    ];
    AttachCommand {
        argv: client(program, link, &outside),
        env: BTreeMap::new(),
        inside: Some(InsideCommand {
            socket: link.socket.clone(),
            argv: client(program, link, &inside),
        }),
    }
}

/// tmux on a server that runs, never one that it starts.
fn client(program: &Path, link: &Link, commands: &[Command]) -> Vec<String> {
    let mut argv: Vec<OsString> = vec![program.into(), "-N".into(), "-S".into()];
    argv.push(link.socket.as_str().into());
    argv.extend(Command::to_argv(commands));
    argv.into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// What tells the windows of this home from those of another on the same server: a number made from its path.
fn home_id(home: &Path) -> String {
    let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
    format!("{:016x}", fnv(home.as_os_str().as_bytes()))
}
