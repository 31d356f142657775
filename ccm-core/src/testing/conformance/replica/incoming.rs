//! Rows of the server.

use super::*;

/// "Keeps what was pulled, with the cursor, in one commit", and tells of each with what its content names.
pub async fn adopt_keeps_rows_and_cursor(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let before = bench.head().await;
    let (project, task, run) = (ProjectId::new(), TaskId::new(), RunId::new());
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let body = json!({ "project_id": project, "task_id": task, "run_id": run });
    let rows = vec![
        bench.definition(task, project, 3),
        bench.row(Kind::Transcript, ids[0], 4, body),
        bench.row(Kind::System, ids[1], 5, json!({ "hostname": "b" })),
    ];
    let adopted = bench.adopt_to(rows.clone(), 17, true).await;
    let changed = Adopted {
        changed: 3,
        waiting: 0,
    };
    assert_eq!(adopted, changed);
    let sharing = bench.known().await;
    assert_eq!((sharing.cursor, sharing.complete), (SyncCursor(17), true));
    let events = bench.told_since(before).await;
    let about: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.kind.as_str(),
                event.project_id,
                event.task_id,
                event.run_id,
            )
        })
        .collect();
    let kind = "document.changed";
    let wanted = [
        (kind, Some(project), Some(task), None),
        (kind, Some(project), Some(task), Some(run)),
        (kind, None, None, None),
    ];
    assert_eq!(about, wanted);
    let data = json!({ "kind": "task", "id": task, "origin": bench.other });
    assert_eq!(events[0].data, data);
    let second = place.another().await;
    let mut last = 0;
    for row in rows {
        let found = second.replica().unwrap().document(&row.kind, row.id).await;
        let found = found.unwrap().unwrap();
        assert!(found.place > last);
        last = found.place;
        let wanted = Document {
            kind: row.kind,
            id: row.id,
            body: row.body,
            hlc: row.hlc,
            origin: row.origin,
            seq: Some(row.seq),
            pending: false,
            place: found.place,
        };
        assert_eq!(found, wanted);
    }
}

/// "A row that is not newer than the one that is there (by `seq`) changes nothing."
pub async fn an_older_row_changes_nothing(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let row = |seq, v| bench.row(Kind::Project, id, seq, json!({ "v": v }));
    bench.adopt(vec![row(5, 1)]).await;
    let first = bench.document(Kind::Project, id).await.unwrap();
    let before = bench.head().await;
    let adopted = bench.adopt(vec![row(5, 2), row(4, 3)]).await;
    assert_eq!(adopted, Adopted::default());
    assert_eq!(bench.document(Kind::Project, id).await.unwrap(), first);
    // The same content again is no news, whatever its number.
    let adopted = bench.adopt(vec![row(6, 1)]).await;
    assert_eq!(adopted, Adopted::default());
    assert_eq!(bench.head().await, before);
    let now = bench.document(Kind::Project, id).await.unwrap();
    assert_eq!((now.seq, now.place), (Some(6), first.place));
    let adopted = bench.adopt(vec![row(7, 2), row(8, 3)]).await;
    assert_eq!(adopted.changed, 2);
    let now = bench.document(Kind::Project, id).await.unwrap();
    assert_eq!(now.body, Some(json!({ "v": 3 })));
    assert!(now.place > first.place, "it grows with every change");
}

/// "Adopting never overwrites a document that has a mark or an operation in the outbox."
pub async fn adopt_never_overwrites_what_waits(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let mine = bench.put(Kind::Task, id, json!({ "by": "me" })).await;
    let theirs = |seq| bench.row(Kind::Task, id, seq, json!({ "by": "them", "seq": seq }));
    let before = bench.head().await;
    let waits = Adopted {
        changed: 0,
        waiting: 1,
    };
    assert_eq!(bench.adopt(vec![theirs(5)]).await, waits);
    assert_eq!(bench.document(Kind::Task, id).await.unwrap(), mine);
    let outbox = bench.seal_all().await;
    assert_eq!(bench.adopt(vec![theirs(7)]).await, waits);
    assert_eq!(bench.adopt(vec![theirs(6)]).await, Adopted::default());
    assert_eq!(bench.document(Kind::Task, id).await.unwrap(), mine);
    assert_eq!(bench.head().await, before);
    // It was pulled later than the answer was made.
    let rows = vec![theirs(6)];
    let last = outbox[0].number;
    bench
        .replica()
        .pushed(last, &[], rows, at(12))
        .await
        .unwrap();
    let now = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((now.seq, now.body), (Some(7), theirs(7).body));
    // One that is of rows of this machine waits as well.
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let row = bench.definition(task.id, project.project.id, 9);
    assert_eq!(bench.adopt(vec![row.clone()]).await, waits);
    assert!(
        bench
            .document(Kind::Task, *task.id.as_uuid())
            .await
            .is_none()
    );
    let outbox = bench.seal_all().await;
    let last = outbox.last().unwrap().number;
    bench
        .replica()
        .pushed(last, &[], vec![], at(12))
        .await
        .unwrap();
    let now = bench
        .document(Kind::Task, *task.id.as_uuid())
        .await
        .unwrap();
    assert_eq!(now.body, row.body);
}

