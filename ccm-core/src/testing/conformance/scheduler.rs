//! What every [`Scheduler`] must do, tried on arbitrary snapshots and in simulations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::random::Random;
use crate::id::{ProjectId, TaskId};
use crate::scheduler::{Candidate, Machine, Plan, ProjectLoad, Scheduler, Snapshot, Wants};
use crate::system::SystemKind;
use crate::task::Rank;
use crate::time::Timestamp;

/// Makes one `#[test]` of every case of the scheduler suite. The argument is an expression that makes a scheduler.
#[macro_export]
macro_rules! scheduler_conformance {
    ($make:expr) => {
        $crate::scheduler_conformance!($make,
            plans_keep_the_contract
            the_same_snapshot_has_the_same_plan
            a_plan_does_not_depend_on_order
            something_starts_if_anything_may
            a_date_is_waited_for
            urgent_tasks_do_not_starve_others
            a_long_queue_does_not_starve_other_projects
            no_task_is_started_twice_over_rounds
        );
    };
    ($make:expr, $($case:ident)*) => {
        /// The names of the suite's cases.
        #[allow(dead_code)]
        const SCHEDULER_CASES: &[&str] = &[$(stringify!($case)),*];
        $(
            #[test]
            fn $case() {
                $crate::testing::conformance::scheduler::$case(&$make);
            }
        )*
    };
}

/// What a plan breaks of the contract, if anything: more starts than slots, of what is not in the snapshot, twice, before
/// its date, or not for this machine; or no start though something may start.
pub fn broken(snapshot: &Snapshot, plan: &Plan) -> Option<String> {
    if plan.start.len() > snapshot.slots as usize {
        return Some(format!(
            "{} starts, {} slots",
            plan.start.len(),
            snapshot.slots
        ));
    }
    let mut started = BTreeSet::new();
    let mut per_project: BTreeMap<ProjectId, u32> = BTreeMap::new();
    for start in &plan.start {
        if !started.insert(start.task) {
            return Some(format!("{:?} is started twice", start.task));
        }
        let Some(project) = snapshot
            .projects
            .iter()
            .find(|load| load.id == start.project)
        else {
            return Some(format!("{:?} is not in the snapshot", start.project));
        };
        let Some(task) = project
            .candidates
            .iter()
            .find(|task| task.task == start.task)
        else {
            return Some(format!(
                "{:?} is not a task of its project in the snapshot",
                start.task
            ));
        };
        if !may_start(task, snapshot) {
            return Some(format!("{task:?} may not start"));
        }
        let count = per_project.entry(project.id).or_default();
        *count += 1;
        if *count > project.slots {
            return Some(format!(
                "{:?} starts more than {}",
                project.id, project.slots
            ));
        }
    }
    let startable = snapshot.slots > 0
        && snapshot.projects.iter().any(|project| {
            project.slots > 0
                && project
                    .candidates
                    .iter()
                    .any(|task| may_start(task, snapshot))
        });
    if startable && plan.start.is_empty() {
        return Some("nothing starts, though something may".to_owned());
    }
    None
}

fn may_start(task: &Candidate, snapshot: &Snapshot) -> bool {
    task.due_at.is_none_or(|due| due <= snapshot.now) && task.wants.met_by(&snapshot.machine)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
}

fn fresh(priority: i32, created_at: Timestamp) -> Candidate {
    Candidate {
        task: TaskId::new(),
        priority,
        rank: Rank::of(created_at),
        due_at: None,
        wants: Wants::default(),
    }
}

/// An arbitrary snapshot, with everything that is hard in it now and then.
fn arbitrary(random: &mut Random) -> Snapshot {
    const PRIORITIES: &[i32] = &[i32::MIN, -5, 0, 0, 0, 1, 2, 9, i32::MAX];
    let now = at(i64::from(random.below(1_000_000)));
    let moment = |random: &mut Random| {
        let offset = i64::from(random.below(200_000)) - 100_000;
        Timestamp::from_micros(now.as_micros() + offset * 1_000_000)
    };
    let projects = (0..random.below(8))
        .map(|_| ProjectLoad {
            id: ProjectId::new(),
            slots: random.below(4),
            running: random.below(3),
            last_started: random.once_in(2).then(|| moment(random)),
            candidates: (0..random.below(12))
                .map(|_| {
                    let wants = Wants {
                        tags: if random.once_in(4) {
                            vec!["gpu".to_owned()]
                        } else {
                            Vec::new()
                        },
                        system_type: random.once_in(5).then_some(SystemKind::Devops),
                    };
                    Candidate {
                        due_at: random.once_in(3).then(|| moment(random)),
                        wants,
                        ..fresh(*random.pick(PRIORITIES), moment(random))
                    }
                })
                .collect(),
        })
        .collect();
    Snapshot {
        now,
        slots: random.below(10),
        machine: Machine {
            kind: *random.pick(&[SystemKind::Developer, SystemKind::Devops]),
            tags: if random.once_in(2) {
                vec!["gpu".to_owned()]
            } else {
                Vec::new()
            },
        },
        projects,
    }
}

