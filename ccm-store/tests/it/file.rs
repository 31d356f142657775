//! Databases as files: what is in them, copies of them, and what a change of schema leaves behind whenever it is cut.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ccm_core::id::{Epoch, SystemId};
use ccm_core::store::{Adoption, NewDocument, SealedOperation};
use ccm_core::sync::{Identity, Kind, Row, SyncCursor};
use ccm_core::{ErrorKind, Store};
use ccm_store::{DatabaseFile, Depth, SqliteOptions, SqliteStore};

use crate::schemas::{from_dump, raw, seed, seed_system};
use crate::support::{Place, at, create, project};
use sea_orm::ConnectionTrait;

const OLDER: u32 = 1;

#[tokio::test]
async fn facts_are_those_of_the_store_and_change_nothing() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    create(&store, home.project.id, "one").await;
    create(&store, home.project.id, "two").await;
    let file = DatabaseFile::at(place.path());
    let in_use = file.facts().await.unwrap();
    assert_eq!(in_use.schema, DatabaseFile::newest_schema());
    assert_eq!(in_use.system, Some(place.system.id));
    let log = store.log().await.unwrap();
    assert_eq!((in_use.log, in_use.head), (log.log, log.head));
    assert_eq!((in_use.tasks, in_use.queued), (2, 2));
    assert_eq!(in_use.epoch, Epoch(1));
    assert!(in_use.last_change.is_some());
    assert_eq!(in_use.projects.len(), 1);
    assert_eq!(in_use.projects[0].path, home.project.path);
    store.close().await;
    let before = fs::read(place.path()).unwrap();
    let names = || fs::read_dir(place.folder()).unwrap().count();
    let files = names();
    assert_eq!(file.check(Depth::Full).await.unwrap(), in_use);
    assert!(fs::read(place.path()).unwrap() == before);
    assert_eq!(names(), files);
}

#[tokio::test]
async fn a_copy_is_whole_while_the_store_writes() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await.project.id;
    let to = place.folder().join("copy");
    let file = DatabaseFile::at(place.path());
    let writing = async {
        let mut written = 0;
        while written < 200 {
            create(&store, home, &"x".repeat(5000)).await;
            written += 1;
        }
    };
    let copying = async {
        let before = store.counts().await.unwrap().queued;
        let facts = file.copy_to(&to).await.unwrap();
        (before, facts)
    };
    let ((), (before, facts)) = tokio::join!(writing, copying);
    assert!((before..=200).contains(&facts.tasks));
    assert_eq!(facts.queued, facts.tasks);
    let mode = fs::metadata(&to).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = SqliteStore::open(&to, SqliteOptions::default())
        .await
        .unwrap();
    assert_eq!(copy.counts().await.unwrap().queued, facts.tasks);
    let taken = file.copy_to(&to).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Invalid);
    assert!(to.exists(), "what was there stays");
}

#[tokio::test]
async fn a_copy_that_begins_anew_has_another_log_and_a_higher_epoch() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await.project.id;
    let task = create(&store, home, "one").await;
    let to = place.folder().join("copy");
    let old = DatabaseFile::at(place.path()).copy_to(&to).await.unwrap();
    let copy = DatabaseFile::at(&to);
    copy.begin_anew(Epoch(41), false, None).await.unwrap();
    let new = copy.check(Depth::Full).await.unwrap();
    assert_ne!(new.log, old.log);
    assert_eq!((new.head, new.epoch), (old.head, Epoch(41)));
    // A lower one than its own changes nothing.
    copy.begin_anew(Epoch(7), true, None).await.unwrap();
    let restored = SqliteStore::open(&to, SqliteOptions::default())
        .await
        .unwrap();
    let epoch = restored.begin(&place.system, at(9)).await.unwrap();
    assert_eq!(epoch, Epoch(42));
    assert_eq!(restored.task(task.id).await.unwrap(), task);
    assert!(restored.project(home).await.unwrap().paused);
    let paused = restored.ready(at(10), 9).await.unwrap();
    assert!(paused.projects.is_empty());
}

