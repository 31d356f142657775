//! The log of everything.

use super::*;
use crate::event::{Cursor, Event, EventKind};
use crate::id::{LogId, Seq};
use crate::store::LogRange;

/// "Where the log begins and ends now": the same log for every handle, and a reader's place in it.
pub async fn the_log_has_an_extent(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let first = bench.store.log().await.unwrap();
    assert_eq!((first.pruned, first.head), (Seq(0), Seq(1)));
    bench.project("p").await;
    let second = place.another().await.log().await.unwrap();
    assert_eq!(
        second,
        LogRange {
            head: Seq(2),
            ..first
        }
    );
    let cursor = |seq| Cursor {
        log: first.log,
        seq: Seq(seq),
    };
    assert!(second.holds(cursor(0)) && second.holds(cursor(2)));
    assert!(
        !second.holds(cursor(3)),
        "a place after the end is of another log"
    );
    assert!(!second.holds(Cursor {
        log: LogId::new(),
        seq: Seq(1)
    }));
}

/// "Events after a place, oldest first", by project, task, run and kind, at most `limit`.
pub async fn events_are_filtered(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let one = bench.project("one").await;
    let two = bench.project("two").await;
    let task = bench.task(one.id, "x").await;
    let other = bench.task(two.id, "y").await;
    let done = bench.done(&task, Verdict::Succeeded, at(5)).await;
    bench.done(&other, Verdict::Succeeded, at(6)).await;
    let run = done.latest_run.unwrap();
    let all = EventQuery {
        limit: 1_000,
        ..EventQuery::default()
    };
    let events = bench.store.events(&all).await.unwrap();
    let list = async |query: &EventQuery| bench.store.events(query).await.unwrap();
    let pick = |wanted: &dyn Fn(&Event) -> bool| -> Vec<Event> {
        events
            .iter()
            .filter(|event| wanted(event))
            .cloned()
            .collect()
    };
    let mut got = list(&EventQuery {
        project: Some(one.id),
        ..all.clone()
    })
    .await;
    assert_eq!(got, pick(&|event| event.project_id == Some(one.id)));
    assert!(got.len() >= 6, "{got:#?}");
    got = list(&EventQuery {
        task: Some(task.id),
        ..all.clone()
    })
    .await;
    assert_eq!(got, pick(&|event| event.task_id == Some(task.id)));
    assert!(got.len() >= 5, "{got:#?}");
    assert!(got.iter().all(|event| event.project_id == Some(one.id)));
    got = list(&EventQuery {
        run: Some(run),
        ..all.clone()
    })
    .await;
    assert_eq!(got, pick(&|event| event.run_id == Some(run)));
    for kind in [
        EventKind::RunCreated,
        EventKind::RunStarted,
        EventKind::RunEnded,
    ] {
        assert!(
            got.iter().any(|event| event.kind == kind),
            "{kind} is about the run"
        );
    }
    let kinds = vec![EventKind::RunEnded, EventKind::TaskCreated];
    got = list(&EventQuery {
        kinds: kinds.clone(),
        ..all.clone()
    })
    .await;
    assert_eq!(got, pick(&|event| kinds.contains(&event.kind)));
    assert_eq!(got.len(), 4);
    let both = EventQuery {
        kinds,
        project: Some(two.id),
        after: got[1].seq,
        ..all.clone()
    };
    assert_eq!(list(&both).await.len(), 1);
    assert_eq!(
        list(&EventQuery {
            limit: 3,
            ..all.clone()
        })
        .await,
        events[..3]
    );
    let rest = EventQuery {
        after: Seq(3),
        limit: 2,
        ..all.clone()
    };
    assert_eq!(list(&rest).await, events[3..5]);
    let after_all = EventQuery {
        after: events.last().unwrap().seq,
        ..all
    };
    assert_eq!(list(&after_all).await, []);
}

