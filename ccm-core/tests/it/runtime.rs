use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::AgentRuntime;
use ccm_core::testing::conformance::runtime::{Programs, RuntimePlace};
use ccm_core::testing::memory::MemoryRuntime;
use ccm_core::time::SystemClock;

struct Place(Arc<MemoryRuntime>);

#[async_trait]
impl RuntimePlace for Place {
    fn runtime(&self) -> Arc<dyn AgentRuntime> {
        self.0.clone()
    }

    async fn another(&self) -> Arc<dyn AgentRuntime> {
        Arc::new(self.0.another())
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("/projects/p")
    }

    fn programs(&self) -> &dyn Programs {
        &*self.0
    }
}

async fn place() -> Place {
    let runtime = MemoryRuntime::new(Arc::new(SystemClock));
    Place(Arc::new(runtime.with_suite_programs()))
}

mod suite {
    ccm_core::runtime_conformance!(super::place);

    #[test]
    fn no_case_is_forgotten() {
        let sources = [
            include_str!("../../src/testing/conformance/runtime/agents.rs"),
            include_str!("../../src/testing/conformance/runtime/running.rs"),
            include_str!("../../src/testing/conformance/runtime/reading.rs"),
            include_str!("../../src/testing/conformance/runtime/inputs.rs"),
            include_str!("../../src/testing/conformance/runtime/stopping.rs"),
        ];
        assert_eq!(crate::cases(&sources), RUNTIME_CASES);
    }
}
