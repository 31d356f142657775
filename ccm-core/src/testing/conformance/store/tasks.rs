//! Accepting, listing, cancelling and retrying tasks.

use std::collections::BTreeSet;

use super::*;
use crate::Noun;
use crate::id::Revision;
use crate::reason::Reason;
use crate::store::IdempotencyKey;
use crate::task::{
    CancelEffect, MAX_TEXT_BYTES, Rank, SessionMode, Setback, TaskState, TaskStateName, Title,
};

/// A key of the suite.
fn key(name: &str, fingerprint: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        principal: "token".to_owned(),
        route: "POST /tasks".to_owned(),
        key: name.to_owned(),
        fingerprint: fingerprint.to_owned(),
    })
}

/// "Durable when it returns": another handle reads every field as it was given.
pub async fn create_keeps_every_field(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let blocker = bench.task(project.id, "first").await;
    let wish = TaskSpec {
        title: Title::new("Größe  prüfen: \"a\" 'b' \\ %s $(x) 🦀").unwrap(),
        priority: i32::MIN,
        not_before: Some(Timestamp::from_micros(1_800_000_000_123_456)),
        blocked_by: vec![blocker.id],
        max_retries: u32::MAX,
        timeout: Some(Duration::from_millis(1_500)),
        session: SessionMode::Continue,
        tags: vec!["gpu".to_owned(), "x/y:z".to_owned()],
        system_type: Some(SystemKind::Business),
        ..spec("do it")
    };
    let new = new_task(project.id, wish.clone());
    let mut request = order(vec![new.clone()]);
    request.created_by = "agent:ünï".to_owned();
    let made = bench.store.create_tasks(request).await.unwrap();
    assert!(!made.replayed);
    let want = Task {
        id: new.id,
        project_id: project.id,
        project: "p".to_owned(),
        due_at: wish.not_before,
        rank: Rank::of(at(2)),
        spec: wish,
        state: TaskState::Queued { last: None },
        attempts: 0,
        false_starts: 0,
        latest_run: None,
        result: None,
        cost_usd: None,
        hold: None,
        yielded: false,
        created_by: "agent:ünï".to_owned(),
        created_at: at(2),
        updated_at: at(2),
        revision: Revision(1),
    };
    assert_eq!(made.tasks, std::slice::from_ref(&want));
    assert_eq!(bench.store.task(new.id).await.unwrap(), want);
    let second = place.another().await;
    assert_eq!(second.task(new.id).await.unwrap(), want);
    let top = bench
        .task_with(
            project.id,
            TaskSpec {
                priority: i32::MAX,
                ..spec("x")
            },
        )
        .await;
    assert_eq!(second.task(top.id).await.unwrap().spec.priority, i32::MAX);
}

/// A text of 1 MiB with every character that breaks quoting somewhere comes back byte for byte.
pub async fn create_keeps_a_text_byte_for_byte(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let nasty: String = (1_u8..=127)
        .map(char::from)
        .chain("\u{80}\u{a0}\u{200b}\u{202e}\u{2028}\u{feff}\u{fffd}\u{ffff}🦀e\u{301}".chars())
        .collect();
    let nasty = format!("\u{1b}[201~-rf '\";\r\n%_\\{nasty}");
    let mut text = nasty.repeat(MAX_TEXT_BYTES / nasty.len());
    text.push_str(&"x".repeat(MAX_TEXT_BYTES - text.len()));
    let task = bench.task(project.id, &text).await;
    let kept = place.another().await.task(task.id).await.unwrap();
    assert!(kept.spec.text.as_str() == text, "the text was changed");
}

/// "Accepts tasks, all of them or none", in the order they were asked for.
pub async fn create_takes_all_or_none(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let good: Vec<NewTask> = (0..5)
        .map(|number| new_task(project.id, spec(&format!("task {number}"))))
        .collect();
    let before = bench.head().await;
    let bad = new_task(ProjectId::new(), spec("nowhere"));
    let mut mixed = good.clone();
    mixed.insert(3, bad);
    let kind = refused(bench.store.create_tasks(order(mixed)).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Project));
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.tasks(&all_tasks()).await.unwrap().items, []);
    assert_eq!(bench.store.counts().await.unwrap().queued, 0);
    let made = bench.create(order(good.clone())).await;
    let ids: Vec<TaskId> = made.iter().map(|task| task.id).collect();
    assert_eq!(ids, good.iter().map(|new| new.id).collect::<Vec<_>>());
    assert_eq!(
        bench.told_since(before).await,
        ["task.created"; 5].join(" ")
    );
}

