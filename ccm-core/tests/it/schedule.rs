//! The default scheduler and the retry policy.

use std::time::Duration;

use ccm_core::Scheduler;
use ccm_core::id::{FencingToken, ProjectId, RunId, SystemId, TaskId};
use ccm_core::schedule::{FairScheduler, retry};
use ccm_core::scheduler::{Candidate, Machine, ProjectLoad, Snapshot, Wants};
use ccm_core::task::Rank;
use ccm_core::testing::conformance::scheduler::broken;
use ccm_core::time::Timestamp;
use proptest::prelude::*;

mod suite {
    use super::FairScheduler;

    ccm_core::scheduler_conformance!(FairScheduler::default());

    #[test]
    fn no_case_is_forgotten() {
        let source = include_str!("../../src/testing/conformance/scheduler.rs");
        let cases = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub fn "))
            .filter_map(|rest| rest.split_once("(scheduler: &dyn Scheduler)"));
        let cases: Vec<&str> = cases.map(|(name, _)| name).collect();
        assert_eq!(cases, SCHEDULER_CASES);
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
}

fn task(priority: i32, created: i64) -> Candidate {
    Candidate {
        task: TaskId::new(),
        priority,
        rank: Rank::of(at(created)),
        due_at: None,
        wants: Wants::default(),
    }
}

fn project(last_started: Option<i64>, candidates: Vec<Candidate>) -> ProjectLoad {
    ProjectLoad {
        id: ProjectId::new(),
        slots: 1,
        running: 0,
        last_started: last_started.map(at),
        candidates,
    }
}

fn snapshot(slots: u32, now: i64, projects: Vec<ProjectLoad>) -> Snapshot {
    Snapshot {
        now: at(now),
        slots,
        machine: Machine::default(),
        projects,
    }
}

fn order(scheduler: &FairScheduler, snapshot: &Snapshot) -> Vec<TaskId> {
    let plan = scheduler.plan(snapshot);
    plan.start.iter().map(|start| start.task).collect()
}

#[test]
fn within_a_project_priority_counts_then_age() {
    let (low, high, older) = (task(0, 50), task(1, 60), task(1, 40));
    let mut load = project(None, vec![low.clone(), high.clone(), older.clone()]);
    load.slots = 3;
    let got = order(&FairScheduler::default(), &snapshot(9, 60, vec![load]));
    assert_eq!(got, [older.task, high.task, low.task]);
}

#[test]
fn waiting_makes_up_for_priority() {
    let scheduler = FairScheduler::with_ageing(Duration::from_secs(60));
    let (old, urgent) = (task(0, 0), task(2, 0));
    let load = |now: i64| {
        let fresh = Candidate {
            rank: Rank::of(at(now)),
            ..urgent.clone()
        };
        snapshot(1, now, vec![project(None, vec![old.clone(), fresh])])
    };
    assert_eq!(order(&scheduler, &load(119)), [urgent.task]);
    assert_eq!(
        order(&scheduler, &load(120)),
        [urgent.task],
        "equal: by priority"
    );
    assert_eq!(order(&scheduler, &load(180)), [old.task]);
}

#[test]
fn a_dated_task_ages_from_its_date() {
    let scheduler = FairScheduler::with_ageing(Duration::from_secs(60));
    let dated = Candidate {
        due_at: Some(at(600)),
        ..task(0, 0)
    };
    let plain = task(0, 500);
    let load = project(None, vec![dated, plain.clone()]);
    assert_eq!(
        order(&scheduler, &snapshot(1, 600, vec![load])),
        [plain.task]
    );
}

#[test]
fn projects_take_turns() {
    let (a, b, c) = (task(0, 0), task(0, 0), task(0, 0));
    let mut busy = project(None, vec![a.clone()]);
    busy.running = 1;
    let recent = project(Some(9), vec![b.clone()]);
    let longer_ago = project(Some(8), vec![c.clone()]);
    let load = snapshot(3, 10, vec![busy, recent, longer_ago]);
    assert_eq!(
        order(&FairScheduler::default(), &load),
        [c.task, b.task, a.task]
    );
}

#[test]
fn one_projects_plan_does_not_take_all_slots() {
    let many = |count| (0..count).map(|_| task(0, 0)).collect::<Vec<_>>();
    let mut projects: Vec<ProjectLoad> = (0..2).map(|_| project(None, many(4))).collect();
    for load in &mut projects {
        load.slots = 4;
    }
    let plan = FairScheduler::default().plan(&snapshot(4, 0, projects.clone()));
    for load in &projects {
        let own = plan.start.iter().filter(|start| start.project == load.id);
        assert_eq!(own.count(), 2);
    }
}

#[test]
fn an_urgent_task_goes_before_another_projects_turn() {
    let (usual, urgent) = (task(0, 0), task(5, 90));
    let waiting = project(Some(0), vec![usual]);
    let just_ran = project(Some(95), vec![urgent.clone()]);
    let load = snapshot(1, 100, vec![waiting, just_ran]);
    assert_eq!(order(&FairScheduler::default(), &load), [urgent.task]);
}

prop_compose! {
    fn any_candidate()(
        priority in prop_oneof![any::<i32>(), -3..4],
        created in -100_000..100_000_i64,
        due in proptest::option::of(-100_000..100_000_i64),
        gpu in any::<bool>(),
    ) -> Candidate {
        let tags = if gpu { vec!["gpu".to_owned()] } else { Vec::new() };
        let wants = Wants { tags, system_type: None };
        Candidate { due_at: due.map(at), wants, ..task(priority, created) }
    }
}

prop_compose! {
    fn any_project()(
        candidates in proptest::collection::vec(any_candidate(), 0..10),
        last_started in proptest::option::of(-100_000..100_000_i64),
        slots in 0..4_u32,
        running in prop_oneof![0..3_u32, Just(u32::MAX)],
    ) -> ProjectLoad {
        ProjectLoad { slots, running, ..project(last_started, candidates) }
    }
}

prop_compose! {
    fn any_snapshot()(
        projects in proptest::collection::vec(any_project(), 0..8),
        slots in prop_oneof![0..12_u32, Just(u32::MAX)],
        now in prop_oneof![-100_000..100_000_i64, Just(i64::MAX / 4_000_000)],
        gpu in any::<bool>(),
    ) -> Snapshot {
        let mut all = snapshot(slots, now, projects);
        all.machine.tags = if gpu { vec!["gpu".to_owned()] } else { Vec::new() };
        all
    }
}

proptest! {
    /// No limit broken, no double dispatch, nothing that may not start, the same for the same.
    #[test]
    fn any_plan_keeps_the_contract(snapshot in any_snapshot(), step in 0..5_000_u64) {
        let scheduler = FairScheduler::with_ageing(Duration::from_secs(step));
        let plan = scheduler.plan(&snapshot);
        prop_assert_eq!(broken(&snapshot, &plan), None);
        prop_assert_eq!(scheduler.plan(&snapshot), plan);
    }

    /// Every slot that can be used is used.
    #[test]
    fn no_slot_stays_empty(snapshot in any_snapshot()) {
        let plan = FairScheduler::default().plan(&snapshot);
        let startable: usize = snapshot
            .projects
            .iter()
            .map(|project| {
                let may = project.candidates.iter().filter(|task| {
                    task.wants.met_by(&snapshot.machine)
                        && task.due_at.is_none_or(|due| due <= snapshot.now)
                });
                may.count().min(project.slots as usize)
            })
            .sum();
        prop_assert_eq!(plan.start.len(), startable.min(snapshot.slots as usize));
    }

    /// Backoff never shrinks below three quarters of its step, never passes it, and never passes its limit.
    #[test]
    fn backoff_stays_within_its_steps(count in any::<u32>()) {
        let run = RunId::new();
        let power = count.saturating_sub(1).min(20);
        for (wait, first, most) in [
            (retry::after_false_starts(count, run), 1_000, 60_000),
            (retry::after_attempts(count, run), 10_000, 600_000),
        ] {
            let step = Duration::from_millis((first << power).min(most));
            prop_assert!(wait <= step && wait >= step * 3 / 4, "{wait:?} of {step:?}");
        }
        prop_assert_eq!(retry::after_attempts(count, run), retry::after_attempts(count, run));
    }
}

mod policy {
    use ccm_core::Reason;
    use ccm_core::run::{Checkpoint, Inputs, Run, RunState, Usage, Verdict, Waits};
    use ccm_core::task::{Setback, Task, TaskSpec, TaskState, TaskText};