fn on_arbitrary(check: impl Fn(&Snapshot, u64)) {
    for seed in 0..2_000 {
        check(&arbitrary(&mut Random::new(seed)), seed);
    }
}

/// "Within limits ... Only what may start": [`broken`] finds nothing.
pub fn plans_keep_the_contract(scheduler: &dyn Scheduler) {
    on_arbitrary(|snapshot, seed| {
        let plan = scheduler.plan(snapshot);
        if let Some(what) = broken(snapshot, &plan) {
            panic!("seed {seed}: {what}\n{snapshot:#?}\n{plan:#?}");
        }
    });
}

/// "Pure: the same snapshot gives the same plan", whatever was planned in between.
pub fn the_same_snapshot_has_the_same_plan(scheduler: &dyn Scheduler) {
    let first = arbitrary(&mut Random::new(7));
    let plan = scheduler.plan(&first);
    on_arbitrary(|snapshot, seed| {
        let once = scheduler.plan(snapshot);
        assert_eq!(scheduler.plan(&snapshot.clone()), once, "seed {seed}");
    });
    assert_eq!(scheduler.plan(&first), plan);
}

/// A snapshot says the same in whatever order its projects and tasks are listed.
pub fn a_plan_does_not_depend_on_order(scheduler: &dyn Scheduler) {
    on_arbitrary(|snapshot, seed| {
        let mut turned = snapshot.clone();
        turned.projects.reverse();
        for project in &mut turned.projects {
            project.candidates.reverse();
        }
        assert_eq!(
            scheduler.plan(&turned),
            scheduler.plan(snapshot),
            "seed {seed}"
        );
    });
}

/// "A task that may start is planned after a bounded number of rounds in which others were started": when nothing else
/// may start, that is now.
pub fn something_starts_if_anything_may(scheduler: &dyn Scheduler) {
    for priority in [i32::MIN, 0, i32::MAX] {
        let task = fresh(priority, at(0));
        let snapshot = alone(vec![task.clone()], at(0));
        let plan = scheduler.plan(&snapshot);
        assert_eq!(plan.start.len(), 1, "{snapshot:#?}");
        assert_eq!(plan.start[0].task, task.task);
    }
}

/// `wake_at` is when the first task of the snapshot becomes due that this machine can do.
pub fn a_date_is_waited_for(scheduler: &dyn Scheduler) {
    let due = |second| Candidate {
        due_at: Some(at(second)),
        ..fresh(0, at(0))
    };
    let elsewhere = Candidate {
        wants: Wants {
            tags: vec!["gpu".to_owned()],
            system_type: None,
        },
        ..due(5)
    };
    let mut snapshot = alone(vec![due(30), due(20), elsewhere], at(10));
    assert_eq!(
        scheduler.plan(&snapshot),
        Plan {
            start: Vec::new(),
            wake_at: Some(at(20))
        }
    );
    snapshot.now = at(20);
    let plan = scheduler.plan(&snapshot);
    assert_eq!(
        (plan.start.len(), plan.wake_at),
        (1, Some(at(30))),
        "due is due"
    );
    snapshot.now = at(30);
    assert_eq!(scheduler.plan(&snapshot).wake_at, None);
}

fn alone(candidates: Vec<Candidate>, now: Timestamp) -> Snapshot {
    let project = ProjectLoad {
        id: ProjectId::new(),
        slots: 1,
        running: 0,
        last_started: None,
        candidates,
    };
    Snapshot {
        now,
        slots: 1,
        machine: Machine::default(),
        projects: vec![project],
    }
}

/// One project of a simulation, with a queue of its own.
struct Queue {
    id: ProjectId,
    tasks: Vec<Candidate>,
    last_started: Option<Timestamp>,
}

impl Queue {
    fn new(tasks: Vec<Candidate>) -> Self {
        Self {
            id: ProjectId::new(),
            tasks,
            last_started: None,
        }
    }

    /// What a store would show of it: the first by priority and the oldest.
    fn load(&self) -> ProjectLoad {
        const SHOWN: usize = 4;
        let mut shown: Vec<&Candidate> = self.tasks.iter().collect();
        shown.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.rank, task.task));
        shown.truncate(SHOWN);
        let mut oldest: Vec<&Candidate> = self.tasks.iter().collect();
        oldest.sort_by_key(|task| (task.rank, task.task));
        for task in oldest.into_iter().take(SHOWN) {
            if !shown.iter().any(|other| other.task == task.task) {
                shown.push(task);
            }
        }
        ProjectLoad {
            id: self.id,
            slots: 1,
            running: 0,
            last_started: self.last_started,
            candidates: shown.into_iter().cloned().collect(),
        }
    }
}