#[tokio::test]
async fn a_copy_that_begins_anew_is_another_life_of_a_machine_that_shares() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await.project.id;
    let old = create(&store, home, "one").await;
    let life = uuid::Uuid::now_v7;
    let (first, theirs, wish) = (life(), life(), life());
    let identity = Identity {
        system: place.system.id,
        incarnation: first,
    };
    let replica = store.replica().unwrap();
    let sharing = replica.share(identity, at(3)).await.unwrap();
    let row = |kind, id, origin| Row {
        kind,
        id,
        body: Some(serde_json::json!({})),
        hlc: sharing.clock,
        origin,
        seq: 7,
        epoch: None,
    };
    let adoption = Adoption {
        rows: vec![row(Kind::Project, theirs, SystemId::new())],
        cursor: SyncCursor(7),
        mark: None,
        complete: true,
    };
    replica.adopt(adoption, at(4)).await.unwrap();
    let new = NewDocument {
        kind: Kind::Wish,
        id: wish,
        body: None,
        settled: false,
    };
    let put = replica.put(vec![new], None, at(5)).await.unwrap();
    let sealed = replica.marks(&[], 100).await.unwrap().into_iter();
    let sealed = sealed.map(|mark| SealedOperation {
        mark,
        uuid: life(),
        body: None,
        epoch: None,
    });
    let sealed: Vec<_> = sealed.collect();
    replica.seal(sealed, at(6)).await.unwrap();
    let to = place.folder().join("copy");
    let file = DatabaseFile::at(place.path());
    let facts = file.copy_to(&to).await.unwrap();
    assert_eq!(facts.incarnation, Some(first));

    // Of another one that the server knows by now, and of none.
    let newer = life();
    for known in [Some(newer), None] {
        let copy = DatabaseFile::at(&to);
        copy.begin_anew(Epoch(9), false, known).await.unwrap();
        let facts = copy.check(Depth::Full).await.unwrap();
        assert_eq!(
            facts.incarnation,
            Some(newer),
            "the server has not taken it yet"
        );
        let restored = SqliteStore::open(&to, SqliteOptions::default())
            .await
            .unwrap();
        restored.begin(&place.system, at(9)).await.unwrap();
        let replica = restored.replica().unwrap();
        let now = replica.sharing().await.unwrap().unwrap();
        assert!(![first, newer].contains(&now.identity.incarnation));
        assert_eq!(now.previous, Some(newer));
        assert_eq!((now.sealed, now.acknowledged), (0, 0));
        assert_eq!((now.cursor, now.complete), (SyncCursor(0), false));
        assert!(now.clock > sharing.clock);
        assert!(replica.outbox(0, 9, u64::MAX).await.unwrap().is_empty());
        let marks = replica.marks(&[], 100).await.unwrap();
        let mut kinds: Vec<String> = marks.iter().map(|mark| mark.kind.to_string()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["project", "report", "system", "task", "wish"]);
        let again = marks.iter().find(|mark| mark.id == wish).unwrap();
        assert_eq!(again.hlc, put[0].hlc);
        // What others wrote is there until it is known that the server has it no more.
        let known = replica.document(&Kind::Project, theirs).await.unwrap();
        assert!(known.is_some());
        assert_eq!(restored.task(old.id).await.unwrap(), old);
        restored.close().await;
    }
}

#[tokio::test]
async fn a_copy_from_before_sharing_knows_the_life_that_the_server_knows() {
    let place = Place::new();
    let store = place.begin().await;
    let to = place.folder().join("copy");
    let file = DatabaseFile::at(place.path());
    assert_eq!(file.copy_to(&to).await.unwrap().incarnation, None);
    store.close().await;
    let known = uuid::Uuid::now_v7();
    let copy = DatabaseFile::at(&to);
    copy.begin_anew(Epoch(9), false, Some(known)).await.unwrap();
    let restored = SqliteStore::open(&to, SqliteOptions::default())
        .await
        .unwrap();
    restored.begin(&place.system, at(9)).await.unwrap();
    let replica = restored.replica().unwrap();
    assert_eq!(replica.sharing().await.unwrap(), None);
    let identity = Identity {
        system: place.system.id,
        incarnation: uuid::Uuid::now_v7(),
    };
    let sharing = replica.share(identity, at(10)).await.unwrap();
    assert_eq!(sharing.previous, Some(known));
}

