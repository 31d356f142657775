//! Editing what waits, and its order.

use super::super::random::Random;
use super::*;
use crate::Noun;
use crate::id::Revision;
use crate::schedule::FairScheduler;
use crate::scheduler::{Machine, ProjectLoad, Scheduler, Snapshot};
use crate::store::{IdempotencyKey, QueueQuery, TaskEdit, TaskMove};
use crate::task::{Edit, Place, SessionMode, SpecEdit, TaskState, TaskStateName, Title};

fn edit(task: &Task, edit: SpecEdit) -> TaskEdit {
    TaskEdit {
        id: task.id,
        revision: Some(task.revision),
        edit,
        by: "me".to_owned(),
        now: at(7),
    }
}

fn move_to(task: TaskId, place: Place, now: Timestamp) -> TaskMove {
    TaskMove {
        id: task,
        place,
        by: "me".to_owned(),
        now,
    }
}

fn blockers(ids: &[TaskId]) -> SpecEdit {
    SpecEdit {
        blocked_by: Some(ids.to_vec()),
        ..SpecEdit::default()
    }
}

/// The whole queue of a project, read a few at a time.
async fn queue(bench: &Bench, project: ProjectId) -> Vec<TaskId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let query = QueueQuery {
            project,
            after,
            limit: 7,
        };
        let page = bench.store.queue(&query).await.expect("queue");
        ids.extend(page.items.iter().map(|task| task.id));
        after = page.items.last().map(Task::spot);
        if !page.more {
            return ids;
        }
    }
}

/// In which order the default scheduler would start what is ready, if it could start everything.
async fn starts(bench: &Bench, now: Timestamp) -> Vec<TaskId> {
    let ready = bench.store.ready(now, 10_000).await.expect("ready");
    let load = |project: crate::store::ReadyProject| ProjectLoad {
        id: project.project.id,
        slots: 10_000,
        running: 0,
        last_started: None,
        candidates: project.candidates,
    };
    let snapshot = Snapshot {
        now,
        slots: 10_000,
        machine: Machine::from(&bench.system),
        projects: ready.projects.into_iter().map(load).collect(),
    };
    let plan = FairScheduler::default().plan(&snapshot);
    plan.start.into_iter().map(|start| start.task).collect()
}

/// "What the edit leaves out stays": every field changes alone and together, can be unset where it can be missing, and
/// another handle reads it.
pub async fn edit_changes_what_it_says(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let blocker = bench.task(project.id, "first").await;
    let task = bench.task(project.id, "to be edited").await;
    let before = bench.head().await;
    let all = SpecEdit {
        title: Edit::Set(Title::new("Größe \"prüfen\" 🦀").unwrap()),
        text: Some(TaskText::new("do 'this'").unwrap()),
        priority: Some(i32::MAX),
        not_before: Edit::Set(at(500)),
        blocked_by: Some(vec![blocker.id]),
        max_retries: Some(u32::MAX),
        timeout: Edit::Set(Duration::from_millis(1_500)),
        session: Some(SessionMode::Continue),
        tags: Some(vec!["gpu".to_owned(), "x/y:z".to_owned()]),
        system_type: Edit::Set(SystemKind::Business),
    };
    let edited = bench.store.edit_task(edit(&task, all)).await.unwrap();
    let want = Task {
        spec: TaskSpec {
            title: Title::new("Größe \"prüfen\" 🦀").unwrap(),
            text: TaskText::new("do 'this'").unwrap(),
            priority: i32::MAX,
            not_before: Some(at(500)),
            blocked_by: vec![blocker.id],
            max_retries: u32::MAX,
            timeout: Some(Duration::from_millis(1_500)),
            session: SessionMode::Continue,
            tags: vec!["gpu".to_owned(), "x/y:z".to_owned()],
            system_type: Some(SystemKind::Business),
        },
        due_at: Some(at(500)),
        revision: Revision(2),
        updated_at: at(7),
        ..task.clone()
    };
    assert_eq!(edited, want);
    let second = place.another().await;
    assert_eq!(second.task(task.id).await.unwrap(), want);
    assert_eq!(bench.told_since(before).await, "task.updated");
    let query = EventQuery {
        after: crate::id::Seq(before),
        limit: 5,
        ..EventQuery::default()
    };
    let event = bench.store.events(&query).await.unwrap().remove(0);
    assert_eq!(event.task_id, Some(task.id));
    assert_eq!(event.data["by"], "me");
    let fields =
        "title text priority not_before blocked_by max_retries timeout_s session tags system_type";
    let fields: Vec<&str> = fields.split(' ').collect();
    assert_eq!(event.data["fields"], serde_json::json!(fields));
    let none = SpecEdit {
        title: Edit::Unset,
        not_before: Edit::Unset,
        blocked_by: Some(Vec::new()),
        timeout: Edit::Unset,
        tags: Some(Vec::new()),
        system_type: Edit::Unset,
        ..SpecEdit::default()
    };
    let bare = bench.store.edit_task(edit(&want, none)).await.unwrap();
    let wish = TaskSpec {
        priority: i32::MAX,
        max_retries: u32::MAX,
        session: SessionMode::Continue,
        ..spec("do 'this'")
    };
    assert_eq!((&bare.spec, bare.due_at), (&wish, None));
    assert_eq!(second.task(task.id).await.unwrap(), bare);
    let text = SpecEdit {
        text: Some(TaskText::new("another").unwrap()),
        ..SpecEdit::default()
    };
    let other = bench.store.edit_task(edit(&bare, text)).await.unwrap();
    let title = other.spec.title.as_str();
    assert_eq!(title, "another", "it was made from the text");
    assert_eq!(other.revision, Revision(4));
}

