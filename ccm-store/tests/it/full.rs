//! A disk that is full.

use std::fs;
use std::process::{Command, Stdio};

use ccm_core::id::SystemId;
use ccm_core::run::Verdict;
use ccm_core::store::{Act, Adoption, NewDocument, SealedOperation, Settle};
use ccm_core::sync::{Hlc, Identity, Kind, Row, SyncCursor};
use ccm_core::task::TaskStateName;
use ccm_core::{ErrorKind, Store};
use ccm_store::{SqliteOptions, SqliteStore};
use serde_json::json;

use crate::support::{Place, at, claim, create, done, project, request, spec};

#[tokio::test]
async fn a_full_disk_is_told_and_survived() {
    let place = Place::new();
    let options = SqliteOptions {
        max_bytes: Some(2 * 1024 * 1024),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(place.path(), options).await.unwrap();
    store.begin(&place.system, at(0)).await.unwrap();
    let home = project(&store, "home").await.project.id;
    let big = "x".repeat(1024 * 1024);
    let kept = create(&store, home, &big).await;
    let before = store.log().await.unwrap();

    // A task that fits in the same group as one that does not shares its fate, and both are told so.
    let small_one = request(home, vec![spec("small")]);
    let big_one = request(home, vec![spec(&big)]);
    let (small, large) = tokio::join!(
        store.create_tasks(small_one.clone()),
        store.create_tasks(big_one)
    );
    assert_eq!(large.unwrap_err().kind(), ErrorKind::DiskFull);
    let error = small.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert_eq!(error.retry(), ccm_core::Retry::Transient);
    assert_eq!(store.log().await.unwrap(), before);
    assert_eq!(store.counts().await.unwrap().queued, 1);

    // What fits goes on, with the same id as the one that was given up.
    store.create_tasks(small_one.clone()).await.unwrap();
    assert_eq!(store.task(kept.id).await.unwrap(), kept);
    store.close().await;

    // And with room again, everything does.
    let store = place.begin().await;
    let large = create(&store, home, &big).await;
    assert_eq!(store.task(large.id).await.unwrap().spec.text.as_str(), big);
    assert_eq!(store.counts().await.unwrap().queued, 3);
    let known = store.task(small_one.tasks[0].id).await.unwrap();
    assert_eq!(known.spec.text.as_str(), "small");
}

#[tokio::test]
async fn a_check_reaches_the_disk_and_takes_no_room() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await.project.id;
    create(&store, home, "kept").await;
    let log = place.folder().join("ccm.db-wal");
    let written = || fs::read(&log).unwrap();
    for _ in 0..3 {
        let before = written();
        store.check().await.unwrap();
        assert_ne!(written(), before, "nothing was written");
    }
    for _ in 0..3_000 {
        store.check().await.unwrap();
    }
    assert!(written().len() <= 8 * 1024 * 1024, "the log grew");
    assert_eq!(store.counts().await.unwrap().queued, 1);
    store.close().await;
    assert!(fs::metadata(place.path()).unwrap().len() < 1024 * 1024);
}

/// A small disk of its own, for those who may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_runs_can_still_be_ended() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("left out: this user can't mount a small disk");
        return;
    };
    let system = Place::new().system;
    let path = disk.0.path().join("ccm.db");
    let store = SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    store.begin(&system, at(0)).await.unwrap();
    let home = project(&store, "home").await;
    let running = create(&store, home.project.id, "running").await;
    let waiting = create(&store, home.project.id, "waiting").await;
    let run = claim(&store, &home, running.id).await.unwrap().run;
    // Somebody else fills the disk to the last byte.
    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    drop(file);

    let big = request(home.project.id, vec![spec(&"x".repeat(1024 * 1024))]);
    let error = store.create_tasks(big.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    let small = request(home.project.id, vec![spec("small")]);
    let (cancelled, refused, finished) = tokio::join!(
        store.cancel_task(waiting.id, "me", at(5)),
        store.create_tasks(small.clone()),
        store.finish(run.id, run.token, done(Verdict::Succeeded), at(6)),
    );
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::DiskFull);
    assert!(cancelled.unwrap().0.state.name().is_final());
    assert_eq!(finished.unwrap().state.name(), TaskStateName::Succeeded);

    fs::remove_file(&filler).unwrap();
    store.create_tasks(small).await.unwrap();
    store.create_tasks(big).await.unwrap();
    assert_eq!(store.counts().await.unwrap().queued, 2);
    store.close().await;
}

