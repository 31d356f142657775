//! Writing documents, and reading them.

use super::*;
use crate::store::{DocumentQuery, IdempotencyKey};

fn key(key: &str, fingerprint: &str) -> IdempotencyKey {
    IdempotencyKey {
        principal: "me".to_owned(),
        route: "tasks".to_owned(),
        key: key.to_owned(),
        fingerprint: fingerprint.to_owned(),
    }
}

/// "Writes documents as this machine, leaves their marks, and raises the clock. Returns them."
pub async fn put_writes_as_this_machine(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let before = bench.head().await;
    let (clock, task) = (bench.known().await.clock, TaskId::new());
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let bodies = [json!({ "task_id": task }), json!({ "v": 1 })];
    let new = vec![
        new_document(Kind::Wish, ids[0], bodies[0].clone()),
        new_document(Kind::Conflict, ids[1], bodies[1].clone()),
    ];
    let put = bench.replica().put(new, None, at(10)).await.unwrap();
    assert_eq!(put.len(), 2);
    for (document, (id, body)) in put.iter().zip(ids.iter().zip(&bodies)) {
        assert_eq!((document.id, document.body.as_ref()), (*id, Some(body)));
        assert_eq!(document.origin, bench.system.id);
        assert_eq!((document.seq, document.pending), (None, true));
        let read = bench.document(document.kind.clone(), *id).await;
        assert_eq!(read.as_ref(), Some(document));
    }
    assert!(clock < put[0].hlc && put[0].hlc < put[1].hlc);
    assert_eq!(bench.known().await.clock, put[1].hlc);
    assert!(put[0].place < put[1].place);
    let marks = bench.marks().await;
    let left: Vec<_> = marks.iter().map(|mark| (mark.id, mark.hlc)).collect();
    assert_eq!(left, [(ids[0], put[0].hlc), (ids[1], put[1].hlc)]);
    let events = bench.told_since(before).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].task_id, Some(task));
}

/// "All of it or nothing."
pub async fn put_takes_all_or_nothing(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let new = || vec![new_document(Kind::Wish, Uuid::now_v7(), json!({}))];
    let replica = bench.replica();
    replica
        .put(new(), Some(key("a", "1")), at(10))
        .await
        .unwrap();
    let (before, head) = (bench.known().await, bench.head().await);
    let reused = replica.put(new(), Some(key("a", "2")), at(11)).await;
    assert_eq!(refused(reused), ErrorKind::KeyReused);
    assert_eq!((bench.known().await, bench.head().await), (before, head));
    assert_eq!(bench.replica().put(vec![], None, at(11)).await.unwrap(), []);
    // Without documents it is only asked what was put under a key.
    let known = replica.put(vec![], Some(key("a", "1")), at(11)).await;
    assert_eq!(known.unwrap().len(), new().len());
    let new_key = replica.put(vec![], Some(key("b", "1")), at(11)).await;
    assert_eq!(new_key.unwrap(), []);
    let other = replica.put(vec![], Some(key("b", "2")), at(11)).await;
    assert_eq!(other.unwrap(), [], "it was not kept");
    let reused = replica.put(vec![], Some(key("a", "2")), at(11)).await;
    assert_eq!(refused(reused), ErrorKind::KeyReused);
}

/// "The documents of that time are returned as they are now, and nothing is written."
pub async fn a_repeated_put_is_one(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let id = Uuid::now_v7();
    let put = async |v: u32| {
        let new = vec![new_document(Kind::Task, id, json!({ "v": v }))];
        let key = Some(key("a", "1"));
        bench.replica().put(new, key, at(10)).await.unwrap()
    };
    put(1).await;
    let outbox = bench.seal_all().await;
    let row = bench.row(Kind::Task, id, 7, json!({ "v": 2 }));
    let last = outbox[0].number;
    bench
        .replica()
        .pushed(last, &[], vec![row.clone()], at(11))
        .await
        .unwrap();
    let before = bench.head().await;
    let again = put(9).await;
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].body, again[0].seq), (&row.body, Some(7)));
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.marks().await, []);
    // Another caller's key, and other routes, are other keys.
    let other = IdempotencyKey {
        principal: "you".to_owned(),
        ..key("a", "2")
    };
    let new = vec![new_document(Kind::Task, Uuid::now_v7(), json!({}))];
    bench.replica().put(new, Some(other), at(10)).await.unwrap();
    assert_eq!(bench.marks().await.len(), 1);
}

struct Library {
    project: ProjectId,
    task: TaskId,
    run: RunId,
    ids: Vec<Uuid>,
}

/// Ten documents, in the order of their ids.
async fn library(bench: &Bench) -> Library {
    let library = Library {
        project: ProjectId::new(),
        task: TaskId::new(),
        run: RunId::new(),
        ids: (0..7).map(|_| Uuid::now_v7()).collect(),
    };
    let Library {
        project,
        task,
        run,
        ids,
    } = &library;
    let ask =
        |state| json!({ "project_id": project, "task_id": task, "run_id": run, "state": state });
    let shared = json!({
        "project_id": project, "any_machine": true, "repository": "host/path",
    });
    let mine = Row {
        origin: bench.system.id,
        ..bench.row(Kind::Conflict, ids[4], 9, json!({ "resolution": {} }))
    };
    bench
        .adopt(vec![
            bench.row(Kind::Project, *project.as_uuid(), 2, json!({})),
            bench.definition(*task, *project, 3),
            bench.row(
                Kind::Report,
                *task.as_uuid(),
                4,
                json!({ "state": "queued" }),
            ),
            bench.row(Kind::Ask, ids[0], 5, ask("open")),
            bench.row(Kind::Ask, ids[1], 6, ask("void")),
            bench.row(
                Kind::Transcript,
                ids[2],
                7,
                json!({ "task_id": task, "run_id": run }),
            ),
            bench.row(Kind::Conflict, ids[3], 8, json!({ "task_id": task })),
            mine,
            bench.row(Kind::Task, ids[5], 10, shared),
            bench.row(Kind::Wish, ids[6], 11, json!({ "task_id": TaskId::new() })),
        ])
        .await;
    library
}

