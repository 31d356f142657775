//! Interrupts: how they come to a run, and how it waits for a person after one.

use super::asks::{asking, asks_one, says};
use super::*;
use crate::Noun;
use crate::event::EventKind;
use crate::id::InputId;
use crate::input::{Input, InputBody, InputState};
use crate::reason::Reason;
use crate::run::{Interruption, Observation, Run, Waits};
use crate::store::{Interrupt, Message};
use crate::task::StopIntent;

fn interrupt(task: TaskId, then: Option<&str>, second: i64) -> Interrupt {
    let text = |text| TaskText::new(text).expect("a good text");
    Interrupt {
        id: InputId::new(),
        task,
        then: then.map(|then| (InputId::new(), text(then))),
        by: "ada".to_owned(),
        now: at(second),
    }
}

fn message(task: TaskId, second: i64) -> Message {
    Message {
        id: InputId::new(),
        task,
        text: TaskText::new("go on").expect("a good text"),
        by: "bob".to_owned(),
        now: at(second),
    }
}

async fn waits(bench: &Bench, run: &Run) -> Waits {
    bench.store.run(run.id).await.unwrap().waits
}

async fn settle(bench: &Bench, run: &Run, number: u32, state: InputState, second: i64) {
    bench
        .store
        .settle_input(run.id, run.token, number, state, at(second))
        .await
        .expect("settle");
}

/// "Accepts an interrupt for the run that works on a task now, and the message that follows it, in one commit": every field
/// is kept, told, and there for another handle.
pub async fn an_interrupt_becomes_an_input(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let before = bench.head().await;
    let alone = interrupt(run.task_id, None, 6);
    let done = bench.store.interrupt(alone.clone()).await.unwrap();
    let want = |number, id, body| Input {
        id,
        run_id: run.id,
        number,
        body,
        state: InputState::Accepted,
        by: "ada".to_owned(),
        created_at: at(6),
    };
    let first = want(2, alone.id, InputBody::Interrupt { then: None });
    assert_eq!((&done.interrupt, &done.message), (&first, &None));
    let both = interrupt(run.task_id, Some("the other \u{1b} way"), 6);
    let (id, text) = both.then.clone().unwrap();
    let done = bench.store.interrupt(both.clone()).await.unwrap();
    let second = want(3, both.id, InputBody::Interrupt { then: Some(id) });
    let third = want(4, id, InputBody::Message { text });
    assert_eq!(
        (&done.interrupt, &done.message),
        (&second, &Some(third.clone()))
    );
    let told = "input.accepted input.accepted input.accepted";
    assert_eq!(bench.told_since(before).await, told);
    let query = EventQuery {
        kinds: vec![EventKind::InputAccepted],
        limit: 10,
        ..EventQuery::default()
    };
    let event = bench.store.events(&query).await.unwrap().remove(0);
    let data = serde_json::json!({
        "input_id": alone.id, "number": 2, "kind": "interrupt", "by": "ada",
    });
    assert_eq!((event.data, event.run_id), (data, Some(run.id)));
    let other = place.another().await;
    assert_eq!(other.inputs(run.id).await.unwrap(), [first, second, third]);
    assert_eq!(other.run(run.id).await.unwrap().inputs.last, 4);
}

/// "Idempotent by the interrupt's id", at once and after the run has ended; "`KeyReused` also for the id of an interrupt
/// with another message, and `Invalid` for a message whose id is in use".
pub async fn a_repeated_interrupt_is_one(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let other = asking(&bench, "q").await;
    let wish = interrupt(run.task_id, Some("go on"), 6);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, wish) = (Arc::clone(&bench.store), wish.clone());
        callers.spawn(async move { store.interrupt(wish).await.unwrap() });
    }
    let answers = soon("the answers", callers.join_all()).await;
    let kept = bench.store.inputs(run.id).await.unwrap();
    assert_eq!(kept.len(), 2);
    let same = |done: &crate::store::Interrupted| {
        done.interrupt == kept[0] && done.message.as_ref() == Some(&kept[1])
    };
    assert!(answers.iter().all(same));
    let sent = bench.store.send_message(message(run.task_id, 6)).await;
    let sent = sent.unwrap();
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(9))
        .await
        .unwrap();
    let before = bench.head().await;
    let again = bench.store.interrupt(wish.clone()).await.unwrap();
    assert_eq!(again.interrupt.state, InputState::TooLate);
    let (of_message, text) = wish.then.clone().unwrap();
    let others = [
        Interrupt {
            then: None,
            ..wish.clone()
        },
        Interrupt {
            then: Some((InputId::new(), text.clone())),
            ..wish.clone()
        },
        Interrupt {
            then: Some((of_message, TaskText::new("another").unwrap())),
            ..wish.clone()
        },
        Interrupt {
            task: other.task_id,
            ..wish.clone()
        },
        Interrupt {
            id: sent.id,
            ..wish.clone()
        },
    ];
    for other in others {
        let done = bench.store.interrupt(other).await;
        assert_eq!(refused(done), ErrorKind::KeyReused);
    }
    let taken = Interrupt {
        then: Some((sent.id, text.clone())),
        ..interrupt(other.task_id, None, 9)
    };
    assert_eq!(
        refused(bench.store.interrupt(taken).await),
        ErrorKind::Invalid
    );
    let mut both = interrupt(other.task_id, None, 9);
    both.then = Some((both.id, text));
    assert_eq!(
        refused(bench.store.interrupt(both).await),
        ErrorKind::Invalid
    );
    assert_eq!(bench.head().await, before);
}

