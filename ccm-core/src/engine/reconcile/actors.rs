use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::id::{AgentId, RunId};

/// Which runs have an actor, and how to wake it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Actors(Mutex<HashMap<RunId, Enlisted>>);

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
        self.lock().remove(&run);
    }

    /// Lets the run's actor look at the store again.
    pub(in crate::engine) fn wake(&self, run: RunId) {
        if let Some(actor) = self.lock().get(&run) {
            actor.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Enlisted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
