//! Inputs: how messages come to a run, and what becomes of what it is given.

use super::asks::{asking, asks_one, reply, says};
use super::*;
use crate::Noun;
use crate::ask::{Answer, AskState};
use crate::event::EventKind;
use crate::id::{FencingToken, InputId};
use crate::input::{Input, InputBody, InputState};
use crate::reason::Reason;
use crate::run::{Observation, Run};
use crate::store::Message;
use crate::task::{Setback, StopIntent};

fn message(task: TaskId, text: &str) -> Message {
    Message {
        id: InputId::new(),
        task,
        text: TaskText::new(text).expect("a good text"),
        by: "ada".to_owned(),
        now: at(6),
    }
}

async fn send(bench: &Bench, run: &Run, text: &str) -> Input {
    let message = message(run.task_id, text);
    bench.store.send_message(message).await.expect("send")
}

async fn states(bench: &Bench, run: &Run) -> Vec<InputState> {
    let inputs = bench.store.inputs(run.id).await.unwrap();
    inputs.iter().map(|input| input.state).collect()
}

async fn settle(bench: &Bench, run: &Run, number: u32, state: InputState) {
    bench
        .store
        .settle_input(run.id, run.token, number, state, at(8))
        .await
        .expect("settle");
}

/// "Accepts a message for the run that works on a task now": every field is kept, told, and there for another handle.
pub async fn a_message_becomes_an_input(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    assert!(bench.store.inputs(run.id).await.unwrap().is_empty());
    let before = bench.head().await;
    let text = "use\n\u{1b}[31m \"tabs\" é";
    let message = message(run.task_id, text);
    let input = bench.store.send_message(message.clone()).await.unwrap();
    let want = Input {
        id: message.id,
        run_id: run.id,
        number: 2,
        body: InputBody::Message { text: message.text },
        state: InputState::Accepted,
        by: "ada".to_owned(),
        created_at: at(6),
    };
    assert_eq!(input, want);
    assert_eq!(bench.told_since(before).await, "input.accepted");
    let query = EventQuery {
        kinds: vec![EventKind::InputAccepted],
        limit: 10,
        ..EventQuery::default()
    };
    let event = bench.store.events(&query).await.unwrap().remove(0);
    let data = serde_json::json!({
        "input_id": input.id, "number": 2, "kind": "message", "by": "ada",
    });
    assert_eq!((event.data, event.run_id), (data, Some(run.id)));
    let other = place.another().await;
    assert_eq!(other.inputs(run.id).await.unwrap(), [want]);
    assert_eq!(other.run(run.id).await.unwrap().inputs.last, 2);
}

/// A run's inputs are numbered from 2 without gaps, messages and answers alike, however many come at once.
pub async fn inputs_are_numbered(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..12 {
        let id = asks_one(&bench, &run, &format!("{number}"), at(5)).await;
        let store = Arc::clone(&bench.store);
        let given = reply(Answer::Allow, "me", 6);
        callers.spawn(async move { drop(store.answer_ask(id, given).await.unwrap()) });
        let store = Arc::clone(&bench.store);
        let message = message(run.task_id, "hello");
        callers.spawn(async move { drop(store.send_message(message).await.unwrap()) });
    }
    soon("the answers", callers.join_all()).await;
    let inputs = bench.store.inputs(run.id).await.unwrap();
    let numbers: Vec<u32> = inputs.iter().map(|input| input.number).collect();
    assert_eq!(numbers, (2..26).collect::<Vec<u32>>());
    assert_eq!(bench.store.run(run.id).await.unwrap().inputs.last, 25);
    let other = asking(&bench, "q").await;
    assert_eq!(send(&bench, &other, "hello").await.number, 2);
}

