//! Many callers, one transaction.

use std::sync::Arc;

use ccm_core::ask::{Answer, AskKind, Question};
use ccm_core::id::{FencingToken, InputId, RunId, Seq, TaskId};
use ccm_core::input::InputState;
use ccm_core::run::{Checkpoint, Observation, Verdict};
use ccm_core::store::{AskQuery, EventQuery, Intake, Message, Reply, ReplyEffect};
use ccm_core::task::{TaskState, TaskStateName, TaskText};
use ccm_core::{ErrorKind, Noun, Store};
use tokio::task::JoinSet;

use crate::support::{Place, at, claim, create, done, key, project, request, spec};

async fn all_events(store: &dyn Store) -> Vec<ccm_core::event::Event> {
    let query = EventQuery {
        limit: 100_000,
        ..EventQuery::default()
    };
    store.events(&query).await.unwrap()
}

/// Numbers without gaps, and counters that tell what there is.
async fn check_books(store: &dyn Store) {
    for (at, event) in all_events(store).await.iter().enumerate() {
        assert_eq!(event.seq, Seq(at as u64 + 1));
    }
    let log = store.log().await.unwrap();
    assert_eq!(log.head.0 as usize, all_events(store).await.len());
    assert_eq!(*store.watch().borrow(), log.head);
    let query = ccm_core::store::TaskQuery {
        limit: 100_000,
        ..ccm_core::store::TaskQuery::default()
    };
    let tasks = store.tasks(&query).await.unwrap().items;
    let in_state = |state| {
        tasks
            .iter()
            .filter(|task| task.state.name() == state)
            .count() as u64
    };
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.queued, in_state(TaskStateName::Queued));
    assert_eq!(counts.running, in_state(TaskStateName::Running));
    for project in store.projects().await.unwrap() {
        let own = |state| {
            tasks
                .iter()
                .filter(|task| task.project_id == project.id && task.state.name() == state)
                .count() as u64
        };
        assert_eq!(
            project.queued,
            own(TaskStateName::Queued),
            "{}",
            project.name
        );
        assert_eq!(project.running, own(TaskStateName::Running));
    }
}

#[tokio::test]
async fn one_bad_change_does_not_fail_its_group() {
    let place = Place::new();
    let store = Arc::new(place.begin().await);
    let home = project(&*store, "home").await;
    let known = create(&*store, home.project.id, "known").await;
    let mut callers = JoinSet::new();
    // One thread, so that all of them wait before the writer has its turn.
    for number in 0..60_usize {
        let store = Arc::clone(&store);
        let home = home.clone();
        let known = known.id;
        callers.spawn(async move {
            match number % 6 {
                0 => {
                    let mut bad = request(home.project.id, vec![spec("twice the same id")]);
                    bad.tasks[0].id = known;
                    let error = store.create_tasks(bad).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Taken(Noun::Task));
                }
                1 => {
                    let mut wish = spec("blocked by nothing there is");
                    wish.blocked_by = vec![TaskId::new()];
                    let bad = request(home.project.id, vec![spec("good"), wish]);
                    let error = store.create_tasks(bad).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Task));
                }
                2 => {
                    let error = claim(&*store, &home, TaskId::new()).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Task));
                }
                3 => {
                    let error = store
                        .renew(RunId::new(), FencingToken(1), at(9))
                        .await
                        .unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotFound(Noun::Run));
                }
                _ => {
                    create(&*store, home.project.id, "good").await;
                }
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(store.counts().await.unwrap().queued, 21);
    check_books(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_once_get_each_task_once() {
    let place = Place::new();
    let store = Arc::new(place.begin().await);
    let home = project(&*store, "home").await;
    let tasks: Vec<TaskId> = store
        .create_tasks(request(home.project.id, vec![spec("one of many"); 50]))
        .await
        .unwrap()
        .tasks
        .iter()
        .map(|task| task.id)
        .collect();
    let mut claimers = JoinSet::new();
    for _ in 0..32 {
        let (store, home, tasks) = (Arc::clone(&store), home.clone(), tasks.clone());
        claimers.spawn(async move {
            let mut won = Vec::new();
            for task in tasks {
                match claim(&*store, &home, task).await {
                    Ok(claimed) => won.push(claimed),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task)),
                }
            }
            for claimed in &won {
                let run = &claimed.run;
                store
                    .finish(run.id, run.token, done(Verdict::Succeeded), at(4))
                    .await
                    .unwrap();
            }
            won.len()
        });
    }
    let mut won = 0;
    while let Some(claimer) = claimers.join_next().await {
        won += claimer.unwrap();
    }
    assert_eq!(won, tasks.len());
    check_books(&*store).await;
}

