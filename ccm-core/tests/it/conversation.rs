//! The engine with programs that ask, are given input, report and rest.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ccm_core::agent::AgentState;
use ccm_core::api::CreateTask;
use ccm_core::ask::{Answer, Ask, AskKind, AskStateKind, Question};
use ccm_core::engine::Engine;
use ccm_core::id::{InputId, RunId, TaskId};
use ccm_core::input::InputState;
use ccm_core::run::{Observation, Parking, Refusal, Report, Run, Usage};
use ccm_core::runtime::Resume;
use ccm_core::store::{AskQuery, Message, Reply};
use ccm_core::task::{SessionMode, Setback, TaskState, TaskStateName, TaskText};
use ccm_core::testing::memory::{MemoryStore, Step};
use ccm_core::time::Clock;
use ccm_core::{AgentRuntime, ErrorKind, Noun, Reason, Store};

use crate::engine::{Machine, create, done, project, started, task, until, until_agent, within};

fn asks(request_id: &str) -> Step {
    Step::Say(Observation::Asked {
        request_id: request_id.to_owned(),
        question: Question {
            kind: AskKind::Permission,
            title: "May I?".to_owned(),
            detail: String::new(),
            choices: Vec::new(),
            payload: String::new(),
        },
    })
}

fn says(text: &str) -> Report {
    Report {
        text: text.to_owned(),
        conclusive: true,
        ..Report::default()
    }
}

fn session(name: &str) -> Step {
    Step::Say(Observation::Session {
        session_id: name.to_owned(),
    })
}

fn works() -> Step {
    let usage = Usage {
        output_tokens: 5,
        ..Usage::default()
    };
    Step::Say(Observation::Used {
        usage,
        cost_usd: None,
    })
}

fn refuses(until: Option<ccm_core::time::Timestamp>, lost_session: bool) -> Step {
    Step::Report(Report {
        refusal: Some(Refusal {
            cause: Setback::new(Reason::RateLimited, "come back later"),
            until,
            lost_session,
        }),
        usage: Usage {
            output_tokens: 5,
            ..Usage::default()
        },
        ..says("")
    })
}

/// Makes the machine's program do `first` when it is started first, then the next, and at last always the last. Returns
/// the conversations that it was to go on with.
fn scripts(machine: &Machine, scripts: Vec<Vec<Step>>) -> Arc<Mutex<Vec<Option<Resume>>>> {
    let resumed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&resumed);
    machine.runtime.program("agent", move |order| {
        let mut seen = seen.lock().unwrap();
        let steps = scripts[seen.len().min(scripts.len() - 1)].clone();
        seen.push(order.resume.clone());
        steps
    });
    resumed
}

/// Waits until the store says what `is` wants to hear of the run.
async fn until_run(store: &dyn Store, id: RunId, is: impl Fn(&Run) -> bool) -> Run {
    let mut head = store.watch();
    within(async {
        loop {
            head.mark_unchanged();
            let run = store.run(id).await.unwrap();
            if is(&run) {
                return run;
            }
            head.changed().await.unwrap();
        }
    })
    .await
}

async fn open_ask(engine: &Engine, run: RunId) -> Ask {
    until_run(&**engine.store(), run, |run| run.waits.open_asks > 0).await;
    let query = AskQuery {
        run: Some(run),
        state: Some(AskStateKind::Open),
        limit: 9,
        ..AskQuery::default()
    };
    engine.store().asks(&query).await.unwrap().items.remove(0)
}

/// The store as a daemon that does nothing else.
async fn alone(machine: &Machine) -> MemoryStore {
    let store = machine.store.another();
    store
        .begin(&machine.system, machine.clock.now())
        .await
        .unwrap();
    store
}

fn message(machine: &Machine, task: TaskId, text: &str) -> Message {
    Message {
        id: InputId::new(),
        task,
        text: TaskText::new(text).unwrap(),
        by: "me".to_owned(),
        now: machine.clock.now(),
    }
}

