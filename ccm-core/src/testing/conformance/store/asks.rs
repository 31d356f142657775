//! Asks: how they come, are answered and end, and what they mean for their run.

use super::*;
use crate::Noun;
use crate::ask::{Answer, Ask, AskKind, AskState, AskStateKind, Question};
use crate::event::EventKind;
use crate::id::{AskId, InputId};
use crate::input::{InputBody, InputState};
use crate::reason::Reason;
use crate::run::{Checkpoint, Observation, Parking, Run, Waits};
use crate::store::{AskQuery, Intake, Page, Reply, ReplyEffect};
use crate::task::{Setback, TaskState};

/// A run under way, of a project named so.
pub(super) async fn asking(bench: &Bench, name: &str) -> Run {
    let project = bench.project(name).await;
    let task = bench.task(project.id, "x").await;
    bench.claimed(&task, at(3)).await.run
}

pub(super) fn asked(request_id: &str, kind: AskKind) -> Observation {
    Observation::Asked {
        request_id: request_id.to_owned(),
        question: Question {
            kind,
            title: format!("May I {request_id}?"),
            detail: "größe & \"co\"\n".to_owned(),
            choices: Vec::new(),
            payload: format!("{{\"of\":\"{request_id}\"}}"),
        },
    }
}

fn withdrawn(request_id: &str) -> Observation {
    Observation::Withdrawn {
        request_id: request_id.to_owned(),
    }
}

/// Has a run say these things. Returns the ids that were offered for its asks.
pub(super) async fn says(
    bench: &Bench,
    run: &Run,
    seen: Vec<Observation>,
    now: Timestamp,
) -> Vec<AskId> {
    let from = bench.store.run(run.id).await.unwrap().checkpoint;
    let to = Checkpoint {
        out: from.out + 1,
        ..from.clone()
    };
    let intake = Intake::new(from, to, seen);
    let ids = intake.ask_ids.clone();
    bench
        .store
        .take_in(run.id, run.token, intake, now)
        .await
        .expect("take_in");
    ids
}

/// Has a run ask for a permission.
pub(super) async fn asks_one(bench: &Bench, run: &Run, request_id: &str, now: Timestamp) -> AskId {
    let seen = vec![asked(request_id, AskKind::Permission)];
    says(bench, run, seen, now).await[0]
}

pub(super) fn reply(answer: Answer, by: &str, second: i64) -> Reply {
    Reply {
        answer,
        by: by.to_owned(),
        input_id: InputId::new(),
        now: at(second),
    }
}

async fn waits(bench: &Bench, run: &Run) -> Waits {
    bench.store.run(run.id).await.unwrap().waits
}

/// `Asked` "makes an ask with the id of `ask_ids` at its place among the observations of its kind": every field is
/// kept, told by an event, and there for another handle.
pub async fn take_in_makes_asks(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let before = bench.head().await;
    let session = Observation::Session {
        session_id: "s".to_owned(),
    };
    let seen = vec![
        asked("write", AskKind::Permission),
        session,
        asked("say", AskKind::Text),
    ];
    let ids = says(&bench, &run, seen.clone(), at(5)).await;
    assert_eq!(
        bench.told_since(before).await,
        "ask.created ask.created run.observed"
    );
    let other = place.another().await;
    for (id, seen) in ids.iter().zip([&seen[0], &seen[2]]) {
        let Observation::Asked {
            request_id,
            question,
        } = seen
        else {
            unreachable!()
        };
        let want = Ask {
            id: *id,
            run_id: run.id,
            task_id: run.task_id,
            project_id: run.project_id,
            agent_id: run.agent_id,
            request_id: request_id.clone(),
            question: question.clone(),
            state: AskState::Open,
            created_at: at(5),
        };
        assert_eq!(other.ask(*id).await.unwrap(), want);
    }
    let query = EventQuery {
        kinds: vec![EventKind::AskCreated],
        limit: 10,
        ..EventQuery::default()
    };
    let event = bench.store.events(&query).await.unwrap().remove(1);
    assert_eq!(
        (event.run_id, event.task_id, event.time),
        (Some(run.id), Some(run.task_id), at(5))
    );
    let data = serde_json::json!({ "ask_id": ids[1], "kind": "text", "title": "May I say?" });
    assert_eq!(event.data, data);
}