/// "Documents in the order of their ids, or newest first", of what the query says.
pub async fn documents_are_listed(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let library = library(&bench).await;
    let Library {
        project,
        task,
        run,
        ids,
    } = &library;
    let (project_id, task_id) = (*project.as_uuid(), *task.as_uuid());
    let list = async |query: DocumentQuery| {
        let query = DocumentQuery {
            limit: query.limit.max(1),
            ..query
        };
        let found = bench.replica().documents(&query).await.unwrap();
        found
            .into_iter()
            .map(|document| document.id)
            .collect::<Vec<_>>()
    };
    let all = |query: DocumentQuery| DocumentQuery {
        limit: 100,
        ..query
    };
    let none = DocumentQuery::default;
    assert_eq!(list(all(none())).await.len(), 10);
    let of = |kinds: &[Kind]| DocumentQuery {
        kinds: kinds.to_vec(),
        ..all(none())
    };
    assert_eq!(list(of(&[Kind::Ask])).await, ids[..2]);
    let mixed = of(&[Kind::Conflict, Kind::Ask, Kind::Wish]);
    let wanted = [ids[0], ids[1], ids[3], ids[4], ids[6]];
    assert_eq!(list(mixed.clone()).await, wanted);
    let newest = DocumentQuery {
        newest_first: true,
        limit: 2,
        ..mixed.clone()
    };
    assert_eq!(list(newest.clone()).await, [ids[6], ids[4]]);
    let older = DocumentQuery {
        after: Some(ids[4]),
        ..newest
    };
    assert_eq!(list(older).await, [ids[3], ids[1]]);
    let later = DocumentQuery {
        after: Some(ids[1]),
        limit: 2,
        ..mixed
    };
    assert_eq!(list(later).await, [ids[3], ids[4]]);
    let of_project = DocumentQuery {
        project: Some(*project),
        ..all(none())
    };
    let wanted = sorted([project_id, task_id, ids[0], ids[1], ids[5]]);
    assert_eq!(list(of_project.clone()).await, wanted);
    let of_task = DocumentQuery {
        task: Some(*task),
        ..all(none())
    };
    let wanted = sorted([task_id, task_id, ids[0], ids[1], ids[2], ids[3]]);
    assert_eq!(list(of_task.clone()).await, wanted);
    let of_run = DocumentQuery {
        run: Some(*run),
        ..all(none())
    };
    assert_eq!(list(of_run.clone()).await, ids[..3]);
    let both = DocumentQuery {
        project: Some(*project),
        run: Some(*run),
        ..all(none())
    };
    assert_eq!(list(both).await, ids[..2]);
    let open = DocumentQuery {
        open: true,
        ..all(none())
    };
    assert_eq!(list(open.clone()).await, [ids[0], ids[3]]);
    let open_of_run = DocumentQuery {
        open: true,
        ..of_run
    };
    assert_eq!(list(open_of_run).await, ids[..1]);
    let shared = DocumentQuery {
        shared: true,
        ..of(&[Kind::Task])
    };
    assert_eq!(list(shared).await, ids[5..6]);
    let mine = DocumentQuery {
        origin: Some(bench.system.id),
        ..all(none())
    };
    assert_eq!(list(mine).await, ids[4..5]);
    let theirs = DocumentQuery {
        not_origin: Some(bench.system.id),
        ..of(&[Kind::Conflict])
    };
    assert_eq!(list(theirs).await, ids[3..4]);
    let unheard = DocumentQuery {
        unheard: true,
        ..of(&[Kind::Task])
    };
    assert_eq!(list(unheard.clone()).await, ids[5..6]);
    // A task of this machine has a definition, once something of it came back, and is heard of by being there.
    let own = bench.project("own").await;
    let own = bench.task(&own, "x").await;
    bench
        .adopt(vec![bench.definition(own.id, own.project_id, 12)])
        .await;
    assert_eq!(list(unheard).await, ids[5..6]);
}

/// "How many documents there are of such a query, whatever its limit."
pub async fn documents_are_counted(place: &dyn StorePlace) {
    let bench = Bench::sharing(place).await;
    let library = library(&bench).await;
    let count = async |query: DocumentQuery| {
        let query = DocumentQuery { limit: 1, ..query };
        bench.replica().count_documents(&query).await.unwrap()
    };
    let none = DocumentQuery::default;
    assert_eq!(count(none()).await, 10);
    let query = DocumentQuery {
        kinds: vec![Kind::Ask, Kind::Conflict],
        ..none()
    };
    assert_eq!(count(query.clone()).await, 4);
    let after = DocumentQuery {
        after: Some(library.ids[1]),
        ..query.clone()
    };
    assert_eq!(count(after.clone()).await, 2);
    let before = DocumentQuery {
        newest_first: true,
        ..after
    };
    assert_eq!(count(before).await, 1);
    let open = DocumentQuery {
        open: true,
        task: Some(library.task),
        ..query
    };
    assert_eq!(count(open).await, 2);
    let mine = DocumentQuery {
        origin: Some(bench.system.id),
        ..none()
    };
    assert_eq!(count(mine).await, 1);
    let unknown = DocumentQuery {
        run: Some(RunId::new()),
        ..none()
    };
    assert_eq!(count(unknown).await, 0);
}