    use super::*;

    fn running(attempts: u32, max_retries: u32, false_starts: u32) -> (Task, Run) {
        let run = Run {
            id: RunId::new(),
            task_id: TaskId::new(),
            project_id: ProjectId::new(),
            agent_id: ccm_core::id::AgentId::new(),
            system_id: SystemId::new(),
            attempt: attempts,
            token: FencingToken(1),
            lease_until: None,
            state: RunState::Launching,
            stop: None,
            checkpoint: Checkpoint::default(),
            session_id: None,
            usage: Usage::default(),
            cost_usd: None,
            waits: Waits::default(),
            inputs: Inputs::default(),
            claimed_at: at(0),
        };
        let spec = TaskSpec {
            max_retries,
            ..TaskSpec::new(TaskText::new("x").expect("a good text"))
        };
        let task = Task {
            id: run.task_id,
            project_id: run.project_id,
            project: "p".to_owned(),
            spec,
            state: TaskState::Running {
                run: run.id,
                stop: None,
            },
            due_at: None,
            rank: Rank::of(at(0)),
            attempts,
            false_starts,
            latest_run: Some(run.id),
            result: None,
            cost_usd: None,
            hold: None,
            yielded: false,
            created_by: "cli".to_owned(),
            created_at: at(0),
            updated_at: at(0),
            revision: ccm_core::id::Revision(2),
        };
        (task, run)
    }

