//! The engine over the in-memory parts, with a clock that stands still.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::agent::AgentState;
use ccm_core::api::CreateTask;
use ccm_core::engine::{Engine, EngineLimits};
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, ProjectId, RunId, SystemId, TaskId};
use ccm_core::project::{AgentProfile, Profile, Profiles, Project};
use ccm_core::run::{RunState, Stream, Verdict};
use ccm_core::store::{EventQuery, NewProject, RunQuery};
use ccm_core::system::{System, SystemKind};
use ccm_core::task::{CancelEffect, Setback, Task, TaskState, TaskStateName};
use ccm_core::testing::memory::{FakeClock, LaunchFault, MemoryRuntime, MemoryStore, Step};
use ccm_core::time::Clock;
use ccm_core::{AgentRuntime, ErrorKind, Reason, Store};

/// How long anything here may take in real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine whose daemons come and go.
pub(crate) struct Machine {
    pub(crate) store: MemoryStore,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) clock: FakeClock,
    profiles: Arc<Switch>,
    pub(crate) system: System,
    pub(crate) limits: EngineLimits,
}

/// The same profile for every project, or a hold.
#[derive(Default)]
struct Switch(Mutex<Option<Setback>>);

#[async_trait]
impl Profiles for Switch {
    async fn profile(&self, _project: &Project) -> Result<Profile, Setback> {
        match self.0.lock().unwrap().clone() {
            Some(hold) => Err(hold),
            None => Ok(Profile {
                agent: AgentProfile::command(["agent"]),
                ..Profile::default()
            }),
        }
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let clock = FakeClock::default();
        let runtime = MemoryRuntime::new(Arc::new(clock.clone()));
        // Does what its prompt says.
        runtime.program("agent", |order| {
            let mut steps = vec![Step::Started(order.prompt.as_str().to_owned())];
            steps.extend(
                order
                    .prompt
                    .as_str()
                    .split_whitespace()
                    .map(|word| match word {
                        "stay" => Step::Stay,
                        "fail" => Step::Exit(3),
                        "wait" => Step::wait("go"),
                        other => Step::out(&format!("{other}\n")),
                    }),
            );
            steps
        });
        Self {
            store: MemoryStore::new(),
            runtime,
            clock,
            profiles: Arc::default(),
            system: System {
                id: SystemId::new(),
                hostname: "here".to_owned(),
                kind: SystemKind::Developer,
                tags: Vec::new(),
            },
            limits: EngineLimits::default(),
        }
    }

    /// Starts a daemon's engine: a new epoch on the same data.
    pub(crate) async fn daemon(&self) -> Engine {
        let store = self.store.another();
        store.begin(&self.system, self.clock.now()).await.unwrap();
        Engine::builder(
            Arc::new(store),
            Arc::new(self.runtime.another()),
            self.system.clone(),
        )
        .profiles(self.profiles.clone())
        .clock(Arc::new(self.clock.clone()))
        .limits(self.limits)
        .start()
        .await
        .unwrap()
    }

    /// Has every project held from now on, or none.
    pub(crate) fn hold_projects(&self, hold: Option<Setback>) {
        *self.profiles.0.lock().unwrap() = hold;
    }