/// An interrupt needs what a message needs: a run that works on the task and listens.
pub async fn interrupts_need_a_run_that_listens(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let refuse = async || {
        let before = bench.head().await;
        let done = bench
            .store
            .interrupt(interrupt(task.id, Some("x"), 6))
            .await;
        let kind = refused(done);
        assert_eq!(bench.head().await, before);
        kind
    };
    let deaf = ErrorKind::WrongState(Noun::Task);
    let nobody = bench.store.interrupt(interrupt(TaskId::new(), None, 6));
    assert_eq!(refused(nobody.await), ErrorKind::NotFound(Noun::Task));
    assert_eq!(refuse().await, deaf, "it waits");
    let run = bench.claimed(&task, at(3)).await.run;
    assert!(bench.store.close_inputs(run.id, run.token).await.unwrap());
    assert_eq!(refuse().await, deaf, "its run is closed");
    let intent = StopIntent {
        reason: Reason::Cancelled,
        by: "me".to_owned(),
        at: at(6),
    };
    bench
        .store
        .mark_stopping(run.id, run.token, intent)
        .await
        .unwrap();
    assert_eq!(refuse().await, deaf, "it is being stopped");
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Cancelled), at(7))
        .await
        .unwrap();
    assert_eq!(refuse().await, deaf, "it is over");
}

/// "Without a message the run waits for a person from then on, until one comes or the run ends", and "takes no more input
/// for a run, unless it waits for a person". What it waited does not count against its time.
pub async fn an_interrupted_run_waits_for_a_person(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let close = async || bench.store.close_inputs(run.id, run.token).await.unwrap();
    let interrupted = |second| {
        Some(Interruption {
            by: "ada".to_owned(),
            at: at(second),
        })
    };
    let wish = interrupt(run.task_id, None, 10);
    bench.store.interrupt(wish.clone()).await.unwrap();
    settle(&bench, &run, 2, InputState::Written, 11).await;
    let taken = Observation::MessageTaken { input_id: wish.id };
    says(&bench, &run, vec![taken], at(12)).await;
    let kept = place.another().await.run(run.id).await.unwrap().waits;
    assert_eq!(
        (&kept.interrupted, kept.since),
        (&interrupted(10), Some(at(10)))
    );
    assert_eq!(kept.total(at(14)), Duration::from_secs(4));
    assert!(!close().await, "somebody is to say how it goes on");
    // Told again later it is no news, and a second one is.
    bench.store.interrupt(wish).await.unwrap();
    assert_eq!(waits(&bench, &run).await, kept);
    let again = interrupt(run.task_id, None, 15);
    bench.store.interrupt(again).await.unwrap();
    settle(&bench, &run, 3, InputState::Written, 15).await;
    let kept = waits(&bench, &run).await;
    assert_eq!(
        (kept.interrupted, kept.since),
        (interrupted(15), Some(at(10)))
    );
    bench
        .store
        .send_message(message(run.task_id, 16))
        .await
        .unwrap();
    settle(&bench, &run, 4, InputState::Written, 16).await;
    let kept = waits(&bench, &run).await;
    assert_eq!((kept.interrupted, kept.since), (None, None));
    assert_eq!(kept.before, Duration::from_secs(6));
    // With a message it goes on at once.
    let both = interrupt(run.task_id, Some("that"), 20);
    bench.store.interrupt(both).await.unwrap();
    let kept = waits(&bench, &run).await;
    assert_eq!(
        (&kept.interrupted, kept.total(at(30))),
        (&None, Duration::from_secs(6))
    );
    settle(&bench, &run, 5, InputState::Written, 21).await;
    settle(&bench, &run, 6, InputState::Written, 21).await;
    assert!(close().await);
}

/// Times in which an ask is open and a person is to say how it goes on count once.
pub async fn an_ask_and_an_interrupt_are_waited_for_together(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    asks_one(&bench, &run, "a", at(5)).await;
    bench
        .store
        .interrupt(interrupt(run.task_id, None, 7))
        .await
        .unwrap();
    let withdrawn = Observation::Withdrawn {
        request_id: "a".to_owned(),
    };
    says(&bench, &run, vec![withdrawn], at(8)).await;
    let kept = waits(&bench, &run).await;
    assert_eq!((kept.open_asks, kept.since), (0, Some(at(5))));
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Cancelled), at(9))
        .await
        .unwrap();
    let kept = waits(&bench, &run).await;
    assert_eq!((kept.interrupted, kept.since), (None, None));
    assert_eq!(kept.before, Duration::from_secs(4));
}

/// "A run that an interrupt could not reach does not wait for a person because of it."
pub async fn an_interrupt_that_came_too_late_is_none(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    bench
        .store
        .interrupt(interrupt(run.task_id, None, 7))
        .await
        .unwrap();
    settle(&bench, &run, 2, InputState::TooLate, 8).await;
    let kept = waits(&bench, &run).await;
    assert_eq!((kept.interrupted, kept.since), (None, None));
    assert!(bench.store.close_inputs(run.id, run.token).await.unwrap());
}
