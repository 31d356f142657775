//! What people do with sharing: look at it, have it done now, decide conflicts, shut machines out.

mod conflicts;
mod tasks;
mod view;

pub use conflicts::OpenConflict;
pub use tasks::DefineTask;
pub(super) use view::{spec, write_spec};

use tokio::sync::MutexGuard;

use super::reconcile::sync::Inbox;
use super::{Engine, SyncLimits};
use crate::id::SystemId;
use crate::store::{Pending, Replica};
use crate::sync::{Device, Identity, SyncBackend, SyncPhase, SyncStatus};
use crate::{Error, ErrorKind, Noun, Result};

impl Engine {
    /// How the queue is shared now.
    pub fn sync_limits(&self) -> SyncLimits {
        self.shared.sync.limits()
    }

    /// Shares the queue otherwise from now on. A lease keeps its length until it is renewed.
    pub fn set_sync_limits(&self, limits: SyncLimits) {
        self.shared.sync.set_limits(limits);
    }

    /// How sharing goes.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sync_status(&self) -> Result<SyncStatus> {
        let facts = self.shared.sync.facts();
        let connected = self.connected_backend().ok();
        let sharing = match self.store().replica() {
            Some(replica) => replica.sharing().await?,
            None => None,
        };
        let open_conflicts = match &sharing {
            Some(_) => self.conflicts(true).await?.len() as u64,
            None => 0,
        };
        let pending = sharing
            .as_ref()
            .map_or_else(Pending::default, |s| s.pending);
        let phase = match facts.phase {
            _ if connected.is_none() => SyncPhase::Off,
            SyncPhase::UpToDate if pending.marks + pending.outbox > 0 => SyncPhase::Sending,
            SyncPhase::Off => SyncPhase::Connecting,
            phase => phase,
        };
        Ok(SyncStatus {
            phase,
            last_contact: facts.last_contact,
            last_push: facts.last_push,
            last_pull: facts.last_pull,
            pending,
            complete: sharing.is_some_and(|sharing| sharing.complete),
            open_conflicts,
            leases: self.shared.sync.held(),
            pokes: connected.is_some_and(SyncBackend::has_pokes),
            clock_ahead_ms: facts.clock_ahead_ms,
            failures: facts.failures,
            breaker_open: facts.breaker_open,
        })
    }

    /// Sends what waits, gets what is new, and does what that asks for. Returns when all of it is done.
    ///
    /// # Errors
    /// `WrongState(System)` while there is no server; those of [`SyncBackend`] when it could not be done: nothing is
    /// lost then, and it is tried again.
    pub async fn sync_now(&self) -> Result<SyncStatus> {
        self.connected_backend()?;
        let number = self.shared.sync.ask();
        tokio::select! {
            () = self.shared.stop.cancelled() => {
                return Err(Error::unavailable("the engine ends"));
            }
            answer = self.shared.sync.answered(number) => answer?,
        }
        self.sync_status().await
    }

    /// Has sharing look again at once: there is another server behind the backend, or none, or somebody signed in.
    pub fn wake_sync(&self) {
        self.shared.sync.switch_off(false);
    }

    /// Switches sharing off: what other machines have, and what waits for them, is forgotten here. This machine's own
    /// tasks stay. It begins again, as a machine that the server does not know, with [`wake_sync`](Self::wake_sync).
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stop_sharing(&self) -> Result<()> {
        self.shared.sync.switch_off(true);
        let Some(replica) = self.store().replica() else {
            return Ok(());
        };
        let given_up = super::reconcile::sync::give_all_up(&self.shared).await;
        self.noting(given_up)?;
        let _documents = self.shared.sync.documents.lock().await;
        self.noting(replica.unshare(self.shared.parts.clock.now()).await)
    }

    /// The machines that the server knows.
    ///
    /// # Errors
    /// Those of [`SyncBackend::devices`]; `WrongState(System)` while sharing is off.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        let (backend, me) = self.connected().await?;
        backend.devices(me).await
    }

    /// Shuts a machine out.
    ///
    /// # Errors
    /// Those of [`SyncBackend::revoke`]; `WrongState(System)` while sharing is off.
    pub async fn revoke(&self, system: SystemId) -> Result<()> {
        let (backend, me) = self.connected().await?;
        backend.revoke(me, system).await?;
        self.shared.sync.wake.notify_one();
        Ok(())
    }

    async fn connected(&self) -> Result<(&dyn SyncBackend, Identity)> {
        let backend = self.connected_backend()?;
        let (_, me) = self.sharing().await?;
        Ok((backend, me))
    }

    fn connected_backend(&self) -> Result<&dyn SyncBackend> {
        let backend = self.sync().filter(|backend| backend.is_connected());
        backend.map(|backend| &**backend).ok_or_else(is_off)
    }

    /// Holds the documents, with everything dealt with that came from other machines: a change that is made now is one of
    /// what they made of things.
    pub(in crate::engine) async fn settled(&self) -> Result<MutexGuard<'_, ()>> {
        let documents = self.shared.sync.documents.lock().await;
        if let Some(replica) = self.store().replica().filter(|replica| replica.may_share()) {
            Inbox::new(&self.shared).settle_all(replica).await?;
        }
        Ok(documents)
    }

    pub(in crate::engine) async fn is_sharing(&self) -> bool {
        self.sharing().await.is_ok()
    }

    /// What the store keeps for other machines, and as whom.
    async fn sharing(&self) -> Result<(&dyn Replica, Identity)> {
        let replica = self.store().replica().ok_or_else(is_off)?;
        let me = replica.identity().await?.ok_or_else(is_off)?;
        Ok((replica, me))
    }
}

fn is_off() -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::System),
        "this machine shares its queue with no other one",
    )
}
