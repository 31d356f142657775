//! What every runtime must do, done by the one without terminals.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_agents::ProcessRuntime;
use ccm_core::AgentRuntime;
use ccm_core::testing::conformance::runtime::{Programs, RuntimePlace, ShellPrograms};

use crate::bench::Bench;

struct Place {
    bench: Bench,
    runtime: Arc<ProcessRuntime>,
    programs: ShellPrograms,
}

#[async_trait]
impl RuntimePlace for Place {
    fn runtime(&self) -> Arc<dyn AgentRuntime> {
        self.runtime.clone()
    }

    async fn another(&self) -> Arc<dyn AgentRuntime> {
        // Of the same epoch, because the suite goes on with the first handle too.
        Arc::new(self.bench.runtime())
    }

    fn folder(&self) -> PathBuf {
        self.bench.folder().canonicalize().unwrap()
    }

    fn programs(&self) -> &dyn Programs {
        &self.programs
    }
}

async fn place() -> Place {
    let bench = Bench::new();
    Place {
        runtime: Arc::new(bench.runtime()),
        programs: ShellPrograms::new(bench.dir.path()),
        bench,
    }
}

ccm_core::runtime_conformance!(place);
