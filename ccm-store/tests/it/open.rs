//! Opening databases of all sorts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ccm_core::{ErrorKind, Store};
use ccm_store::{SqliteOptions, SqliteStore};

use crate::support::{Place, at, create, project};

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let text = "ä\u{1b}[31m'\";\n".repeat(80_000);
    let text = &text[..text
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= 1024 * 1024)
        .last()
        .unwrap()];
    let task = create(&store, home.project.id, text).await;
    let log = store.log().await.unwrap();
    store.close().await;
    let refused = store.begin(&place.system, at(9)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);

    let store = place.open().await;
    assert_eq!(*store.watch().borrow(), log.head);
    assert_eq!(store.log().await.unwrap(), log);
    assert_eq!(store.task(task.id).await.unwrap(), task);
    assert_eq!(store.task(task.id).await.unwrap().spec.text.as_str(), text);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.path()), 0o600);
    let refused = store.pause_project(home.project.id, true, at(9)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Superseded);
}

#[tokio::test]
async fn a_newer_handle_fences_the_older() {
    let place = Place::new();
    let old = place.begin().await;
    let home = project(&old, "home").await;
    let new = place.open().await;
    let epoch = new.begin(&place.system, at(5)).await.unwrap();
    assert_eq!(epoch.0, 2);
    let refused = old.pause_project(home.project.id, true, at(6)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Superseded);
    let paused = new.pause_project(home.project.id, true, at(6)).await;
    assert!(paused.unwrap().paused);
    let log = old.log().await.unwrap();
    assert_eq!(log.head.0, 4);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_as_it_is() {
    for content in [
        b"not a database, but somebody's notes\n".repeat(100),
        b"SQLite format 3\0".to_vec(),
    ] {
        let place = Place::new();
        fs::write(place.path(), &content).unwrap();
        let refused = SqliteStore::open(place.path(), SqliteOptions::default()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("backup"), "{error}");
        assert_eq!(fs::read(place.path()).unwrap(), content);
        assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn memory_is_a_store_too() {
    let place = Place::new();
    let store = SqliteStore::in_memory().await.unwrap();
    store.begin(&place.system, at(0)).await.unwrap();
    let home = project(&store, "home").await;
    let task = create(&store, home.project.id, "x").await;
    assert_eq!(store.task(task.id).await.unwrap(), task);
    let other = SqliteStore::in_memory().await.unwrap();
    assert!(other.projects().await.unwrap().is_empty());
}
