//! The contract's own suite.

use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::Store;
use ccm_core::testing::conformance::store::StorePlace;
use ccm_core::{replica_conformance, store_conformance};
use ccm_store::SqliteStore;

use crate::support::Place;

struct Disk {
    place: Place,
    store: Arc<SqliteStore>,
}

#[async_trait]
impl StorePlace for Disk {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn another(&self) -> Arc<dyn Store> {
        Arc::new(self.place.open().await)
    }
}

async fn disk() -> Disk {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    Disk { place, store }
}

store_conformance!(disk, flavor = "multi_thread", worker_threads = 2);

mod replica {
    use super::disk;

    super::replica_conformance!(disk, flavor = "multi_thread", worker_threads = 2);
}
