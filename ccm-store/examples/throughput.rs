//! How much the store does a second, beside what raw SQLite does on the same disk.
//!
//! `cargo run --release -p ccm-store --example throughput [FOLDER]`
#![allow(clippy::unwrap_used, reason = "a measurement that fails is none")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ccm_core::Store;
use ccm_core::id::{AgentId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::run::{Outcome, Usage, Verdict};
use ccm_core::store::{
    Claim, CreateTasks, Finish, NewProject, NewTask, QueueQuery, Registered, TaskMove, TaskQuery,
};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{Place, TaskSpec, TaskText};
use ccm_core::time::{Clock, SystemClock};
use ccm_store::{SqliteOptions, SqliteStore};
use sea_orm::sqlx;
use tokio::task::JoinSet;

const TASKS: usize = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).unwrap();
    raw(&folder.path().join("raw.db")).await;
    let store = SqliteStore::open(folder.path().join("ccm.db"), SqliteOptions::default())
        .await
        .unwrap();
    let system = System {
        id: SystemId::new(),
        hostname: "here".to_owned(),
        kind: SystemKind::Developer,
        tags: vec![],
    };
    store.begin(&system, SystemClock.now()).await.unwrap();
    let (home, other) = (
        register(&store, "home").await,
        register(&store, "other").await,
    );
    let store = Arc::new(store);
    for (producers, tasks) in [(1, 2000), (8, TASKS), (64, TASKS), (256, TASKS)] {
        creates(&store, &home, producers, tasks, 1).await;
    }
    creates(&store, &home, 8, TASKS, 100).await;
    for workers in [1, 8, 64] {
        rounds(&store, &home, workers, TASKS / 4).await;
    }
    moves(&store, &other).await;
    moves(&store, &home).await;
    reads(&store).await;
    store.close().await;
}

async fn register(store: &SqliteStore, name: &str) -> Registered {
    let new = NewProject {
        id: ProjectId::new(),
        agent_id: AgentId::new(),
        name: name.to_owned(),
        exact_name: true,
        path: PathBuf::from("/").join(name),
        now: SystemClock.now(),
    };
    store.register_project(new).await.unwrap()
}

fn told(what: &str, count: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what:<60} {:>9.0}/s", count as f64 / seconds);
}

/// One row and one sync to disk, again and again: what no store can do without grouping.
async fn raw(path: &std::path::Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let run = async |sql| sqlx::query(sql).execute(&pool).await.unwrap();
    run("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)").await;
    let since = Instant::now();
    for _ in 0..2000 {
        run("INSERT INTO t (text) VALUES ('a task of the usual length, more or less')").await;
    }
    told(
        "raw one-row transactions through the same driver",
        2000,
        since,
    );
    pool.close().await;
}

fn wish(home: &Registered, count: usize) -> CreateTasks {
    let spec = TaskSpec::new(TaskText::new("Fix the failing test in the parser.").unwrap());
    CreateTasks {
        tasks: (0..count)
            .map(|_| NewTask {
                id: TaskId::new(),
                project_id: home.project.id,
                spec: spec.clone(),
            })
            .collect(),
        created_by: "bench".to_owned(),
        key: None,
        max_queued: u64::MAX,
        now: SystemClock.now(),
    }
}

async fn creates(
    store: &Arc<SqliteStore>,
    home: &Registered,
    producers: usize,
    tasks: usize,
    batch: usize,
) {
    let mut set = JoinSet::new();
    let since = Instant::now();
    for _ in 0..producers {
        let (store, home) = (Arc::clone(store), home.clone());
        set.spawn(async move {
            for _ in 0..tasks / producers / batch {
                store.create_tasks(wish(&home, batch)).await.unwrap();
            }
        });
    }
    set.join_all().await;
    told(
        &format!("create {batch} at a time, {producers} producers"),
        tasks,
        since,
    );
}

/// Claim, start and finish, each worker on tasks of its own.
async fn rounds(store: &Arc<SqliteStore>, home: &Registered, workers: usize, tasks: usize) {
    let made = store.create_tasks(wish(home, tasks)).await.unwrap().tasks;
    let mut set = JoinSet::new();
    let since = Instant::now();
    for chunk in made.chunks(tasks.div_ceil(workers)) {
        let (store, home) = (Arc::clone(store), home.clone());
        let ids: Vec<TaskId> = chunk.iter().map(|task| task.id).collect();
        set.spawn(async move {
            for task in ids {
                round(&store, &home, task).await;
            }
        });
    }
    set.join_all().await;
    told(
        &format!("claim and finish, {workers} workers"),
        tasks,
        since,
    );
}

async fn round(store: &SqliteStore, home: &Registered, task: TaskId) {
    let claim = Claim {
        task,
        run: RunId::new(),
        agent: home.agent.id,
        system: home.project.system_id,
        lease_until: None,
        now: SystemClock.now(),
    };
    let run = store.claim(claim).await.unwrap().run;
    let finish = Finish {
        outcome: Outcome {
            verdict: Verdict::Succeeded,
            exit_code: Some(0),
            result: Some("Done.".to_owned()),
            denied: 0,
        },
        started_at: Some(run.claimed_at),
        usage: Some(Usage::default()),
        cost_usd: None,
        retry_at: None,
    };
    store
        .finish(run.id, run.token, finish, SystemClock.now())
        .await
        .unwrap();
}

/// One after another, all into the same gap: each looks for its neighbours and now and then makes room.
async fn moves(store: &SqliteStore, home: &Registered) {
    let made = store.create_tasks(wish(home, 2001)).await.unwrap().tasks;
    let queued = store.project(home.project.id).await.unwrap().queued;
    let since = Instant::now();
    for task in &made[1..] {
        let wish = TaskMove {
            id: task.id,
            place: Place::Before(made[0].id),
            by: "bench".to_owned(),
            now: SystemClock.now(),
        };
        store.move_task(wish).await.unwrap();
    }
    told(
        &format!("moves into one gap at {queued} queued"),
        2000,
        since,
    );
    let query = QueueQuery {
        project: home.project.id,
        after: Some(made[1].spot()),
        limit: 50,
        cut: None,
    };
    let since = Instant::now();
    for _ in 0..500 {
        store.queue(&query).await.unwrap();
    }
    told("a page of 50 far down the queue", 500, since);
}

async fn reads(store: &SqliteStore) {
    let times = 500;
    let queued = store.counts().await.unwrap().queued;
    let since = Instant::now();
    for _ in 0..times {
        store.ready(SystemClock.now(), 16).await.unwrap();
    }
    told(&format!("ready at {queued} queued"), times, since);
    let page = TaskQuery {
        limit: 50,
        ..TaskQuery::default()
    };
    let since = Instant::now();
    for _ in 0..times {
        store.tasks(&page).await.unwrap();
    }
    told("first page of 50", times, since);
}
