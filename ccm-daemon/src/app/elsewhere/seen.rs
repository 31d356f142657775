//! When machines were heard of: by this one in their documents, by the server whenever they speak to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ccm_core::engine::Engine;
use ccm_core::id::SystemId;
use ccm_core::time::Timestamp;
use tokio::time::{Instant, timeout};

/// What the server said stays good for so long.
const FRESH: Duration = Duration::from_secs(30);
/// How long the server may take to say it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the server said last of when it heard of machines.
#[derive(Debug, Clone, Default)]
pub(in crate::app) struct LastSeen {
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    /// When it was asked last.
    at: Option<Instant>,
    times: HashMap<SystemId, Timestamp>,
}

impl LastSeen {
    /// What it said last. If that is old, it is asked again, and the answer waits for that for `patience` at most.
    pub(super) async fn times(
        &self,
        engine: &Engine,
        patience: Duration,
    ) -> HashMap<SystemId, Timestamp> {
        let is_connected = engine.sync().is_some_and(|sync| sync.is_connected());
        if is_connected && self.is_to_be_asked() {
            let (this, engine) = (self.clone(), engine.clone());
            let asked = tokio::spawn(async move {
                let devices = timeout(PATIENCE, engine.devices()).await;
                if let Ok(Ok(devices)) = devices {
                    let times = devices.into_iter().map(|one| (one.id, one.last_seen));
                    this.lock().times = times.collect();
                }
            });
            // What it says later is there for the next who asks.
            let _ = timeout(patience, asked).await;
        }
        self.lock().times.clone()
    }

    /// Whether what it said is old, and nobody asks yet.
    fn is_to_be_asked(&self) -> bool {
        let mut said = self.lock();
        let is_old = said.at.is_none_or(|at| at.elapsed() > FRESH);
        if is_old {
            said.at = Some(Instant::now());
        }
        is_old
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
