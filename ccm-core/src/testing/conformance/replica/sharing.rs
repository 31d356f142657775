//! Switching sharing on and off, and beginning it again.

use super::*;
use crate::ask::{AskKind, Question};
use crate::id::FencingToken;
use crate::run::{Checkpoint, Observation};
use crate::store::{Intake, LeaseRecord};

/// `None` before sharing was ever on; nothing is marked, and what writes is refused.
pub async fn nothing_is_shared_at_first(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    bench.task(&project, "x").await;
    let replica = bench.replica();
    assert_eq!(replica.sharing().await.unwrap(), None);
    assert_eq!(replica.identity().await.unwrap(), None);
    assert_eq!(bench.marks().await, []);
    let new = new_document(Kind::Wish, Uuid::now_v7(), json!({}));
    assert_eq!(refused(replica.put(vec![new], None, at(3)).await), OFF);
    let adoption = Adoption {
        rows: Vec::new(),
        cursor: SyncCursor(3),
        mark: None,
        complete: true,
    };
    assert_eq!(refused(replica.adopt(adoption, at(3)).await), OFF);
    assert_eq!(refused(replica.seal(Vec::new(), at(3)).await), OFF);
    assert_eq!(
        refused(replica.pushed(0, &[], Vec::new(), at(3)).await),
        OFF
    );
    assert_eq!(refused(replica.resync(None, at(3)).await), OFF);
    assert_eq!(refused(replica.leave_mark(Uuid::now_v7()).await), OFF);
    assert_eq!(refused(replica.see_clock(hlc(3)).await), OFF);
    assert_eq!(
        refused(replica.set_operation_aside(1, "x", at(3)).await),
        OFF
    );
    let before = bench.head().await;
    replica.unshare(at(3)).await.unwrap();
    assert_eq!(bench.head().await, before);
}

/// "Switches sharing on, as `identity`, and marks everything there is."
pub async fn sharing_marks_everything_there_is(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let waiting = bench.task(&project, "y").await;
    let run = bench.claimed(&project, &task).await.run;
    let asked = Observation::Asked {
        request_id: "1".to_owned(),
        question: Question {
            kind: AskKind::Permission,
            title: "May I?".to_owned(),
            detail: String::new(),
            choices: Vec::new(),
            payload: "{}".to_owned(),
        },
    };
    let to = Checkpoint {
        out: 1,
        ..Checkpoint::default()
    };
    let intake = Intake::new(Checkpoint::default(), to, vec![asked]);
    let ask = intake.ask_ids[0];
    bench
        .store
        .take_in(run.id, run.token, intake, at(6))
        .await
        .unwrap();
    let before = bench.head().await;
    let sharing = bench.share(1).await;
    assert_eq!(sharing.identity, bench.identity(1));
    let told = bench.replica().identity().await.unwrap();
    assert_eq!(told, Some(bench.identity(1)));
    assert_eq!((sharing.previous, sharing.complete), (None, false));
    assert_eq!((sharing.sealed, sharing.acknowledged), (0, 0));
    assert_eq!(sharing.cursor, SyncCursor(0));
    let wanted = sorted([
        name(Kind::System, bench.system.id.as_uuid()),
        name(Kind::Project, project.project.id.as_uuid()),
        name(Kind::Task, task.id.as_uuid()),
        name(Kind::Report, task.id.as_uuid()),
        name(Kind::Task, waiting.id.as_uuid()),
        name(Kind::Report, waiting.id.as_uuid()),
        name(Kind::Run, run.id.as_uuid()),
        name(Kind::Ask, ask.as_uuid()),
    ]);
    assert_eq!(bench.marked().await, wanted);
    assert_eq!(sharing.pending.marks, 8);
    let events = bench.told_since(before).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind.as_str(), "sharing.changed");
    assert_eq!(events[0].data, json!({ "on": true }));
    // What others need to understand the rest comes first.
    let order: Vec<Kind> = bench
        .marks()
        .await
        .into_iter()
        .map(|mark| mark.kind)
        .collect();
    let place = |kind: &Kind| order.iter().position(|other| other == kind);
    let sequence = [Kind::System, Kind::Project, Kind::Task, Kind::Report];
    assert!(sequence.is_sorted_by_key(place), "{order:?}");
}

