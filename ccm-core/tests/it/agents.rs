//! What people want of agents, and what becomes of those that are idle.

use std::time::Duration;

use ccm_core::agent::{Agent, AgentState, Wanted};
use ccm_core::engine::Engine;
use ccm_core::id::AgentId;
use ccm_core::task::{Setback, TaskState, TaskStateName};
use ccm_core::testing::memory::FakeClock;
use ccm_core::time::Clock;
use ccm_core::{AgentRuntime, ErrorKind, Noun, Reason, Store};

use crate::engine::{Machine, create, done, project, started, task, until, until_agent, within};

const MAX_IDLE: Duration = Duration::from_secs(300);
const BUSY: ErrorKind = ErrorKind::WrongState(Noun::Agent);

/// A machine whose agents sleep after a while.
fn sleepy() -> Machine {
    let mut machine = Machine::new();
    machine.limits.max_idle = Some(MAX_IDLE);
    machine
}

async fn agent(engine: &Engine, id: AgentId) -> Agent {
    engine.store().agent(id).await.unwrap()
}

/// Whether an agent has its host.
async fn is_there(machine: &Machine, id: AgentId) -> bool {
    let there = machine.runtime.agents().await.unwrap();
    there.iter().any(|facts| facts.id == id)
}

/// Waits until the agent is wanted so.
async fn until_wanted(engine: &Engine, id: AgentId, wanted: Wanted) {
    within(async {
        while agent(engine, id).await.wish.wanted != wanted {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Lets whatever was woken come to its rest.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

async fn asleep(machine: &Machine, engine: &Engine, id: AgentId) {
    until_wanted(engine, id, Wanted::Asleep).await;
    until_agent(engine, id, |state| *state == AgentState::Stopped).await;
    assert!(!is_there(machine, id).await);
}

#[tokio::test]
async fn a_stopped_agent_gets_no_task_until_it_is_started() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let stopped = engine.stop_agent(id, false, "me").await.unwrap();
    assert_eq!(
        (stopped.state, stopped.wish.wanted),
        (AgentState::Stopped, Wanted::Down)
    );
    assert!(!is_there(&machine, id).await);
    let waiting = task(&engine, project, "hello").await;
    settle().await;
    // Another daemon keeps to it, and so do a look at the project and its being registered again.
    within(engine.shutdown(false)).await;
    let engine = machine.daemon().await;
    engine.refresh_project(project).await.unwrap();
    settle().await;
    let task = engine.store().task(waiting).await.unwrap();
    assert_eq!(
        (task.state.name(), task.attempts),
        (TaskStateName::Queued, 0)
    );
    assert!(!is_there(&machine, id).await);
    let hold = agent(&engine, id).await.hold().unwrap();
    assert_eq!(hold.reason, Reason::AgentStopped);
    assert!(hold.detail.unwrap().contains("ccm agent start p"));

    let up = engine.start_agent(id, "me").await.unwrap();
    assert_eq!(up.wish.wanted, Wanted::Up);
    assert_eq!(
        done(&engine, waiting).await.state.name(),
        TaskStateName::Succeeded
    );
    // Once more changes nothing.
    engine.start_agent(id, "me").await.unwrap();
    assert!(is_there(&machine, id).await);
}

#[tokio::test]
async fn a_run_in_hand_is_lost_only_by_force() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let mut wanted = ccm_core::api::CreateTask::new(project, "wait");
    wanted.max_retries = Some(1);
    let again = create(&engine, wanted).await;
    started(&engine, again).await;
    let refused = engine.stop_agent(id, false, "me").await.unwrap_err();
    assert_eq!(refused.kind(), BUSY);
    assert_eq!(agent(&engine, id).await.wish.wanted, Wanted::Up);
    let refused = engine.restart_agent(id, false, "me").await.unwrap_err();
    assert_eq!(refused.kind(), BUSY);

    let stopped = within(engine.stop_agent(id, true, "me")).await.unwrap();
    assert_eq!(stopped.wish.wanted, Wanted::Down);
    assert!(!is_there(&machine, id).await);
    let task = until(&engine, again, |task| {
        task.state.name() == TaskStateName::Queued
    })
    .await;
    let TaskState::Queued { last: Some(last) } = &task.state else {
        panic!("{:?}", task.state);
    };
    assert_eq!((last.reason, task.attempts), (Reason::Lost, 1));
    assert!(last.detail.as_ref().unwrap().contains("me with its agent"));
    // Its policy wants it again, and its agent is down.
    machine.clock.advance(Duration::from_secs(3600));
    settle().await;
    let waits = engine.store().task(again).await.unwrap();
    assert_eq!(waits.state.name(), TaskStateName::Queued);
    machine.runtime.release("go");
    engine.start_agent(id, "me").await.unwrap();
    let task = done(&engine, again).await;
    assert_eq!(
        (task.state.name(), task.attempts),
        (TaskStateName::Succeeded, 2)
    );
}

#[tokio::test]
async fn a_run_that_was_to_be_stopped_before_it_began_is_no_attempt() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    // Both are asked for before the run has come to its launch: this thread does one after the other.
    let (task, stopped) = tokio::join!(
        task(&engine, project, "hello"),
        engine.stop_agent(id, true, "me")
    );
    stopped.unwrap();
    settle().await;
    let waits = engine.store().task(task).await.unwrap();
    assert_eq!(
        (waits.state.name(), waits.attempts),
        (TaskStateName::Queued, 0)
    );
    engine.start_agent(id, "me").await.unwrap();
    machine.clock.advance(Duration::from_secs(60));
    assert_eq!(done(&engine, task).await.attempts, 1);
    assert_eq!(machine.runtime.starts("hello"), 1);
}

#[tokio::test]
async fn what_can_not_be_ended_leaves_the_agent_down_and_goes_later() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let held = task(&engine, project, "stay").await;
    let run = started(&engine, held).await;
    machine.runtime.set_unstoppable(run, vec![4242]);
    let mut stopping = std::pin::pin!(engine.stop_agent(id, true, "me"));
    until_stopping(&engine, id, &mut stopping).await;
    machine.clock.advance(Duration::from_secs(60));
    // The memory runtime's host has let go of the run; its actor holds it until nothing is left.
    let _ = within(stopping).await;
    assert_eq!(agent(&engine, id).await.wish.wanted, Wanted::Down);
    machine.runtime.set_unstoppable(run, Vec::new());
    machine.clock.advance(Duration::from_secs(10));
    let task = done(&engine, held).await;
    assert!(matches!(&task.state, TaskState::Failed { cause, .. } if cause.reason == Reason::Lost));
    until_agent(&engine, id, |state| *state == AgentState::Stopped).await;
    assert!(!is_there(&machine, id).await);
}