/// "Unchanged is no write and no event", whatever the edit repeats.
pub async fn edit_of_nothing_changes_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let before = bench.head().await;
    let same = SpecEdit {
        text: Some(TaskText::new("x").unwrap()),
        priority: Some(0),
        timeout: Edit::Unset,
        tags: Some(Vec::new()),
        ..SpecEdit::default()
    };
    for nothing in [SpecEdit::default(), same] {
        let answer = bench.store.edit_task(edit(&task, nothing)).await.unwrap();
        assert_eq!(answer, task);
    }
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    assert_eq!(bench.head().await, before);
}

/// "`StaleRevision` when it is at another revision": of two who saw the same, the second has to look again.
pub async fn edit_compares_the_revision(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let urgent = |priority| SpecEdit {
        priority: Some(priority),
        ..SpecEdit::default()
    };
    let first = bench.store.edit_task(edit(&task, urgent(1))).await.unwrap();
    let before = bench.head().await;
    for wrong in [task.revision, Revision(99)] {
        let late = TaskEdit {
            revision: Some(wrong),
            ..edit(&task, urgent(2))
        };
        let kind = refused(bench.store.edit_task(late).await);
        assert_eq!(kind, ErrorKind::StaleRevision);
    }
    assert_eq!(bench.store.task(task.id).await.unwrap(), first);
    assert_eq!(bench.head().await, before);
    let whatever = TaskEdit {
        revision: None,
        ..edit(&task, urgent(3))
    };
    let third = bench.store.edit_task(whatever).await.unwrap();
    assert_eq!((third.spec.priority, third.revision), (3, Revision(3)));
}

/// "`WrongState(Task)` when it does not wait", also when the editor saw it waiting; and an unknown one is not found.
pub async fn edit_refuses_what_does_not_wait(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let (one, other) = (
        bench.task(project.id, "x").await,
        bench.task(project.id, "y").await,
    );
    let urgent = SpecEdit {
        priority: Some(9),
        ..SpecEdit::default()
    };
    let running = bench.claimed(&one, at(3)).await.task;
    bench
        .store
        .cancel_task(other.id, "me", at(3))
        .await
        .unwrap();
    let before = bench.head().await;
    for task in [&one, &running, &other] {
        let kind = refused(bench.store.edit_task(edit(task, urgent.clone())).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
    }
    let unknown = TaskEdit {
        id: TaskId::new(),
        ..edit(&one, urgent)
    };
    let kind = refused(bench.store.edit_task(unknown).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Task));
    assert_eq!(bench.store.task(one.id).await.unwrap(), running);
    assert_eq!(bench.head().await, before);
}

