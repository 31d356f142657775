//! The reconcilers: each compares what should be with what is, and closes the gap.

mod actors;
mod agents;
mod dispatch;
mod idle;
mod inputs;
mod order;
mod places;
mod runs;
pub(in crate::engine) mod sync;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::actors::Actors;
pub(super) use self::agents::{Kept, Rest};
use self::places::Places;
use self::sync::SyncState;
use super::{EngineLimits, SyncLimits};
use crate::project::Profiles;
use crate::system::System;
use crate::time::Clock;
use crate::{AgentRuntime, Error, ErrorKind, Result, Scheduler, Store, SyncBackend};

/// What an engine is made of.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) runtime: Arc<dyn AgentRuntime>,
    pub(super) system: System,
    pub(super) scheduler: Arc<dyn Scheduler>,
    pub(super) sync: Option<Arc<dyn SyncBackend>>,
    pub(super) profiles: Arc<dyn Profiles>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What the reconcilers of one engine share: the parts, and signals that carry no truth.
pub(super) struct Shared {
    pub(super) parts: Parts,
    /// What bounds it now. Only ever copied out, so nobody waits for it.
    limits: RwLock<EngineLimits>,
    /// Something may be ready to start.
    pub(super) dispatch: Notify,
    /// Some agent may need its place, or no longer.
    pub(super) agents: Notify,
    /// Some agent may have become idle, or may be idle for another time.
    pub(super) idle: Notify,
    /// Some open run may have lost its actor.
    pub(super) runs: Notify,
    /// The actors of the runs that have not ended.
    pub(super) actors: Actors,
    pub(super) places: Places,
    pub(super) problems: Problems,
    /// What is known of other machines only while this engine lives.
    pub(super) sync: SyncState,
    /// Nothing new is started.
    pub(super) stop_dispatch: CancellationToken,
    /// Everything ends.
    pub(super) stop: CancellationToken,
    /// Owns every task that the engine spawned.
    pub(super) tasks: TaskTracker,
    failure: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.parts.store)
            .field("runtime", &self.parts.runtime)
            .field("scheduler", &self.parts.scheduler)
            .field("system", &self.parts.system.id)
            .finish_non_exhaustive()
    }
}

/// Adopts what goes on, then lets the reconcilers loose.
pub(super) async fn start(
    parts: Parts,
    limits: EngineLimits,
    sync_limits: SyncLimits,
) -> Result<Arc<Shared>> {
    let shared = Arc::new(Shared {
        parts,
        limits: RwLock::new(limits),
        dispatch: Notify::new(),
        agents: Notify::new(),
        idle: Notify::new(),
        runs: Notify::new(),
        actors: Actors::default(),
        places: Places::default(),
        problems: Problems::default(),
        sync: SyncState::new(sync_limits),
        stop_dispatch: CancellationToken::new(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        failure: watch::Sender::new(None),
    });
    sync::know_leases(&shared).await?;
    runs::adopt(&shared).await?;
    shared.dispatch.notify_one();
    shared.agents.notify_one();
    own(&shared, "dispatch", dispatch::run(Arc::clone(&shared)));
    own(&shared, "agents", agents::run(Arc::clone(&shared)));
    own(&shared, "idle agents", idle::run(Arc::clone(&shared)));
    own(&shared, "runs", runs::run(Arc::clone(&shared)));
    sync::start(&shared);
    Ok(shared)
}

/// Spawns a reconciler. One that panics takes the engine with it: half an engine would be a silent failure.
fn own<F>(shared: &Arc<Shared>, name: &'static str, reconciler: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let owner = Arc::clone(shared);
    shared.tasks.spawn(async move {
        if tokio::spawn(reconciler).await.is_err() {
            owner.fail(&format!(
                "the reconciler of {name} panicked; the log says where"
            ));
        }
    });
}

impl Shared {
    /// What bounds the engine now.
    pub(super) fn limits(&self) -> EngineLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bounds the engine otherwise from now on. What there is more of than is now allowed goes on.
    pub(super) fn set_limits(&self, limits: EngineLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.dispatch.notify_one();
        self.idle.notify_one();
    }

    /// Ends the engine's work when `error` says that another daemon has taken the store over. Returns whether it does.
    pub(super) fn superseded(&self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Superseded {
            return false;
        }
        self.fail("another daemon has taken over this machine's queue");
        true
    }

    fn fail(&self, why: &str) {
        tracing::error!("{why}");
        self.failure.send_replace(Some(why.to_owned()));
        self.stop_dispatch.cancel();
        self.stop.cancel();
    }

    pub(super) async fn failed(&self) -> Error {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(why) => Error::new(ErrorKind::Superseded, why.clone().unwrap_or_default()),
            // The sender lives as long as `self`, which is borrowed here.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits, but not longer than until the engine ends. Returns whether it goes on.
    async fn pause(&self, period: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = self.parts.clock.sleep(period) => true,
        }
    }
}

/// What is wrong now, by what it is about. A problem goes when its cause does.
#[derive(Debug, Default)]
pub(super) struct Problems(Mutex<BTreeMap<String, String>>);

impl Problems {
    fn set(&self, about: &str, sentence: impl Into<String>) {
        self.lock().insert(about.to_owned(), sentence.into());
    }

    fn clear(&self, about: &str) {
        self.lock().remove(about);
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