/// Drives `stopping` until the agent's state says that its run can't be ended.
async fn until_stopping<F: Future + Unpin>(engine: &Engine, id: AgentId, stopping: &mut F) {
    let held = until_agent(engine, id, |state| {
        matches!(state, AgentState::Failed { .. })
    });
    tokio::select! {
        () = held => {}
        _ = stopping => panic!("it ended before its run"),
    }
}

#[tokio::test]
async fn a_restart_gives_another_host() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let pid = async || machine.runtime.agents().await.unwrap()[0].pid;
    let first = pid().await;
    let again = engine.restart_agent(id, false, "me").await.unwrap();
    assert_eq!(again.state, AgentState::Idle);
    let second = pid().await;
    assert_ne!(first, second);

    // One that does not answer is ended only by force, and its run is cut.
    let cut = task(&engine, project, "stay").await;
    started(&engine, cut).await;
    machine.runtime.set_answers(id, false);
    let refused = engine.restart_agent(id, false, "me").await.unwrap_err();
    assert_eq!(refused.kind(), BUSY);
    let again = within(engine.restart_agent(id, true, "me")).await.unwrap();
    assert_eq!(again.state, AgentState::Idle);
    assert_ne!(pid().await, second);
    let task = done(&engine, cut).await;
    assert!(matches!(&task.state, TaskState::Failed { cause, .. } if cause.reason == Reason::Lost));

    engine.stop_agent(id, false, "me").await.unwrap();
    let again = engine.restart_agent(id, false, "me").await.unwrap();
    assert_eq!(again.wish.wanted, Wanted::Up, "one that is down is started");
}

#[tokio::test]
async fn an_idle_agent_sleeps_and_its_next_task_wakes_it() {
    let machine = sleepy();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    assert!(is_there(&machine, id).await, "a new agent is up");
    machine.pass(MAX_IDLE - Duration::from_secs(1)).await;
    settle().await;
    assert!(is_there(&machine, id).await);
    machine.pass(Duration::from_secs(1)).await;
    asleep(&machine, &engine, id).await;
    settle().await;
    assert_eq!(machine.clock.sleepers(), 0, "nothing is due any more");

    // Neither a new daemon nor a look at the project starts it needlessly.
    within(engine.shutdown(false)).await;
    let engine = machine.daemon().await;
    engine.refresh_project(project).await.unwrap();
    settle().await;
    assert!(!is_there(&machine, id).await);

    let woken = task(&engine, project, "hello").await;
    let woken = done(&engine, woken).await;
    assert_eq!(
        (woken.state.name(), woken.attempts, woken.false_starts),
        (TaskStateName::Succeeded, 1, 0)
    );
    assert_eq!(agent(&engine, id).await.wish.wanted, Wanted::Up);
    until_agent(&engine, id, |state| *state == AgentState::Idle).await;
    machine.pass(MAX_IDLE).await;
    asleep(&machine, &engine, id).await;
    // Reached by name it is up again.
    engine.wake_agent(id, "me").await.unwrap();
    assert!(is_there(&machine, id).await);
}

