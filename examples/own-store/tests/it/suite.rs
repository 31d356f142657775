//! Two handles on one file stand for two daemons.

use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::Store;
use ccm_core::testing::conformance::store::StorePlace;
use own_store::JournalStore;
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    store: Arc<JournalStore>,
}

#[async_trait]
impl StorePlace for Place {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn another(&self) -> Arc<dyn Store> {
        Arc::new(
            JournalStore::open(self.folder.path().join("journal"))
                .await
                .unwrap(),
        )
    }
}

async fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let store = JournalStore::open(folder.path().join("journal"))
        .await
        .unwrap();
    let store = Arc::new(store);
    Place { folder, store }
}

ccm_core::store_conformance!(place, flavor = "multi_thread", worker_threads = 2);
