use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::id::AgentId;

/// Whose place is just being made, taken away, or used to launch something: one at a time for each agent, so that what
/// is taken away is never what somebody else has just found.
#[derive(Debug, Default)]
pub(in crate::engine) struct Places(Mutex<HashMap<AgentId, Arc<AsyncMutex<()>>>>);

/// The right to change an agent's place, until it is dropped.
pub(in crate::engine) type Held = OwnedMutexGuard<()>;

impl Places {
    pub(in crate::engine) async fn hold(&self, agent: AgentId) -> Held {
        self.of(agent).lock_owned().await
    }

    /// `None` while somebody else has it.
    pub(super) fn try_hold(&self, agent: AgentId) -> Option<Held> {
        self.of(agent).try_lock_owned().ok()
    }

    fn of(&self, agent: AgentId) -> Arc<AsyncMutex<()>> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(agent).or_default())
    }
}