/// "... unless the run has one of that request already", open or not, in the same part or a later one. Another run's
/// request of the same name is another ask.
pub async fn a_request_is_asked_once(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let twice = vec![
        asked("a", AskKind::Permission),
        asked("a", AskKind::Text),
        asked("b", AskKind::Permission),
        asked("c", AskKind::Permission),
        withdrawn("c"),
        asked("c", AskKind::Permission),
    ];
    let ids = says(&bench, &run, twice.clone(), at(5)).await;
    let answer = reply(Answer::Allow, "me", 6);
    bench.store.answer_ask(ids[2], answer).await.unwrap();
    let first = all_asks(&bench).await;
    let kept: Vec<AskId> = first.iter().map(|ask| ask.id).collect();
    assert_eq!(kept, [ids[3], ids[2], ids[0]]);
    let before = bench.head().await;
    says(&bench, &run, twice, at(7)).await;
    assert_eq!(all_asks(&bench).await, first);
    assert_eq!(bench.told_since(before).await, "");
    assert_eq!(waits(&bench, &run).await.open_asks, 1);
    let other = asking(&bench, "q").await;
    asks_one(&bench, &other, "a", at(8)).await;
    assert_eq!(all_asks(&bench).await.len(), 4);
}

async fn all_asks(bench: &Bench) -> Vec<Ask> {
    let query = AskQuery {
        limit: 100,
        ..AskQuery::default()
    };
    bench.store.asks(&query).await.unwrap().items
}

/// A part with another number of ids than asks is refused whole.
pub async fn every_ask_needs_an_id(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let before = bench.head().await;
    for ids in [0, 2] {
        let to = Checkpoint {
            out: 9,
            ..Checkpoint::default()
        };
        let seen = vec![asked("a", AskKind::Permission)];
        let mut intake = Intake::new(Checkpoint::default(), to, seen);
        intake.ask_ids = (0..ids).map(|_| AskId::new()).collect();
        let taken = bench.store.take_in(run.id, run.token, intake, at(5)).await;
        assert_eq!(refused(taken), ErrorKind::Invalid);
    }
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.run(run.id).await.unwrap(), run);
}

/// What the agent takes back is void; what is answered stays so, and what was never asked is nothing.
pub async fn a_withdrawn_ask_is_void(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let open = asks_one(&bench, &run, "a", at(5)).await;
    let answered = asks_one(&bench, &run, "b", at(5)).await;
    let answer = reply(Answer::Allow, "me", 6);
    let (kept, _) = bench.store.answer_ask(answered, answer).await.unwrap();
    let before = bench.head().await;
    let seen = vec![withdrawn("a"), withdrawn("b"), withdrawn("c")];
    says(&bench, &run, seen.clone(), at(7)).await;
    assert_eq!(bench.told_since(before).await, "ask.voided");
    let void = AskState::Void { at: at(7) };
    assert_eq!(bench.store.ask(open).await.unwrap().state, void);
    assert_eq!(bench.store.ask(answered).await.unwrap(), kept);
    says(&bench, &run, seen, at(8)).await;
    assert_eq!(bench.told_since(before).await, "ask.voided");
    assert_eq!(bench.store.ask(open).await.unwrap().state, void);
}

