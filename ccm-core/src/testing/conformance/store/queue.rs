//! The order of what waits, and moving in it.

use super::super::random::Random;
use super::*;
use crate::Noun;
use crate::id::Revision;
use crate::schedule::FairScheduler;
use crate::scheduler::{Machine, ProjectLoad, Scheduler, Snapshot};
use crate::store::{QueueQuery, TaskMove};
use crate::task::{Place, TaskStateName};

fn move_to(task: TaskId, place: Place, now: Timestamp) -> TaskMove {
    TaskMove {
        id: task,
        place,
        by: "me".to_owned(),
        now,
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
            cut: None,
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
        cut: None,
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