#[tokio::test]
async fn changes_of_one_group_see_each_other() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let first = create(&store, home.project.id, "first").await;
    let run = claim(&store, &home, first.id).await.unwrap().run;
    let mut wish = spec("second");
    wish.blocked_by = vec![first.id, first.id];
    let second = request(home.project.id, vec![wish.clone()]);
    let third = request(home.project.id, vec![wish]);
    // Joined futures are polled in order before the writer has its turn: one group, with a blocked task on either side
    // of the success that frees both.
    let (second, task, third) = tokio::join!(
        store.create_tasks(second),
        store.finish(run.id, run.token, done(Verdict::Succeeded), at(4)),
        store.create_tasks(third),
    );
    assert_eq!(task.unwrap().state.name(), TaskStateName::Succeeded);
    for created in [second, third] {
        let id = created.unwrap().tasks[0].id;
        claim(&store, &home, id).await.unwrap();
    }
    check_books(&store).await;
}

#[tokio::test]
async fn a_blocker_that_is_done_again_blocks_again() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let first = create(&store, home.project.id, "first").await;
    let mut wish = spec("second");
    wish.blocked_by = vec![first.id];
    let second = store
        .create_tasks(request(home.project.id, vec![wish]))
        .await
        .unwrap()
        .tasks
        .remove(0);
    let refused = claim(&store, &home, second.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState(Noun::Task));
    let run = claim(&store, &home, first.id).await.unwrap().run;
    store
        .finish(run.id, run.token, done(Verdict::Succeeded), at(4))
        .await
        .unwrap();
    assert_eq!(store.ready(at(5), 4).await.unwrap().projects.len(), 1);
    store.retry_task(first.id, "me", at(5)).await.unwrap();
    let refused = claim(&store, &home, second.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState(Noun::Task));
    check_books(&store).await;
}

#[tokio::test]
async fn a_repeated_request_in_one_group_is_replayed() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let mut one = request(home.project.id, vec![spec("once")]);
    one.key = key("k", "f");
    one.max_queued = 1;
    let mut two = request(home.project.id, vec![spec("once")]);
    two.key = key("k", "f");
    two.max_queued = 1;
    let mut other = two.clone();
    other.key = key("k", "g");
    let (one, two, other) = tokio::join!(
        store.create_tasks(one),
        store.create_tasks(two.clone()),
        store.create_tasks(other),
    );
    let (one, two_now) = (one.unwrap(), two_now_of(two));
    assert!(!one.replayed);
    assert_eq!(two_now, one.tasks[0].id);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::KeyReused);
    assert_eq!(store.counts().await.unwrap().queued, 1);

    fn two_now_of(two: ccm_core::Result<ccm_core::store::Created>) -> TaskId {
        let two = two.unwrap();
        assert!(two.replayed);
        two.tasks[0].id
    }
}

#[tokio::test]
async fn a_replay_tells_the_tasks_as_they_were() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let mut wish = request(home.project.id, vec![spec("a"), spec("b")]);
    wish.key = key("k", "f");
    let first = store.create_tasks(wish.clone()).await.unwrap();
    claim(&store, &home, first.tasks[1].id).await.unwrap();
    wish.tasks[0].id = TaskId::new();
    wish.tasks[1].id = TaskId::new();
    wish.max_queued = 0;
    let again = store.create_tasks(wish).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.tasks, first.tasks);
}

#[tokio::test]
async fn removing_a_project_fails_what_waits() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let other = project(&store, "other").await;
    create(&store, other.project.id, "not touched").await;
    for number in 0..5 {
        create(&store, home.project.id, &format!("task {number}")).await;
    }
    let running = create(&store, home.project.id, "running").await;
    let run = claim(&store, &home, running.id).await.unwrap().run;
    let refused = store
        .remove_project(home.project.id, false, "me", at(5))
        .await;
    assert_eq!(
        refused.unwrap_err().kind(),
        ErrorKind::WrongState(Noun::Project)
    );
    let before = store.log().await.unwrap().head;
    let runs = store
        .remove_project(home.project.id, true, "me", at(5))
        .await
        .unwrap();
    assert_eq!(runs, [run.id]);
    let query = EventQuery {
        after: before,
        limit: 100,
        ..EventQuery::default()
    };
    let told: Vec<&str> = store
        .events(&query)
        .await
        .unwrap()
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "task.failed",
            "task.failed",
            "task.failed",
            "task.failed",
            "task.failed",
            "task.stopping",
            "project.removed"
        ]
    );
    check_books(&store).await;
    let ended = store
        .finish(run.id, run.token, done(Verdict::Cancelled), at(6))
        .await
        .unwrap();
    assert!(matches!(ended.state, TaskState::Failed { .. }));
    assert_eq!(store.counts().await.unwrap().running, 0);
    let refused = store.retry_task(ended.id, "me", at(7)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState(Noun::Project));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let place = Place::new();
    let store = Arc::new(place.begin().await);
    let home = project(&*store, "home").await;
    for _ in 0..20 {
        let store = Arc::clone(&store);
        let wish = request(home.project.id, vec![spec("who knows"); 3]);
        let caller = tokio::spawn(async move { store.create_tasks(wish).await });
        tokio::task::yield_now().await;
        caller.abort();
    }
    create(&*store, home.project.id, "after").await;
    let queued = store.counts().await.unwrap().queued;
    assert_eq!(queued % 3, 1);
    check_books(&*store).await;
}

