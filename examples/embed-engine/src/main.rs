//! CCM inside a program of one's own: the engine over the SQLite store and the process runtime, and one task.
//!
//! An agent outlives the program that gave it its task, because a small host looks after it. The host is this same
//! program, started once more with hidden arguments; that is what the first line of `main` is for.

use std::{env, error::Error, process::ExitCode, sync::Arc};

use ccm_agents::{HostCommand, ProcessRuntime, RuntimeConfig};
use ccm_core::id::{AgentId, ProjectId, SystemId};
use ccm_core::project::{AgentProfile, FixedProfile, Profile};
use ccm_core::system::{System, SystemKind};
use ccm_core::time::{Clock, SystemClock};
use ccm_core::{Store, api::CreateTask, engine::Engine, store::NewProject};
use ccm_store::{SqliteOptions, SqliteStore};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(exit) = ccm_agents::hidden_command(env::args_os()) {
        return Ok(exit);
    }
    tokio::runtime::Runtime::new()?.block_on(work())?;
    Ok(ExitCode::SUCCESS)
}

async fn work() -> Result<(), Box<dyn Error>> {
    // A real program keeps its home, and its system's id with it: then it finds its queue again.
    let (home, project) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let system = System {
        id: SystemId::new(),
        hostname: "example".to_owned(),
        kind: SystemKind::Developer,
        tags: Vec::new(),
    };

    let store = SqliteStore::open(home.path().join("ccm.db"), SqliteOptions::default()).await?;
    let store = Arc::new(store);
    let epoch = store.begin(&system, SystemClock.now()).await?;

    let argv = vec![env::current_exe()?.into_os_string()];
    let config = RuntimeConfig::new(home.path(), epoch, HostCommand { argv });
    let runtime = Arc::new(ProcessRuntime::new(config)?);

    // The agent of every project is this program: it reads the task and says something.
    let profile = Profile {
        agent: AgentProfile::command(["sh", "-c", "echo I was asked to: $(cat)"]),
        ..Profile::default()
    };

    let engine = Engine::builder(store.clone(), runtime, system)
        .profiles(Arc::new(FixedProfile(profile)))
        .start()
        .await?;

    let folder = NewProject {
        id: ProjectId::new(),
        agent_id: AgentId::new(),
        name: "hello".to_owned(),
        exact_name: false,
        path: project.path().canonicalize()?,
        now: SystemClock.now(),
    };
    let project = engine.register_project(folder).await?.project;
    let task = CreateTask::new(project.id, "say hello");
    let created = engine.create_tasks(vec![task], "example", None).await?;

    let task = engine.wait_task(created.tasks[0].id).await?;
    let result = task.result.unwrap_or_default();
    println!("{}: {}", task.state.name(), result.trim_end());

    engine.shutdown(true).await;
    store.close().await;
    Ok(())
}
