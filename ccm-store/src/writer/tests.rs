//! Changes that break rules which their own checks should have kept.

use std::sync::atomic::{AtomicU32, Ordering};

use ccm_core::event::EventKind;
use ccm_core::id::{Epoch, SystemId};
use ccm_core::system::{System, SystemKind};
use ccm_core::time::Timestamp;
use ccm_core::{ErrorKind, Result, Store};
use sea_orm::sqlx;
use serde_json::json;

use super::*;
use crate::SqliteStore;

/// Writes an event, and a counter that the schema refuses.
struct Rogue;

impl Change for Rogue {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        work.meta.queued = -1;
        Good.apply(work)
    }
}

/// Writes an event.
struct Good;

impl Change for Good {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        let now = Timestamp::from_micros(0);
        work.event(now, EventKind::DaemonStarted, About::default(), &json!({}));
        Ok(())
    }
}

/// Counts in how many groups it was.
struct Counting<'a>(&'a AtomicU32);

impl Change for Counting<'static> {
    type Answer = ();

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Good.apply(work)
    }
}

async fn store() -> SqliteStore {
    let store = SqliteStore::in_memory().await.unwrap();
    let system = System {
        id: SystemId::new(),
        hostname: "here".to_owned(),
        kind: SystemKind::Developer,
        tags: vec![],
    };
    let epoch = store.begin(&system, Timestamp::from_micros(0)).await;
    assert_eq!(epoch.unwrap(), Epoch(1));
    store
}

#[tokio::test]
async fn a_rule_that_was_not_foreseen_fails_only_who_broke_it() {
    static GROUPS: AtomicU32 = AtomicU32::new(0);
    let store = store().await;
    let writer = &store.writer;
    let (before, rogue, counted, after) = tokio::join!(
        writer.write(Good),
        writer.write(Rogue),
        writer.write(Counting(&GROUPS)),
        writer.write(Good),
    );
    before.unwrap();
    after.unwrap();
    counted.unwrap();
    assert_eq!(rogue.unwrap_err().kind(), ErrorKind::Invalid);
    // Together with the others at first, and then alone.
    assert_eq!(GROUPS.load(Ordering::Relaxed), 2);
    assert_eq!(store.log().await.unwrap().head, Seq(4));
    assert_eq!(store.counts().await.unwrap().queued, 0);
}

#[test]
fn a_commit_without_an_answer_is_unknown() {
    let failed = |committing| {
        let error = sqlx::Error::WorkerCrashed;
        Failure { error, committing }.describe().kind()
    };
    assert_eq!(failed(true), ErrorKind::Unknown);
    assert_eq!(failed(false), ErrorKind::Unavailable);
}