/// Lets a minute pass and starts what the plan says; each run takes less than a minute.
fn round(
    scheduler: &dyn Scheduler,
    queues: &mut [Queue],
    now: Timestamp,
    slots: u32,
) -> Vec<TaskId> {
    let snapshot = Snapshot {
        now,
        slots,
        machine: Machine::default(),
        projects: queues
            .iter()
            .filter(|queue| !queue.tasks.is_empty())
            .map(Queue::load)
            .collect(),
    };
    let plan = scheduler.plan(&snapshot);
    if let Some(what) = broken(&snapshot, &plan) {
        panic!("{what}\n{snapshot:#?}\n{plan:#?}");
    }
    for start in &plan.start {
        for queue in queues.iter_mut().filter(|queue| queue.id == start.project) {
            queue.tasks.retain(|task| task.task != start.task);
            queue.last_started = Some(now);
        }
    }
    plan.start.iter().map(|start| start.task).collect()
}

fn minute(number: u32) -> Timestamp {
    at(0).after(Duration::from_secs(60 * u64::from(number)))
}

/// "No starvation": the least urgent task starts at last although more urgent ones keep coming, in its own project and
/// in another one.
pub fn urgent_tasks_do_not_starve_others(scheduler: &dyn Scheduler) {
    const ROUNDS: u32 = 20_000;
    for (low, high) in [(0, 1), (0, 10), (-100, 100), (i32::MIN, i32::MAX)] {
        for same_project in [true, false] {
            let victim = fresh(low, minute(0));
            let id = victim.task;
            let mut queues = vec![Queue::new(vec![victim]), Queue::new(Vec::new())];
            let rival = usize::from(!same_project);
            let started = (0..ROUNDS).find(|number| {
                let now = minute(*number);
                queues[rival].tasks.push(fresh(high, now));
                round(scheduler, &mut queues, now, 1).contains(&id)
            });
            assert!(
                started.is_some(),
                "priority {low} never started in {ROUNDS} rounds beside priority {high}, same project: {same_project}"
            );
        }
    }
}

/// "No starvation", between projects: ten projects with one slot between them each start something again and again,
/// whatever the length and age of the others' queues.
pub fn a_long_queue_does_not_starve_other_projects(scheduler: &dyn Scheduler) {
    let backlog = |count| (0..count).map(|_| fresh(0, minute(0))).collect();
    let mut queues: Vec<Queue> = (0..9).map(|_| Queue::new(backlog(200))).collect();
    queues.push(Queue::new(Vec::new()));
    let late = fresh(0, minute(100));
    let mut seen = None;
    let mut starts: BTreeMap<ProjectId, u32> = BTreeMap::new();
    for number in 0..400 {
        if number == 100 {
            queues[9].tasks.push(late.clone());
        }
        let before: Vec<usize> = queues.iter().map(|queue| queue.tasks.len()).collect();
        let started = round(scheduler, &mut queues, minute(number), 1);
        if started.contains(&late.task) {
            seen = Some(number);
        }
        for (queue, before) in queues.iter().zip(before) {
            *starts.entry(queue.id).or_default() += u32::from(queue.tasks.len() < before);
        }
    }
    let seen = seen.expect("a task of an idle project never started beside long queues");
    assert!(seen < 150, "it had to wait until round {seen}");
    let long = queues.iter().take(9).map(|queue| starts[&queue.id]);
    let (least, most) = long.fold((u32::MAX, 0), |(least, most), n| {
        (least.min(n), most.max(n))
    });
    assert!(
        least * 2 >= most,
        "equal projects started {least} to {most} tasks"
    );
}

/// Over many rounds everything starts exactly once.
pub fn no_task_is_started_twice_over_rounds(scheduler: &dyn Scheduler) {
    let mut random = Random::new(11);
    let mut all = BTreeSet::new();
    let mut queues: Vec<Queue> = (0..5)
        .map(|_| {
            let tasks: Vec<Candidate> = (0..30)
                .map(|_| {
                    let priority = random.below(20) as i32 - 10;
                    fresh(priority, minute(random.below(30)))
                })
                .collect();
            all.extend(tasks.iter().map(|task| task.task));
            Queue::new(tasks)
        })
        .collect();
    let mut started = Vec::new();
    for number in 30..2_000 {
        let slots = random.below(4);
        started.extend(round(scheduler, &mut queues, minute(number), slots));
    }
    assert_eq!(started.len(), all.len());
    assert_eq!(started.into_iter().collect::<BTreeSet<_>>(), all);
}