/// "`NotFound(Task)` for a blocker that does not exist", itself included.
pub async fn create_refuses_an_unknown_blocker(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let before = bench.head().await;
    let mut new = new_task(project.id, spec("blocked"));
    for blocker in [TaskId::new(), new.id] {
        new.spec.blocked_by = vec![blocker];
        let good = new_task(project.id, spec("good"));
        let both = order(vec![good, new.clone()]);
        let error = bench.store.create_tasks(both).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Task));
        assert_eq!(error.part(), Some("/tasks/1/blocked_by/0"));
    }
    assert_eq!(bench.head().await, before);
}

/// "If it was used by the same principal and route with the same fingerprint, the tasks of that time are returned as
/// they were then and nothing is written."
pub async fn a_repeated_creation_is_replayed(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let request = |text: &str| CreateTasks {
        key: key("k", "f"),
        ..order(vec![
            new_task(project.id, spec(text)),
            new_task(
                project.id,
                TaskSpec {
                    not_before: Some(at(1)),
                    ..spec(text)
                },
            ),
        ])
    };
    let first = bench.store.create_tasks(request("once")).await.unwrap();
    assert!(!first.replayed);
    bench.done(&first.tasks[0], Verdict::Succeeded, at(4)).await;
    bench
        .store
        .cancel_task(first.tasks[1].id, "me", at(5))
        .await
        .unwrap();
    let before = bench.head().await;
    let again = bench.store.create_tasks(request("once")).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.tasks, first.tasks);
    assert_eq!(bench.head().await, before);
    let second = place.another().await;
    second.begin(&bench.system, at(6)).await.unwrap();
    let later = second.create_tasks(request("once")).await.unwrap();
    assert!(later.replayed, "a key outlives the process");
    assert_eq!(later.tasks, first.tasks);
}

/// "`KeyReused` for the same key with another fingerprint"; another principal, route or key is another request.
pub async fn a_key_belongs_to_one_request(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let request = |key| CreateTasks {
        key,
        ..order(vec![new_task(project.id, spec("x"))])
    };
    bench.create(request(key("k", "f"))).await;
    let before = bench.head().await;
    let kind = refused(bench.store.create_tasks(request(key("k", "g"))).await);
    assert_eq!(kind, ErrorKind::KeyReused);
    assert_eq!(bench.head().await, before);
    let base = key("k", "f").unwrap();
    let others = [
        IdempotencyKey {
            principal: "agent".to_owned(),
            ..base.clone()
        },
        IdempotencyKey {
            route: "POST /other".to_owned(),
            ..base.clone()
        },
        IdempotencyKey {
            key: "K".to_owned(),
            ..base
        },
    ];
    for other in others {
        let made = bench
            .store
            .create_tasks(request(Some(other.clone())))
            .await
            .unwrap();
        assert!(!made.replayed, "{other:?}");
    }
}

/// A creation that was refused does not use its key up.
pub async fn a_refused_creation_keeps_no_key(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let bad = CreateTasks {
        key: key("k", "bad"),
        ..order(vec![new_task(ProjectId::new(), spec("x"))])
    };
    refused(bench.store.create_tasks(bad).await);
    let good = CreateTasks {
        key: key("k", "good"),
        ..order(vec![new_task(project.id, spec("x"))])
    };
    assert!(!bench.store.create_tasks(good).await.unwrap().replayed);
}

/// Of many equal requests at once one creates, and all get the same tasks.
pub async fn equal_requests_at_once_create_once(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&bench.store);
        let request = CreateTasks {
            key: key("k", "f"),
            ..order(vec![new_task(project.id, spec("x"))])
        };
        callers.spawn(async move { store.create_tasks(request).await.unwrap() });
    }
    let made = soon("the answers", callers.join_all()).await;
    assert_eq!(made.iter().filter(|made| !made.replayed).count(), 1);
    let ids: BTreeSet<TaskId> = made.iter().map(|made| made.tasks[0].id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(bench.store.counts().await.unwrap().queued, 1);
}

