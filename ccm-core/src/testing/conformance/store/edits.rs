//! Changing what waiting tasks ask for.

use super::*;
use crate::Noun;
use crate::id::Revision;
use crate::store::{IdempotencyKey, TaskEdit, TaskMove};
use crate::task::{Edit, Place, SessionMode, SpecEdit, TaskState, Title};

fn edit(task: &Task, edit: SpecEdit) -> TaskEdit {
    TaskEdit {
        id: task.id,
        revision: Some(task.revision),
        edit,
        by: "me".to_owned(),
        now: at(7),
    }
}

fn blockers(ids: &[TaskId]) -> SpecEdit {
    SpecEdit {
        blocked_by: Some(ids.to_vec()),
        ..SpecEdit::default()
    }
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
        max_retries: Some(100),
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
            max_retries: 100,
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
        max_retries: 100,
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
    let wish = TaskMove {
        id: first.tasks[1].id,
        place: Place::Before(urgent.id),
        by: "me".to_owned(),
        now: at(9),
    };
    let moved = bench.store.move_task(wish).await.unwrap();
    assert_eq!(moved.spec.priority, 5);
    let second = place.another().await;
    second.begin(&bench.system, at(10)).await.unwrap();
    let again = second.create_tasks(request()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.tasks, first.tasks);
}
