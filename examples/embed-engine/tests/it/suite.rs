//! The contract's suite over the process runtime, as an embedder has it: the hosts are the embedder's own program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_agents::{HostCommand, ProcessRuntime, RuntimeConfig};
use ccm_core::AgentRuntime;
use ccm_core::id::Epoch;
use ccm_core::testing::conformance::runtime::{Programs, RuntimePlace, ShellPrograms};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_embed-engine");

struct Place {
    dir: TempDir,
    runtime: Arc<ProcessRuntime>,
    programs: ShellPrograms,
}

#[async_trait]
impl RuntimePlace for Place {
    fn runtime(&self) -> Arc<dyn AgentRuntime> {
        self.runtime.clone()
    }

    async fn another(&self) -> Arc<dyn AgentRuntime> {
        Arc::new(runtime(self.dir.path().join("home")))
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("project").canonicalize().unwrap()
    }

    fn programs(&self) -> &dyn Programs {
        &self.programs
    }
}

/// Of the same epoch each time, because the suite goes on with the first handle too.
fn runtime(home: PathBuf) -> ProcessRuntime {
    let argv = vec![PROGRAM.into()];
    let config = RuntimeConfig::new(home, Epoch(1), HostCommand { argv });
    ProcessRuntime::new(config).unwrap()
}

async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    for name in ["project", "programs"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    Place {
        runtime: Arc::new(runtime(dir.path().join("home"))),
        programs: ShellPrograms::new(dir.path().join("programs")),
        dir,
    }
}

/// Ends what a failed case left, and takes the folder of the hosts' sockets away.
impl Drop for Place {
    fn drop(&mut self) {
        let home = self.dir.path().join("home");
        let end = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread();
            { tokio }.enable_all().build().unwrap().block_on(end(home));
        });
        end.join().unwrap();
    }
}

async fn end(home: PathBuf) {
    let runtime = runtime(home.clone());
    for run in runtime.runs().await.unwrap() {
        runtime.stop(run, Duration::ZERO).await.unwrap();
    }
    for agent in runtime.agents().await.unwrap() {
        runtime.stop_agent(agent.id).await.unwrap();
    }
    for agent in std::fs::read_dir(home.join("agents")).unwrap() {
        let place = std::fs::read(agent.unwrap().path().join("place.json")).unwrap();
        let place: serde_json::Value = serde_json::from_slice(&place).unwrap();
        let socket = PathBuf::from(place["socket"].as_str().unwrap());
        let _ = std::fs::remove_dir(socket.parent().unwrap());
    }
}

ccm_core::runtime_conformance!(place);