/// "Then the limit is checked against all waiting tasks": `QueueFull` for one more, also as part of many; and "First
/// the key is looked up", so a repeated request never gets it.
pub async fn the_queue_has_a_limit(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let one = bench.project("one").await;
    let two = bench.project("two").await;
    let request = |project: &Project, count: usize, key| CreateTasks {
        key,
        max_queued: 3,
        ..order(
            (0..count)
                .map(|_| new_task(project.id, spec("x")))
                .collect(),
        )
    };
    let first = bench.create(request(&one, 2, key("k", "f"))).await;
    let before = bench.head().await;
    let full = ErrorKind::QueueFull;
    assert_eq!(
        refused(bench.store.create_tasks(request(&two, 2, None)).await),
        full
    );
    assert_eq!(bench.head().await, before, "all or none");
    bench.create(request(&two, 1, None)).await;
    assert_eq!(
        refused(bench.store.create_tasks(request(&two, 1, None)).await),
        full
    );
    let replay = bench
        .store
        .create_tasks(request(&one, 2, key("k", "f")))
        .await
        .unwrap();
    assert!(replay.replayed);
    let claimed = bench.claimed(&first[0], at(5)).await;
    bench.create(request(&one, 1, None)).await;
    assert_eq!(
        refused(bench.store.create_tasks(request(&two, 1, None)).await),
        full
    );
    // What is queued again does not count against the limit, and still waits.
    let mut again = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    again.retry_at = Some(at(6));
    bench
        .store
        .finish(claimed.run.id, claimed.run.token, again, at(6))
        .await
        .unwrap();
    bench
        .store
        .cancel_task(first[1].id, "me", at(7))
        .await
        .unwrap();
    bench
        .store
        .retry_task(first[1].id, "me", at(8))
        .await
        .unwrap();
    assert_eq!(bench.store.counts().await.unwrap().queued, 4);
    assert_eq!(
        refused(bench.store.create_tasks(request(&two, 1, None)).await),
        full
    );
}

/// The limit holds when many create at once.
pub async fn the_limit_holds_under_many_writers(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = Arc::clone(&bench.store);
        let request = CreateTasks {
            max_queued: 10,
            ..order(vec![new_task(project.id, spec("x"))])
        };
        callers.spawn(async move { store.create_tasks(request).await.map_err(|e| e.kind()) });
    }
    let answers = soon("the answers", callers.join_all()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    let others = answers.into_iter().filter_map(Result::err);
    assert!(others.into_iter().all(|kind| kind == ErrorKind::QueueFull));
    assert_eq!(bench.store.counts().await.unwrap().queued, 10);
}

/// "`NotFound(Task)`" from everything that names a task that is not there.
pub async fn an_unknown_task_is_not_found(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    bench.project("p").await;
    let id = TaskId::new();
    let missing = ErrorKind::NotFound(Noun::Task);
    assert_eq!(refused(bench.store.task(id).await), missing);
    assert_eq!(
        refused(bench.store.cancel_task(id, "me", at(3)).await),
        missing
    );
    assert_eq!(
        refused(bench.store.retry_task(id, "me", at(3)).await),
        missing
    );
    assert_eq!(
        refused(bench.store.claim(bench.claim(id, at(3))).await),
        missing
    );
}

/// "Those of `ids` that are there", many at once.
pub async fn tasks_are_found_by_their_ids(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("one").await;
    let mut wanted = Vec::new();
    for number in 0..450 {
        let task = bench.task(project.id, &format!("{number}")).await;
        if number % 2 == 0 {
            wanted.push(task);
        }
    }
    let mut ids: Vec<TaskId> = wanted.iter().map(|task| task.id).collect();
    ids.extend([TaskId::new(), TaskId::new()]);
    let mut found = bench.store.tasks_of(&ids).await.unwrap();
    found.sort_unstable_by_key(|task| task.id);
    assert_eq!(found, wanted);
    assert_eq!(bench.store.tasks_of(&[]).await.unwrap(), []);
}

/// "Tasks, newest first", by project and state, in pages that follow on each other.
pub async fn tasks_are_listed_newest_first(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let one = bench.project("one").await;
    let two = bench.project("two").await;
    let mut newest = Vec::new();
    for number in 0..7 {
        let project = if number % 3 == 0 { &two } else { &one };
        newest.insert(0, bench.task(project.id, &format!("{number}")).await.id);
    }
    let list = async |query: TaskQuery| {
        let page = bench.store.tasks(&query).await.unwrap();
        (
            page.items.iter().map(|task| task.id).collect::<Vec<_>>(),
            page.more,
        )
    };
    assert_eq!(list(all_tasks()).await, (newest.clone(), false));
    let first = TaskQuery {
        limit: 3,
        ..all_tasks()
    };
    assert_eq!(list(first.clone()).await, (newest[..3].to_vec(), true));
    let rest = TaskQuery {
        before: Some(newest[2]),
        limit: 4,
        ..all_tasks()
    };
    assert_eq!(
        list(rest).await,
        (newest[3..].to_vec(), false),
        "an exact page has no more"
    );
    let filtered = |filter| TaskQuery {
        filter,
        ..all_tasks()
    };
    let of_two = of_project(two.id);
    assert_eq!(
        list(filtered(of_two.clone())).await.0,
        [newest[0], newest[3], newest[6]]
    );
    bench
        .store
        .cancel_task(newest[3], "me", at(4))
        .await
        .unwrap();
    let cancelled = TaskFilter {
        states: vec![TaskStateName::Cancelled],
        ..of_two.clone()
    };
    assert_eq!(list(filtered(cancelled)).await.0, [newest[3]]);
    let states = vec![TaskStateName::Queued, TaskStateName::Running];
    assert_eq!(
        list(filtered(TaskFilter { states, ..of_two })).await.0,
        [newest[0], newest[6]]
    );
    let nowhere = of_project(ProjectId::new());
    assert_eq!(list(filtered(nowhere)).await, (Vec::new(), false));
}