    fn wait(
        attempts: u32,
        max_retries: u32,
        false_starts: u32,
        verdict: &Verdict,
    ) -> Option<Duration> {
        let (task, run) = running(attempts, max_retries, false_starts);
        retry::next_attempt(&task, &run, verdict, at(9)).map(|moment| moment.since(at(9)))
    }

    fn within(wait: Option<Duration>, step: u64) {
        let wait = wait.expect("another attempt");
        let step = Duration::from_secs(step);
        assert!(wait <= step && wait >= step * 3 / 4, "{wait:?} of {step:?}");
    }

    #[test]
    fn attempts_are_repeated_while_retries_are_left() {
        for verdict in [
            Verdict::Failed {
                cause: Setback::bare(Reason::ExitCode),
            },
            Verdict::Failed {
                cause: Setback::bare(Reason::Timeout),
            },
            Verdict::Lost {
                cause: Setback::bare(Reason::Lost),
            },
        ] {
            assert_eq!(wait(1, 0, 0, &verdict), None);
            within(wait(1, 2, 0, &verdict), 10);
            within(wait(2, 2, 0, &verdict), 20);
            assert_eq!(wait(3, 2, 0, &verdict), None);
            within(wait(30, u32::MAX, 0, &verdict), 600);
        }
    }

    #[test]
    fn false_starts_are_repeated_for_ever() {
        let verdict = Verdict::NotStarted {
            cause: Setback::bare(Reason::NotStarted),
        };
        for (earlier, step) in [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (u32::MAX, 60)] {
            within(wait(1, 0, earlier, &verdict), step);
        }
    }

    /// A provider that names a date is asked again then, and not by all at once; else a refusal is a false start.
    #[test]
    fn a_refusal_waits_for_its_date() {
        let refused = |until: Option<i64>| Verdict::Refused {
            cause: Setback::bare(Reason::RateLimited),
            until: until.map(at),
            lost_session: false,
        };
        for _ in 0..50 {
            let wait = wait(1, 0, 7, &refused(Some(3600))).expect("another attempt");
            let date = Duration::from_secs(3600 - 9);
            assert!(
                wait >= date && wait <= date + Duration::from_secs(10),
                "{wait:?}"
            );
        }
        for without in [None, Some(9), Some(0)] {
            for (earlier, step) in [(0, 1), (1, 2), (6, 60)] {
                within(wait(1, 0, earlier, &refused(without)), step);
            }
        }
    }

    #[test]
    fn what_someone_must_mend_is_not_repeated() {
        assert_eq!(wait(1, 9, 0, &Verdict::Succeeded), None);
        assert_eq!(wait(1, 9, 0, &Verdict::Cancelled), None);
        assert_eq!(wait(1, 9, 0, &Verdict::Superseded), None);
        for reason in [
            Reason::Cancelled,
            Reason::ProjectRemoved,
            Reason::Unstoppable,
            Reason::Budget,
        ] {
            let verdict = Verdict::Failed {
                cause: Setback::bare(reason),
            };
            assert_eq!(wait(1, 9, 0, &verdict), None, "{reason}");
        }
    }
}

/// The suite finds what is wrong with schedulers that look right.
mod the_suite_can_fail {
    use ccm_core::scheduler::{Plan, Start};
    use ccm_core::testing::conformance::scheduler as suite;

    use super::*;

    /// The most urgent of all, whatever that does to the others.
    #[derive(Debug)]
    struct ByPriority {
        everything: bool,
    }

    impl Scheduler for ByPriority {
        fn plan(&self, snapshot: &Snapshot) -> Plan {
            let mut line: Vec<(&Candidate, ProjectId)> = Vec::new();
            for project in snapshot.projects.iter().filter(|project| project.slots > 0) {
                let mut own: Vec<&Candidate> = project.candidates.iter().collect();
                own.retain(|task| {
                    task.wants.met_by(&snapshot.machine)
                        && task.due_at.is_none_or(|due| due <= snapshot.now)
                });
                own.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.task));
                own.truncate(project.slots as usize);
                line.extend(own.into_iter().map(|task| (task, project.id)));
            }
            line.sort_by_key(|(task, _)| (std::cmp::Reverse(task.priority), task.task));
            if !self.everything {
                line.truncate(snapshot.slots as usize);
            }
            let start = line.into_iter().map(|(task, project)| Start {
                task: task.task,
                project,
            });
            Plan {
                start: start.collect(),
                wake_at: None,
            }
        }
    }

    #[test]
    fn a_strict_order_keeps_limits() {
        suite::plans_keep_the_contract(&ByPriority { everything: false });
    }

    #[test]
    #[should_panic(expected = "never started")]
    fn a_strict_order_starves() {
        suite::urgent_tasks_do_not_starve_others(&ByPriority { everything: false });
    }

    #[test]
    #[should_panic(expected = "slots")]
    fn too_many_starts_are_found() {
        suite::plans_keep_the_contract(&ByPriority { everything: true });
    }

    #[test]
    #[should_panic(expected = "left: ")]
    fn a_forgotten_date_is_found() {
        suite::a_date_is_waited_for(&ByPriority { everything: false });
    }
}
