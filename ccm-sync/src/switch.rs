//! A backend in whose place another can be put while it is in use.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::sync::{
    ConflictRule, Device, Identity, Lease, Operation, PullQuery, Pulled, Pushed, Registration,
    SharedClaim, Welcome,
};
use ccm_core::{Result, SyncBackend};
use tokio::sync::watch;

use crate::NullSync;

/// Passes everything on to the backend that is set now. A call that is under way stays with the one it began with.
#[derive(Debug)]
pub struct SwitchableSync {
    now: RwLock<Arc<dyn SyncBackend>>,
    switched: watch::Sender<()>,
}

impl SwitchableSync {
    /// Begins with `backend`.
    pub fn new(backend: Arc<dyn SyncBackend>) -> Self {
        Self {
            now: RwLock::new(backend),
            switched: watch::Sender::new(()),
        }
    }

    /// Puts `backend` in the place of the one before, which it returns. Whoever waits for a poke is woken.
    pub fn switch(&self, backend: Arc<dyn SyncBackend>) -> Arc<dyn SyncBackend> {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *now, backend);
        drop(now);
        self.switched.send_modify(|()| {});
        before
    }

    /// Shares nothing from now on.
    pub fn disconnect(&self) -> Arc<dyn SyncBackend> {
        self.switch(Arc::new(NullSync))
    }

    /// The backend that is set now.
    pub fn current(&self) -> Arc<dyn SyncBackend> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for SwitchableSync {
    /// Shares nothing yet.
    fn default() -> Self {
        Self::new(Arc::new(NullSync))
    }
}

#[async_trait]
impl SyncBackend for SwitchableSync {
    fn is_connected(&self) -> bool {
        self.current().is_connected()
    }

    async fn register(&self, registration: &Registration) -> Result<Welcome> {
        self.current().register(registration).await
    }

    async fn push(&self, me: Identity, batch: &[Operation], rule: ConflictRule) -> Result<Pushed> {
        self.current().push(me, batch, rule).await
    }

    async fn pull(&self, me: Identity, query: &PullQuery) -> Result<Pulled> {
        self.current().pull(me, query).await
    }

    async fn claim(&self, me: Identity, claim: &SharedClaim) -> Result<Lease> {
        self.current().claim(me, claim).await
    }

    async fn renew(
        &self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Duration,
    ) -> Result<Lease> {
        self.current().renew(me, task, token, period).await
    }

    async fn finish(&self, me: Identity, task: TaskId, token: FencingToken) -> Result<()> {
        self.current().finish(me, task, token).await
    }

    async fn devices(&self, me: Identity) -> Result<Vec<Device>> {
        self.current().devices(me).await
    }

    async fn revoke(&self, me: Identity, system: SystemId) -> Result<()> {
        self.current().revoke(me, system).await
    }

    /// Returns also when another backend was set: then there may be much to pull.
    async fn poked(&self) {
        let mut switched = self.switched.subscribe();
        let current = self.current();
        tokio::select! {
            () = current.poked() => {}
            // The sender is here as long as this is.
            _ = switched.changed() => {}
        }
    }

    fn has_pokes(&self) -> bool {
        self.current().has_pokes()
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::ErrorKind;
    use ccm_core::testing::memory::{FakeClock, MemoryServer};
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn another_backend_takes_over_and_wakes_who_waits() {
        let sync = SwitchableSync::default();
        assert!(!sync.is_connected() && !sync.has_pokes());
        let me = Identity {
            system: SystemId::new(),
            incarnation: Uuid::nil(),
        };
        let registration = Registration {
            identity: me,
            previous: None,
            hostname: "box".to_owned(),
        };
        let error = sync.register(&registration).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        {
            let waiting = sync.poked();
            tokio::pin!(waiting);
            assert!(futures_util::poll!(&mut waiting).is_pending());
            let server = MemoryServer::new(Arc::new(FakeClock::default()));
            sync.switch(Arc::new(server.connect()));
            waiting.await;
        }
        assert!(sync.is_connected() && sync.has_pokes());
        sync.register(&registration).await.unwrap();
        assert_eq!(sync.devices(me).await.unwrap().len(), 1);
        assert!(sync.disconnect().is_connected());
        assert!(!sync.is_connected());
    }
}