/// "`NotFound(Task)` for a blocker that does not exist, and `Invalid` for one that waits for this task itself, be it
/// through others"; what is no circle is taken.
pub async fn edit_refuses_blockers_that_wait_for_it(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let first = bench.task(project.id, "first").await;
    let after = async |blockers: &[&Task]| {
        let wish = TaskSpec {
            blocked_by: blockers.iter().map(|task| task.id).collect(),
            ..spec("x")
        };
        bench.task_with(project.id, wish).await
    };
    let second = after(&[&first]).await;
    let third = after(&[&second]).await;
    let beside = after(&[&first]).await;
    let before = bench.head().await;
    for (bad, kind, part) in [
        (vec![first.id], ErrorKind::Invalid, "/blocked_by"),
        (vec![second.id], ErrorKind::Invalid, "/blocked_by/0"),
        (vec![third.id], ErrorKind::Invalid, "/blocked_by/0"),
        (
            vec![TaskId::new()],
            ErrorKind::NotFound(Noun::Task),
            "/blocked_by/0",
        ),
    ] {
        let error = bench.store.edit_task(edit(&first, blockers(&bad))).await;
        let error = error.expect_err("a circle, or nobody");
        assert_eq!((error.kind(), error.part()), (kind, Some(part)));
    }
    assert_eq!(bench.head().await, before);
    let two = blockers(&[beside.id, first.id]);
    let third = bench.store.edit_task(edit(&third, two)).await.unwrap();
    assert_eq!(third.spec.blocked_by, [beside.id, first.id]);
    // Its old blocker counts no longer, so that one can wait for it now.
    let second = edit(&second, blockers(&[third.id]));
    bench.store.edit_task(second).await.unwrap();
    let error = bench
        .store
        .edit_task(edit(&beside, blockers(&[first.id, third.id])))
        .await;
    let error = error.expect_err("a circle");
    assert_eq!(error.part(), Some("/blocked_by/1"));
}

/// What is ready follows at once: blockers, whether they succeeded before or succeed later; dates, also those of another
/// attempt; what it asks of the machine.
pub async fn edit_decides_what_is_ready(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let (done, open) = (
        bench.task(project.id, "done").await,
        bench.task(project.id, "open").await,
    );
    bench.done(&done, Verdict::Succeeded, at(3)).await;
    let wish = TaskSpec {
        blocked_by: vec![open.id],
        ..spec("x")
    };
    let task = bench.task_with(project.id, wish).await;
    let change = async |change: SpecEdit| {
        let now = bench.store.task(task.id).await.unwrap();
        let edited = bench.store.edit_task(edit(&now, change)).await.unwrap();
        let ready = bench.store.ready(at(9), 10).await.unwrap();
        let mut ready = ready.projects.iter().flat_map(|p| &p.candidates);
        let is_ready = ready.any(|candidate| candidate.task == task.id);
        assert_eq!(bench.store.task(task.id).await.unwrap(), edited);
        is_ready
    };
    assert!(change(blockers(&[done.id])).await, "that one has succeeded");
    assert!(!change(blockers(&[open.id, done.id, open.id])).await);
    assert!(change(blockers(&[])).await);
    let dated = |date| SpecEdit {
        not_before: date,
        ..SpecEdit::default()
    };
    assert!(!change(dated(Edit::Set(at(10)))).await);
    assert!(change(dated(Edit::Set(at(9)))).await);
    assert!(!change(dated(Edit::Set(at(10)))).await);
    assert!(change(dated(Edit::Unset)).await);
    let tagged = |tag: &str| SpecEdit {
        tags: Some(vec![tag.to_owned()]),
        ..SpecEdit::default()
    };
    assert!(!change(tagged("nobody-has-it")).await);
    assert!(change(tagged("gpu")).await);
    let typed = |kind| SpecEdit {
        system_type: Edit::Set(kind),
        ..SpecEdit::default()
    };
    assert!(!change(typed(SystemKind::Business)).await);
    assert!(change(typed(SystemKind::Devops)).await);
    assert!(!change(blockers(&[open.id])).await);
    bench.done(&open, Verdict::Succeeded, at(8)).await;
    let now = bench.store.task(task.id).await.unwrap();
    let claimed = bench.claimed(&now, at(9)).await;
    let mut later = end(Verdict::Lost {
        cause: crate::task::Setback::bare(crate::Reason::Lost),
    });
    later.retry_at = Some(at(100));
    let (run, token) = (claimed.run.id, claimed.run.token);
    bench
        .store
        .finish(run, token, later, at(9))
        .await
        .expect("finish");
    assert!(change(dated(Edit::Unset)).await, "no backoff any more");
}