    /// Lets time pass once somebody waits for it to.
    pub(crate) async fn pass(&self, period: Duration) {
        within(self.clock.until_sleeping(1)).await;
        self.clock.advance(period);
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}

pub(crate) async fn project(engine: &Engine, name: &str) -> (ProjectId, AgentId) {
    let registered = engine
        .register_project(NewProject {
            id: ProjectId::new(),
            agent_id: AgentId::new(),
            name: name.to_owned(),
            exact_name: false,
            path: PathBuf::from("/projects").join(name),
            now: FakeClock::default().now(),
        })
        .await
        .unwrap();
    (registered.project.id, registered.agent.id)
}

pub(crate) async fn task(engine: &Engine, project: ProjectId, text: &str) -> TaskId {
    create(engine, CreateTask::new(project, text)).await
}

pub(crate) async fn create(engine: &Engine, task: CreateTask) -> TaskId {
    let created = engine.create_tasks(vec![task], "test", None).await.unwrap();
    created.tasks[0].id
}

pub(crate) async fn done(engine: &Engine, id: TaskId) -> Task {
    within(engine.wait_task(id)).await.unwrap()
}

/// Waits until the store says what `is` wants to hear of the task.
pub(crate) async fn until(engine: &Engine, id: TaskId, is: impl Fn(&Task) -> bool) -> Task {
    let mut head = engine.store().watch();
    within(async {
        loop {
            head.mark_unchanged();
            let task = engine.store().task(id).await.unwrap();
            if is(&task) {
                return task;
            }
            head.changed().await.unwrap();
        }
    })
    .await
}

/// Waits until the run's program is known to be started.
pub(crate) async fn started(engine: &Engine, id: TaskId) -> RunId {
    let mut head = engine.store().watch();
    within(async {
        loop {
            head.mark_unchanged();
            if let Some(run) = engine.store().task(id).await.unwrap().state.run()
                && let RunState::Running { .. } = engine.store().run(run).await.unwrap().state
            {
                return run;
            }
            head.changed().await.unwrap();
        }
    })
    .await
}

pub(crate) async fn until_agent(engine: &Engine, id: AgentId, is: impl Fn(&AgentState) -> bool) {
    within(async {
        while !is(&engine.store().agent(id).await.unwrap().state) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The parts of a run's standard output that events tell of.
async fn output_parts(engine: &Engine, run: RunId) -> Vec<(u64, u64)> {
    let query = EventQuery {
        run: Some(run),
        kinds: vec![EventKind::RunOutput],
        limit: 1000,
        ..EventQuery::default()
    };
    let events = engine.store().events(&query).await.unwrap();
    let number = |event: &ccm_core::event::Event, key: &str| event.data[key].as_u64().unwrap();
    events
        .iter()
        .filter(|event| event.data["stream"] == "out")
        .map(|event| (number(event, "from"), number(event, "to")))
        .collect()
}

#[tokio::test]
async fn a_task_is_done_and_told() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "hello").await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
    assert_eq!(task.result.as_deref(), Some("hello\n"));
    assert_eq!(task.attempts, 1);
    assert_eq!(
        output_parts(&engine, task.latest_run.unwrap()).await,
        [(0, 6)]
    );
    until_agent(&engine, agent, |state| *state == AgentState::Idle).await;
}

#[tokio::test]
async fn an_agent_does_one_thing_at_a_time_and_the_machine_no_more_than_allowed() {
    let mut machine = Machine::new();
    machine.limits.max_running = 2;
    let engine = machine.daemon().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let (project, _) = project(&engine, name).await;
        for _ in 0..2 {
            ids.push(task(&engine, project, "wait").await);
        }
    }
    let mut most = 0;
    machine.runtime.release("go");
    for id in ids {
        done(&engine, id).await;
    }
    // The log tells how many ran at any moment.
    let query = EventQuery {
        kinds: vec![EventKind::RunCreated, EventKind::RunEnded],
        limit: 1000,
        ..EventQuery::default()
    };
    let mut running = std::collections::BTreeMap::<ProjectId, i32>::new();
    for event in engine.store().events(&query).await.unwrap() {
        let count = running.entry(event.project_id.unwrap()).or_default();
        *count += if event.kind == EventKind::RunCreated {
            1
        } else {
            -1
        };
        assert!(*count <= 1, "an agent has two runs");
        most = most.max(running.values().sum());
    }
    assert_eq!(most, 2);
}

#[tokio::test]
async fn limits_change_while_work_goes_on() {
    let mut machine = Machine::new();
    machine.limits.max_running = 1;
    let engine = machine.daemon().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let (project, _) = project(&engine, name).await;
        ids.push(task(&engine, project, "wait").await);
    }
    started(&engine, ids[0]).await;
    let counts = engine.store().counts().await.unwrap();
    assert_eq!((counts.running, counts.queued), (1, 2));

    // A higher one counts at once, with nothing else that would wake the engine.
    engine.set_limits(EngineLimits {
        max_running: 2,
        max_queued: 1,
        ..engine.limits()
    });
    started(&engine, ids[1]).await;
    let counts = engine.store().counts().await.unwrap();
    assert_eq!((counts.running, counts.queued), (2, 1));
    let project = engine.store().task(ids[2]).await.unwrap().project_id;
    let refused = engine
        .create_tasks(vec![CreateTask::new(project, "wait")], "test", None)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QueueFull);

    // A lower one ends nothing.
    engine.set_limits(EngineLimits {
        max_running: 1,
        ..engine.limits()
    });
    machine.runtime.release("go");
    for id in ids {
        done(&engine, id).await;
    }
}

