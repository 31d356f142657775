use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ccm_agents::tmux::Terminal;
use ccm_core::agent::Wanted;
use ccm_core::api::TerminalClose;
use ccm_core::id::AgentId;
use ccm_core::{Error, ErrorKind, Noun, Result};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::App;

/// How many may look at one agent's terminal at once.
pub(crate) const MOST_VIEWERS: usize = 16;
/// How many may look at any.
const MOST: usize = 256;
/// How long terminals may take to be closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who looks at terminals.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Arc<Mutex<BTreeMap<AgentId, usize>>>,
    viewers: TaskTracker,
}

/// The right to look at an agent's terminal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<BTreeMap<AgentId, usize>>>,
    agent: AgentId,
    _token: TaskTrackerToken,
}

impl Seats {
    fn take(&self, agent: AgentId) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let here = taken.get(&agent).copied().unwrap_or_default();
        if here >= MOST_VIEWERS || all >= MOST {
            return None;
        }
        taken.insert(agent, here + 1);
        Some(Seat {
            taken: Arc::clone(&self.taken),
            agent,
            _token: self.viewers.token(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.agent) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.agent);
            }
        }
    }
}

impl App {
    /// A seat at an agent's terminal, if there is one.
    pub(crate) fn seat(&self, agent: AgentId) -> Option<Seat> {
        self.seats.take(agent)
    }

    /// A look at an agent's terminal. It wakes nobody.
    ///
    /// # Errors
    /// `NotFound(Agent)`; `Unsupported` by a runtime without windows; `WrongState(Agent)` for one that has none now, with
    /// what to do.
    pub(crate) async fn terminal(&self, id: AgentId) -> Result<Terminal> {
        let agent = self.engine().store().agent(id).await?;
        let windows = self.parts.windows.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "agents have no terminals here; `ccm config set agents.runtime tmux` gives them some",
            )
        })?;
        let name = &agent.name;
        let why = match agent.wish.wanted {
            Wanted::Up | Wanted::Taken => match windows.terminal(id).await {
                Err(error) if error.kind() == ErrorKind::WrongState(Noun::Agent) => format!(
                    "the agent {name} has no window now: it starts, or waits for room (resources.max_tmux_windows); try \
                     again"
                ),
                looked => return looked,
            },
            Wanted::Asleep => format!(
                "the agent {name} sleeps until its next task; `ccm agent start {name}` wakes it"
            ),
            Wanted::Down => {
                format!("the agent {name} was stopped; `ccm agent start {name}` starts it again")
            }
        };
        Err(Error::new(ErrorKind::WrongState(Noun::Agent), why))
    }

    /// Why the window of an agent is gone.
    pub(crate) async fn why_gone(&self, id: AgentId) -> TerminalClose {
        let wanted = self
            .engine()
            .store()
            .agent(id)
            .await
            .map(|agent| agent.wish.wanted);
        match wanted {
            Ok(Wanted::Asleep) => TerminalClose::AgentAsleep,
            Ok(Wanted::Down) => TerminalClose::AgentStopped,
            Ok(Wanted::Up | Wanted::Taken) => TerminalClose::WindowGone,
            // Its project was removed, and it with it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => {
                TerminalClose::AgentStopped
            }
            Err(_) => TerminalClose::WindowGone,
        }
    }

    /// Returns when nobody looks at a terminal any more, once all were told to go.
    pub(crate) async fn terminals_closed(&self) {
        self.seats.viewers.close();
        let _ = tokio::time::timeout(PATIENCE, self.seats.viewers.wait()).await;
    }
}