/// "Idempotent by the message's id", at once and after the run has ended; "`KeyReused` for the id of another message".
pub async fn a_repeated_message_is_one(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let other = asking(&bench, "q").await;
    let message = message(run.task_id, "hello");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, message) = (Arc::clone(&bench.store), message.clone());
        callers.spawn(async move { store.send_message(message).await.unwrap() });
    }
    let answers = soon("the answers", callers.join_all()).await;
    let kept = bench.store.inputs(run.id).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!(answers.iter().all(|input| *input == kept[0]));
    let id = asks_one(&bench, &run, "a", at(5)).await;
    let answer = reply(Answer::Allow, "me", 6);
    let of_answer = answer.input_id;
    bench.store.answer_ask(id, answer).await.unwrap();
    settle(&bench, &run, 2, InputState::Written).await;
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(9))
        .await
        .unwrap();
    let before = bench.head().await;
    let again = bench.store.send_message(message.clone()).await.unwrap();
    assert_eq!((again.id, again.state), (message.id, InputState::Unknown));
    let others = [
        Message {
            text: TaskText::new("another").unwrap(),
            ..message.clone()
        },
        Message {
            task: other.task_id,
            ..message.clone()
        },
        Message {
            id: of_answer,
            ..message.clone()
        },
    ];
    for other in others {
        let sent = bench.store.send_message(other).await;
        assert_eq!(refused(sent), ErrorKind::KeyReused);
    }
    assert_eq!(bench.head().await, before);
}

/// An answer can't be carried by an input that is there already; the ask stays open.
pub async fn an_answer_needs_an_input_of_its_own(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let id = asks_one(&bench, &run, "a", at(5)).await;
    let input = send(&bench, &run, "hello").await;
    let before = bench.head().await;
    let mut answer = reply(Answer::Allow, "me", 6);
    answer.input_id = input.id;
    let answered = bench.store.answer_ask(id, answer).await;
    assert_eq!(refused(answered), ErrorKind::Invalid);
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.ask(id).await.unwrap().state, AskState::Open);
    assert_eq!(bench.store.inputs(run.id).await.unwrap(), [input]);
}

/// "`WrongState(Task)` when no run works on it, it is being stopped, or its run takes no more input"; "`NotFound(Task)`".
pub async fn messages_need_a_run_that_listens(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let send = async || {
        let before = bench.head().await;
        let sent = bench.store.send_message(message(task.id, "hello")).await;
        let kind = refused(sent);
        assert_eq!(bench.head().await, before);
        kind
    };
    let deaf = ErrorKind::WrongState(Noun::Task);
    let nobody = bench.store.send_message(message(TaskId::new(), "hello"));
    assert_eq!(refused(nobody.await), ErrorKind::NotFound(Noun::Task));
    assert_eq!(send().await, deaf, "it waits");
    let run = bench.claimed(&task, at(3)).await.run;
    assert!(bench.store.close_inputs(run.id, run.token).await.unwrap());
    assert_eq!(send().await, deaf, "its run is closed");
    let mut lost = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    lost.retry_at = Some(at(4));
    bench
        .store
        .finish(run.id, run.token, lost, at(4))
        .await
        .unwrap();
    assert_eq!(send().await, deaf, "it waits again");
    let run = bench.claimed(&task, at(5)).await.run;
    assert!(!run.inputs.closed);
    let intent = StopIntent {
        reason: Reason::Timeout,
        by: "engine".to_owned(),
        at: at(6),
    };
    bench
        .store
        .mark_stopping(run.id, run.token, intent)
        .await
        .unwrap();
    assert_eq!(send().await, deaf, "it is being stopped");
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(7))
        .await
        .unwrap();
    assert_eq!(send().await, deaf, "it is over");
}

