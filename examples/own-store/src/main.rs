//! Puts a task into a journal, closes it, opens it again and finds the task there.

use std::error::Error;
use std::path::Path;

use ccm_core::Store;
use ccm_core::id::{AgentId, ProjectId, SystemId, TaskId};
use ccm_core::store::{CreateTasks, NewProject, NewTask};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{TaskSpec, TaskText};
use ccm_core::time::{Clock, SystemClock};
use own_store::JournalStore;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("journal.jsonl");
    let id = put(&path).await?;
    // The store of `put` is gone by now. All that is left is the file.
    let task = JournalStore::open(&path).await?.task(id).await?;
    println!("{}: {}", task.state.name(), task.spec.title.as_str());
    Ok(())
}

async fn put(path: &Path) -> ccm_core::Result<TaskId> {
    let store = JournalStore::open(path).await?;
    let now = SystemClock.now();
    let system = System {
        id: SystemId::new(),
        hostname: "example".to_owned(),
        kind: SystemKind::Developer,
        tags: Vec::new(),
    };
    store.begin(&system, now).await?;
    let new = NewProject {
        id: ProjectId::new(),
        agent_id: AgentId::new(),
        name: "hello-project".to_owned(),
        exact_name: false,
        path: "/srv/hello-project".into(),
        now,
    };
    let project = store.register_project(new).await?.project;
    let task = NewTask {
        id: TaskId::new(),
        project_id: project.id,
        spec: TaskSpec::new(TaskText::new("Write a note that says hello.")?),
    };
    let request = CreateTasks {
        tasks: vec![task],
        created_by: "example".to_owned(),
        key: None,
        max_queued: 100,
        now,
    };
    let created = store.create_tasks(request).await?;
    Ok(created.tasks[0].id)
}