#[tokio::test]
async fn work_begins_the_time_anew_and_the_clock_on_the_wall_does_not_count() {
    let machine = sleepy();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let start = machine.clock.now();
    machine.pass(MAX_IDLE / 2).await;
    machine
        .clock
        .set(start.after(Duration::from_secs(1_000_000)));
    settle().await;
    assert!(is_there(&machine, id).await);
    let short = task(&engine, project, "hello").await;
    done(&engine, short).await;
    until_agent(&engine, id, |state| *state == AgentState::Idle).await;
    machine.clock.set(FakeClock::default().now());
    settle().await;
    machine.pass(MAX_IDLE / 2).await;
    settle().await;
    assert!(is_there(&machine, id).await, "only half of its time passed");
    machine.pass(MAX_IDLE / 2).await;
    asleep(&machine, &engine, id).await;
}

#[tokio::test]
async fn who_works_or_is_looked_at_stays() {
    let machine = sleepy();
    let engine = machine.daemon().await;
    let (worker, working) = project(&engine, "worker").await;
    let (_, watched) = project(&engine, "watched").await;
    let long = task(&engine, worker, "wait").await;
    started(&engine, long).await;
    machine.runtime.set_watched(watched, true);
    machine.pass(MAX_IDLE).await;
    settle().await;
    assert!(is_there(&machine, working).await && is_there(&machine, watched).await);
    let kept = engine.clean_up(&[], "me").await.unwrap();
    assert!(kept.asleep.is_empty());
    let why: Vec<_> = kept
        .kept
        .iter()
        .map(|(agent, why)| format!("{} {why}", agent.name))
        .collect();
    assert_eq!(why, ["watched is looked at by someone", "worker works"]);
    // Looked at no longer, it has all its time again.
    machine.runtime.set_watched(watched, false);
    machine.pass(MAX_IDLE).await;
    asleep(&machine, &engine, watched).await;
    assert!(is_there(&machine, working).await);
    machine.runtime.release("go");
    done(&engine, long).await;
}

#[tokio::test]
async fn cleaning_up_takes_who_is_idle_now() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (_, one) = project(&engine, "one").await;
    let (_, two) = project(&engine, "two").await;
    let (_, down) = project(&engine, "down").await;
    engine.stop_agent(down, false, "me").await.unwrap();
    let stray = ccm_core::agent::AgentPlace {
        id: AgentId::new(),
        project_id: ccm_core::id::ProjectId::new(),
        name: "stray".to_owned(),
        folder: "/".into(),
    };
    machine.runtime.start_agent(&stray).await.unwrap();
    let named = engine.clean_up(&[one, down], "me").await.unwrap();
    assert_eq!(named.asleep.len(), 1);
    assert_eq!(named.asleep[0].0.id, one);
    assert_eq!(named.kept[0].1, "is stopped already");
    assert!(named.strays.is_empty() && is_there(&machine, stray.id).await);
    let rest = engine.clean_up(&[], "me").await.unwrap();
    let ids: Vec<_> = rest.asleep.iter().map(|(agent, _)| agent.id).collect();
    assert_eq!((ids, rest.strays), (vec![two], vec![stray.id]));
    let nothing = engine.clean_up(&[], "me").await.unwrap();
    assert_eq!(nothing, ccm_core::engine::Cleanup::default());
    let unknown = engine.clean_up(&[AgentId::new()], "me").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound(Noun::Agent));
    assert_eq!(agent(&engine, down).await.wish.wanted, Wanted::Down);
}

#[tokio::test]
async fn a_place_that_is_left_of_a_sleeper_is_taken_away_by_the_next_daemon() {
    for watched in [false, true] {
        let machine = Machine::new();
        let engine = machine.daemon().await;
        let (_, id) = project(&engine, "p").await;
        within(engine.shutdown(false)).await;
        // What a daemon leaves that is killed between its decision and the deed.
        let store = machine.store.another();
        store
            .begin(&machine.system, machine.clock.now())
            .await
            .unwrap();
        let wish = ccm_core::agent::Wish {
            wanted: Wanted::Asleep,
            by: "max_idle_time".to_owned(),
            at: machine.clock.now(),
        };
        let want = ccm_core::agent::Want {
            wish,
            force: false,
            hand_back: false,
        };
        store.want_agent(id, want).await.unwrap();
        machine.runtime.set_watched(id, watched);
        let engine = machine.daemon().await;
        if watched {
            until_wanted(&engine, id, Wanted::Up).await;
            assert!(is_there(&machine, id).await, "someone looks at it");
        } else {
            asleep(&machine, &engine, id).await;
        }
    }
}