/// "Already on with the same identity: unchanged."
pub async fn sharing_again_changes_nothing(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    bench.put(Kind::Wish, Uuid::now_v7(), json!({})).await;
    let (before, head) = (bench.known().await, bench.head().await);
    assert_eq!(bench.share(1).await, before);
    assert_eq!(bench.head().await, head);
}

/// "With another identity everything that was known of the server is forgotten ... documents of this machine are marked
/// again."
pub async fn another_identity_begins_anew(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let (wish, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    bench
        .put(Kind::Wish, wish, json!({ "what": "cancel" }))
        .await;
    bench.send_all().await;
    let foreign = bench.row(Kind::Project, theirs, 4, json!({}));
    bench.adopt(vec![foreign]).await;
    bench.put(Kind::Transcript, Uuid::now_v7(), json!({})).await;
    bench.seal_all().await;
    bench
        .replica()
        .leave_mark(Uuid::from_u128(77))
        .await
        .unwrap();
    let sharing = bench.share(2).await;
    assert_eq!(sharing.previous, Some(Uuid::from_u128(1)));
    assert_eq!((sharing.sealed, sharing.acknowledged), (0, 0));
    assert_eq!((sharing.cursor, sharing.complete), (SyncCursor(0), false));
    assert_eq!(sharing.left_marks, [] as [Uuid; 0]);
    assert_eq!(bench.outbox().await, []);
    assert!(bench.document(Kind::Project, theirs).await.is_none());
    let mine = bench.document(Kind::Wish, wish).await.unwrap();
    assert_eq!((mine.seq, mine.pending), (None, true));
    let marked = bench.marked().await;
    for wanted in [
        name(Kind::System, bench.system.id.as_uuid()),
        name(Kind::Project, project.project.id.as_uuid()),
        name(Kind::Task, task.id.as_uuid()),
        name(Kind::Report, task.id.as_uuid()),
        name(Kind::Wish, &wish),
    ] {
        assert!(marked.contains(&wanted), "{wanted:?} of {marked:?}");
    }
    // The moment of a document is the one when it was written.
    let marks = bench.marks().await;
    let mark = marks.iter().find(|mark| mark.id == wish).unwrap();
    assert_eq!((mark.hlc, mark.base), (mine.hlc, None));
    assert_eq!(bench.seal_all().await[0].number, 1);
    bench
        .replica()
        .pushed(1, &[], Vec::new(), at(3))
        .await
        .unwrap();
    assert_eq!(bench.known().await.previous, None);
    // One that the server never took is not what it knows.
    bench.share(3).await;
    let sharing = bench.share(4).await;
    assert_eq!(sharing.previous, Some(Uuid::from_u128(2)));
}

/// "Documents of other machines, marks and the outbox are removed; tasks of this machine stay."
pub async fn unsharing_keeps_what_is_of_this_machine(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let theirs = TaskId::new();
    let row = bench.row(
        Kind::Report,
        *theirs.as_uuid(),
        5,
        json!({ "state": "succeeded" }),
    );
    let definition = bench.definition(theirs, ProjectId::new(), 6);
    bench.adopt(vec![row, definition]).await;
    let mut wanting = spec("waits");
    wanting.blocked_by = vec![theirs];
    let blocked = order(TaskId::new(), project.project.id, wanting);
    let blocked = bench
        .store
        .create_tasks(blocked)
        .await
        .unwrap()
        .tasks
        .remove(0);
    assert!(bench.ready().await.contains(&blocked.id));
    let lease = LeaseRecord {
        claim: Uuid::now_v7(),
        token: Some(FencingToken(3)),
        until: None,
    };
    bench
        .replica()
        .keep_lease(task.id, Some(lease))
        .await
        .unwrap();
    bench.seal_all().await;
    bench.task(&project, "y").await;
    let before = bench.head().await;
    bench.replica().unshare(at(30)).await.unwrap();
    let events = bench.told_since(before).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].data, json!({ "on": false }));
    assert_eq!(bench.replica().sharing().await.unwrap(), None);
    assert_eq!(bench.replica().identity().await.unwrap(), None);
    assert_eq!(
        (bench.marks().await, bench.outbox().await),
        (vec![], vec![])
    );
    assert_eq!(bench.replica().leases().await.unwrap(), []);
    assert!(
        bench
            .document(Kind::Report, *theirs.as_uuid())
            .await
            .is_none()
    );
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    // Nobody tells of it any more.
    assert!(!bench.ready().await.contains(&blocked.id));
    bench.task(&project, "z").await;
    assert_eq!(bench.marks().await, []);
    // The server knows the machine by its last life.
    assert_eq!(bench.share(2).await.previous, Some(Uuid::from_u128(1)));
    assert!(bench.marked().await.len() > 5);
}

