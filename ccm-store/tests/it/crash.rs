//! A process that is killed while it writes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ccm_core::id::{ProjectId, Seq, TaskId};
use ccm_core::store::{EventQuery, SealedOperation, TaskQuery};
use ccm_core::sync::{Identity, Kind};
use ccm_core::system::{System, SystemKind};
use ccm_core::{Store, id::SystemId};
use ccm_store::{SqliteOptions, SqliteStore};

use crate::support::{Place, at, create, project};

/// Where the child finds its database.
const DATABASE: &str = "CCM_STORE_TEST_DATABASE";
/// Where the child that shares finds its database.
const SHARED: &str = "CCM_STORE_TEST_SHARED_DATABASE";
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

/// Is the child of the test below; without its environment there is nothing to do.
#[tokio::test]
async fn the_child_shares_until_it_is_killed() {
    let Some(path) = std::env::var_os(SHARED) else {
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
    let identity = Identity {
        system: system.id,
        incarnation: uuid::Uuid::from_u128(2),
    };
    store
        .replica()
        .unwrap()
        .share(identity, at(1))
        .await
        .unwrap();
    let home = project(&store, "home").await.project.id;
    let store = Arc::new(store);
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        writers.spawn(async move { write_for_ever(&store, home).await });
    }
    writers.spawn(async move { send_for_ever(&store).await });
    while writers.join_next().await.is_some() {}
}

/// Numbers what was marked, and has a server take every other batch of it.
async fn send_for_ever(store: &SqliteStore) {
    let replica = store.replica().unwrap();
    let mut round = 0_u32;
    loop {
        round += 1;
        let marks = replica.marks(&[], 50).await.unwrap();
        let sealed = marks.into_iter().map(|mark| SealedOperation {
            body: Some(serde_json::json!({ "id": mark.id })),
            mark,
            uuid: uuid::Uuid::now_v7(),
            epoch: None,
        });
        replica.seal(sealed.collect(), at(2)).await.unwrap();
        let outbox = replica.outbox(0, 20, u64::MAX).await.unwrap();
        if let Some(last) = outbox.last().filter(|_| round.is_multiple_of(2)) {
            let mut line = String::new();
            for operation in &outbox {
                let change = operation.change.as_ref().unwrap();
                line.push_str(&format!(
                    "sent {} {} {}\n",
                    operation.number, change.kind, change.id
                ));
            }
            // The server has it before this machine knows.
            if std::io::stdout().write_all(line.as_bytes()).is_err() {
                return;
            }
            let pushed = replica.pushed(last.number, &[], Vec::new(), at(3));
            pushed.await.unwrap();
        }
    }
}

#[tokio::test]
async fn nothing_that_is_to_be_sent_is_lost_in_a_kill() {
    let place = Place::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "crash::the_child_shares_until_it_is_killed",
            "--exact",
            "--nocapture",
        ])
        .env(SHARED, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered = BTreeSet::new();
    let mut sent = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, id)) = line.split_once("created ") {
            answered.insert(id.parse::<uuid::Uuid>().unwrap());
        }
        if let Some((_, rest)) = line.split_once("sent ") {
            let words: Vec<&str> = rest.split(' ').collect();
            numbers.insert(words[0].parse::<u64>().unwrap());
            if words[1] == "task" {
                sent.insert(words[2].parse::<uuid::Uuid>().unwrap());
            }
        }
        if answered.len() >= ANSWERS && !sent.is_empty() {
            // SIGKILL. What it still wrote before that is read too.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(answered.len() >= ANSWERS && !sent.is_empty());

    let store = place.open().await;
    let replica = store.replica().unwrap();
    let sharing = replica.sharing().await.unwrap().unwrap();
    let outbox = replica.outbox(0, u32::MAX, u64::MAX).await.unwrap();
    let left: Vec<u64> = outbox.iter().map(|one| one.number).collect();
    let wanted: Vec<u64> = (sharing.acknowledged + 1..=sharing.sealed).collect();
    assert_eq!(left, wanted, "numbers have no gaps");
    // What the server had and this machine did not know of is sent again as it was.
    let last = numbers.last().copied().unwrap_or_default();
    assert!(sharing.acknowledged <= last && last <= sharing.sealed);
    assert!(numbers.into_iter().eq(1..=last));
    let marks = replica.marks(&[], u32::MAX).await.unwrap();
    let of_tasks = |kind: &Kind| *kind == Kind::Task;
    let marked = marks
        .iter()
        .filter(|mark| of_tasks(&mark.kind))
        .map(|mark| mark.id);
    let on_their_way = outbox.iter().filter_map(|one| one.change.as_ref());
    let on_their_way = on_their_way
        .filter(|change| of_tasks(&change.kind))
        .map(|change| change.id);
    let known: BTreeSet<uuid::Uuid> = marked.chain(on_their_way).chain(sent).collect();
    let query = TaskQuery {
        limit: u32::MAX,
        ..TaskQuery::default()
    };
    let tasks = store.tasks(&query).await.unwrap().items;
    let there: BTreeSet<uuid::Uuid> = tasks.iter().map(|task| *task.id.as_uuid()).collect();
    assert_eq!(known, there);
    assert!(answered.is_subset(&there));
}