async fn share(store: &SqliteStore, place: &Place) {
    let identity = Identity {
        system: place.system.id,
        incarnation: uuid::Uuid::now_v7(),
    };
    let replica = store.replica().unwrap();
    replica.share(identity, at(1)).await.unwrap();
}

fn row(kind: Kind, seq: u64, body: serde_json::Value) -> Row {
    Row {
        kind,
        id: uuid::Uuid::now_v7(),
        body: Some(body),
        hlc: Hlc {
            time: at(5).as_micros(),
            count: 0,
        },
        origin: SystemId::new(),
        seq,
        epoch: None,
    }
}

fn adoption(rows: Vec<Row>) -> Adoption {
    Adoption {
        cursor: SyncCursor(rows.iter().map(|row| row.seq).max().unwrap_or_default()),
        rows,
        mark: None,
        complete: true,
    }
}

#[tokio::test]
async fn what_does_not_fit_is_not_adopted_in_part() {
    let place = Place::new();
    let options = SqliteOptions {
        max_bytes: Some(2 * 1024 * 1024),
        ..SqliteOptions::default()
    };
    let store = SqliteStore::open(place.path(), options).await.unwrap();
    store.begin(&place.system, at(0)).await.unwrap();
    share(&store, &place).await;
    let replica = store.replica().unwrap();
    let (small, large) = (json!({ "v": 1 }), json!("x".repeat(3 * 1024 * 1024)));
    let rows = vec![
        row(Kind::Project, 3, small.clone()),
        row(Kind::Project, 4, large.clone()),
    ];
    let before = (replica.sharing().await.unwrap(), store.log().await.unwrap());
    let refused = replica.adopt(adoption(rows.clone()), at(6)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::DiskFull);
    let new = NewDocument {
        kind: Kind::Task,
        id: uuid::Uuid::now_v7(),
        body: Some(large),
        settled: false,
    };
    let refused = replica.put(vec![new], None, at(6)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::DiskFull);
    let after = (replica.sharing().await.unwrap(), store.log().await.unwrap());
    assert_eq!(after, before);
    let known = replica.document(&Kind::Project, rows[0].id).await.unwrap();
    assert!(known.is_none());
    let done = replica.adopt(adoption(vec![rows[0].clone()]), at(7)).await;
    assert_eq!(done.unwrap().changed, 1);
}

#[tokio::test]
async fn on_a_full_disk_tasks_can_still_be_called_off_from_afar() {
    let Some(disk) = SmallDisk::new() else {
        eprintln!("left out: this user can't mount a small disk");
        return;
    };
    let place = Place::new();
    let path = disk.0.path().join("ccm.db");
    let store = SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    store.begin(&place.system, at(0)).await.unwrap();
    share(&store, &place).await;
    let home = project(&store, "home").await;
    let waiting = create(&store, home.project.id, "waiting").await;
    let replica = store.replica().unwrap();
    let wish = row(Kind::Wish, 3, json!({ "task_id": waiting.id }));
    replica
        .adopt(adoption(vec![wish.clone()]), at(5))
        .await
        .unwrap();
    let marks = replica.marks(&[], 100).await.unwrap().into_iter();
    let sealed = marks.map(|mark| SealedOperation {
        mark,
        uuid: uuid::Uuid::now_v7(),
        body: Some(json!({})),
        epoch: None,
    });
    replica.seal(sealed.collect(), at(5)).await.unwrap();
    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    drop(file);

    let large = row(Kind::Project, 9, json!("x".repeat(1024 * 1024)));
    let refused = replica.adopt(adoption(vec![large.clone()]), at(6)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::DiskFull);
    let document = replica.unsettled(0, 1).await.unwrap().remove(0);
    assert_eq!(document.id, wish.id);
    let settle = Settle {
        kind: Kind::Wish,
        id: document.id,
        place: document.place,
        act: Act::Cancel {
            task: waiting.id,
            by: "them".to_owned(),
        },
        now: at(7),
    };
    let last = replica.sharing().await.unwrap().unwrap().sealed;
    let (settled, pushed) = tokio::join!(
        replica.settle(settle),
        replica.pushed(last, &[], Vec::new(), at(8))
    );
    settled.unwrap();
    pushed.unwrap();
    let now = store.task(waiting.id).await.unwrap();
    assert_eq!(now.state.name(), TaskStateName::Cancelled);
    assert_eq!(replica.outbox(0, 9, u64::MAX).await.unwrap(), []);
    assert_eq!(replica.unsettled(0, 9).await.unwrap(), []);
    fs::remove_file(&filler).unwrap();
    replica.adopt(adoption(vec![large]), at(9)).await.unwrap();
    store.close().await;
}