#[tokio::test]
async fn what_is_no_sound_database_is_told_and_not_copied() {
    let place = Place::new();
    let to = place.folder().join("copy");
    let file = DatabaseFile::at(place.path());
    let refused = async || {
        let error = file.copy_to(&to).await.unwrap_err();
        assert!(!to.exists(), "{error}");
        error.kind()
    };
    assert_eq!(refused().await, ErrorKind::Unavailable);
    fs::write(place.path(), "notes").unwrap();
    assert_eq!(refused().await, ErrorKind::Corrupt);
    fs::remove_file(place.path()).unwrap();
    let store = place.open().await;
    seed(&store, DatabaseFile::newest_schema()).await;
    store.close().await;
    // An index that doesn't agree with its table: what only a thorough look finds.
    let db = raw(&place.path()).await;
    db.execute_unprepared(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE INDEX ask_open ON ask (id) WHERE state = ''void'''
         WHERE name = 'ask_open'",
    )
    .await
    .unwrap();
    db.close().await.unwrap();
    file.check(Depth::Quick).await.unwrap();
    let error = file.check(Depth::Full).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(refused().await, ErrorKind::Corrupt);
    let db = raw(&place.path()).await;
    db.execute_unprepared("PRAGMA user_version = 99")
        .await
        .unwrap();
    db.close().await.unwrap();
    assert_eq!(refused().await, ErrorKind::TooNew);
}

#[tokio::test]
async fn only_the_newest_backups_are_kept() {
    let place = Place::new();
    let name = |number: u32| match number {
        1 => place.folder().join("ccm.db.schema-1.backup"),
        n => place.folder().join(format!("ccm.db.schema-1-{n}.backup")),
    };
    for number in 1..=4 {
        let file = fs::File::create(name(number)).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(1000 - u64::from(number));
        file.set_modified(then).unwrap();
    }
    let notes = place.folder().join("ccm.db.notes.backup");
    fs::write(&notes, "somebody's").unwrap();
    from_dump(&place.path(), OLDER).await;
    let store = place.open().await;
    let migrated = store.migrated().unwrap().clone();
    assert_eq!((migrated.from, migrated.backup), (OLDER, name(5)));
    let there: Vec<u32> = (1..=5).filter(|number| name(*number).exists()).collect();
    assert_eq!(there, [3, 4, 5]);
    assert!(notes.exists());
    assert_eq!(place.open().await.migrated(), None);
}

#[tokio::test]
async fn a_damaged_database_is_not_brought_to_another_schema() {
    let place = Place::new();
    from_dump(&place.path(), OLDER).await;
    let db = raw(&place.path()).await;
    db.execute_unprepared("PRAGMA foreign_keys = OFF; DELETE FROM project")
        .await
        .unwrap();
    db.close().await.unwrap();
    let file = DatabaseFile::at(place.path());
    let before = file.facts().await.unwrap();
    let error = SqliteStore::open(place.path(), SqliteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("left as it is, at schema 1"),
        "{error}"
    );
    assert_eq!(file.facts().await.unwrap(), before);
    assert!(backups(&place.folder()).is_empty());
}

fn backups(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "backup"))
        .collect()
}

/// Where the child finds its database.
const DATABASE: &str = "CCM_STORE_TEST_OLD_DATABASE";

/// Is the child of the test below; without its environment there is nothing to do.
#[tokio::test]
async fn the_child_opens_an_old_database() {
    if let Some(path) = std::env::var_os(DATABASE) {
        let _store = SqliteStore::open(path, SqliteOptions::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_change_of_schema_that_is_killed_leaves_a_whole_one() {
    let newest = DatabaseFile::newest_schema();
    let (mut old, mut new) = (0, 0);
    let mut delay = 0;
    // Until it was cut before the end several times, and came through several times.
    while old < 3 || new < 3 {
        assert!(delay < 2000, "{old} old and {new} new ones");
        let place = Place::new();
        from_dump(&place.path(), OLDER).await;
        let whole = DatabaseFile::at(place.path()).facts().await.unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["file::the_child_opens_an_old_database", "--exact"])
            .env(DATABASE, place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        delay += 3;

        let left = DatabaseFile::at(place.path())
            .check(Depth::Full)
            .await
            .unwrap();
        // Each step is a transaction, and what is between two of them is a schema that once was the newest.
        assert!((OLDER..=newest).contains(&left.schema), "{}", left.schema);
        assert_eq!((left.tasks, left.head), (whole.tasks, whole.head));
        for backup in backups(&place.folder()) {
            let kept = DatabaseFile::at(backup).check(Depth::Full).await.unwrap();
            assert_eq!((kept.schema, kept.tasks), (OLDER, whole.tasks));
        }
        if left.schema > OLDER {
            assert_eq!(backups(&place.folder()).len(), 1);
        }
        if left.schema < newest {
            old += 1;
        } else {
            new += 1;
        }
        let store = place.open().await;
        store.begin(&seed_system(), at(2000)).await.unwrap();
        let parts = fs::read_dir(place.folder()).unwrap().flatten();
        assert!(
            !parts
                .map(|file| file.file_name().into_string().unwrap())
                .any(|name| name.ends_with(".part"))
        );
    }
}