/// "A claim that came first wins": an edit that is told to have been made is in what the claim handed out, and one that
/// was refused is not.
pub async fn edits_and_claims_exclude_each_other(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let tasks = (0..40).map(|_| new_task(project.id, spec("old"))).collect();
    let tasks = bench.create(order(tasks)).await;
    let mut both = tokio::task::JoinSet::new();
    for (number, task) in tasks.iter().enumerate() {
        let claim = bench.claim_for(task, at(8)).await;
        let text = SpecEdit {
            text: Some(TaskText::new("new").unwrap()),
            ..SpecEdit::default()
        };
        let edit = edit(task, text);
        let store = Arc::clone(&bench.store);
        both.spawn(async move {
            let (edited, claimed) = if number % 2 == 0 {
                tokio::join!(store.edit_task(edit), store.claim(claim))
            } else {
                let (claimed, edited) = tokio::join!(store.claim(claim), store.edit_task(edit));
                (edited, claimed)
            };
            let claimed = claimed.expect("an edit hinders no claim").task;
            let text = claimed.spec.text.as_str();
            match edited {
                Ok(task) => {
                    assert_eq!(text, "new");
                    assert_eq!(task.state, TaskState::Queued { last: None });
                }
                Err(error) => {
                    assert_eq!(text, "old");
                    assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task));
                }
            }
        });
    }
    soon("edits and claims", both.join_all()).await;
}

/// "The tasks of that time are returned as they were then", also those that were edited or moved since.
pub async fn an_edited_creation_is_replayed_as_it_was(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let request = || CreateTasks {
        key: Some(IdempotencyKey {
            principal: "token".to_owned(),
            route: "POST /tasks".to_owned(),
            key: "k".to_owned(),
            fingerprint: "f".to_owned(),
        }),
        ..order(vec![
            new_task(project.id, spec("edited")),
            new_task(project.id, spec("moved")),
        ])
    };
    let first = bench.store.create_tasks(request()).await.unwrap();
    let urgent = bench
        .task_with(
            project.id,
            TaskSpec {
                priority: 5,
                ..spec("urgent")
            },
        )
        .await;
    for text in ["once", "twice"] {
        let text = SpecEdit {
            text: Some(TaskText::new(text).unwrap()),
            ..SpecEdit::default()
        };
        let edit = TaskEdit {
            revision: None,
            ..edit(&first.tasks[0], text)
        };
        bench.store.edit_task(edit).await.unwrap();
    }
    let wish = move_to(first.tasks[1].id, Place::Before(urgent.id), at(9));
    let moved = bench.store.move_task(wish).await.unwrap();
    assert_eq!(moved.spec.priority, 5);
    let second = place.another().await;
    second.begin(&bench.system, at(10)).await.unwrap();
    let again = second.create_tasks(request()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.tasks, first.tasks);
}

/// "By priority, then by rank", of one project, only what waits, and a part at a time.
pub async fn a_queue_has_an_order(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let (project, other) = (bench.project("p").await.id, bench.project("q").await.id);
    assert_eq!(queue(&bench, project).await, []);
    let mut want = Vec::new();
    for (number, priority) in (0_i64..).zip([0, 5, 0, i32::MIN, 5, i32::MAX, 0, 0]) {
        let wish = TaskSpec {
            priority,
            // What is not ready has its place too.
            not_before: (number == 4).then(|| at(1_000)),
            ..spec("x")
        };
        // Two at a time are of one moment.
        let request = CreateTasks {
            now: at(10 + number / 2),
            ..order(vec![
                new_task(project, wish.clone()),
                new_task(other, wish.clone()),
                new_task(project, wish),
            ])
        };
        let made = bench.create(request).await;
        want.extend([made[0].clone(), made[2].clone()]);
    }
    want.sort_by_key(|task| {
        (
            std::cmp::Reverse(task.spec.priority),
            task.created_at,
            task.id,
        )
    });
    let mut ids: Vec<TaskId> = want.iter().map(|task| task.id).collect();
    assert_eq!(queue(&bench, project).await, ids);
    bench.claimed(&want[0], at(30)).await;
    bench
        .store
        .cancel_task(want[5].id, "me", at(30))
        .await
        .unwrap();
    ids.retain(|id| *id != want[0].id && *id != want[5].id);
    assert_eq!(queue(&bench, project).await, ids);
    let query = QueueQuery {
        project,
        after: None,
        limit: 200,
    };
    let page = bench.store.queue(&query).await.unwrap();
    assert!(!page.more);
    let waits = |task: &Task| task.state.name() == TaskStateName::Queued;
    assert!(page.items.iter().all(waits));
}