/// "Documents of others that the server does not send again until the end are removed then."
pub async fn resync_asks_for_everything_again(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    bench.send_all().await;
    let (kept, gone) = (Uuid::now_v7(), TaskId::new());
    let stays = bench.row(Kind::Project, kept, 4, json!({ "name": "a" }));
    let report = json!({ "state": "succeeded" });
    let goes = bench.row(Kind::Report, *gone.as_uuid(), 5, report);
    let definition = bench.definition(gone, ProjectId::new(), 6);
    bench
        .adopt_to(vec![stays.clone(), goes, definition.clone()], 6, true)
        .await;
    let mut wanting = spec("waits");
    wanting.blocked_by = vec![gone];
    let blocked = order(TaskId::new(), project.project.id, wanting);
    let blocked = bench
        .store
        .create_tasks(blocked)
        .await
        .unwrap()
        .tasks
        .remove(0);
    let pending = Uuid::now_v7();
    bench.put(Kind::Wish, pending, json!({})).await;
    bench.seal_all().await;
    let numbers = bench.outbox().await;
    let before = bench.head().await;
    bench.replica().resync(None, at(40)).await.unwrap();
    assert_eq!(bench.kinds_since(before).await, "sharing.changed");
    let sharing = bench.known().await;
    assert_eq!((sharing.cursor, sharing.complete), (SyncCursor(0), false));
    assert_eq!(
        bench.outbox().await,
        numbers,
        "they are still to be answered"
    );
    let marked = bench.marked().await;
    for wanted in [
        name(Kind::System, bench.system.id.as_uuid()),
        name(Kind::Project, project.project.id.as_uuid()),
        name(Kind::Report, task.id.as_uuid()),
    ] {
        assert!(marked.contains(&wanted), "{wanted:?} of {marked:?}");
    }
    // The same row as before counts again, and what is not there yet is not gone yet.
    bench.adopt_to(vec![stays], 4, false).await;
    assert!(
        bench
            .document(Kind::Report, *gone.as_uuid())
            .await
            .is_some()
    );
    assert!(bench.ready().await.contains(&blocked.id));
    let before = bench.head().await;
    bench.adopt_to(vec![definition], 6, true).await;
    assert_eq!(bench.kinds_since(before).await, "document.changed");
    assert!(
        bench
            .document(Kind::Report, *gone.as_uuid())
            .await
            .is_none()
    );
    assert!(!bench.ready().await.contains(&blocked.id));
    assert!(bench.document(Kind::Project, kept).await.is_some());
    assert!(bench.document(Kind::Wish, pending).await.is_some());
    assert!(bench.known().await.complete);
}