#[tokio::test]
async fn an_ask_holds_the_agent_and_stops_the_clock() {
    let machine = Machine::new();
    scripts(&machine, vec![vec![asks("a"), Step::Take, Step::Stay]]);
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let wish = CreateTask {
        timeout_s: Some(60),
        ..CreateTask::new(project, "x")
    };
    let id = create(&engine, wish).await;
    let run = started(&engine, id).await;
    let waits = |state: &AgentState| *state == AgentState::Waiting { run, detail: None };
    open_ask(&engine, run).await;
    until_agent(&engine, agent, waits).await;
    machine.clock.advance(Duration::from_secs(1000));
    within(engine.shutdown(false)).await;
    machine.clock.advance(Duration::from_secs(1000));

    let engine = machine.daemon().await;
    let ask = open_ask(&engine, run).await;
    until_agent(&engine, agent, waits).await;
    machine.clock.advance(Duration::from_secs(1000));
    engine
        .answer_ask(ask.id, Answer::Allow, "me")
        .await
        .unwrap();
    let is_back = |state: &AgentState| *state == AgentState::Working { run };
    until_agent(&engine, agent, is_back).await;
    let kept = engine.store().run(run).await.unwrap();
    assert_eq!(kept.waits.before, Duration::from_secs(3000));
    machine.pass(Duration::from_secs(59)).await;
    assert!(engine.store().run(run).await.unwrap().stop.is_none());
    machine.pass(Duration::from_secs(1)).await;
    let task = done(&engine, id).await;
    let TaskState::Failed { cause, .. } = &task.state else {
        panic!("{:?}", task.state);
    };
    assert_eq!(cause.reason, Reason::Timeout);
}

/// A daemon is killed after an answer was accepted: before it sent it, and before it noted that it had.
#[tokio::test]
async fn an_answer_is_sent_exactly_once() {
    for was_sent in [false, true] {
        let machine = Machine::new();
        let script = vec![
            asks("a"),
            Step::Take,
            Step::wait("go"),
            Step::Report(says("done")),
        ];
        scripts(&machine, vec![script]);
        let engine = machine.daemon().await;
        let (project, _) = project(&engine, "p").await;
        let id = task(&engine, project, "x").await;
        let run = started(&engine, id).await;
        let ask = open_ask(&engine, run).await;
        within(engine.shutdown(false)).await;
        let store = alone(&machine).await;
        let reply = Reply {
            answer: Answer::Allow,
            by: "me".to_owned(),
            input_id: InputId::new(),
            now: machine.clock.now(),
        };
        store.answer_ask(ask.id, reply).await.unwrap();
        let input = store.inputs(run).await.unwrap().remove(0);
        if was_sent {
            machine.runtime.send(run, &input).await.unwrap();
        }
        let engine = machine.daemon().await;
        let state = async || engine.store().inputs(run).await.unwrap()[0].state;
        within(async {
            while state().await != InputState::Delivered {
                tokio::task::yield_now().await;
            }
        })
        .await;
        machine.runtime.release("go");
        let task = done(&engine, id).await;
        assert_eq!(task.result.as_deref(), Some("done"));
        let taken = machine.runtime.taken(run);
        assert_eq!(taken.len(), 1, "sent before: {was_sent}");
        assert_eq!(taken[0].id, input.id);
    }
}

#[tokio::test]
async fn the_first_answer_counts_and_another_one_is_told_so() {
    let machine = Machine::new();
    scripts(
        &machine,
        vec![vec![asks("a"), Step::Take, Step::wait("go")]],
    );
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    let run = started(&engine, id).await;
    let ask = open_ask(&engine, run).await.id;
    let first = engine.answer_ask(ask, Answer::Allow, "ada").await.unwrap();
    let same = engine.answer_ask(ask, Answer::Allow, "bob").await.unwrap();
    assert_eq!(same, first);
    let other = Answer::Deny { message: None };
    let refused = engine.answer_ask(ask, other, "bob").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState(Noun::Ask));
    assert!(refused.to_string().contains("ada"), "{refused}");
    machine.runtime.release("go");
    done(&engine, id).await;
}

#[tokio::test]
async fn a_program_that_rests_with_nothing_to_come_is_closed() {
    let machine = Machine::new();
    scripts(
        &machine,
        vec![vec![Step::Report(says("all done")), Step::Rest]],
    );
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
    assert_eq!(task.result.as_deref(), Some("all done"));
    let late = engine.send_message(id, InputId::new(), "more".to_owned(), "me");
    let late = late.await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::WrongState(Noun::Task));
}