/// "Answers an ask and accepts the input that carries the answer to its run, in one commit."
pub async fn an_answer_becomes_an_input(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let id = asks_one(&bench, &run, "a", at(5)).await;
    let before = bench.head().await;
    let answer = Answer::Deny {
        message: Some("not \"this\" é".to_owned()),
    };
    let given = reply(answer.clone(), "ada", 6);
    let input_id = given.input_id;
    let (ask, effect) = bench.store.answer_ask(id, given).await.unwrap();
    assert_eq!(effect, ReplyEffect::Answered);
    let state = AskState::Answered {
        answer: answer.clone(),
        by: "ada".to_owned(),
        at: at(6),
    };
    assert_eq!(ask.state, state);
    assert_eq!(
        bench.told_since(before).await,
        "ask.answered input.accepted"
    );
    let other = place.another().await;
    assert_eq!(other.ask(id).await.unwrap(), ask);
    let inputs = other.inputs(run.id).await.unwrap();
    let input = inputs.first().expect("an input");
    assert_eq!((inputs.len(), input.id, input.number), (1, input_id, 2));
    assert_eq!(
        (input.state, input.by.as_str()),
        (InputState::Accepted, "ada")
    );
    assert_eq!((input.run_id, input.created_at), (run.id, at(6)));
    let body = InputBody::Answer {
        ask_id: id,
        request_id: "a".to_owned(),
        payload: ask.question.payload.clone(),
        answer,
    };
    assert_eq!(input.body, body);
    assert_eq!(other.run(run.id).await.unwrap().inputs.last, 2);
    let query = EventQuery {
        kinds: vec![EventKind::AskAnswered],
        limit: 10,
        ..EventQuery::default()
    };
    let event = other.events(&query).await.unwrap().remove(0);
    assert_eq!(
        (&event.data["by"], event.run_id),
        (&"ada".into(), Some(run.id))
    );
    assert_eq!(event.data["ask_id"], id.to_string());
}

/// "The first answer counts: later ones get the ask as it is and change nothing", however many come at once.
pub async fn the_first_answer_counts(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let id = asks_one(&bench, &run, "a", at(5)).await;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let store = Arc::clone(&bench.store);
        let answer = match number % 2 {
            0 => Answer::Allow,
            _ => Answer::Deny { message: None },
        };
        let given = reply(answer, &format!("caller {number}"), 6);
        callers.spawn(async move { store.answer_ask(id, given).await.unwrap() });
    }
    let answers = soon("the answers", callers.join_all()).await;
    let kept = bench.store.ask(id).await.unwrap();
    assert!(answers.iter().all(|(ask, _)| *ask == kept));
    let firsts = answers
        .iter()
        .filter(|(_, effect)| *effect == ReplyEffect::Answered);
    assert_eq!(firsts.count(), 1);
    assert_eq!(bench.store.inputs(run.id).await.unwrap().len(), 1);
    let query = EventQuery {
        kinds: vec![EventKind::AskAnswered, EventKind::InputAccepted],
        limit: 100,
        ..EventQuery::default()
    };
    assert_eq!(bench.store.events(&query).await.unwrap().len(), 2);
}

/// "`Invalid` for an answer that does not fit the question", "`NotFound(Ask)`": nothing changes, and a good answer is
/// still wanted.
pub async fn an_answer_fits_its_ask(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let permission = asks_one(&bench, &run, "a", at(5)).await;
    let text = says(&bench, &run, vec![asked("b", AskKind::Text)], at(5)).await[0];
    let before = bench.head().await;
    let words = |words: &str| Answer::Text {
        text: vec![words.to_owned()],
    };
    for (ask, answer) in [
        (permission, words("yes")),
        (text, Answer::Allow),
        (text, words(" ")),
    ] {
        let answered = bench.store.answer_ask(ask, reply(answer, "me", 6)).await;
        assert_eq!(refused(answered), ErrorKind::Invalid);
    }
    let missing = ErrorKind::NotFound(Noun::Ask);
    let nobody = AskId::new();
    assert_eq!(refused(bench.store.ask(nobody).await), missing);
    let answered = bench
        .store
        .answer_ask(nobody, reply(Answer::Allow, "me", 6));
    assert_eq!(refused(answered.await), missing);
    assert_eq!(bench.head().await, before);
    let answered = bench.store.answer_ask(text, reply(words("fine"), "me", 6));
    assert_eq!(answered.await.unwrap().1, ReplyEffect::Answered);
}

/// "`WrongState(Ask)` when no answer is wanted any more": it was taken back, or its run ended.
pub async fn a_void_ask_takes_no_answer(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let taken_back = asks_one(&bench, &run, "a", at(5)).await;
    says(&bench, &run, vec![withdrawn("a")], at(6)).await;
    let left = asks_one(&bench, &run, "b", at(6)).await;
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(7))
        .await
        .unwrap();
    let before = bench.head().await;
    for id in [taken_back, left] {
        let answered = bench.store.answer_ask(id, reply(Answer::Allow, "me", 8));
        assert_eq!(refused(answered.await), ErrorKind::WrongState(Noun::Ask));
    }
    assert_eq!(bench.head().await, before);
    assert!(bench.store.inputs(run.id).await.unwrap().is_empty());
}

