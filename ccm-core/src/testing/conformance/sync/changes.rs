//! Pushing and pulling.

use std::collections::BTreeSet;

use super::*;

fn body(text: &str) -> Value {
    json!({ "title": text, "unknown": { "to": ["this", 1, null, 1.5, true] } })
}

/// "Documents of all machines": what one machine pushed comes back whole, to itself and to others; a deletion too, fields
/// and kinds that nobody knows, and an operation that does nothing leaves nothing.
pub async fn what_was_pushed_is_pulled(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let second = Machine::of(place).await;
    assert_eq!(second.pull_all(10).await, []);
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let batch = [
        first.new_document(unknown(), ids[0], Some(body("größe \"1\""))),
        first.new_document(unknown(), ids[1], Some(body("2"))),
        first.operation(None),
        first.new_document(unknown(), ids[1], None),
    ];
    let pushed = first.push(&batch).await.unwrap();
    assert_eq!(pushed.acknowledged, 4);
    let fates: Vec<_> = pushed.results.iter().map(|it| it.fate.clone()).collect();
    assert_eq!(fates, vec![Fate::Taken; 4]);
    let rows = first.pull_all(10).await;
    for (row, operation) in rows.iter().zip([&batch[0], &batch[3]]) {
        let change = operation.change.as_ref().unwrap();
        assert_eq!((&row.kind, row.id), (&change.kind, change.id));
        assert_eq!((&row.body, row.hlc), (&change.body, change.hlc));
        assert_eq!((row.origin, row.epoch), (first.me.system, None));
    }
    assert_eq!(rows.len(), 2);
    assert_eq!(second.pull_all(10).await, rows);
    let mut answered = pushed.rows;
    answered.sort_by_key(|row| row.seq);
    assert_eq!(answered, rows, "the rows of the batch, without doubles");
}

/// "It has the last content of each document, not each change": a follower finds a document again above its cursor once it
/// has changed, and only there.
pub async fn the_last_content_is_pulled(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let second = Machine::of(place).await;
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    first.tell(unknown(), one, body("1")).await;
    first.tell(unknown(), two, body("2")).await;
    let before = second.page(SyncCursor::default(), 10).await;
    assert_eq!(before.rows.len(), 2);
    for text in ["3", "4"] {
        first.tell(unknown(), one, body(text)).await;
    }
    let after = second.page(before.cursor, 10).await;
    let [row] = after.rows.as_slice() else {
        panic!("one document changed: {after:?}");
    };
    assert_eq!((row.id, &row.body), (one, &Some(body("4"))));
    let ids: Vec<Uuid> = second.pull_all(10).await.iter().map(|row| row.id).collect();
    assert_eq!(ids, [two, one]);
}

/// A text of any characters is taken. A server that can't keep NUL has the replacement character in its place.
pub async fn any_characters_are_taken(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let text: String = (0..0x300u32)
        .chain([0x2028, 0xd7ff, 0xe000, 0xfffe, 0xffff, 0x1f600, 0x10_ffff])
        .filter_map(char::from_u32)
        .collect();
    let id = Uuid::now_v7();
    let sent = json!({ "text": text, text.as_str(): { "at": "\\u0000", "end": "\u{0}" } });
    let row = first.tell(unknown(), id, sent.clone()).await;
    assert_eq!(row.body.as_ref().map(without_nul), Some(without_nul(&sent)));
    assert_eq!(first.row(unknown(), id).await, Some(row));
}

fn without_nul(body: &Value) -> Value {
    let replaced = |text: &String| text.replace('\0', "\u{fffd}");
    match body {
        Value::String(text) => json!(replaced(text)),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (replaced(name), without_nul(value)))
            .collect(),
        other => other.clone(),
    }
}

/// "Push is idempotent: what was taken once is skipped", whole batches and parts of them; an empty one asks for nothing.
pub async fn a_repeated_push_is_skipped(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    let all: Vec<Operation> = ids
        .iter()
        .map(|id| first.new_document(unknown(), *id, Some(body("1"))))
        .collect();
    let empty = first.push(&[]).await.unwrap();
    assert_eq!((empty.acknowledged, empty.results.len()), (0, 0));
    for (batch, acknowledged, taken) in [
        (&all[..3], 3, 3),
        (&all[..3], 3, 0),
        (&all[1..], 5, 2),
        (&all[..2], 5, 0),
        (&[], 5, 0),
    ] {
        let pushed = first.push(batch).await.unwrap();
        assert_eq!(pushed.acknowledged, acknowledged);
        let numbers: Vec<u64> = pushed.results.iter().map(|it| it.number).collect();
        let sent: Vec<u64> = batch.iter().map(|it| it.number).collect();
        assert_eq!(numbers, sent);
        let (skipped, new) = pushed.results.split_at(batch.len() - taken);
        assert!(skipped.iter().all(|it| it.fate == Fate::Skipped));
        assert!(new.iter().all(|it| it.fate == Fate::Taken));
        assert_eq!(pushed.rows.len(), batch.len(), "also of what is skipped");
    }
    let pulled: Vec<Uuid> = first.pull_all(10).await.iter().map(|row| row.id).collect();
    assert_eq!(pulled, ids);
    assert_eq!(first.page(SyncCursor::default(), 1).await.last_number, 5);
}