/// What the message starts may need answers, so the program's input stays open for it.
#[tokio::test]
async fn a_message_to_a_resting_program_starts_another_turn() {
    let machine = Machine::new();
    let script = vec![
        Step::wait("go"),
        Step::Report(says("one")),
        Step::Rest,
        Step::Take,
        asks("a"),
        Step::Take,
        Step::Report(says("two")),
        Step::Rest,
    ];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    let run = started(&engine, id).await;
    // It comes to rest while no daemon is there, so that the next one finds it so, and a message as well.
    within(engine.shutdown(false)).await;
    machine.runtime.release("go");
    let store = alone(&machine).await;
    let sent = store.send_message(message(&machine, id, "and this"));
    let sent = sent.await.unwrap();
    let engine = machine.daemon().await;
    let ask = open_ask(&engine, run).await.id;
    assert!(!engine.store().run(run).await.unwrap().inputs.closed);
    engine.answer_ask(ask, Answer::Allow, "me").await.unwrap();
    let task = done(&engine, id).await;
    assert_eq!(task.result.as_deref(), Some("two"));
    let taken = machine.runtime.taken(run);
    let taken: Vec<_> = taken.iter().map(|input| input.number).collect();
    assert_eq!(taken, [2, 3]);
    let kept = engine.store().inputs(run).await.unwrap();
    assert_eq!(kept[0].id, sent.id);
    assert!(
        kept.iter()
            .all(|input| input.state == InputState::Delivered)
    );
}

/// A program that is interrupted stops, says so, and rests.
fn interrupted() -> Report {
    Report {
        error: Some("interrupted".to_owned()),
        ..says("")
    }
}

#[tokio::test]
async fn an_interrupted_run_waits_for_a_person_over_restarts_and_goes_on() {
    let machine = Machine::new();
    let script = vec![
        Step::Take,
        Step::Report(interrupted()),
        Step::Rest,
        Step::Take,
        Step::Report(says("better")),
        Step::Rest,
    ];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let wish = CreateTask {
        timeout_s: Some(1000),
        ..CreateTask::new(project, "x")
    };
    let id = create(&engine, wish).await;
    let run = started(&engine, id).await;
    let wish = InputId::new();
    for _ in 0..2 {
        let done = engine.interrupt_task(id, wish, None, "ada").await.unwrap();
        assert_eq!((done.interrupt.number, done.message), (2, None));
    }
    let waits = |state: &AgentState| {
        matches!(state, AgentState::Waiting { run: of, detail: Some(detail) }
            if *of == run && detail.starts_with("ada interrupted it; say what"))
    };
    until_agent(&engine, agent, waits).await;
    machine.clock.advance(Duration::from_secs(3000));
    within(engine.shutdown(false)).await;
    let engine = machine.daemon().await;
    until_agent(&engine, agent, waits).await;
    assert!(!engine.store().run(run).await.unwrap().inputs.closed);
    let sent = engine.send_message(id, InputId::new(), "this way".to_owned(), "ada");
    sent.await.unwrap();
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
    assert_eq!(task.result.as_deref(), Some("better"));
    let taken = machine.runtime.taken(run);
    assert_eq!(taken.len(), 2);
    let kept = engine.store().run(run).await.unwrap();
    assert_eq!(kept.waits.interrupted, None);
    assert!(kept.waits.before >= Duration::from_secs(3000));
}

#[tokio::test]
async fn an_interrupt_with_a_message_waits_for_nobody() {
    let machine = Machine::new();
    let script = vec![
        Step::Take,
        Step::Report(interrupted()),
        Step::Rest,
        Step::Take,
        Step::Report(says("that")),
        Step::Rest,
    ];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    started(&engine, id).await;
    let then = Some((InputId::new(), "do that".to_owned()));
    let done_at_once = engine.interrupt_task(id, InputId::new(), then, "ada");
    assert!(done_at_once.await.unwrap().message.is_some());
    assert_eq!(done(&engine, id).await.result.as_deref(), Some("that"));
}

/// Also one that had reported well before the interrupt came: its person wanted more than that.
#[tokio::test]
async fn a_cancel_ends_an_interrupted_run_as_cancelled() {
    for report in [interrupted(), says("all done")] {
        let machine = Machine::new();
        let script = vec![Step::Take, Step::Report(report), Step::Rest];
        scripts(&machine, vec![script]);
        let engine = machine.daemon().await;
        let (project, agent) = project(&engine, "p").await;
        let id = task(&engine, project, "x").await;
        started(&engine, id).await;
        let wish = engine.interrupt_task(id, InputId::new(), None, "ada");
        wish.await.unwrap();
        let waits = |state: &AgentState| matches!(state, AgentState::Waiting { .. });
        until_agent(&engine, agent, waits).await;
        engine.cancel_task(id, "ada").await.unwrap();
        assert_eq!(
            done(&engine, id).await.state.name(),
            TaskStateName::Cancelled
        );
    }
}

