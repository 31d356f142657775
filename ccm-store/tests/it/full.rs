//! A disk that is full.

use ccm_core::{ErrorKind, Store};
use ccm_store::{SqliteOptions, SqliteStore};

use crate::support::{Place, at, create, project, request, spec};

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
