use std::sync::Arc;

use super::handle::Engine;
use super::reconcile::{self, Parts};
use super::{EngineLimits, SyncLimits};
use crate::project::{FixedProfile, Profiles};
use crate::schedule::FairScheduler;
use crate::system::System;
use crate::time::{Clock, SystemClock};
use crate::{AgentRuntime, Result, Scheduler, Store, SyncBackend};

/// Puts an engine together. Only the store, the runtime and the machine have to be chosen.
#[must_use]
pub struct EngineBuilder {
    parts: Parts,
    limits: EngineLimits,
    sync_limits: SyncLimits,
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("store", &self.parts.store)
            .field("runtime", &self.parts.runtime)
            .field("scheduler", &self.parts.scheduler)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(super) fn new(
        store: Arc<dyn Store>,
        runtime: Arc<dyn AgentRuntime>,
        system: System,
    ) -> Self {
        Self {
            parts: Parts {
                store,
                runtime,
                system,
                scheduler: Arc::new(FairScheduler::default()),
                sync: None,
                profiles: Arc::new(FixedProfile::default()),
                clock: Arc::new(SystemClock),
            },
            limits: EngineLimits::default(),
            sync_limits: SyncLimits::default(),
        }
    }

    /// How projects' agents are run. By default [`Profile::default`](crate::project::Profile) for each.
    pub fn profiles(mut self, profiles: Arc<dyn Profiles>) -> Self {
        self.parts.profiles = profiles;
        self
    }

    /// Which tasks start next. By default [`FairScheduler`].
    pub fn scheduler(mut self, scheduler: Arc<dyn Scheduler>) -> Self {
        self.parts.scheduler = scheduler;
        self
    }

    /// How the queue is shared with other machines. By default it is not.
    pub fn sync(mut self, sync: Arc<dyn SyncBackend>) -> Self {
        self.parts.sync = Some(sync);
        self
    }

    /// What time it is. By default the machine's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.parts.clock = clock;
        self
    }

    /// What bounds the engine; [`Engine::set_limits`] changes it later.
    pub fn limits(mut self, limits: EngineLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How the queue is shared; [`Engine::set_sync_limits`] changes it later.
    pub fn sync_limits(mut self, limits: SyncLimits) -> Self {
        self.sync_limits = limits;
        self
    }

    /// Adopts every run that goes on, then begins to dispatch.
    ///
    /// [`Store::begin`] must have been called on the store, and the runtime must have been made with the epoch it
    /// returned. When this returns, what the store says about runs is what the runtime saw.
    ///
    /// # Errors
    /// Those of the store and of [`AgentRuntime::agents`]; nothing is running then.
    pub async fn start(self) -> Result<Engine> {
        reconcile::start(self.parts, self.limits, self.sync_limits)
            .await
            .map(Engine::from_shared)
    }
}
