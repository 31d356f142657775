//! Runs one task to its end: the engine, a store in memory, and a runtime of one's own.

use std::error::Error;
use std::sync::Arc;

use ccm_core::Store;
use ccm_core::api::CreateTask;
use ccm_core::engine::Engine;
use ccm_core::id::{AgentId, ProjectId, SystemId};
use ccm_core::project::{AgentProfile, FixedProfile, Profile};
use ccm_core::store::NewProject;
use ccm_core::system::{System, SystemKind};
use ccm_core::testing::memory::MemoryStore;
use ccm_core::time::{Clock, SystemClock};
use own_runtime::ShellRuntime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let project_folder = folder.path().join("project");
    std::fs::create_dir(&project_folder)?;

    let system = System {
        id: SystemId::new(),
        hostname: "example".to_owned(),
        kind: SystemKind::Developer,
        tags: Vec::new(),
    };
    let store = Arc::new(MemoryStore::new());
    store.begin(&system, SystemClock.now()).await?;
    let runtime = Arc::new(ShellRuntime::new(folder.path().join("home"))?);
    // Every agent is this program: it reads the task and says something.
    let agent = AgentProfile::command(["sh", "-c", "echo I was asked to: $(cat)"]);
    let profile = Profile {
        agent,
        ..Profile::default()
    };
    let engine = Engine::builder(store, runtime, system)
        .profiles(Arc::new(FixedProfile(profile)))
        .start()
        .await?;

    let new = NewProject {
        id: ProjectId::new(),
        agent_id: AgentId::new(),
        name: "hello".to_owned(),
        exact_name: false,
        path: project_folder,
        now: SystemClock.now(),
    };
    let project = engine.register_project(new).await?.project;
    let task = CreateTask::new(project.id, "say hello");
    let created = engine.create_tasks(vec![task], "example", None).await?;
    let task = engine.wait_task(created.tasks[0].id).await?;
    let result = task.result.unwrap_or_default();
    println!("{}: {}", task.state.name(), result.trim_end());
    engine.shutdown(true).await;
    Ok(())
}