/// "Documents that this machine wrote are marked if the server did not send them, or sent an older version."
pub async fn resync_sends_again_what_the_server_lost(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let (lost, older, same) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let mut rows = Vec::new();
    for (id, seq) in [(lost, 4), (older, 5), (same, 6)] {
        let document = bench.put(Kind::Task, id, json!({ "v": 2 })).await;
        rows.push(Row {
            origin: bench.system.id,
            hlc: document.hlc,
            ..bench.row(Kind::Task, id, seq, json!({ "v": 2 }))
        });
    }
    let sent = bench.seal_all().await;
    let last = sent.last().unwrap().number;
    bench
        .replica()
        .pushed(last, &[], rows.clone(), at(11))
        .await
        .unwrap();
    assert_eq!(bench.marked().await, []);
    bench
        .replica()
        .resync(Some(last - 1), at(40))
        .await
        .unwrap();
    let of_tasks = || async {
        let marks = bench.replica().marks(&[Kind::Task], 100).await.unwrap();
        marks.into_iter().map(|mark| mark.id).collect::<Vec<_>>()
    };
    assert_eq!(of_tasks().await, [] as [Uuid; 0]);
    // Its numbers begin anew, too.
    let stale = Row {
        hlc: hlc(-5),
        body: Some(json!({ "v": 1 })),
        seq: 2,
        ..rows[1].clone()
    };
    let again = Row {
        seq: 3,
        ..rows[2].clone()
    };
    bench.adopt_to(vec![stale.clone(), again], 3, true).await;
    assert_eq!(sorted(of_tasks().await), sorted([lost, older]));
    let mine = bench.document(Kind::Task, older).await.unwrap();
    assert_eq!(mine.body, Some(json!({ "v": 2 })));
    let marks = bench.replica().marks(&[Kind::Task], 100).await.unwrap();
    let mark = marks.iter().find(|mark| mark.id == older).unwrap();
    assert_eq!((mark.hlc, mark.base), (mine.hlc, Some(2)));
    assert_eq!(mark.base_body, stale.body);
    let mark = marks.iter().find(|mark| mark.id == lost).unwrap();
    assert_eq!((mark.base, &mark.base_body), (None, &None));
    let calm = bench.document(Kind::Task, same).await.unwrap();
    assert_eq!((calm.seq, calm.pending), (Some(3), false));
}

/// "With `last_number` the next operation gets the number after it, and what is in the outbox becomes marks again."
pub async fn resync_goes_on_after_a_number(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let wish = Uuid::now_v7();
    let written = bench.put(Kind::Wish, wish, json!({ "v": 1 })).await;
    bench.seal_all().await;
    bench.replica().resync(Some(41), at(40)).await.unwrap();
    assert_eq!(bench.outbox().await, []);
    let sharing = bench.known().await;
    assert_eq!((sharing.sealed, sharing.acknowledged), (41, 41));
    assert_eq!(sharing.acknowledged_uuid, None);
    let marks = bench.replica().marks(&[Kind::Wish], 10).await.unwrap();
    assert_eq!((marks[0].id, marks[0].hlc), (wish, written.hlc));
    let outbox = bench.seal_all().await;
    assert_eq!(outbox[0].number, 42);
    assert!(bench.document(Kind::Wish, wish).await.unwrap().pending);
}

/// "Raises the clock to what was seen elsewhere", and every later moment is after it.
pub async fn the_clock_only_goes_on(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let seen = hlc(5_000);
    bench.replica().see_clock(seen).await.unwrap();
    assert_eq!(bench.known().await.clock, seen);
    bench.replica().see_clock(hlc(10)).await.unwrap();
    assert_eq!(bench.known().await.clock, seen);
    let mine = bench.put(Kind::Wish, Uuid::now_v7(), json!({})).await;
    assert!(mine.hlc > seen);
    let row = Row {
        hlc: hlc(6_000),
        ..bench.row(Kind::Wish, Uuid::now_v7(), 3, json!({}))
    };
    bench.adopt(vec![row]).await;
    let later = bench.put(Kind::Wish, Uuid::now_v7(), json!({})).await;
    assert!(later.hlc > hlc(6_000));
    let second = place.another().await;
    let kept = second.replica().unwrap().sharing().await.unwrap();
    assert_eq!(kept.unwrap().clock, later.hlc);
}

/// "Keeps the mark that is about to be left on the server": with the last one that was answered, until it is.
pub async fn left_marks_are_known_until_one_is_answered(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let mark = Uuid::from_u128;
    for number in [1, 2, 2] {
        bench.replica().leave_mark(mark(number)).await.unwrap();
    }
    assert_eq!(bench.known().await.left_marks, [mark(1), mark(2)]);
    let adoption = Adoption {
        rows: Vec::new(),
        cursor: SyncCursor(1),
        mark: Some(mark(2)),
        complete: true,
    };
    bench.replica().adopt(adoption, at(3)).await.unwrap();
    for number in 3..=80 {
        bench.replica().leave_mark(mark(number)).await.unwrap();
    }
    let left = bench.known().await.left_marks;
    assert_eq!(left[0], mark(2), "the last one that was answered stays");
    assert_eq!(left.last(), Some(&mark(80)));
    assert!(left.len() <= 64);
}