#[tokio::test]
async fn a_run_outlives_its_daemon() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "before wait after").await;
    let run = started(&engine, id).await;
    let report = within(engine.shutdown(false)).await;
    assert_eq!((report.running, report.stopped), (1, 0));

    machine.runtime.release("go");
    let engine = machine.daemon().await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
    assert_eq!(task.latest_run, Some(run));
    assert_eq!(task.result.as_deref(), Some("before\nafter\n"));
    assert_eq!(machine.runtime.launches(run), 1);
    let mut at = 0;
    for (from, to) in output_parts(&engine, run).await {
        assert_eq!(from, at, "output is missing or doubled");
        at = to;
    }
    assert_eq!(at, 13);
}

#[tokio::test]
async fn a_new_daemon_ends_the_old_one() {
    let machine = Machine::new();
    let first = machine.daemon().await;
    let (project, _) = project(&first, "p").await;
    let second = machine.daemon().await;
    let refused = first
        .create_tasks(vec![CreateTask::new(project, "x")], "test", None)
        .await;
    assert!(refused.is_err(), "an old daemon accepted a task");
    // That is how it notices.
    within(first.failed()).await;
    let id = task(&second, project, "wait").await;
    started(&second, id).await;
    machine.runtime.release("go");
    done(&second, id).await;
    assert_eq!(machine.runtime.starts("wait"), 1);
}

#[tokio::test]
async fn a_launch_that_fails_before_the_gate_is_no_attempt() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    machine.runtime.fail_launch(LaunchFault::BeforeCommit);
    let id = task(&engine, project, "hello").await;
    let waiting = until(&engine, id, |task| task.false_starts == 1).await;
    assert_eq!(waiting.attempts, 0);
    let TaskState::Queued { last: Some(cause) } = &waiting.state else {
        panic!("{:?}", waiting.state);
    };
    assert_eq!(cause.reason, Reason::NotStarted);
    assert!(cause.detail.is_some(), "it says why");
    machine.pass(Duration::from_secs(120)).await;
    let task = done(&engine, id).await;
    assert_eq!(
        (task.attempts, task.state.name()),
        (1, TaskStateName::Succeeded)
    );
}

#[tokio::test]
async fn a_launch_of_unknown_fate_is_looked_into_and_not_repeated() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    machine.runtime.fail_launch(LaunchFault::AfterCommit);
    let id = task(&engine, project, "hello").await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Succeeded);
    assert_eq!(machine.runtime.starts("hello"), 1);
}

#[tokio::test]
async fn a_cut_run_is_lost_and_repeated_only_by_policy() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let once = task(&engine, project, "stay").await;
    started(&engine, once).await;
    machine.runtime.kill_host(agent);
    let task = done(&engine, once).await;
    let TaskState::Failed { cause, .. } = &task.state else {
        panic!("{:?}", task.state);
    };
    assert_eq!(cause.reason, Reason::Lost);

    let mut twice = CreateTask::new(project, "wait end");
    twice.max_retries = Some(1);
    let twice = create(&engine, twice).await;
    let first = started(&engine, twice).await;
    machine.runtime.kill_host(agent);
    until(&engine, twice, |task| {
        task.state.name() == TaskStateName::Queued
    })
    .await;
    machine.pass(Duration::from_secs(3600)).await;
    machine.runtime.release("go");
    let task = done(&engine, twice).await;
    assert_eq!(
        (task.attempts, task.state.name()),
        (2, TaskStateName::Succeeded)
    );
    let runs = RunQuery {
        task: Some(twice),
        agent: None,
        before: None,
        limit: 10,
    };
    let runs = engine.store().runs(&runs).await.unwrap().items;
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].id, first);
    assert!(matches!(
        &runs[1].state,
        RunState::Ended { outcome, .. } if matches!(outcome.verdict, Verdict::Lost { .. })
    ));
}