/// "Notes what became of an input; see [`InputState::then`] for what is known already. Idempotent."
pub async fn an_input_never_goes_back(place: &dyn StorePlace) {
    use InputState::{Accepted, Delivered, TooLate, Unknown, Written};
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let all = [Accepted, Written, Delivered, TooLate, Unknown];
    for first in all {
        for second in all {
            let number = send(&bench, &run, "hello").await.number;
            let mut want = Accepted;
            for next in [first, second, second] {
                let before = bench.head().await;
                settle(&bench, &run, number, next).await;
                let told = bench.told_since(before).await;
                let changes = want.then(next) != want;
                assert_eq!(told, if changes { "input.updated" } else { "" });
                want = want.then(next);
                let got = states(&bench, &run).await.pop();
                assert_eq!(got, Some(want), "{first:?} {second:?}");
            }
        }
    }
    let query = EventQuery {
        kinds: vec![EventKind::InputUpdated],
        limit: 1,
        ..EventQuery::default()
    };
    let event = bench.store.events(&query).await.unwrap().remove(0);
    assert_eq!(
        (&event.data["number"], event.run_id),
        (&3.into(), Some(run.id))
    );
    assert!(event.data["state"].is_string() && event.data["input_id"].is_string());
    let before = bench.head().await;
    settle(&bench, &run, 999, Written).await;
    assert_eq!(bench.head().await, before, "there is no such input");
}

/// What the program says that it has is delivered: a message by its id, an answer by its request. What it was never
/// given, or another run was, is nothing.
pub async fn what_was_taken_is_delivered(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let other = asking(&bench, "q").await;
    for run in [&run, &other] {
        let id = asks_one(&bench, run, "a", at(5)).await;
        let answer = reply(Answer::Allow, "me", 6);
        bench.store.answer_ask(id, answer).await.unwrap();
        settle(&bench, run, 2, InputState::Written).await;
    }
    let message = send(&bench, &run, "hello").await;
    let foreign = send(&bench, &other, "hello").await;
    let taken = |input_id| Observation::MessageTaken { input_id };
    let answer = |request: &str| Observation::AnswerTaken {
        request_id: request.to_owned(),
    };
    let seen = vec![
        taken(message.id),
        taken(foreign.id),
        taken(InputId::new()),
        answer("a"),
        answer("b"),
    ];
    let before = bench.head().await;
    says(&bench, &run, seen.clone(), at(9)).await;
    let delivered = InputState::Delivered;
    assert_eq!(states(&bench, &run).await, [delivered, delivered]);
    let untouched = [InputState::Written, InputState::Accepted];
    assert_eq!(states(&bench, &other).await, untouched);
    let told = "input.updated input.updated";
    assert_eq!(bench.told_since(before).await, told);
    says(&bench, &run, seen, at(10)).await;
    assert_eq!(bench.told_since(before).await, told);
}

/// "Takes no more input for a run, unless one was accepted and not written yet, or an ask is open. Idempotent."
pub async fn close_inputs_waits_for_what_is_open(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let close = async || bench.store.close_inputs(run.id, run.token).await.unwrap();
    let id = asks_one(&bench, &run, "a", at(5)).await;
    assert!(!close().await, "an ask is open");
    let answer = reply(Answer::Allow, "me", 6);
    bench.store.answer_ask(id, answer).await.unwrap();
    assert!(!close().await, "its answer is on its way");
    settle(&bench, &run, 2, InputState::Written).await;
    send(&bench, &run, "hello").await;
    assert!(!close().await, "a message is on its way");
    assert!(!bench.store.run(run.id).await.unwrap().inputs.closed);
    settle(&bench, &run, 3, InputState::Written).await;
    assert!(close().await);
    assert!(close().await, "again");
    let other = place.another().await;
    assert!(other.run(run.id).await.unwrap().inputs.closed);
    let sent = bench.store.send_message(message(run.task_id, "late")).await;
    assert_eq!(refused(sent), ErrorKind::WrongState(Noun::Task));
}

/// Of a message and a closing at once either the message counts or the closing, never both.
pub async fn no_message_slips_through_a_closing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    for _ in 0..12 {
        let task = bench.task(project.id, "x").await;
        let run = bench.claimed(&task, at(3)).await.run;
        let (one, two) = (Arc::clone(&bench.store), Arc::clone(&bench.store));
        let message = message(task.id, "hello");
        let sending = tokio::spawn(async move { one.send_message(message).await.is_ok() });
        let closing = tokio::spawn(async move { two.close_inputs(run.id, run.token).await });
        let (sent, closed) = soon("both", async { tokio::join!(sending, closing) }).await;
        assert_ne!(sent.unwrap(), closed.unwrap().unwrap());
    }
}