/// Before, after, first and last, within a priority and beyond it; the task gets the priority of its place, and only the
/// task that is moved is told to have changed.
pub async fn move_reaches_every_place(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    bench.task(bench.project("q").await.id, "of another").await;
    let mut ids = Vec::new();
    for (number, priority) in (0_i64..).zip([3, 0, 0, 0, -2]) {
        let wish = TaskSpec {
            priority,
            ..spec("x")
        };
        let request = CreateTasks {
            now: at(10 + number),
            ..order(vec![new_task(project, wish)])
        };
        ids.push(bench.create(request).await[0].id);
    }
    let [a, b, c, d, e] = ids[..] else {
        panic!("five were made");
    };
    for (task, to, priority, want) in [
        (d, Place::Before(b), 0, [a, d, b, c, e]),
        (d, Place::After(c), 0, [a, b, c, d, e]),
        (c, Place::After(a), 3, [a, c, b, d, e]),
        (b, Place::After(e), -2, [a, c, d, e, b]),
        (b, Place::Before(d), 0, [a, c, b, d, e]),
        (e, Place::First, 3, [e, a, c, b, d]),
        (a, Place::Last, 0, [e, c, b, d, a]),
        (c, Place::Last, 0, [e, b, d, a, c]),
        (d, Place::First, 3, [d, e, b, a, c]),
        (a, Place::Before(d), 3, [a, d, e, b, c]),
    ] {
        let before = bench.head().await;
        let old = bench.store.task(task).await.unwrap();
        let moved = bench
            .store
            .move_task(move_to(task, to, at(50)))
            .await
            .unwrap();
        assert_eq!(queue(&bench, project).await, want, "{to:?}");
        let expected = Task {
            spec: TaskSpec {
                priority,
                ..old.spec
            },
            rank: moved.rank,
            revision: Revision(old.revision.0 + 1),
            updated_at: at(50),
            ..old
        };
        assert_eq!(moved, expected);
        assert_eq!(place.another().await.task(task).await.unwrap(), moved);
        assert_eq!(bench.told_since(before).await, "task.updated");
        let mut starts = starts(&bench, at(60)).await;
        starts.retain(|id| ids.contains(id));
        assert_eq!(starts, want, "what is of an age starts in that order");
    }
    let request = CreateTasks {
        now: at(51),
        ..order(vec![new_task(project, spec("later"))])
    };
    let later = bench.create(request).await[0].id;
    let last = queue(&bench, project).await.pop();
    assert_eq!(last, Some(later), "who is created later comes after");
}

/// "Being there already is no write and no event."
pub async fn move_to_where_it_is_changes_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let only = bench.task(project, "only").await;
    for to in [Place::First, Place::Last] {
        let wish = move_to(only.id, to, at(9));
        assert_eq!(bench.store.move_task(wish).await.unwrap(), only);
    }
    let others = (0..2).map(|_| new_task(project, spec("x"))).collect();
    let others = bench.create(order(others)).await;
    let before = bench.head().await;
    for (task, to) in [
        (&only, Place::First),
        (&only, Place::Before(others[0].id)),
        (&others[0], Place::After(only.id)),
        (&others[0], Place::Before(others[1].id)),
        (&others[1], Place::After(others[0].id)),
        (&others[1], Place::Last),
    ] {
        // Which of them is first is what their ids say: they are of one moment.
        let wish = move_to(task.id, to, at(9));
        assert_eq!(&bench.store.move_task(wish).await.unwrap(), task);
    }
    assert_eq!(bench.head().await, before);
}

/// The errors of a move, each with the part of the request that is wrong; nothing changes.
pub async fn move_refuses_places_that_are_none(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let (project, other) = (bench.project("p").await.id, bench.project("q").await.id);
    let task = bench.task(project, "x").await.id;
    let abroad = bench.task(other, "x").await.id;
    let running = bench.task(project, "x").await;
    bench.claimed(&running, at(3)).await;
    let before = bench.head().await;
    let wrong = ErrorKind::WrongState(Noun::Task);
    let unknown = ErrorKind::NotFound(Noun::Task);
    for (task, to, kind, part) in [
        (
            task,
            Place::Before(task),
            ErrorKind::Invalid,
            Some("/before"),
        ),
        (
            task,
            Place::After(abroad),
            ErrorKind::Invalid,
            Some("/after"),
        ),
        (task, Place::Before(running.id), wrong, Some("/before")),
        (task, Place::After(TaskId::new()), unknown, Some("/after")),
        (running.id, Place::First, wrong, None),
        (TaskId::new(), Place::Last, unknown, None),
    ] {
        let error = bench.store.move_task(move_to(task, to, at(9))).await;
        let error = error.expect_err("no such place");
        assert_eq!((error.kind(), error.part()), (kind, part), "{to:?}");
    }
    assert_eq!(bench.head().await, before);
}