/// Paging while others create shows everything that was there at the start exactly once.
pub async fn pages_have_no_doubles_while_tasks_come(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let many = (0..40).map(|_| new_task(project.id, spec("x"))).collect();
    let there: BTreeSet<TaskId> = bench
        .create(order(many))
        .await
        .iter()
        .map(|t| t.id)
        .collect();
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let query = TaskQuery {
            before,
            limit: 7,
            ..all_tasks()
        };
        let page = bench.store.tasks(&query).await.unwrap();
        assert!(page.items.len() <= 7);
        seen.extend(page.items.iter().map(|task| task.id));
        bench.task(project.id, "in between").await;
        if !page.more {
            break;
        }
        before = seen.last().copied();
    }
    assert!(
        seen.is_sorted_by(|a, b| a > b),
        "newest first, without doubles"
    );
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), there);
}

/// "How many tasks wait and run", in all and of each project, through a task's whole life.
pub async fn counts_follow_every_change(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let other = bench.project("other").await;
    bench.task(other.id, "x").await;
    let check = async |queued: u64, running: u64| {
        let own = bench.store.project(project.id).await.unwrap();
        assert_eq!((own.queued, own.running), (queued, running));
        let all = bench.store.counts().await.unwrap();
        assert_eq!((all.queued, all.running), (queued + 1, running));
    };
    check(0, 0).await;
    let one = bench.task(project.id, "one").await;
    let two = bench.task(project.id, "two").await;
    check(2, 0).await;
    let claimed = bench.claimed(&one, at(3)).await;
    check(1, 1).await;
    let mut again = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    again.retry_at = Some(at(5));
    bench
        .store
        .finish(claimed.run.id, claimed.run.token, again, at(4))
        .await
        .unwrap();
    check(2, 0).await;
    bench.store.cancel_task(two.id, "me", at(5)).await.unwrap();
    check(1, 0).await;
    bench.done(&one, Verdict::Succeeded, at(6)).await;
    check(0, 0).await;
    bench.store.retry_task(one.id, "me", at(7)).await.unwrap();
    check(1, 0).await;
    bench
        .store
        .remove_project(project.id, true, "me", at(8))
        .await
        .unwrap();
    assert_eq!(bench.store.counts().await.unwrap().queued, 1);
}

/// "Calls a task off: at once if it waits"; again is `Unchanged`.
pub async fn cancel_ends_a_waiting_task(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let before = bench.head().await;
    let (cancelled, effect) = bench.store.cancel_task(task.id, "me", at(3)).await.unwrap();
    assert_eq!(effect, CancelEffect::Done);
    let by = "me".to_owned();
    assert_eq!(
        cancelled.state,
        TaskState::Cancelled {
            run: None,
            by,
            at: at(3)
        }
    );
    assert!(cancelled.revision > task.revision);
    assert_eq!(cancelled.updated_at, at(3));
    assert_eq!(bench.store.task(task.id).await.unwrap(), cancelled);
    assert_eq!(bench.told_since(before).await, "task.cancelled");
    let (again, effect) = bench
        .store
        .cancel_task(task.id, "you", at(4))
        .await
        .unwrap();
    assert_eq!((again, effect), (cancelled, CancelEffect::Unchanged));
    assert_eq!(bench.told_since(before).await, "task.cancelled");
    let claim = bench.claim_for(&task, at(5)).await;
    assert_eq!(
        refused(bench.store.claim(claim).await),
        ErrorKind::WrongState(Noun::Task)
    );
}