/// "A gap is refused", before a batch and in it, and nothing of the batch is taken.
pub async fn a_gap_is_refused(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let all: Vec<Operation> = (0..5)
        .map(|_| first.new_document(unknown(), Uuid::now_v7(), Some(body("1"))))
        .collect();
    assert_eq!(refused(first.push(&all[1..2]).await), ErrorKind::Invalid);
    first.push(&all[..1]).await.unwrap();
    let holed = [all[1].clone(), all[3].clone()];
    assert_eq!(refused(first.push(&holed).await), ErrorKind::Invalid);
    assert_eq!(first.pull_all(10).await.len(), 1);
    assert_eq!(first.push(&all[1..]).await.unwrap().acknowledged, 5);
}

/// "A number that the server has with another uuid": nothing of the batch is taken.
pub async fn a_reused_number_is_another_machine(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let write =
        |machine: &mut Machine| machine.new_document(unknown(), Uuid::now_v7(), Some(body("1")));
    let kept = [write(&mut first), write(&mut first)];
    first.push(&kept).await.unwrap();
    let before = first.pull_all(10).await;
    first.number = 1;
    let copy = [write(&mut first), write(&mut first)];
    assert_eq!(
        refused(first.push(&copy).await),
        ErrorKind::Taken(Noun::System)
    );
    assert_eq!(first.pull_all(10).await, before);
}

/// "Oldest first", "at most so many": pages follow on each other, and an empty one leaves the cursor where it was.
pub async fn pages_follow_on_each_other(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let mut second = Machine::of(place).await;
    for round in 0..7 {
        first.tell(unknown(), Uuid::now_v7(), body("1")).await;
        if round < 5 {
            second.tell(unknown(), Uuid::now_v7(), body("2")).await;
        }
    }
    let whole = first.pull_all(100).await;
    assert_eq!(whole.len(), 12);
    for limit in [1, 5, 12] {
        assert_eq!(second.pull_all(limit).await, whole);
    }
    let page = first.page(SyncCursor::default(), 12).await;
    assert!(!page.more, "an exact page has no more");
    assert!(first.page(SyncCursor::default(), 11).await.more);
    let end = first.page(page.cursor, 12).await;
    assert_eq!(
        (end.rows.len(), end.cursor, end.more),
        (0, page.cursor, false)
    );
}

/// "A document that was written before an answer is never later found below that answer's cursor": a reader that follows
/// while eight machines push sees every document once.
pub async fn a_follower_misses_nothing(place: &dyn SyncPlace) {
    const MACHINES: usize = 8;
    const EACH: usize = 20;
    let reader = Machine::of(place).await;
    let mut pushers = tokio::task::JoinSet::new();
    for _ in 0..MACHINES {
        let mut machine = Machine::of(place).await;
        pushers.spawn(async move {
            for _ in 0..EACH {
                machine.tell(unknown(), Uuid::now_v7(), body("1")).await;
                tokio::task::yield_now().await;
            }
        });
    }
    let follow = async {
        let mut cursor = SyncCursor::default();
        let mut seen = BTreeSet::new();
        while seen.len() < MACHINES * EACH {
            let page = reader.page(cursor, 7).await;
            for row in page.rows {
                assert!(seen.insert(row.id), "a double");
            }
            cursor = page.cursor;
            tokio::task::yield_now().await;
        }
    };
    soon("every document", follow).await;
    soon("the machines", pushers.join_all()).await;
}

/// "Returns when there may be something to pull". A hint may be lost, so that there is another change if none comes.
pub async fn a_push_pokes_the_others(place: &dyn SyncPlace) {
    let mut first = Machine::of(place).await;
    let second = Machine::of(place).await;
    let poked = async {
        for _ in 0..3 {
            let poked = second.backend.poked();
            tokio::pin!(poked);
            loop {
                first.tell(unknown(), Uuid::now_v7(), body("1")).await;
                let patience = Duration::from_millis(500);
                if tokio::time::timeout(patience, &mut poked).await.is_ok() {
                    break;
                }
            }
        }
    };
    soon("three pokes", poked).await;
    assert!(second.backend.has_pokes());
}
