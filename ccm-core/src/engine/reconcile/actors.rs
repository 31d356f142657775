use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::id::{AgentId, RunId};

/// Which runs have an actor, and how to wake it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Actors {
    enlisted: Mutex<HashMap<RunId, Enlisted>>,
    /// How many have ended, by agent.
    ended: Mutex<HashMap<AgentId, u64>>,
    dismissed: Notify,
}

#[derive(Debug)]
struct Enlisted {
    agent: AgentId,
    wake: Arc<Notify>,
}

impl Actors {
    pub(super) fn is_enlisted(&self, run: RunId) -> bool {
        self.lock().contains_key(&run)
    }

    /// Makes sure that a run has at most one actor: `None` if it has one already.
    pub(super) fn enlist(&self, run: RunId, agent: AgentId) -> Option<Arc<Notify>> {
        let mut actors = self.lock();
        if actors.contains_key(&run) {
            return None;
        }
        let wake = Arc::new(Notify::new());
        actors.insert(
            run,
            Enlisted {
                agent,
                wake: Arc::clone(&wake),
            },
        );
        Some(wake)
    }

    /// Whether some actor speaks for the agent.
    pub(super) fn speak_for(&self, agent: AgentId) -> bool {
        self.lock().values().any(|actor| actor.agent == agent)
    }

    pub(super) fn dismiss(&self, run: RunId) {
        if let Some(actor) = self.lock().remove(&run) {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            *ended.entry(actor.agent).or_default() += 1;
        }
        self.dismissed.notify_waiters();
    }

    /// How many runs of the agent this engine has looked after to their end.
    pub(super) fn ended_of(&self, agent: AgentId) -> u64 {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get(&agent).copied().unwrap_or(0)
    }

    /// Returns once no actor speaks for the agent.
    pub(in crate::engine) async fn until_silent(&self, agent: AgentId) {
        loop {
            let dismissed = self.dismissed.notified();
            if !self.speak_for(agent) {
                return;
            }
            dismissed.await;
        }
    }

    /// Lets the run's actor look at the store again.
    pub(in crate::engine) fn wake(&self, run: RunId) {
        if let Some(actor) = self.lock().get(&run) {
            actor.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Enlisted>> {
        self.enlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
