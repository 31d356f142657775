//! The backend of a machine that shares nothing.

use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::{FencingToken, TaskId};
use ccm_core::sync::{Change, Lease, Pulled, Pushed, SharedClaim, SyncCursor};
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

    async fn push(&self, _batch: &[Change]) -> Result<Pushed> {
        not_connected()
    }

    async fn pull(&self, _cursor: SyncCursor, _limit: u32) -> Result<Pulled> {
        not_connected()
    }

    async fn claim(&self, _claim: &SharedClaim) -> Result<Lease> {
        not_connected()
    }

    async fn renew(&self, _task: TaskId, _token: FencingToken, _period: Duration) -> Result<Lease> {
        not_connected()
    }

    async fn finish(&self, _task: TaskId, _token: FencingToken) -> Result<()> {
        not_connected()
    }

    /// Never returns: there is never anything to pull.
    async fn poked(&self) {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::id::SystemId;
    use ccm_core::{ErrorKind, Retry};

    use super::*;

    #[tokio::test]
    async fn nothing_is_behind_it_and_an_outbox_stays() {
        let sync: &dyn SyncBackend = &NullSync;
        assert!(!sync.is_connected());
        let task = TaskId::new();
        let claim = SharedClaim {
            id: *task.as_uuid(),
            task,
            system: SystemId::new(),
            period: Duration::from_secs(60),
        };
        let token = FencingToken(1);
        let errors = [
            sync.push(&[]).await.unwrap_err(),
            sync.pull(SyncCursor::default(), 10).await.unwrap_err(),
            sync.claim(&claim).await.unwrap_err(),
            sync.renew(task, token, claim.period).await.unwrap_err(),
            sync.finish(task, token).await.unwrap_err(),
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