/// A thousand moves of many tasks of one moment and of few priorities, from everywhere to everywhere, often into the same
/// gap: the order is always what it was asked to be, and revisions count only one's own moves.
pub async fn moves_keep_the_order(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let mut random = Random::new(7);
    let wish = |number: i32| TaskSpec {
        priority: [0, 0, 0, 4, -1][number as usize % 5],
        ..spec("x")
    };
    let tasks = (0..60).map(|number| new_task(project, wish(number)));
    let tasks = bench.create(order(tasks.collect())).await;
    // In their order: priority and id.
    let mut line: Vec<(i32, TaskId)> = tasks
        .iter()
        .map(|task| (task.spec.priority, task.id))
        .collect();
    line.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let mut moves: std::collections::BTreeMap<TaskId, u64> = std::collections::BTreeMap::new();
    for number in 0..1_000 {
        let task = line.remove(random.below(60) as usize);
        let hot = line[20];
        let any = line[random.below(59) as usize];
        let to = match random.below(12) {
            0 => Place::First,
            1 => Place::Last,
            2..=5 => Place::Before(hot.1),
            6..=7 => Place::After(hot.1),
            8..=9 => Place::Before(any.1),
            _ => Place::After(any.1),
        };
        let at_of = |id| line.iter().position(|(_, other)| *other == id).unwrap();
        let index = match to {
            Place::Before(other) => at_of(other),
            Place::After(other) => at_of(other) + 1,
            Place::First => 0,
            Place::Last => line.len(),
        };
        let beside = match to {
            Place::Before(_) | Place::First => index,
            Place::After(_) | Place::Last => index - 1,
        };
        let priority = line[beside].0;
        let wish = move_to(task.1, to, at(50 + number));
        let moved = bench.store.move_task(wish).await.expect("move");
        line.insert(index, (priority, task.1));
        assert_eq!(moved.spec.priority, priority);
        *moves.entry(task.1).or_default() += u64::from(moved.updated_at == at(50 + number));
        if number % 50 == 0 || number > 990 {
            let want: Vec<TaskId> = line.iter().map(|(_, id)| *id).collect();
            assert_eq!(queue(&bench, project).await, want, "after move {number}");
        }
    }
    for (priority, id) in line {
        let task = bench.store.task(id).await.unwrap();
        assert_eq!(task.spec.priority, priority);
        let moves = moves.get(&id).copied().unwrap_or_default();
        assert_eq!(task.revision, Revision(1 + moves));
    }
    assert_eq!(bench.store.counts().await.unwrap().queued, 60);
}

/// What is ready is found in the new order, and a scheduler that counts age doesn't undo it: what was moved first starts
/// before what is older, and what was moved last after what is younger.
pub async fn a_moved_task_has_its_turn_there(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let hour = 3_600;
    let mut ids = Vec::new();
    for (hours, priority) in [(0, 0), (0, 0), (5, 0), (9, 2), (9, 0)] {
        let wish = TaskSpec {
            priority,
            not_before: (hours == 5).then(|| at(6 * hour)),
            ..spec("x")
        };
        let request = CreateTasks {
            now: at(hours * hour),
            ..order(vec![new_task(project, wish)])
        };
        ids.push(bench.create(request).await[0].id);
    }
    let [old, older_too, dated, urgent, fresh] = ids[..] else {
        panic!("five were made");
    };
    let now = at(10 * hour);
    let want = [old, older_too, dated, urgent, fresh];
    assert_eq!(starts(&bench, now).await, want, "age makes up for priority");
    let moved = async |task, to| {
        bench.store.move_task(move_to(task, to, now)).await.unwrap();
        starts(&bench, now).await
    };
    let got = moved(fresh, Place::First).await;
    assert_eq!(got, [fresh, old, older_too, dated, urgent]);
    let got = moved(dated, Place::First).await;
    assert_eq!(got[0], dated, "the date that has come counts no longer");
    let got = moved(old, Place::Last).await;
    assert_eq!(got.last(), Some(&old));
    let got = moved(urgent, Place::Before(older_too)).await;
    assert_eq!(got, [dated, fresh, urgent, older_too, old]);
    assert_eq!(starts(&bench, at(900 * hour)).await, got, "nor later");
    let ready = bench.store.ready(now, 2).await.unwrap();
    let two = &ready.projects[0].candidates;
    let two: Vec<TaskId> = two.iter().map(|candidate| candidate.task).collect();
    assert_eq!(two[..2], [dated, fresh]);
}