/// A run waits for people from its first open ask to the last one: times that overlap count once.
pub async fn waits_are_counted(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let is = |open_asks, since: Option<i64>, before| Waits {
        open_asks,
        interrupted: None,
        since: since.map(at),
        before: Duration::from_secs(before),
        parked: None,
    };
    assert_eq!(waits(&bench, &run).await, is(0, None, 0));
    let first = asks_one(&bench, &run, "a", at(10)).await;
    assert_eq!(waits(&bench, &run).await, is(1, Some(10), 0));
    let second = asks_one(&bench, &run, "b", at(12)).await;
    assert_eq!(waits(&bench, &run).await, is(2, Some(10), 0));
    let answer = |id| bench.store.answer_ask(id, reply(Answer::Allow, "me", 15));
    answer(first).await.unwrap();
    assert_eq!(waits(&bench, &run).await, is(1, Some(10), 0));
    answer(first).await.unwrap();
    assert_eq!(waits(&bench, &run).await, is(1, Some(10), 0));
    says(&bench, &run, vec![withdrawn("b")], at(17)).await;
    assert_eq!(waits(&bench, &run).await, is(0, None, 7));
    let both = vec![
        asked("c", AskKind::Permission),
        withdrawn("c"),
        asked("d", AskKind::Permission),
    ];
    says(&bench, &run, both, at(20)).await;
    let other = place.another().await;
    let kept = other.run(run.id).await.unwrap().waits;
    assert_eq!(kept, is(1, Some(20), 7));
    assert_eq!(kept.total(at(26)), Duration::from_secs(13));
    bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(30))
        .await
        .unwrap();
    assert_eq!(waits(&bench, &run).await, is(0, None, 17));
    assert!(bench.store.ask(second).await.unwrap().state == AskState::Void { at: at(17) });
}

/// What a run used, and that its provider lets it wait, is kept as it was said last, and told.
pub async fn take_in_notes_use_and_parking(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = asking(&bench, "p").await;
    let used = |tokens, cost_usd| Observation::Used {
        usage: Usage {
            output_tokens: tokens,
            ..Usage::default()
        },
        cost_usd,
    };
    let parking = Parking {
        cause: Setback::new(Reason::RateLimited, "come back later"),
        until: Some(at(500)),
    };
    let parked = |parking| Observation::Parked { parking };
    let before = bench.head().await;
    let seen = vec![
        used(1, Some(0.1)),
        used(3, Some(0.5)),
        parked(Some(parking.clone())),
    ];
    says(&bench, &run, seen, at(5)).await;
    let kept = place.another().await.run(run.id).await.unwrap();
    assert_eq!((kept.usage.output_tokens, kept.cost_usd), (3, Some(0.5)));
    assert_eq!(kept.waits.parked, Some(parking.clone()));
    assert_eq!(
        bench.told_since(before).await,
        "run.observed run.observed run.observed"
    );
    says(&bench, &run, vec![parked(None)], at(6)).await;
    assert_eq!(waits(&bench, &run).await.parked, None);
    says(&bench, &run, vec![parked(Some(parking))], at(7)).await;
    // "What the run used counts as it was taken in where `finish` does not say it."
    let finish = Finish {
        usage: None,
        cost_usd: None,
        ..end(Verdict::Succeeded)
    };
    let task = bench.store.finish(run.id, run.token, finish, at(8)).await;
    assert_eq!(task.unwrap().cost_usd, Some(0.5));
    let kept = bench.store.run(run.id).await.unwrap();
    assert_eq!((kept.usage.output_tokens, kept.cost_usd), (3, Some(0.5)));
    assert_eq!(kept.waits.parked, None);
}