/// What this machine's own rows say better is not kept, and is no news.
pub async fn what_this_machine_sent_comes_back_quietly(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.task(&project, "x").await;
    let run = bench.claimed(&project, &task).await.run;
    bench.send_all().await;
    let before = bench.head().await;
    let names = [
        (Kind::Project, *project.project.id.as_uuid()),
        (Kind::Report, *task.id.as_uuid()),
        (Kind::Run, *run.id.as_uuid()),
    ];
    let own = |(kind, id): (Kind, Uuid)| Row {
        origin: bench.system.id,
        ..bench.row(kind, id, 5, json!({}))
    };
    bench.adopt(names.iter().cloned().map(own).collect()).await;
    assert_eq!(bench.head().await, before);
    for (kind, id) in names.clone() {
        assert!(bench.document(kind, id).await.is_none());
    }
    // Its definition is kept: whoever edits it says on which version.
    let definition = Row {
        origin: bench.system.id,
        ..bench.definition(task.id, project.project.id, 6)
    };
    bench.adopt(vec![definition]).await;
    let kept = bench
        .document(Kind::Task, *task.id.as_uuid())
        .await
        .unwrap();
    assert_eq!(kept.seq, Some(6));
    assert_eq!(bench.open().await, [] as [Uuid; 0]);
    // What another machine said of it before goes when this one has said something.
    let theirs = bench.row(Kind::Report, names[1].1, 7, json!({}));
    bench.adopt(vec![theirs]).await;
    assert!(bench.document(Kind::Report, names[1].1).await.is_some());
    let mine = Row {
        seq: 8,
        ..own(names[1].clone())
    };
    bench.adopt(vec![mine]).await;
    assert!(bench.document(Kind::Report, names[1].1).await.is_none());
}

/// What this machine wrote and has not any more is kept, for whoever has to find out what became of it.
pub async fn what_this_machine_lost_comes_back(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = TaskId::new();
    let own = |row: Row| Row {
        origin: bench.system.id,
        ..row
    };
    let definition = own(bench.definition(task, project.project.id, 5));
    let body = json!({ "state": "succeeded" });
    let report = own(bench.row(Kind::Report, *task.as_uuid(), 6, body.clone()));
    let adopted = bench.adopt(vec![definition, report]).await;
    assert_eq!(adopted.changed, 2);
    assert_eq!(bench.open().await, [*task.as_uuid()]);
    let kept = bench.document(Kind::Report, *task.as_uuid()).await.unwrap();
    assert_eq!(kept.body, Some(body));
    bench.replica().resync(None, at(30)).await.unwrap();
    bench.adopt_to(Vec::new(), 0, true).await;
    let marks = bench.replica().marks(&[Kind::Report], 9).await.unwrap();
    assert_eq!(marks, [], "there is nothing here to make it of");
}

/// "Fields that a machine does not know survive", and so do kinds.
pub async fn what_is_not_known_survives(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let kind = Kind::Other("résumé".to_owned());
    let id = Uuid::now_v7();
    let body = json!({
        "new": { "deep": [true, null, 1.5, "\u{1F980}"] }, "state": 7, "resolution": [], "tags": "none",
        "project_id": "no uuid", "large": 9_007_199_254_740_993_u64,
    });
    let row = bench.row(kind.clone(), id, 5, body.clone());
    let task = bench.row(Kind::Task, id, 6, body.clone());
    bench.adopt(vec![row, task]).await;
    for kind in [kind.clone(), Kind::Task] {
        let kept = bench.document(kind.clone(), id).await.unwrap();
        assert_eq!((kept.kind, kept.body), (kind, Some(body.clone())));
    }
    let mine = bench.put(kind.clone(), id, body.clone()).await;
    assert_eq!(mine.body, Some(body));
    let marks = bench
        .replica()
        .marks(std::slice::from_ref(&kind), 9)
        .await
        .unwrap();
    assert_eq!((&marks[0].kind, marks[0].base), (&kind, Some(5)));
}

/// A document that was deleted is there without content, in either direction.
pub async fn a_deletion_is_kept(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let project = bench.project("p").await;
    let task = bench.accept(&project, 4).await;
    let id = *task.id.as_uuid();
    bench.send_all().await;
    let gone = Row {
        body: None,
        ..bench.row(Kind::Task, id, 6, json!({}))
    };
    bench.adopt(vec![gone]).await;
    let document = bench.document(Kind::Task, id).await.unwrap();
    assert_eq!((document.body, document.seq), (None, Some(6)));
    assert_eq!(bench.open().await, [id], "the task is still here");
    let new = NewDocument {
        body: None,
        ..new_document(Kind::Wish, id, json!({}))
    };
    let put = bench.replica().put(vec![new], None, at(9)).await.unwrap();
    assert_eq!(put[0].body, None);
    let mark = bench
        .replica()
        .marks(&[Kind::Wish], 1)
        .await
        .unwrap()
        .remove(0);
    let operation = sealed(mark, None);
    bench.replica().seal(vec![operation], at(9)).await.unwrap();
    let change = bench.outbox().await.remove(0).change.unwrap();
    assert_eq!(change.body, None);
    assert_eq!(put[0].origin, bench.system.id);
}