#[tokio::test]
async fn sleep_and_work_at_once_lose_nothing() {
    let machine = sleepy();
    let engine = machine.daemon().await;
    let mut projects = Vec::new();
    for name in ["a", "b", "c"] {
        projects.push(project(&engine, name).await.0);
    }
    let mut tasks = Vec::new();
    for round in 0..60 {
        let project = projects[round % 3];
        let (cleanup, task) = if round % 2 == 0 {
            tokio::join!(engine.clean_up(&[], "me"), task(&engine, project, "hello"))
        } else {
            let (task, cleanup) =
                tokio::join!(task(&engine, project, "hello"), engine.clean_up(&[], "me"));
            (cleanup, task)
        };
        cleanup.unwrap();
        tasks.push(task);
        machine.clock.advance(MAX_IDLE / 3);
    }
    for id in tasks {
        let task = done(&engine, id).await;
        assert_eq!(
            (task.state.name(), task.attempts, task.false_starts),
            (TaskStateName::Succeeded, 1, 0)
        );
    }
    assert_eq!(machine.runtime.starts("hello"), 60);
}

#[tokio::test]
async fn an_agent_that_was_taken_over_gets_no_task_until_it_is_handed_back() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let taken = engine.take_over_agent(id, "ada").await.unwrap();
    assert_eq!(taken.wish.wanted, Wanted::Taken);
    let sitting = machine.runtime.sitting(id).unwrap();
    engine.take_over_agent(id, "bob").await.unwrap();
    assert_eq!(machine.runtime.sitting(id).as_ref(), Some(&sitting));
    let waiting = task(&engine, project, "hello").await;
    settle().await;
    for refusal in [
        engine.start_agent(id, "me").await,
        engine.restart_agent(id, true, "me").await,
        engine.stop_agent(id, true, "me").await,
    ] {
        assert_eq!(refusal.unwrap_err().kind(), BUSY);
    }
    // Another daemon keeps to it, and sees to it that somebody can sit there.
    within(engine.shutdown(false)).await;
    machine.runtime.hand_back(id, Duration::ZERO).await.unwrap();
    let engine = machine.daemon().await;
    within(async {
        while machine.runtime.sitting(id).is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let task = engine.store().task(waiting).await.unwrap();
    assert_eq!(task.state.name(), TaskStateName::Queued);
    let hold = agent(&engine, id).await.hold().unwrap();
    assert_eq!(hold.reason, Reason::AgentTaken);
    assert!(hold.detail.unwrap().starts_with("ada has taken"));

    let back = engine.hand_back_agent(id, "ada").await.unwrap();
    assert_eq!(back.wish.wanted, Wanted::Up);
    assert_eq!(machine.runtime.sitting(id), None);
    let task = done(&engine, waiting).await;
    assert_eq!(
        (task.state.name(), task.attempts),
        (TaskStateName::Succeeded, 1)
    );
    // Nobody has it, so there is nothing to do.
    engine.hand_back_agent(id, "ada").await.unwrap();
}

#[tokio::test]
async fn who_can_not_take_an_agent_over_leaves_it_as_it_was() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (_, id) = project(&engine, "p").await;
    let hold = Setback::new(Reason::ConfigUntrusted, "run `ccm project trust p`");
    machine.hold_projects(Some(hold.clone()));
    let refusal = engine.take_over_agent(id, "ada").await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::WrongState(Noun::Project));
    assert_eq!(agent(&engine, id).await.wish.wanted, Wanted::Up);

    machine.hold_projects(None);
    engine.take_over_agent(id, "ada").await.unwrap();
    let sitting = machine.runtime.sitting(id).unwrap();
    machine.hold_projects(Some(hold));
    let refusal = engine.take_over_agent(id, "bob").await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::WrongState(Noun::Project));
    // Ada sits there, and nobody ends what she does.
    assert_eq!(machine.runtime.sitting(id), Some(sitting));
    let wish = agent(&engine, id).await.wish;
    assert_eq!((wish.wanted, &*wish.by), (Wanted::Taken, "ada"));
}

#[tokio::test]
async fn an_agent_at_work_is_not_taken_over() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, id) = project(&engine, "p").await;
    let waiting = task(&engine, project, "wait").await;
    started(&engine, waiting).await;
    let refusal = engine.take_over_agent(id, "ada").await.unwrap_err();
    assert_eq!(refusal.kind(), BUSY);
    assert!(refusal.to_string().contains("cancel its task"), "{refusal}");
    assert_eq!(machine.runtime.sitting(id), None);
    assert_eq!(agent(&engine, id).await.wish.wanted, Wanted::Up);
    machine.runtime.release("go");
    done(&engine, waiting).await;
}