#[tokio::test]
async fn a_cancel_stops_the_run_and_forbids_another() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let mut wanted = CreateTask::new(project, "stay");
    wanted.max_retries = Some(5);
    let id = create(&engine, wanted).await;
    started(&engine, id).await;
    let (_, effect) = engine.cancel_task(id, "me").await.unwrap();
    assert_eq!(effect, CancelEffect::Stopping);
    let task = done(&engine, id).await;
    assert!(matches!(&task.state, TaskState::Cancelled { by, .. } if by == "me"));
    assert_eq!(task.attempts, 1);
}

#[tokio::test]
async fn a_cancel_survives_the_daemon() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "stay").await;
    started(&engine, id).await;
    within(engine.shutdown(false)).await;
    // The wish is written, and the daemon dies before it is carried out.
    let store = machine.store.another();
    store
        .begin(&machine.system, machine.clock.now())
        .await
        .unwrap();
    store
        .cancel_task(id, "me", machine.clock.now())
        .await
        .unwrap();
    let engine = machine.daemon().await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Cancelled);
}

#[tokio::test]
async fn a_time_limit_counts_from_the_start_over_an_adoption() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let mut wanted = CreateTask::new(project, "stay");
    wanted.timeout_s = Some(60);
    let id = create(&engine, wanted).await;
    started(&engine, id).await;
    within(engine.shutdown(false)).await;
    machine.clock.advance(Duration::from_secs(50));
    let engine = machine.daemon().await;
    machine.pass(Duration::from_secs(9)).await;
    assert_eq!(
        engine.store().task(id).await.unwrap().state.name(),
        TaskStateName::Running
    );
    machine.pass(Duration::from_secs(2)).await;
    let task = done(&engine, id).await;
    assert!(
        matches!(&task.state, TaskState::Failed { cause, .. } if cause.reason == Reason::Timeout)
    );
}

#[tokio::test]
async fn a_run_that_cannot_be_ended_holds_its_task() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "stay").await;
    let run = started(&engine, id).await;
    machine.runtime.set_unstoppable(run, vec![4242]);
    engine.cancel_task(id, "me").await.unwrap();
    until_agent(&engine, agent, |state| {
        matches!(state, AgentState::Failed { .. })
    })
    .await;
    let held = engine.store().run(run).await.unwrap();
    assert!(matches!(
        held.state,
        RunState::Running {
            held: Some(Reason::Unstoppable),
            ..
        }
    ));
    assert!(
        engine
            .problems()
            .iter()
            .any(|problem| problem.contains("4242"))
    );
    machine.runtime.set_unstoppable(run, Vec::new());
    machine.pass(Duration::from_secs(10)).await;
    let task = done(&engine, id).await;
    assert_eq!(task.state.name(), TaskStateName::Cancelled);
    assert!(engine.problems().is_empty());
}

#[tokio::test]
async fn a_silent_host_is_shown_and_ends_nothing() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "wait").await;
    let run = started(&engine, id).await;
    within(engine.shutdown(false)).await;
    machine.runtime.set_answers(agent, false);
    let engine = machine.daemon().await;
    until_agent(&engine, agent, |state| {
        *state == AgentState::Unresponsive { run: Some(run) }
    })
    .await;
    assert_eq!(
        engine.store().task(id).await.unwrap().state.name(),
        TaskStateName::Running
    );
    machine.runtime.set_answers(agent, true);
    machine.runtime.release("go");
    assert_eq!(
        done(&engine, id).await.state.name(),
        TaskStateName::Succeeded
    );
}

#[tokio::test]
async fn a_held_project_waits_and_says_why() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let hold = Setback::new(Reason::ConfigUntrusted, "run `ccm project trust p`");
    machine.hold_projects(Some(hold.clone()));
    let id = task(&engine, project, "hello").await;
    engine.refresh_project(project).await.unwrap();
    let held = engine.store().project(project).await.unwrap();
    assert_eq!(held.hold, Some(hold));
    assert_eq!(
        engine.store().task(id).await.unwrap().state.name(),
        TaskStateName::Queued
    );
    // Nobody tells the engine; it looks again by itself while something waits.
    within(machine.clock.until_sleeping(1)).await;
    machine.hold_projects(None);
    machine.clock.advance(Duration::from_secs(5));
    assert_eq!(
        done(&engine, id).await.state.name(),
        TaskStateName::Succeeded
    );
    assert_eq!(engine.store().project(project).await.unwrap().hold, None);
}