/// "Else as a durable intent that forbids a requeue."
pub async fn cancel_of_a_running_task_is_durable(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let claimed = bench.claimed(&task, at(3)).await;
    let (run, token) = (claimed.run.id, claimed.run.token);
    let before = bench.head().await;
    let (stopping, effect) = bench.store.cancel_task(task.id, "me", at(4)).await.unwrap();
    assert_eq!(effect, CancelEffect::Stopping);
    assert_eq!(bench.told_since(before).await, "task.stopping");
    let (same, effect) = bench
        .store
        .cancel_task(task.id, "you", at(5))
        .await
        .unwrap();
    assert_eq!((&same, effect), (&stopping, CancelEffect::Unchanged));
    assert_eq!(bench.told_since(before).await, "task.stopping");
    let second = place.another().await;
    let stop = second
        .run(run)
        .await
        .unwrap()
        .stop
        .expect("a durable intent");
    assert_eq!(
        (stop.reason, stop.by.as_str(), stop.at),
        (Reason::Cancelled, "me", at(4))
    );
    assert_eq!(
        second.task(task.id).await.unwrap().state,
        TaskState::Running {
            run,
            stop: Some(stop)
        }
    );
    let mut lost = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    lost.retry_at = Some(at(6));
    let ended = bench.store.finish(run, token, lost, at(6)).await.unwrap();
    let by = "me".to_owned();
    assert_eq!(
        ended.state,
        TaskState::Cancelled {
            run: Some(run),
            by,
            at: at(6)
        }
    );
}

/// "`WrongState(Task)` when it succeeded or failed."
pub async fn cancel_refuses_what_ended(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let failed = Verdict::Failed {
        cause: Setback::bare(Reason::ExitCode),
    };
    for verdict in [Verdict::Succeeded, failed] {
        let task = bench.task(project.id, "x").await;
        let ended = bench.done(&task, verdict, at(3)).await;
        let before = bench.head().await;
        let kind = refused(bench.store.cancel_task(task.id, "me", at(4)).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
        assert_eq!(bench.head().await, before);
        assert_eq!(bench.store.task(task.id).await.unwrap(), ended);
    }
}

/// "Queues an ended task again, with fresh attempts."
pub async fn retry_queues_an_ended_task(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let failed = Verdict::Failed {
        cause: Setback::bare(Reason::ExitCode),
    };
    for verdict in [Verdict::Succeeded, failed, Verdict::Cancelled] {
        let task = bench.task(project.id, "x").await;
        let ended = bench.done(&task, verdict, at(3)).await;
        assert!(ended.state.name().is_final());
        let first = ended.latest_run;
        let before = bench.head().await;
        let again = bench.store.retry_task(task.id, "me", at(4)).await.unwrap();
        assert_eq!(again.state, TaskState::Queued { last: None });
        assert_eq!((again.attempts, again.false_starts), (0, 0));
        assert_eq!(again.due_at, None);
        assert!(again.revision > ended.revision);
        assert_eq!(bench.told_since(before).await, "task.requeued");
        assert_eq!(bench.store.task(task.id).await.unwrap(), again);
        let claimed = bench.claimed(&again, at(5)).await;
        assert_eq!(claimed.run.attempt, 1);
        let old = bench.store.run(first.unwrap()).await.unwrap();
        assert!(claimed.run.token > old.token, "tokens grow across a retry");
    }
}

/// A retry does not make a task start before its own date.
pub async fn retry_keeps_not_before(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let wish = TaskSpec {
        not_before: Some(at(100)),
        ..spec("x")
    };
    let task = bench.task_with(project.id, wish).await;
    bench.store.cancel_task(task.id, "me", at(3)).await.unwrap();
    let again = bench.store.retry_task(task.id, "me", at(4)).await.unwrap();
    assert_eq!(again.due_at, Some(at(100)));
    assert_eq!(bench.store.ready(at(99), 5).await.unwrap().projects, []);
}

/// "`WrongState(Task)` when it waits or runs."
pub async fn retry_refuses_what_is_open(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let before = bench.head().await;
    let refusal = ErrorKind::WrongState(Noun::Task);
    assert_eq!(
        refused(bench.store.retry_task(task.id, "me", at(3)).await),
        refusal
    );
    assert_eq!(bench.head().await, before);
    let claimed = bench.claimed(&task, at(4)).await;
    assert_eq!(
        refused(bench.store.retry_task(task.id, "me", at(5)).await),
        refusal
    );
    assert_eq!(bench.store.task(task.id).await.unwrap(), claimed.task);
}
