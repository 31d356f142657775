//! What is in the file after the process, or half of a line, is gone.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use ccm_core::id::{AgentId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::run::{Outcome, Usage, Verdict};
use ccm_core::store::{Claim, CreateTasks, EventQuery, Finish, NewProject, NewTask};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{Task, TaskSpec, TaskText};
use ccm_core::time::Timestamp;
use ccm_core::{ErrorKind, Store};
use own_store::JournalStore;
use tempfile::TempDir;

const NOW: i64 = 1_790_000_000_123_456;

struct Bench {
    _folder: TempDir,
    path: PathBuf,
    system: System,
}

impl Bench {
    /// A journal in which a task was done, at a cost that has no short decimal form.
    async fn new() -> (Self, Task) {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            path: folder.path().join("journal"),
            _folder: folder,
            system: System {
                id: SystemId::new(),
                hostname: "example".to_owned(),
                kind: SystemKind::Developer,
                tags: Vec::new(),
            },
        };
        let store = bench.begin().await;
        let task = create(&store, "multi\nline \u{1b}[31m\" text").await;
        let claim = Claim {
            task: task.id,
            run: RunId::new(),
            agent: AgentId::new(),
            system: bench.system.id,
            lease_until: None,
            now: now(),
        };
        let run = store.claim(claim).await.unwrap().run;
        let task = store.finish(run.id, run.token, end(), now()).await.unwrap();
        (bench, task)
    }

    async fn open(&self) -> JournalStore {
        JournalStore::open(&self.path).await.unwrap()
    }

    async fn begin(&self) -> JournalStore {
        let store = self.open().await;
        store.begin(&self.system, now()).await.unwrap();
        store
    }

    fn size(&self) -> u64 {
        self.path.metadata().unwrap().len()
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(NOW)
}

fn end() -> Finish {
    Finish {
        outcome: Outcome {
            verdict: Verdict::Succeeded,
            exit_code: Some(0),
            result: Some("done".to_owned()),
            denied: 0,
        },
        started_at: Some(now()),
        usage: Some(Usage::default()),
        cost_usd: Some(0.1 + 0.2),
        retry_at: None,
    }
}

async fn create(store: &JournalStore, text: &str) -> Task {
    let id = ProjectId::new();
    let project = NewProject {
        id,
        agent_id: AgentId::new(),
        name: "p".to_owned(),
        exact_name: false,
        path: Path::new("/projects").join(id.to_string()),
        now: now(),
    };
    store.register_project(project).await.unwrap();
    let request = CreateTasks {
        tasks: vec![NewTask {
            id: TaskId::new(),
            project_id: id,
            spec: TaskSpec::new(TaskText::new(text).unwrap()),
        }],
        created_by: "test".to_owned(),
        key: None,
        max_queued: 10,
        now: now(),
    };
    store.create_tasks(request).await.unwrap().tasks.remove(0)
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[tokio::test]
async fn opening_again_finds_everything() {
    let (bench, task) = Bench::new().await;
    let query = EventQuery {
        limit: 1000,
        ..EventQuery::default()
    };
    let (first, second) = (bench.open().await, bench.open().await);
    assert_eq!(first.task(task.id).await.unwrap(), task);
    assert_eq!(task.cost_usd, Some(0.1 + 0.2));
    assert_eq!(first.log().await.unwrap(), second.log().await.unwrap());
    let events = first.events(&query).await.unwrap();
    assert_eq!(events, second.events(&query).await.unwrap());
    assert_eq!(events.len() as u64, first.log().await.unwrap().head.0);
    assert_eq!(first.watch().borrow().0, events.len() as u64);
}

#[tokio::test]
async fn a_line_that_a_crash_cut_is_gone() {
    let (bench, task) = Bench::new().await;
    let size = bench.size();
    for torn in [
        &b"{\"cancel_task\":{\"id\":\""[..],
        b"{\"retry",
        b"\0\0\0\0",
        b"\0\0\n",
    ] {
        append(&bench.path, torn);
        assert_eq!(bench.open().await.task(task.id).await.unwrap(), task);
        assert_eq!(bench.size(), size, "{torn:?}");
    }
    let store = bench.begin().await;
    let more = create(&store, "written after it was mended").await;
    assert_eq!(bench.open().await.task(more.id).await.unwrap(), more);
}

#[tokio::test]
async fn a_handle_that_is_open_gets_past_a_cut_line_too() {
    let (bench, task) = Bench::new().await;
    let store = bench.begin().await;
    append(&bench.path, b"{\"cancel_task\"");
    let more = create(&store, "x").await;
    let again = bench.open().await;
    assert_eq!(again.task(more.id).await.unwrap(), more);
    assert_eq!(again.task(task.id).await.unwrap(), task);
}

#[tokio::test]
async fn a_spoilt_line_is_told_and_left_alone() {
    let (bench, _) = Bench::new().await;
    let line = b"{\"begin\":{}}\n";
    for spoilt in [&b"not a call\n"[..], b"{\"from_the_future\":1}\n"] {
        let (bench, before) = (&bench, std::fs::read(&bench.path).unwrap());
        append(&bench.path, spoilt);
        append(&bench.path, line);
        let size = bench.size();
        let error = JournalStore::open(&bench.path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(bench.size(), size);
        std::fs::write(&bench.path, before).unwrap();
    }
}

#[tokio::test]
async fn a_refusal_leaves_no_line() {
    let (bench, task) = Bench::new().await;
    let store = bench.begin().await;
    let size = bench.size();
    store.cancel_task(task.id, "me", now()).await.unwrap_err();
    store
        .retry_task(TaskId::new(), "me", now())
        .await
        .unwrap_err();
    assert_eq!(bench.size(), size);
}