#[tokio::test]
async fn what_ends_while_it_is_interrupted_is_not_repeated() {
    let machine = Machine::new();
    let script = vec![
        Step::Take,
        Step::Report(says("fine")),
        Step::wait("die"),
        Step::Exit(0),
    ];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let wish = CreateTask {
        max_retries: Some(3),
        ..CreateTask::new(project, "x")
    };
    let id = create(&engine, wish).await;
    let run = started(&engine, id).await;
    let wish = engine.interrupt_task(id, InputId::new(), None, "ada");
    wish.await.unwrap();
    until_run(&**engine.store(), run, |run| run.inputs.last == 2).await;
    machine.runtime.release("die");
    let task = done(&engine, id).await;
    let TaskState::Failed { cause, .. } = &task.state else {
        panic!("{task:?}");
    };
    assert_eq!(cause.reason, Reason::Interrupted);
    assert_eq!(task.attempts, 1);
}

#[tokio::test]
async fn a_program_that_reads_nothing_is_not_interrupted() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "wait").await;
    let run = started(&engine, id).await;
    let wish = engine.interrupt_task(id, InputId::new(), None, "me");
    let refused = wish.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(engine.store().inputs(run).await.unwrap().is_empty());
    machine.runtime.release("go");
    done(&engine, id).await;
    let wish = engine.interrupt_task(id, InputId::new(), None, "me");
    let refused = wish.await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState(Noun::Task));
}

#[tokio::test]
async fn what_a_program_can_not_read_comes_too_late() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "wait").await;
    let run = started(&engine, id).await;
    let sent = engine.send_message(id, InputId::new(), "more".to_owned(), "me");
    sent.await.unwrap();
    within(async {
        while engine.store().inputs(run).await.unwrap()[0].state != InputState::TooLate {
            tokio::task::yield_now().await;
        }
    })
    .await;
    machine.runtime.release("go");
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
}

#[tokio::test]
async fn a_refusal_parks_the_agent_until_its_date() {
    let machine = Machine::new();
    let until_date = machine.clock.now().after(Duration::from_secs(3600));
    let resumed = scripts(
        &machine,
        vec![
            vec![session("s"), works(), refuses(Some(until_date), false)],
            vec![Step::Report(says("done"))],
        ],
    );
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let first = task(&engine, project, "first").await;
    let waiting = until(&engine, first, |task| task.false_starts == 1).await;
    assert_eq!(waiting.attempts, 0);
    let TaskState::Queued { last: Some(cause) } = &waiting.state else {
        panic!("{:?}", waiting.state);
    };
    assert_eq!(cause.reason, Reason::RateLimited);
    let due = waiting.due_at.unwrap();
    assert!(due >= until_date && due <= until_date.after(Duration::from_secs(10)));
    let second = task(&engine, project, "second").await;
    let parked = |state: &AgentState| matches!(state, AgentState::Parked { run: None, .. });
    until_agent(&engine, agent, parked).await;
    within(engine.shutdown(false)).await;

    let engine = machine.daemon().await;
    until_agent(&engine, agent, parked).await;
    // The work of other agents goes on.
    let (other, _) = crate::engine::project(&engine, "q").await;
    let elsewhere = task(&engine, other, "elsewhere").await;
    done(&engine, elsewhere).await;
    let kept = engine.store().task(second).await.unwrap();
    assert_eq!(
        (kept.state.name(), kept.attempts),
        (TaskStateName::Queued, 0)
    );
    machine.pass(Duration::from_secs(3611)).await;
    for id in [first, second] {
        let task = done(&engine, id).await;
        assert_eq!(task.attempts, 1);
        assert_eq!(task.state.name(), TaskStateName::Succeeded);
    }
    until_agent(&engine, agent, |state| *state == AgentState::Idle).await;
    let goes_on = Resume {
        session_id: "s".to_owned(),
        cut: true,
    };
    let resumed = resumed.lock().unwrap();
    assert_eq!(resumed.len(), 4);
    let went_on = resumed.iter().flatten().collect::<Vec<_>>();
    assert_eq!(went_on, [&goes_on], "the refused task alone goes on");
}

#[tokio::test]
async fn a_parked_run_says_so_and_goes_on() {
    let machine = Machine::new();
    let parked = |parking| Step::Say(Observation::Parked { parking });
    let parking = Parking {
        cause: Setback::new(Reason::RateLimited, "come back later"),
        until: None,
    };
    let script = vec![
        parked(Some(parking)),
        Step::wait("go"),
        parked(None),
        Step::wait("end"),
    ];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    let is_parked = |state: &AgentState| matches!(state, AgentState::Parked { run: Some(_), .. });
    until_agent(&engine, agent, is_parked).await;
    machine.runtime.release("go");
    let works = |state: &AgentState| matches!(state, AgentState::Working { .. });
    until_agent(&engine, agent, works).await;
    machine.runtime.release("end");
    done(&engine, id).await;
}

