//! The backend of a machine that shares nothing.

use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::sync::{
    ConflictRule, Device, Identity, Lease, Operation, PullQuery, Pulled, Pushed, Registration,
    SharedClaim, Welcome,
};
use ccm_core::{Error, Result, SyncBackend};

/// The null backend: [not connected](SyncBackend::is_connected).
///
/// Whoever asks it all the same is told `Unavailable`, as over a line that is down: an outbox stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullSync;

fn not_connected<T>() -> Result<T> {
    Err(Error::unavailable(
        "this machine is not connected to others; connect it with `ccm supabase connect`",
    ))
}

#[async_trait]
impl SyncBackend for NullSync {
    fn is_connected(&self) -> bool {
        false
    }

    async fn register(&self, _registration: &Registration) -> Result<Welcome> {
        not_connected()
    }

    async fn push(
        &self,
        _me: Identity,
        _batch: &[Operation],
        _rule: ConflictRule,
    ) -> Result<Pushed> {
        not_connected()
    }

    async fn pull(&self, _me: Identity, _query: &PullQuery) -> Result<Pulled> {
        not_connected()
    }

    async fn claim(&self, _me: Identity, _claim: &SharedClaim) -> Result<Lease> {
        not_connected()
    }

    async fn renew(
        &self,
        _me: Identity,
        _task: TaskId,
        _token: FencingToken,
        _period: Duration,
    ) -> Result<Lease> {
        not_connected()
    }

    async fn finish(&self, _me: Identity, _task: TaskId, _token: FencingToken) -> Result<()> {
        not_connected()
    }

    async fn devices(&self, _me: Identity) -> Result<Vec<Device>> {
        not_connected()
    }

    async fn revoke(&self, _me: Identity, _system: SystemId) -> Result<()> {
        not_connected()
    }

    /// Never returns: there is never anything to pull.
    async fn poked(&self) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::sync::SyncCursor;
    use ccm_core::{ErrorKind, Retry};

    use super::*;

    #[tokio::test]
    async fn nothing_is_behind_it_and_an_outbox_stays() {
        let sync: &dyn SyncBackend = &NullSync;
        assert!(!sync.is_connected());
        let task = TaskId::new();
        let me = Identity {
            system: SystemId::new(),
            incarnation: *task.as_uuid(),
        };
        let registration = Registration {
            identity: me,
            previous: None,
            hostname: "box".to_owned(),
        };
        let claim = SharedClaim {
            id: *task.as_uuid(),
            task,
            period: Duration::from_secs(60),
        };
        let token = FencingToken(1);
        let query = PullQuery::after(SyncCursor::default(), 10);
        let rule = ConflictRule::Manual;
        let errors = [
            sync.register(&registration).await.unwrap_err(),
            sync.push(me, &[], rule).await.unwrap_err(),
            sync.pull(me, &query).await.unwrap_err(),
            sync.claim(me, &claim).await.unwrap_err(),
            sync.renew(me, task, token, claim.period).await.unwrap_err(),
            sync.finish(me, task, token).await.unwrap_err(),
            sync.devices(me).await.unwrap_err(),
            sync.revoke(me, SystemId::new()).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert_eq!(
                error.retry(),
                Retry::Transient,
                "the caller keeps its outbox"
            );
            assert!(
                error.to_string().contains("ccm supabase connect"),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_poke_comes() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert!(tokio::time::timeout(year, NullSync.poked()).await.is_err());
    }
}
