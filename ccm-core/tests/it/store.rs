use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::Store;
use ccm_core::testing::conformance::store::StorePlace;
use ccm_core::testing::memory::MemoryStore;

struct Place(Arc<MemoryStore>);

#[async_trait]
impl StorePlace for Place {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn another(&self) -> Arc<dyn Store> {
        Arc::new(self.0.another())
    }
}

async fn place() -> Place {
    Place(Arc::new(MemoryStore::new()))
}

mod suite {
    ccm_core::store_conformance!(super::place);

    /// A case that is written but not in the macro's list would never run.
    #[test]
    fn no_case_is_forgotten() {
        let sources = [
            include_str!("../../src/testing/conformance/store/projects.rs"),
            include_str!("../../src/testing/conformance/store/agents.rs"),
            include_str!("../../src/testing/conformance/store/tasks.rs"),
            include_str!("../../src/testing/conformance/store/lists.rs"),
            include_str!("../../src/testing/conformance/store/edits.rs"),
            include_str!("../../src/testing/conformance/store/queue.rs"),
            include_str!("../../src/testing/conformance/store/dispatch.rs"),
            include_str!("../../src/testing/conformance/store/runs.rs"),
            include_str!("../../src/testing/conformance/store/finish.rs"),
            include_str!("../../src/testing/conformance/store/stats.rs"),
            include_str!("../../src/testing/conformance/store/asks.rs"),
            include_str!("../../src/testing/conformance/store/inputs.rs"),
            include_str!("../../src/testing/conformance/store/interrupts.rs"),
            include_str!("../../src/testing/conformance/store/log.rs"),
        ];
        assert_eq!(crate::cases(&sources), STORE_CASES);
    }
}

mod replica {
    ccm_core::replica_conformance!(super::place);

    /// A case that is written but not in the macro's list would never run.
    #[test]
    fn no_case_is_forgotten() {
        let sources = [
            include_str!("../../src/testing/conformance/replica/sharing.rs"),
            include_str!("../../src/testing/conformance/replica/marks.rs"),
            include_str!("../../src/testing/conformance/replica/outgoing.rs"),
            include_str!("../../src/testing/conformance/replica/incoming.rs"),
            include_str!("../../src/testing/conformance/replica/documents.rs"),
            include_str!("../../src/testing/conformance/replica/settling.rs"),
            include_str!("../../src/testing/conformance/replica/leases.rs"),
            include_str!("../../src/testing/conformance/replica/like_memory.rs"),
        ];
        assert_eq!(crate::cases(&sources), REPLICA_CASES);
    }
}
