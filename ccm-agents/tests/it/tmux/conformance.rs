//! What every runtime must do, done by the one with windows.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::AgentRuntime;
use ccm_core::testing::conformance::runtime::{Programs, RuntimePlace, ShellPrograms};

use super::Desk;

struct Place {
    desk: Desk,
    programs: ShellPrograms,
}

#[async_trait]
impl RuntimePlace for Place {
    fn runtime(&self) -> Arc<dyn AgentRuntime> {
        self.desk.runtime.clone()
    }

    async fn another(&self) -> Arc<dyn AgentRuntime> {
        // Of the same epoch, because the suite goes on with the first handle too.
        Arc::new(self.desk.another(1))
    }

    fn folder(&self) -> PathBuf {
        self.desk.folder().canonicalize().unwrap()
    }

    fn programs(&self) -> &dyn Programs {
        &self.programs
    }
}

async fn place() -> Place {
    let desk = Desk::new();
    Place {
        programs: ShellPrograms::new(desk.dir.path()),
        desk,
    }
}

ccm_core::runtime_conformance!(place);
