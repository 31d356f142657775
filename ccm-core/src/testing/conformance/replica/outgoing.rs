//! Operations: numbering them, sending them, and what became of them.

use super::*;
use crate::id::FencingToken;
use crate::store::SetAside;
use crate::sync::{Change, Fate, PushResult};

fn refusal(number: u64) -> PushResult {
    PushResult {
        number,
        fate: Fate::Refused {
            code: "not_owner".to_owned(),
            message: "this is another's".to_owned(),
        },
    }
}

/// What the server says of a document that this machine wrote.
fn taken(bench: &Bench, document: &Document, seq: u64) -> Row {
    Row {
        origin: bench.system.id,
        hlc: document.hlc,
        body: document.body.clone(),
        ..bench.row(document.kind.clone(), document.id, seq, json!({}))
    }
}

async fn pushed(bench: &Bench, acknowledged: u64, rows: Vec<Row>) {
    let done = bench
        .replica()
        .pushed(acknowledged, &[], rows, at(12))
        .await;
    done.expect("pushed");
}

/// "Takes their marks away, except one whose moment is no longer the one that is named."
pub async fn seal_takes_unchanged_marks_away(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let marks = bench.marks().await;
    bench.store.cancel_task(task.id, "me", at(8)).await.unwrap();
    let operations = marks
        .iter()
        .cloned()
        .map(|mark| sealed(mark, None))
        .collect();
    bench.replica().seal(operations, at(9)).await.unwrap();
    assert_eq!(
        bench.marked().await,
        [name(Kind::Report, task.id.as_uuid())]
    );
    assert_eq!(bench.outbox().await.len(), marks.len());
    let counts = bench.known().await.pending;
    assert_eq!((counts.marks, counts.outbox), (1, marks.len() as u64));
}

/// "Numbered without gaps", over many seals, and a number whose content was set aside stays one.
pub async fn numbers_have_no_gaps(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let begin = bench.known().await.sealed;
    let project = bench.project("p").await;
    bench.task(&project, "x").await;
    bench.seal_all().await;
    bench.replica().seal(Vec::new(), at(3)).await.unwrap();
    bench.task(&project, "y").await;
    bench.seal_all().await;
    let numbers = async || {
        let outbox = bench.outbox().await.into_iter();
        outbox.map(|one| one.number).collect::<Vec<_>>()
    };
    let wanted: Vec<u64> = (begin + 1..=begin + 5).collect();
    assert_eq!(numbers().await, wanted);
    let replica = bench.replica();
    replica
        .set_operation_aside(begin + 2, "x", at(9))
        .await
        .unwrap();
    assert_eq!(numbers().await, wanted);
    let outbox = bench.outbox().await;
    let empty: Vec<u64> = outbox
        .iter()
        .filter(|one| one.change.is_none())
        .map(|one| one.number)
        .collect();
    assert_eq!(empty, [begin + 2]);
    pushed(&bench, begin + 5, Vec::new()).await;
    assert_eq!(numbers().await, [] as [u64; 0]);
    bench.task(&project, "z").await;
    bench.seal_all().await;
    assert_eq!(numbers().await, [begin + 6, begin + 7]);
    assert_eq!(bench.known().await.sealed, begin + 7);
}

/// "They stay byte for byte what they were until the server has them", and have all that they were sealed with.
pub async fn operations_stay_what_they_were(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let mark = bench
        .replica()
        .marks(&[Kind::Report], 1)
        .await
        .unwrap()
        .remove(0);
    let change = Change {
        kind: Kind::Report,
        id: *task.id.as_uuid(),
        body: Some(json!({ "größe": [1, 2.5, null], "z": { "a": "\u{1F980}" } })),
        hlc: mark.hlc,
        base: Some(u64::from(u32::MAX) + 5),
        base_body: Some(json!(["anything"])),
        epoch: Some(FencingToken(9)),
    };
    let named = Mark {
        base: change.base,
        base_body: change.base_body.clone(),
        ..mark
    };
    let uuid = Uuid::now_v7();
    let operation = SealedOperation {
        mark: named,
        uuid,
        body: change.body.clone(),
        epoch: change.epoch,
    };
    bench.replica().seal(vec![operation], at(9)).await.unwrap();
    let number = bench.known().await.sealed;
    let wanted = Operation {
        number,
        uuid,
        change: Some(change),
    };
    assert_eq!(bench.outbox().await, std::slice::from_ref(&wanted));
    bench.store.cancel_task(task.id, "me", at(8)).await.unwrap();
    bench.replica().resync(None, at(9)).await.unwrap();
    let second = place.another().await;
    let outbox = second.replica().unwrap().outbox(0, 10, u64::MAX).await;
    assert_eq!(outbox.unwrap(), [wanted]);
}

