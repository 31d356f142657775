//! Which agents should have a window, and seeing to it that they do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use ccm_core::id::AgentId;
use ccm_core::{Error, Result, chain};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::windows::{Window, Windows};

/// A window that lives shorter than this was not closed by a person.
const SHORT_LIFE: Duration = Duration::from_secs(3);
/// The pause before a window is drawn again that ended early twice in a row; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Closing many windows is one thing to look at, not many.
const SETTLE: Duration = Duration::from_millis(20);

/// Windows as they should be.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) windows: Windows,
    /// Held over every look at the windows that may draw some, so that none is drawn twice.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wanted: BTreeMap<AgentId, Wanted>,
    /// Agents that were stopped while their window could not be reached.
    unwanted: BTreeSet<AgentId>,
    /// Counts the agents that came, because the first ones get the windows if there is a limit.
    arrivals: u64,
}

#[derive(Debug)]
struct Wanted {
    arrival: u64,
    name: String,
    view: Vec<OsString>,
    /// When its window was drawn, while it is not known to have ended.
    drawn: Option<Instant>,
    /// How often in a row it ended early.
    early_ends: u32,
    /// When it may be drawn again.
    due: Option<Instant>,
}

impl Wanted {
    /// Takes in that there is no window. One that a person closed is back at once; one that can't live is tried ever
    /// more rarely.
    fn missing(&mut self) {
        let Some(drawn) = self.drawn.take() else {
            return;
        };
        if drawn.elapsed() >= SHORT_LIFE {
            self.early_ends = 0;
            return;
        }
        self.early_ends += 1;
        if let Some(doublings) = self.early_ends.checked_sub(2) {
            let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(16));
            self.due = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        }
    }
}

impl Keeper {
    pub(super) fn new(windows: Windows) -> Self {
        Self {
            windows,
            state: Mutex::default(),
        }
    }

    /// Has an agent's window from now on, and says which it is. `None` if there is no room for it.
    pub(super) async fn want(
        &self,
        agent: AgentId,
        name: &str,
        view: Vec<OsString>,
    ) -> Result<Option<Window>> {
        let mut state = self.state.lock().await;
        state.want(agent, name, view);
        let window = self.window_after_drawing(&mut state, agent).await;
        if window.is_err() {
            self.look_again();
        }
        window
    }

    async fn window_after_drawing(
        &self,
        state: &mut State,
        agent: AgentId,
    ) -> Result<Option<Window>> {
        self.draw_missing(state).await?;
        let windows = self.windows.list().await?;
        Ok(windows.into_iter().find(|window| window.agent == agent))
    }

    /// How many windows there are, and which agents wait for room to have one.
    pub(super) async fn windows_and_waiting(&self) -> Result<(usize, Vec<AgentId>)> {
        let state = self.state.lock().await;
        let windows = self.windows.list().await?;
        let most = self.windows.server.max_windows();
        let is_full = most.is_some_and(|most| windows.len() >= most);
        let waits = |agent: &AgentId| is_full && !windows.iter().any(|one| one.agent == *agent);
        let waiting = state.wanted.keys().copied().filter(waits).collect();
        Ok((windows.len(), waiting))
    }

    /// Has whoever keeps the windows look at them.
    pub(super) fn look_again(&self) {
        self.windows.server.changed.notify_one();
    }

    /// Has an agent's window from now on, drawn when somebody looks next.
    pub(super) async fn adopt(&self, agent: AgentId, name: &str, view: Vec<OsString>) {
        let mut state = self.state.lock().await;
        if !state.unwanted.contains(&agent) && !state.wanted.contains_key(&agent) {
            state.want(agent, name, view);
            self.look_again();
        }
    }

    /// Has an agent's window no longer.
    pub(super) async fn unwant(&self, agent: AgentId) -> Result<()> {
        let mut state = self.state.lock().await;
        state.wanted.remove(&agent);
        state.unwanted.insert(agent);
        let closed = self.draw_missing(&mut state).await;
        if closed.is_err() {
            self.look_again();
        }
        closed.map(drop)
    }

    /// Draws what is missing, whenever something is, until `cancel`. All is done on notice: without any, nothing runs.
    pub(super) async fn keep(&self, cancel: CancellationToken) {
        let mut failures: u32 = 0;
        loop {
            let looked = {
                let mut state = self.state.lock().await;
                self.draw_missing(&mut state).await
            };
            let next = match looked {
                Ok(next) => {
                    if failures > 0 {
                        tracing::info!("agents' windows are back");
                    }
                    failures = 0;
                    next
                }
                Err(error) => {
                    if failures == 0 {
                        let error = chain(&error);
                        tracing::warn!(%error, "agents' windows can't be drawn; the agents go on");
                    }
                    let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(16));
                    failures += 1;
                    Some(Instant::now() + pause.min(LONGEST_PAUSE))
                }
            };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = due => {}
                // After a failure only time helps: what failed may itself be what is noticed.
                () = self.windows.server.changed.notified(), if failures == 0 => {
                    tokio::time::sleep(SETTLE).await;
                }
            }
        }
    }

    /// Looks once: takes away what is unwanted, draws what is missing and may be drawn now. Says when to look again
    /// if something may be drawn later only.
    async fn draw_missing(&self, state: &mut State) -> Result<Option<Instant>> {
        if state.wanted.is_empty() && state.unwanted.is_empty() {
            return Ok(None);
        }
        let windows = self.windows.list().await?;
        let mut there = BTreeSet::new();
        for window in &windows {
            let wanted = state.wanted.contains_key(&window.agent);
            if state.unwanted.contains(&window.agent) {
                self.windows.close(window).await?;
            } else if wanted && !window.shows && window.shared {
                self.windows.disown(window).await?;
            } else if wanted && !window.shows {
                self.windows.close(window).await?;
            } else if !there.insert(window.agent) && wanted {
                // A call that was given up may have been carried out after all.
                self.windows.close(window).await?;
            }
        }
        state.unwanted.clear();

        let most = self.windows.server.max_windows();
        let room = most.map_or(usize::MAX, |most| most.saturating_sub(there.len()));
        let mut next: Option<Instant> = None;
        let mut failed: Option<Error> = None;
        let mut missing: Vec<_> = state
            .wanted
            .iter_mut()
            .filter(|(agent, _)| !there.contains(agent))
            .collect();
        missing.sort_by_key(|(_, wanted)| wanted.arrival);
        for (agent, wanted) in missing.into_iter().take(room) {
            wanted.missing();
            if let Some(due) = wanted.due.filter(|due| *due > Instant::now()) {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            match self.windows.draw(*agent, &wanted.name, &wanted.view).await {
                Ok(()) => {
                    wanted.drawn = Some(Instant::now());
                    wanted.due = None;
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(next), Err)
    }
}

impl State {
    fn want(&mut self, agent: AgentId, name: &str, view: Vec<OsString>) {
        self.unwanted.remove(&agent);
        if let Some(wanted) = self.wanted.get_mut(&agent) {
            name.clone_into(&mut wanted.name);
            wanted.view = view;
            wanted.early_ends = 0;
            wanted.due = None;
            return;
        }
        self.arrivals += 1;
        let wanted = Wanted {
            arrival: self.arrivals,
            name: name.to_owned(),
            view,
            drawn: None,
            early_ends: 0,
            due: None,
        };
        self.wanted.insert(agent, wanted);
    }
}