/// What a run asks is there for those that come after it in the same group, and so is what answered it.
#[tokio::test]
async fn asks_and_inputs_of_one_group_see_each_other() {
    let place = Place::new();
    let store = place.begin().await;
    let home = project(&store, "home").await;
    let task = create(&store, home.project.id, "curious").await;
    let run = claim(&store, &home, task.id).await.unwrap().run;
    let part = |from: u64, requests: &[&str]| {
        let place = |out| Checkpoint {
            out,
            ..Checkpoint::default()
        };
        let asked = |request: &&str| Observation::Asked {
            request_id: (*request).to_owned(),
            question: Question {
                kind: AskKind::Permission,
                title: "May I?".to_owned(),
                detail: String::new(),
                choices: Vec::new(),
                payload: String::new(),
            },
        };
        let seen = requests.iter().map(asked).collect();
        Intake::new(place(from), place(from + 1), seen)
    };
    let (first, second) = (part(0, &["a", "b"]), part(1, &["a", "c"]));
    let (a, c) = (first.ask_ids[0], second.ask_ids[1]);
    let reply = || Reply {
        answer: Answer::Allow,
        by: "me".to_owned(),
        input_id: InputId::new(),
        now: at(5),
    };
    let message = Message {
        id: InputId::new(),
        task: task.id,
        text: TaskText::new("hello").unwrap(),
        by: "me".to_owned(),
        now: at(5),
    };
    let (id, token) = (run.id, run.token);
    let before = store.log().await.unwrap().head;
    let answers = tokio::join!(
        store.take_in(id, token, first, at(4)),
        store.answer_ask(a, reply()),
        store.answer_ask(a, reply()),
        store.take_in(id, token, second, at(5)),
        store.send_message(message.clone()),
        store.send_message(message.clone()),
        store.settle_input(id, token, 2, InputState::Written, at(5)),
        store.close_inputs(id, token),
        store.finish(id, token, done(Verdict::Succeeded), at(6)),
        store.answer_ask(c, reply()),
    );
    answers.0.unwrap();
    assert_eq!(answers.1.unwrap().1, ReplyEffect::Answered);
    assert_eq!(answers.2.unwrap().1, ReplyEffect::Unchanged);
    answers.3.unwrap();
    assert_eq!(answers.4.unwrap(), answers.5.unwrap());
    answers.6.unwrap();
    assert!(!answers.7.unwrap(), "something is on its way");
    answers.8.unwrap();
    assert_eq!(
        answers.9.unwrap_err().kind(),
        ErrorKind::WrongState(Noun::Ask)
    );
    let query = AskQuery {
        limit: 9,
        ..AskQuery::default()
    };
    let asks = store.asks(&query).await.unwrap().items;
    let open = asks.iter().filter(|ask| ask.state.is_open()).count();
    assert_eq!((asks.len(), open), (3, 0));
    let inputs = store.inputs(id).await.unwrap();
    let became: Vec<_> = inputs
        .iter()
        .map(|input| (input.number, input.state))
        .collect();
    let (unknown, late) = (InputState::Unknown, InputState::TooLate);
    assert_eq!(became, [(2, unknown), (3, late)]);
    let kept = store.run(id).await.unwrap();
    assert_eq!((kept.waits.open_asks, kept.inputs.last), (0, 3));
    let query = EventQuery {
        after: before,
        limit: 100,
        ..EventQuery::default()
    };
    let told = store.events(&query).await.unwrap();
    let told: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        told,
        [
            "ask.created",
            "ask.created",
            "ask.answered",
            "input.accepted",
            "ask.created",
            "input.accepted",
            "input.updated",
            "ask.voided",
            "ask.voided",
            "input.updated",
            "input.updated",
            "run.ended",
            "task.succeeded",
        ]
    );
    check_books(&store).await;
}