/// "At most `limit`, and no more than `max_bytes` of content unless one alone has more."
pub async fn the_outbox_is_read_by_size(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    for _ in 0..5 {
        bench.put(Kind::Wish, Uuid::now_v7(), json!({})).await;
    }
    let marks = bench.marks().await;
    let sizes = [10, 10, 2_000, 10, 10];
    let operations = marks.into_iter().zip(sizes);
    let operations = operations
        .map(|(mark, size)| sealed(mark, Some(json!("x".repeat(size - 2)))))
        .collect();
    bench.replica().seal(operations, at(9)).await.unwrap();
    let first = bench.outbox().await[0].number;
    let read = async |limit, bytes| {
        let outbox = bench.replica().outbox(0, limit, bytes).await.unwrap();
        let numbers = outbox.into_iter().map(|one| one.number - first);
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(read(2, u64::MAX).await, [0, 1]);
    assert_eq!(read(9, 20).await, [0, 1]);
    assert_eq!(read(9, 2_019).await, [0, 1]);
    assert_eq!(read(9, 2_030).await, [0, 1, 2, 3]);
    assert_eq!(read(9, 0).await, [0], "one alone may be larger");
    let after = bench.replica().outbox(first + 1, 1, 0).await.unwrap();
    assert_eq!(after[0].number, first + 2);
    pushed(&bench, first + 1, Vec::new()).await;
    assert_eq!(read(9, 100).await, [2]);
    assert_eq!(read(0, 100).await, [] as [u64; 0]);
}

/// "Takes what is acknowledged out of the outbox", and keeps the last number and its uuid.
pub async fn pushed_takes_out_what_is_acknowledged(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    bench.task(&project, "x").await;
    let outbox = bench.seal_all().await;
    pushed(&bench, outbox[1].number, Vec::new()).await;
    let rest = bench.outbox().await;
    assert_eq!(rest, outbox[2..]);
    let sharing = bench.known().await;
    assert_eq!(sharing.acknowledged, outbox[1].number);
    assert_eq!(sharing.acknowledged_uuid, Some(outbox[1].uuid));
    // An older answer that comes late takes nothing back.
    pushed(&bench, outbox[0].number, Vec::new()).await;
    assert_eq!(bench.known().await, sharing);
    assert_eq!(bench.outbox().await, rest);
}

/// "Adopts the server's rows of it as they are, also over documents that were edited here", its clamped clock included.
pub async fn pushed_adopts_the_servers_row(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let mine = bench.put(Kind::Task, id, json!({ "by": "me" })).await;
    assert_eq!((mine.seq, mine.pending), (None, true));
    assert_eq!(mine.origin, bench.system.id);
    let outbox = bench.seal_all().await;
    let theirs = bench.row(Kind::Task, id, 8, json!({ "by": "them" }));
    let before = bench.head().await;
    pushed(&bench, outbox[0].number, vec![theirs.clone()]).await;
    assert_eq!(bench.kinds_since(before).await, "document.changed");
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!(now.body, theirs.body);
    assert_eq!((now.hlc, now.origin), (theirs.hlc, bench.other));
    assert_eq!((now.seq, now.pending), (Some(8), false));
    assert!(now.place > mine.place);
    // What is taken as it was sent is no news, but for its number and clock.
    let again = bench.put(Kind::Task, id, json!({ "by": "me" })).await;
    let outbox = bench.seal_all().await;
    let clamped = Row {
        hlc: hlc(15),
        ..taken(&bench, &again, 9)
    };
    let before = bench.head().await;
    pushed(&bench, outbox[0].number, vec![clamped]).await;
    assert_eq!(bench.head().await, before);
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.hlc, now.seq), (hlc(15), Some(9)));
    assert_eq!(now.place, again.place);
}

