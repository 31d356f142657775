//! A second handle on a home stands for a daemon that was started anew.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::AgentRuntime;
use ccm_core::testing::conformance::runtime::{Programs, RuntimePlace, ShellPrograms};
use own_runtime::ShellRuntime;
use tempfile::TempDir;

struct Place {
    dir: TempDir,
    runtime: Arc<ShellRuntime>,
    programs: ShellPrograms,
}

#[async_trait]
impl RuntimePlace for Place {
    fn runtime(&self) -> Arc<dyn AgentRuntime> {
        self.runtime.clone()
    }

    async fn another(&self) -> Arc<dyn AgentRuntime> {
        Arc::new(ShellRuntime::new(self.dir.path().join("home")).unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("project").canonicalize().unwrap()
    }

    fn programs(&self) -> &dyn Programs {
        &self.programs
    }
}

/// Ends what a failed case left.
impl Drop for Place {
    fn drop(&mut self) {
        let home = self.dir.path().join("home");
        let end = std::thread::spawn(move || {
            let clean = async {
                let runtime = ShellRuntime::new(home).unwrap();
                for run in runtime.runs().await.unwrap() {
                    runtime.stop(run, std::time::Duration::ZERO).await.unwrap();
                }
            };
            let tokio = tokio::runtime::Builder::new_current_thread();
            { tokio }.enable_all().build().unwrap().block_on(clean);
        });
        end.join().unwrap();
    }
}

async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    for name in ["project", "programs"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    Place {
        runtime: Arc::new(ShellRuntime::new(dir.path().join("home")).unwrap()),
        programs: ShellPrograms::new(dir.path().join("programs")),
        dir,
    }
}

ccm_core::runtime_conformance!(place);