/// An attempt that was cut in its work goes on in its own conversation; one that had done nothing begins anew.
#[tokio::test]
async fn a_cut_run_goes_on_in_its_session() {
    for (begin, goes_on) in [
        (vec![session("s"), works(), Step::Stay], true),
        (vec![session("s"), Step::Stay], false),
    ] {
        let machine = Machine::new();
        let resumed = scripts(&machine, vec![begin, vec![Step::Report(says("done"))]]);
        let engine = machine.daemon().await;
        let (project, agent) = project(&engine, "p").await;
        let wish = CreateTask {
            max_retries: Some(1),
            ..CreateTask::new(project, "x")
        };
        let id = create(&engine, wish).await;
        let run = started(&engine, id).await;
        let has_session = |run: &Run| run.session_id.is_some();
        until_run(&**engine.store(), run, has_session).await;
        machine.runtime.kill_host(agent);
        until(&engine, id, |task| {
            task.state.name() == TaskStateName::Queued
        })
        .await;
        machine.pass(Duration::from_secs(30)).await;
        let task = done(&engine, id).await;
        assert_eq!(task.attempts, 2);
        let want = goes_on.then(|| Resume {
            session_id: "s".to_owned(),
            cut: true,
        });
        assert_eq!(*resumed.lock().unwrap(), [None, want]);
    }
}

#[tokio::test]
async fn a_task_continues_the_last_session_only_if_it_wants_to() {
    let machine = Machine::new();
    let begin = vec![session("s"), works(), Step::Report(says("done"))];
    let resumed = scripts(&machine, vec![begin, vec![Step::Report(says("done"))]]);
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    for session in [None, Some(SessionMode::Continue), Some(SessionMode::Fresh)] {
        let wish = CreateTask {
            session,
            ..CreateTask::new(project, "x")
        };
        let id = create(&engine, wish).await;
        done(&engine, id).await;
    }
    let last = Resume {
        session_id: "s".to_owned(),
        cut: false,
    };
    assert_eq!(*resumed.lock().unwrap(), [None, Some(last), None]);
}

#[tokio::test]
async fn a_lost_session_is_begun_anew() {
    let machine = Machine::new();
    let resumed = scripts(
        &machine,
        vec![
            vec![session("s"), works(), Step::Report(says("done"))],
            vec![refuses(None, true)],
            vec![session("t"), Step::Report(says("done"))],
        ],
    );
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let first = task(&engine, project, "x").await;
    done(&engine, first).await;
    let wish = CreateTask {
        session: Some(SessionMode::Continue),
        ..CreateTask::new(project, "y")
    };
    let id = create(&engine, wish).await;
    until(&engine, id, |task| task.false_starts == 1).await;
    // That is nothing that another task has to wait for.
    until_agent(&engine, agent, |state| *state == AgentState::Idle).await;
    machine.pass(Duration::from_secs(2)).await;
    let task = done(&engine, id).await;
    assert_eq!(task.attempts, 1);
    let resumed = resumed.lock().unwrap();
    let names: Vec<_> = resumed
        .iter()
        .map(|resume| resume.as_ref().map(|resume| resume.session_id.as_str()))
        .collect();
    assert_eq!(names, [None, Some("s"), None]);
}

#[tokio::test]
async fn a_conclusive_result_beats_a_cancel() {
    for (conclusive, want) in [
        (true, TaskStateName::Succeeded),
        (false, TaskStateName::Cancelled),
    ] {
        let machine = Machine::new();
        let report = Report {
            conclusive,
            ..says("it is done")
        };
        scripts(&machine, vec![vec![Step::Report(report), Step::Stay]]);
        let engine = machine.daemon().await;
        let (project, _) = project(&engine, "p").await;
        let id = task(&engine, project, "x").await;
        started(&engine, id).await;
        engine.cancel_task(id, "me").await.unwrap();
        let task = done(&engine, id).await;
        assert_eq!(task.state.name(), want);
        assert_eq!(task.result.as_deref(), Some("it is done"));
    }
}

#[tokio::test]
async fn a_failure_tells_the_last_words() {
    let machine = Machine::new();
    let script = vec![Step::err("warming up\nno space left\n\n"), Step::Exit(3)];
    scripts(&machine, vec![script]);
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "x").await;
    let task = done(&engine, id).await;
    let TaskState::Failed { cause, .. } = &task.state else {
        panic!("{:?}", task.state);
    };
    let detail = cause.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("no space left"), "{detail}");
}