/// Events say what they are about: the time of the change and the facts that their kind names.
pub async fn events_carry_their_data(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench
        .task_with(
            project.id,
            TaskSpec {
                priority: 7,
                ..spec("do \"it\"")
            },
        )
        .await;
    let done = bench.done(&task, Verdict::Succeeded, at(5)).await;
    let query = EventQuery {
        limit: 100,
        ..EventQuery::default()
    };
    let events = bench.store.events(&query).await.unwrap();
    let of = |kind: EventKind| -> &Event {
        let found = events.iter().find(|event| event.kind == kind);
        found.unwrap_or_else(|| panic!("there is no {kind}"))
    };
    let started = of(EventKind::DaemonStarted);
    assert_eq!(started.data["epoch"], bench.epoch.0);
    assert_eq!(of(EventKind::ProjectCreated).data["name"], "p");
    let created = of(EventKind::TaskCreated);
    assert_eq!(
        (&created.data["title"], &created.data["priority"]),
        (&"do \"it\"".into(), &7.into())
    );
    assert_eq!(created.time, at(2));
    assert_eq!(of(EventKind::RunCreated).data["attempt"], 1);
    let ended = of(EventKind::RunEnded);
    assert_eq!(
        (&ended.data["state"], &ended.data["exit_code"]),
        (&"succeeded".into(), &0.into())
    );
    assert_eq!(ended.run_id, done.latest_run);
    assert_eq!(
        of(EventKind::TaskSucceeded).data["result"],
        "what came of it"
    );
}

/// "Sequence numbers have no gaps, and a reader that has seen `n` never later finds something new below `n`": 16
/// writers, and a reader that follows them.
pub async fn the_log_has_no_gaps(place: &dyn StorePlace) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 12;
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let start = bench.head().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, id) = (Arc::clone(&bench.store), project.id);
        writers.spawn(async move {
            for number in 0..EACH {
                let request = order(vec![new_task(id, spec("x"))]);
                let task = store.create_tasks(request).await.unwrap().tasks.remove(0);
                if number % 3 == 0 {
                    store.cancel_task(task.id, "me", at(4)).await.unwrap();
                }
            }
        });
    }
    let total = start + WRITERS * (EACH + EACH / 3);
    let reader = place.another().await;
    let follow = async {
        let mut seen = 0;
        while seen < total {
            let query = EventQuery {
                after: Seq(seen),
                limit: 50,
                ..EventQuery::default()
            };
            for event in reader.events(&query).await.unwrap() {
                assert_eq!(event.seq, Seq(seen + 1), "a gap or a double in the log");
                seen += 1;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the whole log", follow).await;
    soon("the writers", writers.join_all()).await;
    assert_eq!(bench.head().await, total);
}

/// "The value is the last committed sequence number": a reader is woken by every kind of write, and what it was woken
/// for is there to be read.
pub async fn watch_wakes_readers(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let mut watch = bench.store.watch();
    let project = bench.project("p").await;
    soon("word of a project", watch.wait_for(|seq| *seq == Seq(2)))
        .await
        .unwrap();
    let task = bench.task(project.id, "x").await;
    soon("word of a task", watch.wait_for(|seq| *seq == Seq(3)))
        .await
        .unwrap();
    bench.done(&task, Verdict::Succeeded, at(4)).await;
    let head = Seq(bench.head().await);
    soon("word of its end", watch.wait_for(|seq| *seq == head))
        .await
        .unwrap();
    let store = Arc::clone(&bench.store);
    let writer = tokio::spawn(async move {
        for _ in 0..20 {
            let request = order(vec![new_task(project.id, spec("x"))]);
            store.create_tasks(request).await.unwrap();
        }
    });
    let mut last = head;
    while last.0 < head.0 + 20 {
        soon("word of a task", watch.changed()).await.unwrap();
        let told = *watch.borrow_and_update();
        assert!(told > last, "the value went back from {last} to {told}");
        assert!(bench.head().await >= told.0, "told before it can be read");
        last = told;
    }
    soon("the writer", writer).await.unwrap();
    assert_eq!(
        *bench.store.watch().borrow(),
        last,
        "a new reader sees the end of the log"
    );
}

/// "Never half": what another handle reads after each write is the whole of it.
pub async fn what_returned_can_be_read_elsewhere(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let task = bench.task(made.project.id, "x").await;
    let done = bench.done(&task, Verdict::Succeeded, at(5)).await;
    let second = place.another().await;
    assert_eq!(second.task(task.id).await.unwrap(), done);
    assert_eq!(second.project(made.project.id).await.unwrap(), made.project);
    assert_eq!(second.agent(made.agent.id).await.unwrap(), made.agent);
    let query = EventQuery {
        limit: 1_000,
        ..EventQuery::default()
    };
    let here = bench.store.events(&query).await.unwrap();
    assert_eq!(second.events(&query).await.unwrap(), here);
}
