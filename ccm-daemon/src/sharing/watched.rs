//! What goes over the line to other machines, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::sync::{
    ConflictRule, Device, Fate, Identity, Lease, Operation, PullQuery, Pulled, Pushed,
    Registration, SharedClaim, Welcome,
};
use ccm_core::{ErrorKind, Result, SyncBackend};

/// A backend whose traffic is counted.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn SyncBackend>,
    traffic: Arc<Traffic>,
}

/// What went over a line since the daemon began.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Option<ErrorKind>>,
}

impl Watched {
    /// `inner`, with what goes through it counted in `traffic`.
    pub(crate) fn new(inner: Arc<dyn SyncBackend>, traffic: Arc<Traffic>) -> Self {
        Self { inner, traffic }
    }

    async fn noted<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = request.await;
        self.traffic
            .note(answer.as_ref().err().map(|error| error.kind()));
        answer
    }
}

impl Traffic {
    /// Changes of this machine that the other side has taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Documents of other machines that came.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Requests that were answered, in whichever way, or failed.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Those among them that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What went wrong with the last request, if something did.
    pub(crate) fn trouble(&self) -> Option<ErrorKind> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what went wrong: there is another line now.
    pub(crate) fn begin_anew(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn note(&self, trouble: Option<ErrorKind>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        // What is said of one task says nothing of the line.
        let trouble = trouble.filter(|kind| is_of_the_line(*kind));
        if trouble.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

const fn is_of_the_line(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::WrongState(_)
            | ErrorKind::NotFound(_)
            | ErrorKind::Superseded
            | ErrorKind::Invalid
            | ErrorKind::TooLarge
    )
}

#[async_trait]
impl SyncBackend for Watched {
    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    async fn register(&self, registration: &Registration) -> Result<Welcome> {
        self.noted(self.inner.register(registration)).await
    }

    async fn push(&self, me: Identity, batch: &[Operation], rule: ConflictRule) -> Result<Pushed> {
        let pushed = self.noted(self.inner.push(me, batch, rule)).await?;
        let is_taken = |fate: &Fate| !matches!(fate, Fate::Skipped | Fate::Refused { .. });
        let taken = pushed.results.iter().filter(|one| is_taken(&one.fate));
        let taken = taken.count() as u64;
        self.traffic.sent.fetch_add(taken, Ordering::Relaxed);
        Ok(pushed)
    }

    async fn pull(&self, me: Identity, query: &PullQuery) -> Result<Pulled> {
        let pulled = self.noted(self.inner.pull(me, query)).await?;
        let others = pulled.rows.iter().filter(|row| row.origin != me.system);
        let others = others.count() as u64;
        self.traffic.received.fetch_add(others, Ordering::Relaxed);
        Ok(pulled)
    }

    async fn claim(&self, me: Identity, claim: &SharedClaim) -> Result<Lease> {
        self.noted(self.inner.claim(me, claim)).await
    }

    async fn renew(
        &self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Duration,
    ) -> Result<Lease> {
        self.noted(self.inner.renew(me, task, token, period)).await
    }

    async fn finish(&self, me: Identity, task: TaskId, token: FencingToken) -> Result<()> {
        self.noted(self.inner.finish(me, task, token)).await
    }

    async fn devices(&self, me: Identity) -> Result<Vec<Device>> {
        self.noted(self.inner.devices(me)).await
    }

    async fn revoke(&self, me: Identity, system: SystemId) -> Result<()> {
        self.noted(self.inner.revoke(me, system)).await
    }

    async fn poked(&self) {
        self.inner.poked().await;
    }

    fn has_pokes(&self) -> bool {
        self.inner.has_pokes()
    }
}