/// "Open asks become void and inputs what [`InputState::at_end`] says", in one commit with the end.
pub async fn finish_ends_asks_and_inputs(place: &dyn StorePlace) {
    use InputState::{Accepted, Delivered, TooLate, Unknown, Written};
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let answered = asks_one(&bench, &run, "a", at(5)).await;
    let answer = reply(Answer::Allow, "me", 6);
    let (answered_ask, _) = bench.store.answer_ask(answered, answer).await.unwrap();
    let open = asks_one(&bench, &run, "b", at(5)).await;
    for (number, state) in [(3, Delivered), (4, Written), (5, TooLate), (6, Accepted)] {
        send(&bench, &run, "hello").await;
        settle(&bench, &run, number, state).await;
    }
    let before = bench.head().await;
    let ended = bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(9));
    ended.await.unwrap();
    assert_eq!(
        bench.told_since(before).await,
        "ask.voided input.updated input.updated input.updated run.ended task.succeeded"
    );
    let void = AskState::Void { at: at(9) };
    let other = place.another().await;
    assert_eq!(other.ask(open).await.unwrap().state, void);
    assert_eq!(other.ask(answered).await.unwrap(), answered_ask);
    let became = [TooLate, Delivered, Unknown, TooLate, TooLate];
    assert_eq!(states(&bench, &run).await, became);
    let kept = other.run(run.id).await.unwrap();
    assert!(kept.inputs.closed);
    assert_eq!((kept.waits.open_asks, kept.waits.since), (0, None));
    let gone = ErrorKind::Superseded;
    let (id, token) = (run.id, run.token);
    let settled = bench.store.settle_input(id, token, 4, Delivered, at(10));
    assert_eq!(refused(settled.await), gone);
    assert_eq!(refused(bench.store.close_inputs(id, token).await), gone);
}

/// "`Superseded` with an old token": neither an older nor a newer number settles an input or closes a run.
pub async fn a_stale_token_touches_no_input(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    send(&bench, &run, "hello").await;
    let before = bench.head().await;
    for token in [FencingToken(run.token.0 - 1), FencingToken(run.token.0 + 1)] {
        let written = InputState::Written;
        let settled = bench.store.settle_input(run.id, token, 2, written, at(8));
        assert_eq!(refused(settled.await), ErrorKind::Superseded);
        let closed = bench.store.close_inputs(run.id, token).await;
        assert_eq!(refused(closed), ErrorKind::Superseded);
    }
    let missing = ErrorKind::NotFound(Noun::Run);
    let nobody = bench.store.close_inputs(RunId::new(), run.token).await;
    assert_eq!(refused(nobody), missing);
    assert_eq!(bench.head().await, before);
    assert_eq!(states(&bench, &run).await, [InputState::Accepted]);
}

/// An older daemon neither answers nor sends.
pub async fn an_older_epoch_sends_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let id = asks_one(&bench, &run, "a", at(5)).await;
    let kept = bench.store.run(run.id).await.unwrap();
    let next = place.another().await;
    next.begin(&bench.system, at(6)).await.unwrap();
    let before = bench.head().await;
    let (old, gone) = (&bench.store, ErrorKind::Superseded);
    let answer = reply(Answer::Allow, "me", 7);
    assert_eq!(refused(old.answer_ask(id, answer).await), gone);
    let message = message(run.task_id, "hello");
    assert_eq!(refused(old.send_message(message).await), gone);
    let written = InputState::Written;
    let settled = old.settle_input(run.id, run.token, 2, written, at(7));
    assert_eq!(refused(settled.await), gone);
    assert_eq!(refused(old.close_inputs(run.id, run.token).await), gone);
    assert_eq!(bench.head().await, before);
    assert_eq!(next.run(run.id).await.unwrap(), kept);
    assert_eq!(next.ask(id).await.unwrap().state, AskState::Open);
    let answer = reply(Answer::Allow, "me", 8);
    next.answer_ask(id, answer).await.unwrap();
}