#[tokio::test]
async fn removing_a_project_ends_its_work_and_its_agent() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let running = task(&engine, project, "stay").await;
    let waiting = task(&engine, project, "hello").await;
    started(&engine, running).await;
    engine
        .remove_project(project, false, "me")
        .await
        .unwrap_err();
    engine.remove_project(project, true, "me").await.unwrap();
    for id in [running, waiting] {
        let task = done(&engine, id).await;
        assert!(matches!(
            &task.state,
            TaskState::Failed { cause, .. } if cause.reason == Reason::ProjectRemoved
        ));
    }
    within(async {
        while !engine.runtime().agents().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_with_agents_ends_runs_as_lost() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, _) = project(&engine, "p").await;
    let id = task(&engine, project, "stay").await;
    started(&engine, id).await;
    let report = within(engine.shutdown(true)).await;
    assert_eq!((report.running, report.stopped), (0, 1));
    assert!(machine.runtime.agents().await.unwrap().is_empty());
    let states = agent_states(&machine.store).await;
    assert_eq!(states.last().unwrap(), "stopped");
    let task = machine.store.task(id).await.unwrap();
    assert!(matches!(&task.state, TaskState::Failed { cause, .. } if cause.reason == Reason::Lost));
}

#[tokio::test]
async fn output_alone_refreshes_no_evidence_until_it_is_old() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "wait").await;
    let run = started(&engine, id).await;
    until_agent(&engine, agent, |state| {
        matches!(state, AgentState::Working { .. })
    })
    .await;
    let seen_at = async || engine.store().agent(agent).await.unwrap().evidence.seen_at;
    let first = seen_at().await;
    for (seconds, refreshed) in [(1, false), (1, false), (60, true)] {
        machine.clock.advance(Duration::from_secs(seconds));
        let parts = output_parts(&engine, run).await.len();
        machine.runtime.write(run, Stream::Out, b"more\n");
        within(async {
            while output_parts(&engine, run).await.len() == parts {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(seen_at().await != first, refreshed, "after {seconds} s");
    }
}

/// What the log says that agents did, in order.
async fn agent_states(store: &dyn Store) -> Vec<String> {
    let query = EventQuery {
        kinds: vec![EventKind::AgentUpdated],
        limit: 1000,
        ..EventQuery::default()
    };
    let events = store.events(&query).await.unwrap();
    let state = |event: &ccm_core::event::Event| event.data["state"].as_str().unwrap().to_owned();
    events.iter().map(state).collect()
}

#[tokio::test]
async fn an_agent_whose_host_was_killed_is_not_idle_before_it_was_seen() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (project, agent) = project(&engine, "p").await;
    let id = task(&engine, project, "stay").await;
    started(&engine, id).await;
    machine.runtime.kill_host(agent);
    done(&engine, id).await;
    until_agent(&engine, agent, |state| *state == AgentState::Idle).await;
    let states = agent_states(&**engine.store()).await;
    let end = &states[states.iter().position(|state| state == "working").unwrap()..];
    assert_eq!(end, ["working", "starting", "idle"]);
}

#[tokio::test]
async fn a_dependent_task_waits_for_its_blocker() {
    let machine = Machine::new();
    let engine = machine.daemon().await;
    let (first, _) = project(&engine, "a").await;
    let (second, _) = project(&engine, "b").await;
    let blocker = task(&engine, first, "wait").await;
    let mut dependent = CreateTask::new(second, "after");
    dependent.blocked_by = vec![blocker];
    let dependent = create(&engine, dependent).await;
    started(&engine, blocker).await;
    assert_eq!(
        engine.store().task(dependent).await.unwrap().state.name(),
        TaskStateName::Queued
    );
    machine.runtime.release("go");
    let after = done(&engine, dependent).await;
    let before = done(&engine, blocker).await;
    assert_eq!(before.state.name(), TaskStateName::Succeeded);
    assert_eq!(after.state.name(), TaskStateName::Succeeded);
}
