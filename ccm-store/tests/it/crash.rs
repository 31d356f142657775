//! A process that is killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ccm_core::id::{ProjectId, Seq, TaskId};
use ccm_core::store::EventQuery;
use ccm_core::system::{System, SystemKind};
use ccm_core::{Store, id::SystemId};
use ccm_store::{SqliteOptions, SqliteStore};

use crate::support::{Place, at, create, project};

/// Where the child finds its database.
const DATABASE: &str = "CCM_STORE_TEST_DATABASE";
/// How many answers the parent waits for before it kills.
const ANSWERS: usize = 300;

/// Is the child of the test below; without its environment there is nothing to do.
#[tokio::test]
async fn the_child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(DATABASE) else {
        return;
    };
    let store = SqliteStore::open(path, SqliteOptions::default())
        .await
        .unwrap();
    let system = System {
        id: SystemId::from_uuid(uuid::Uuid::from_u128(1)),
        hostname: "here".to_owned(),
        kind: SystemKind::Developer,
        tags: vec![],
    };
    store.begin(&system, at(0)).await.unwrap();
    let home = project(&store, "home").await.project.id;
    let store = Arc::new(store);
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move { write_for_ever(&store, home).await });
    }
    while writers.join_next().await.is_some() {}
}

async fn write_for_ever(store: &SqliteStore, project: ProjectId) {
    loop {
        let task = create(store, project, &"x".repeat(3000)).await;
        // One write a line, so that a line is there whole or not at all.
        let line = format!("created {}\n", task.id);
        if std::io::stdout().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let place = Place::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "crash::the_child_writes_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(DATABASE, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered: Vec<TaskId> = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, id)) = line.split_once("created ") {
            answered.push(id.parse().unwrap());
        }
        if answered.len() == ANSWERS {
            // SIGKILL. What it still wrote before that is read too.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(answered.len() >= ANSWERS);

    let store = place.open().await;
    for id in &answered {
        store.task(*id).await.unwrap();
    }
    let counts = store.counts().await.unwrap();
    assert!(counts.queued as usize >= answered.len());
    let log = store.log().await.unwrap();
    let query = EventQuery {
        limit: u32::MAX,
        ..EventQuery::default()
    };
    let events = store.events(&query).await.unwrap();
    assert_eq!(events.last().unwrap().seq, log.head);
    // The start, the project, and one of each task.
    assert_eq!(log.head, Seq(counts.queued + 2));
}
