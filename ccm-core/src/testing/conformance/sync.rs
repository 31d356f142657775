//! What every [`SyncBackend`] with a server behind it must do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use uuid::Uuid;

use super::{refused, soon};
use crate::id::{FencingToken, SystemId, TaskId};
use crate::sync::{Change, Pulled, SharedClaim, SyncBackend, SyncCursor};
use crate::{ErrorKind, Noun};

/// Makes one `#[tokio::test]` of every case of the sync suite.
///
/// The first argument is an async function without arguments that returns a [`SyncPlace`] with an empty server. What
/// follows goes into `#[tokio::test(...)]`.
#[macro_export]
macro_rules! sync_conformance {
    ($factory:path) => { $crate::sync_conformance!($factory,); };
    ($factory:path, $($flavor:tt)*) => {
        $crate::for_each_sync_case!($factory, [$($flavor)*]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! for_each_sync_case {
    ($factory:path, $flavor:tt) => {
        $crate::for_each_sync_case!($factory, $flavor,
            what_was_pushed_is_pulled
            a_repeated_push_is_skipped
            a_gap_is_refused
            a_reused_number_is_a_conflict
            pages_follow_on_each_other
            a_follower_misses_nothing
            one_machine_gets_a_task
            a_repeated_claim_is_the_same
            a_lease_ends_unless_it_is_renewed
            a_finished_task_is_given_back
        );
    };
    ($factory:path, $flavor:tt, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const SYNC_CASES: &[&str] = &[$(stringify!($case)),*];
        $($crate::conformance_case!(sync $factory $flavor $case);)*
    };
}

/// A server under test that several machines of one user share.
#[async_trait]
pub trait SyncPlace: Send + Sync {
    /// Another machine with an id of its own.
    async fn machine(&self) -> (SystemId, Arc<dyn SyncBackend>);

    /// Lets so much time pass on the server.
    async fn pass(&self, period: Duration);
}

/// How long the suite's leases are. A real server's time passes for real, so it is short.
const PERIOD: Duration = Duration::from_secs(3);

fn change(origin: SystemId, number: u64) -> Change {
    Change {
        origin,
        number,
        uuid: Uuid::now_v7(),
        kind: "task".to_owned(),
        id: Uuid::now_v7(),
        body: Some(json!({ "title": "größe \"1\"", "unknown": { "to": ["this", 1, null] } })),
        hlc: (1_790_000_000_000_000 + number as i64, 3),
    }
}

fn changes(origin: SystemId, numbers: std::ops::Range<u64>) -> Vec<Change> {
    numbers.map(|number| change(origin, number)).collect()
}

async fn pull_all(backend: &dyn SyncBackend, mut cursor: SyncCursor, limit: u32) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        let Pulled {
            changes,
            cursor: next,
            more,
        } = backend.pull(cursor, limit).await.expect("pull");
        assert!(changes.len() <= limit as usize, "more than was asked for");
        assert!(
            next > cursor || changes.is_empty(),
            "the cursor did not move"
        );
        all.extend(changes);
        cursor = next;
        if !more {
            break all;
        }
    }
}

fn wish(system: SystemId, task: TaskId) -> SharedClaim {
    SharedClaim {
        id: Uuid::now_v7(),
        task,
        system,
        period: PERIOD,
    }
}

/// "Changes of all machines": what one machine pushed comes back whole, to itself and to others; a deletion too, and
/// fields that nobody knows.
pub async fn what_was_pushed_is_pulled(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let (_, second) = place.machine().await;
    assert!(first.is_connected());
    assert_eq!(pull_all(&*second, SyncCursor::default(), 10).await, []);
    let mut batch = changes(one, 1..4);
    batch[1].body = None;
    assert_eq!(first.push(&batch).await.unwrap().acknowledged, 3);
    for machine in [&first, &second] {
        assert_eq!(pull_all(&**machine, SyncCursor::default(), 10).await, batch);
    }
}

/// "Push is idempotent by (origin, number): what was taken once is skipped", whole batches and parts of them.
pub async fn a_repeated_push_is_skipped(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let all = changes(one, 1..6);
    assert_eq!(first.push(&all[..3]).await.unwrap().acknowledged, 3);
    assert_eq!(first.push(&all[..3]).await.unwrap().acknowledged, 3);
    assert_eq!(first.push(&all[1..]).await.unwrap().acknowledged, 5);
    assert_eq!(first.push(&all[..2]).await.unwrap().acknowledged, 5);
    assert_eq!(pull_all(&*first, SyncCursor::default(), 10).await, all);
}

/// "A gap is refused", before a batch and in it, and nothing of the batch is taken.
pub async fn a_gap_is_refused(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let all = changes(one, 1..6);
    assert_eq!(refused(first.push(&all[1..2]).await), ErrorKind::Invalid);
    first.push(&all[..1]).await.unwrap();
    let holed = [all[1].clone(), all[3].clone()];
    assert_eq!(refused(first.push(&holed).await), ErrorKind::Invalid);
    assert_eq!(pull_all(&*first, SyncCursor::default(), 10).await, all[..1]);
    assert_eq!(first.push(&all[1..]).await.unwrap().acknowledged, 5);
}

/// "The same number with another uuid is an identity conflict", and nothing of the batch is taken.
pub async fn a_reused_number_is_a_conflict(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let kept = changes(one, 1..3);
    first.push(&kept).await.unwrap();
    let copy = changes(one, 2..4);
    assert_eq!(
        refused(first.push(&copy).await),
        ErrorKind::Taken(Noun::System)
    );
    assert_eq!(pull_all(&*first, SyncCursor::default(), 10).await, kept);
}

/// "At most `limit`, oldest first": pages follow on each other, and an empty answer leaves the cursor where it was.
pub async fn pages_follow_on_each_other(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let (two, second) = place.machine().await;
    let (of_one, of_two) = (changes(one, 1..8), changes(two, 1..6));
    for number in 0..7 {
        first.push(&of_one[number..=number]).await.unwrap();
        if let Some(change) = of_two.get(number..=number) {
            second.push(change).await.unwrap();
        }
    }
    let whole = pull_all(&*first, SyncCursor::default(), 100).await;
    assert_eq!(whole.len(), 12);
    assert_eq!(pull_all(&*second, SyncCursor::default(), 5).await, whole);
    let own = |origin| -> Vec<Change> {
        whole
            .iter()
            .filter(|change| change.origin == origin)
            .cloned()
            .collect()
    };
    assert_eq!(
        (own(one), own(two)),
        (of_one, of_two),
        "order within one origin is kept"
    );
    let page = first.pull(SyncCursor::default(), 12).await.unwrap();
    assert!(!page.more, "an exact page has no more");
    let end = first.pull(page.cursor, 12).await.unwrap();
    assert_eq!(
        end,
        Pulled {
            changes: Vec::new(),
            cursor: page.cursor,
            more: false
        }
    );
}

/// "A change that was committed before an answer is never later found below that answer's cursor": a reader that follows
/// while eight machines push sees every change once.
pub async fn a_follower_misses_nothing(place: &dyn SyncPlace) {
    const MACHINES: usize = 8;
    const EACH: u64 = 20;
    let mut pushers = tokio::task::JoinSet::new();
    for _ in 0..MACHINES {
        let (origin, backend) = place.machine().await;
        pushers.spawn(async move {
            for number in 1..=EACH {
                backend.push(&[change(origin, number)]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    let (_, reader) = place.machine().await;
    let follow = async {
        let mut cursor = SyncCursor::default();
        let mut seen = BTreeSet::new();
        while seen.len() < MACHINES * EACH as usize {
            let page = reader.pull(cursor, 7).await.unwrap();
            for change in page.changes {
                assert!(seen.insert((change.origin, change.number)), "a double");
            }
            cursor = page.cursor;
            tokio::task::yield_now().await;
        }
    };
    soon("every change", follow).await;
    soon("the machines", pushers.join_all()).await;
}

/// "Claims hand a shared task to one machine at a time": of many at once one gets it, the others get `WrongState(Task)`.
pub async fn one_machine_gets_a_task(place: &dyn SyncPlace) {
    let task = TaskId::new();
    let mut claimers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (system, backend) = place.machine().await;
        claimers.spawn(async move {
            backend
                .claim(&wish(system, task))
                .await
                .map_err(|e| e.kind())
        });
    }
    let answers = soon("the claims", claimers.join_all()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for kind in answers.into_iter().filter_map(Result::err) {
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
    }
}

/// "Idempotent by `claim.id`": a repeated claim is the same claim.
pub async fn a_repeated_claim_is_the_same(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let claim = wish(one, TaskId::new());
    let lease = first.claim(&claim).await.unwrap();
    assert!(lease.token > FencingToken(0));
    assert_eq!(first.claim(&claim).await.unwrap(), lease);
    let renewed = first
        .renew(claim.task, lease.token, PERIOD * 2)
        .await
        .unwrap();
    assert_eq!(renewed.token, lease.token);
    assert!(renewed.until > lease.until);
    assert_eq!(first.claim(&claim).await.unwrap(), renewed);
}

/// A lease that is renewed holds; one that ended is another machine's to have, and then the first is `Superseded`.
pub async fn a_lease_ends_unless_it_is_renewed(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let (two, second) = place.machine().await;
    let task = TaskId::new();
    let lease = first.claim(&wish(one, task)).await.unwrap();
    place.pass(PERIOD / 2).await;
    first.renew(task, lease.token, PERIOD).await.unwrap();
    place.pass(PERIOD * 2 / 3).await;
    let kind = refused(second.claim(&wish(two, task)).await);
    assert_eq!(
        kind,
        ErrorKind::WrongState(Noun::Task),
        "the renewed lease holds"
    );
    place.pass(PERIOD).await;
    let next = second.claim(&wish(two, task)).await.unwrap();
    assert!(next.token > lease.token, "tokens grow");
    let gone = ErrorKind::Superseded;
    assert_eq!(refused(first.renew(task, lease.token, PERIOD).await), gone);
    assert_eq!(refused(first.finish(task, lease.token).await), gone);
    assert_eq!(
        refused(first.renew(task, next.token, PERIOD).await),
        gone,
        "another's token"
    );
    second.renew(task, next.token, PERIOD).await.unwrap();
}

/// "Gives a shared task back ... Idempotent": then another machine may have it at once.
pub async fn a_finished_task_is_given_back(place: &dyn SyncPlace) {
    let (one, first) = place.machine().await;
    let (two, second) = place.machine().await;
    let task = TaskId::new();
    let lease = first.claim(&wish(one, task)).await.unwrap();
    for _ in 0..2 {
        first.finish(task, lease.token).await.unwrap();
    }
    assert_eq!(
        refused(first.renew(task, lease.token, PERIOD).await),
        ErrorKind::Superseded
    );
    let next = second.claim(&wish(two, task)).await.unwrap();
    assert!(next.token > lease.token);
    assert_eq!(
        refused(first.finish(task, lease.token).await),
        ErrorKind::Superseded
    );
    second.finish(task, next.token).await.unwrap();
}
