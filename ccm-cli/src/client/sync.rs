use ccm_core::api::{
    Conflict, ConflictStateName, DecideSetAside, Device, ResolveConflict, SetAside, SetAsideAction,
    SyncRound, SyncState,
};
use ccm_core::id::{ConflictId, SystemId};

use super::transport::Call;
use super::{Client, Pages, Result};

/// What is shared with other machines.
impl Client {
    /// How the queue is shared.
    pub async fn sync_state(&self) -> Result<SyncState> {
        self.call(Call::get("/api/v1/sync")).await
    }

    /// Exchanges changes with the other machines now, and answers when that is done or takes long.
    pub async fn sync_now(&self) -> Result<SyncRound> {
        self.call(Call::put("/api/v1/sync/now")).await
    }

    /// Conflicts in a state, or in any, newest first.
    pub fn conflicts(&self, state: Option<ConflictStateName>) -> Pages<Conflict> {
        let state = state.map(ConflictStateName::as_str);
        self.pages(
            Call::get("/api/v1/sync/conflicts")
                .query("state", state)
                .query("page_size", Some(200)),
        )
    }

    /// A conflict.
    pub async fn conflict(&self, id: ConflictId) -> Result<Conflict> {
        self.call(Call::get(format!("/api/v1/sync/conflicts/{id}")))
            .await
    }

    /// Decides a conflict. The first decision counts; the same one again is harmless.
    pub async fn resolve_conflict(
        &self,
        id: ConflictId,
        decision: &ResolveConflict,
    ) -> Result<Conflict> {
        let call = Call::put(format!("/api/v1/sync/conflicts/{id}/resolve")).json(decision);
        self.call(call).await
    }

    /// The machines that share the queue.
    pub fn devices(&self) -> Pages<Device> {
        self.pages(Call::get("/api/v1/sync/devices"))
    }

    /// Shuts a machine out.
    pub async fn revoke_device(&self, id: SystemId) -> Result<Device> {
        self.call(Call::put(format!("/api/v1/sync/devices/{id}/revoke")))
            .await
    }

    /// Changes that the service can never take, newest first.
    pub fn set_aside(&self) -> Pages<SetAside> {
        self.pages(Call::get("/api/v1/sync/set-aside"))
    }

    /// Dismisses a change that was set aside, or sends it again.
    pub async fn decide_set_aside(&self, number: u64, action: SetAsideAction) -> Result<()> {
        let call = Call::put(format!("/api/v1/sync/set-aside/{number}"));
        let call = call.json(&DecideSetAside { action });
        self.transport.send(&call).await.map(drop)
    }
}