/// "Unless they were changed again since": that is still to be sent, on top of what the server has taken.
pub async fn pushed_keeps_what_was_changed_again(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let first = bench.put(Kind::Task, id, json!({ "v": 1 })).await;
    let outbox = bench.seal_all().await;
    let second = bench.put(Kind::Task, id, json!({ "v": 2 })).await;
    let row = taken(&bench, &first, 8);
    pushed(&bench, outbox[0].number, vec![row.clone()]).await;
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!(now.body, second.body);
    assert_eq!((now.seq, now.pending), (Some(8), true));
    let mark = bench.marks().await.remove(0);
    assert_eq!((mark.hlc, mark.base), (second.hlc, Some(8)));
    assert_eq!(mark.base_body, row.body);
    let outbox = bench.seal_all().await;
    let row = taken(&bench, &second, 9);
    pushed(&bench, outbox[0].number, vec![row]).await;
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.body, now.seq), (second.body, Some(9)));
    assert!(!now.pending);
}

/// Another machine's edit that won meanwhile does not become what the second edit was made on: the server has to see that
/// nobody here knew of it.
pub async fn pushed_keeps_another_edit_that_was_not_seen(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let begin = bench.row(Kind::Task, id, 4, json!({ "v": 0 }));
    bench.adopt(vec![begin.clone()]).await;
    bench.put(Kind::Task, id, json!({ "v": 1 })).await;
    let outbox = bench.seal_all().await;
    let mine = bench.put(Kind::Task, id, json!({ "v": 2 })).await;
    let theirs = bench.row(Kind::Task, id, 8, json!({ "by": "them" }));
    pushed(&bench, outbox[0].number, vec![theirs.clone()]).await;
    let mark = bench.marks().await.remove(0);
    assert_eq!((mark.base, &mark.base_body), (Some(4), &begin.body));
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((&now.body, now.pending), (&mine.body, true));
    let outbox = bench.seal_all().await;
    pushed(&bench, outbox[0].number, vec![theirs.clone()]).await;
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.body, now.seq), (theirs.body, Some(8)));
}

/// "What was refused is kept", newest first, and the server's version counts again.
pub async fn what_was_refused_can_be_looked_at(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let (id, new) = (Uuid::now_v7(), Uuid::now_v7());
    let theirs = bench.row(Kind::Task, id, 4, json!({ "by": "them" }));
    bench.adopt(vec![theirs.clone()]).await;
    bench.put(Kind::Task, id, json!({ "by": "me" })).await;
    bench.put(Kind::Wish, new, json!({})).await;
    let outbox = bench.seal_all().await;
    let numbers: Vec<u64> = outbox.iter().map(|one| one.number).collect();
    let results = numbers.iter().map(|number| refusal(*number));
    let results: Vec<PushResult> = results.collect();
    let rows = vec![theirs.clone()];
    bench
        .replica()
        .pushed(numbers[1], &results, rows, at(12))
        .await
        .unwrap();
    let aside = bench.replica().set_aside(10).await.unwrap();
    let wanted = |at_: usize, kind, id| SetAside {
        number: numbers[at_],
        kind,
        id,
        body: outbox[at_].change.as_ref().unwrap().body.clone(),
        why: "this is another's (not_owner)".to_owned(),
        at: at(12),
    };
    let wanted = [wanted(1, Kind::Wish, new), wanted(0, Kind::Task, id)];
    assert_eq!(aside, wanted);
    assert_eq!(bench.replica().set_aside(1).await.unwrap(), wanted[..1]);
    assert_eq!(bench.known().await.pending.set_aside, 2);
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.body, now.seq), (theirs.body, Some(4)));
    assert_eq!((now.pending, now.origin), (false, bench.other));
}