/// "A verdict that is no attempt takes it back", also when an agent was started and not let work. The conversation it
/// had is kept, and what it cost counts.
pub async fn a_refusal_is_no_attempt(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut task = bench.task(project.id, "x").await;
    let cause = Setback::new(Reason::RateLimited, "come back later");
    for number in 1..=2 {
        let run = bench.claimed(&task, at(3)).await.run;
        assert_eq!(run.attempt, 1);
        let session = Observation::Session {
            session_id: format!("s{number}"),
        };
        says(&bench, &run, vec![session], at(3)).await;
        let verdict = Verdict::Refused {
            cause: cause.clone(),
            until: Some(at(40)),
            lost_session: number == 2,
        };
        let finish = Finish {
            retry_at: Some(at(3)),
            ..end(verdict.clone())
        };
        task = bench
            .store
            .finish(run.id, run.token, finish, at(3))
            .await
            .unwrap();
        assert_eq!((task.attempts, task.false_starts), (0, number));
        let last = Some(cause.clone());
        assert_eq!(task.state, TaskState::Queued { last });
        assert_eq!(task.due_at, Some(at(3)));
        assert_eq!(task.cost_usd, Some(0.25 * f64::from(number)));
        let kept = place.another().await.run(run.id).await.unwrap();
        assert_eq!(kept.session_id, Some(format!("s{number}")));
        let crate::run::RunState::Ended { outcome, .. } = kept.state else {
            panic!("the run has not ended")
        };
        assert_eq!(outcome.verdict, verdict);
    }
}

/// "Asks, newest first", in pages, of a project, a task or a run, and those that wait alone.
pub async fn asks_are_listed(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let one = asking(&bench, "one").await;
    let two = asking(&bench, "two").await;
    let mut newest = Vec::new();
    for (number, run) in [&one, &two, &one, &one, &two].into_iter().enumerate() {
        let request = format!("request {number}");
        newest.insert(0, asks_one(&bench, run, &request, at(5)).await);
    }
    let answer = reply(Answer::Allow, "me", 6);
    bench.store.answer_ask(newest[1], answer).await.unwrap();
    says(&bench, &two, vec![withdrawn("request 1")], at(6)).await;
    let all = AskQuery {
        limit: 10,
        ..AskQuery::default()
    };
    let list = async |query: AskQuery| {
        let Page { items, more } = bench.store.asks(&query).await.unwrap();
        let places = items.iter().map(|ask| {
            let found = newest.iter().position(|id| *id == ask.id);
            found.expect("an ask of this test")
        });
        (places.collect::<Vec<_>>(), more)
    };
    assert_eq!(list(all.clone()).await, (vec![0, 1, 2, 3, 4], false));
    let limited = |limit, before: Option<usize>| AskQuery {
        limit,
        before: before.map(|at| newest[at]),
        ..AskQuery::default()
    };
    assert_eq!(list(limited(2, None)).await, (vec![0, 1], true));
    assert_eq!(list(limited(3, Some(1))).await, (vec![2, 3, 4], false));
    for (state, of_one) in [
        (None, vec![1, 2, 4]),
        (Some(AskStateKind::Open), vec![2, 4]),
    ] {
        let query = AskQuery {
            state,
            ..all.clone()
        };
        let project = AskQuery {
            project: Some(one.project_id),
            ..query.clone()
        };
        let task = AskQuery {
            task: Some(one.task_id),
            ..query.clone()
        };
        let run = AskQuery {
            run: Some(one.id),
            ..query.clone()
        };
        for query in [&project, &task, &run] {
            assert_eq!(list(query.clone()).await, (of_one.clone(), false));
        }
        let narrowed = AskQuery {
            task: Some(two.task_id),
            ..run
        };
        assert_eq!(list(narrowed).await, (vec![], false));
        let rest = AskQuery {
            before: Some(newest[2]),
            limit: 1,
            ..project
        };
        assert_eq!(list(rest).await, (vec![4], false));
    }
    for (state, expected) in [
        (AskStateKind::Open, vec![0, 2, 4]),
        (AskStateKind::Answered, vec![1]),
        (AskStateKind::Void, vec![3]),
    ] {
        let query = AskQuery {
            state: Some(state),
            ..all.clone()
        };
        assert_eq!(list(query).await, (expected.clone(), false));
        let of_two = AskQuery {
            state: Some(state),
            project: Some(two.project_id),
            ..all.clone()
        };
        let expected = expected.into_iter().filter(|at| matches!(at, 0 | 3));
        assert_eq!(list(of_two).await, (expected.collect(), false));
    }
}
