//! The suite of the contract.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::SyncBackend;
use ccm_core::sync::Identity;
use ccm_core::testing::conformance::sync::{SyncPlace, registration};
use supabase_double::Snapshot;

use super::Place;

struct Shared {
    place: Place,
    copy: Mutex<Option<Arc<Snapshot>>>,
}

#[async_trait]
impl SyncPlace for Shared {
    async fn machine(&self) -> (Identity, Arc<dyn SyncBackend>) {
        let machine = self.place.stranger().await;
        machine
            .sync
            .register(&registration(machine.me))
            .await
            .unwrap();
        (machine.me, machine.sync)
    }

    async fn pass(&self, period: Duration) {
        let seconds = period.as_secs_f64();
        let earlier = format!(
            "update public.ccm_leases set until = until - make_interval(secs => {seconds})"
        );
        self.place.server.sql(&earlier).await;
    }

    async fn back_up(&self) {
        let copy = Arc::new(self.place.server.snapshot().await);
        *self.copy.lock().unwrap() = Some(copy);
    }

    async fn restore(&self) {
        let copy = self.copy.lock().unwrap().clone().expect("a copy");
        self.place.server.restore(&copy).await;
    }
}

async fn place() -> Shared {
    Shared {
        place: Place::new().await,
        copy: Mutex::default(),
    }
}

ccm_core::sync_conformance!(place);