/// "Forgets what was set aside, or tries it again as a new change."
pub async fn what_was_refused_can_be_tried_again(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let id = Uuid::now_v7();
    let theirs = bench.row(Kind::Task, id, 4, json!({ "by": "them" }));
    bench.adopt(vec![theirs.clone()]).await;
    bench.put(Kind::Task, id, json!({ "by": "me" })).await;
    let outbox = bench.seal_all().await;
    let last = outbox.last().unwrap().number;
    let results: Vec<PushResult> = outbox.iter().map(|one| refusal(one.number)).collect();
    let rows = vec![theirs.clone()];
    bench
        .replica()
        .pushed(last, &results, rows, at(12))
        .await
        .unwrap();
    assert_eq!(bench.marked().await, []);
    let again = |number, again| bench.replica().dismiss_set_aside(number, again, at(13));
    again(last, true).await.unwrap();
    let now = bench.document(Kind::Task, id).await.unwrap();
    let body = outbox.last().unwrap().change.as_ref().unwrap().body.clone();
    assert_eq!((now.body, now.pending), (body, true));
    let mark = bench.marks().await.remove(0);
    assert_eq!(
        (mark.id, mark.base, mark.base_body),
        (id, Some(4), theirs.body)
    );
    assert!(mark.hlc > theirs.hlc);
    // What is made of this machine's own rows is made anew.
    let report = outbox.iter().find(|one| {
        let change = one.change.as_ref().unwrap();
        (&change.kind, change.id) == (&Kind::Report, *task.id.as_uuid())
    });
    again(report.unwrap().number, true).await.unwrap();
    let report = name(Kind::Report, task.id.as_uuid());
    assert!(bench.marked().await.contains(&report));
    again(outbox[0].number, false).await.unwrap();
    assert_eq!(bench.marks().await.len(), 2);
    assert_eq!(
        refused(again(outbox[0].number, false).await),
        ErrorKind::Invalid
    );
    let left = bench.replica().set_aside(10).await.unwrap();
    assert_eq!(left.len(), outbox.len() - 3);
}

/// "The number stays in the outbox and does nothing; rows that waited for it are adopted."
pub async fn setting_aside_releases_what_waited(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let (waited, edited) = (Uuid::now_v7(), Uuid::now_v7());
    let begin = bench.row(Kind::Task, edited, 4, json!({ "v": 0 }));
    bench.adopt(vec![begin.clone()]).await;
    bench.put(Kind::Task, waited, json!({ "by": "me" })).await;
    bench.put(Kind::Task, edited, json!({ "v": 1 })).await;
    let outbox = bench.seal_all().await;
    let theirs = bench.row(Kind::Task, waited, 9, json!({ "by": "them" }));
    bench.adopt(vec![theirs.clone()]).await;
    for one in &outbox {
        let aside = bench
            .replica()
            .set_operation_aside(one.number, "too large", at(12));
        aside.await.unwrap();
    }
    let now = bench.document(Kind::Task, waited).await.unwrap();
    assert_eq!(
        (now.body, now.seq, now.pending),
        (theirs.body, Some(9), false)
    );
    let now = bench.document(Kind::Task, edited).await.unwrap();
    assert_eq!(
        (now.body, now.seq, now.pending),
        (begin.body, Some(4), false)
    );
    let left: Vec<(u64, Uuid)> = outbox.iter().map(|one| (one.number, one.uuid)).collect();
    let outbox = bench.outbox().await;
    assert!(outbox.iter().all(|one| one.change.is_none()));
    let numbers: Vec<(u64, Uuid)> = outbox.iter().map(|one| (one.number, one.uuid)).collect();
    assert_eq!(numbers, left);
    let aside = bench.replica().set_aside(10).await.unwrap();
    assert_eq!(aside.len(), 2);
    assert_eq!((aside[1].id, aside[1].why.as_str()), (waited, "too large"));
    // Once more is nothing, and one that is not there is told.
    let replica = bench.replica();
    replica
        .set_operation_aside(left[0].0, "again", at(13))
        .await
        .unwrap();
    assert_eq!(bench.replica().set_aside(10).await.unwrap(), aside);
    let unknown = replica
        .set_operation_aside(left[1].0 + 1, "x", at(13))
        .await;
    assert_eq!(refused(unknown), ErrorKind::Invalid);
}

/// A row goes on waiting while there is more to send.
pub async fn setting_aside_keeps_what_has_more_to_send(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    bench.put(Kind::Task, id, json!({ "v": 1 })).await;
    bench.seal_all().await;
    let second = bench.put(Kind::Task, id, json!({ "v": 2 })).await;
    let outbox = bench.seal_all().await;
    let theirs = bench.row(Kind::Task, id, 9, json!({ "by": "them" }));
    bench.adopt(vec![theirs.clone()]).await;
    let aside = |number| bench.replica().set_operation_aside(number, "x", at(12));
    aside(outbox[1].number).await.unwrap();
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.body, now.pending), (second.body, true));
    aside(outbox[0].number).await.unwrap();
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.body, now.pending), (theirs.body, false));
}
