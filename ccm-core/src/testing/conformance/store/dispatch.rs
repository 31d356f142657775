//! What is ready, and claims.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::Noun;
use crate::id::FencingToken;
use crate::reason::Reason;
use crate::run::RunState;
use crate::scheduler::{Candidate, Wants};
use crate::store::ReadyProject;
use crate::task::{Setback, TaskState};

/// The ids of what is ready in the only project that has something.
async fn ready_now(bench: &Bench, now: Timestamp) -> BTreeSet<TaskId> {
    let ready = bench.store.ready(now, 100).await.expect("ready");
    let candidates = ready
        .projects
        .into_iter()
        .flat_map(|project| project.candidates);
    candidates.map(|candidate| candidate.task).collect()
}

/// "What is ready, per project": everything a scheduler may know of a candidate, and the project with its agent.
pub async fn ready_tells_all_of_a_candidate(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    assert_eq!(
        bench.store.ready(at(1), 5).await.unwrap(),
        crate::store::Ready::default()
    );
    let made = bench.register("p").await;
    let wish = TaskSpec {
        priority: -3,
        not_before: Some(at(5)),
        tags: vec!["gpu".to_owned()],
        system_type: Some(SystemKind::Devops),
        ..spec("x")
    };
    let task = bench.task_with(made.project.id, wish).await;
    let ready = bench.store.ready(at(5), 5).await.unwrap();
    let want = Candidate {
        task: task.id,
        priority: -3,
        rank: task.rank,
        due_at: Some(at(5)),
        wants: Wants {
            tags: vec!["gpu".to_owned()],
            system_type: Some(SystemKind::Devops),
        },
    };
    let want = ReadyProject {
        project: bench.store.project(made.project.id).await.unwrap(),
        agent: made.agent.id,
        last_started: None,
        candidates: vec![want],
    };
    assert_eq!(ready.projects, [want]);
    assert_eq!(ready.next_due, None);
}

/// "The first `per_project` by priority and age, and the oldest `per_project`", without doubles and nothing else.
pub async fn ready_is_bounded_per_project(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let mut want = BTreeMap::new();
    for name in ["one", "two"] {
        let project = bench.project(name).await.id;
        let mut ids = Vec::new();
        for (number, priority) in (0_i64..).zip([0, 1, 5, -1, 5, 9, 0, 9]) {
            let mut request = order(vec![new_task(
                project,
                TaskSpec {
                    priority,
                    ..spec("x")
                },
            )]);
            request.now = at(10 + number);
            ids.push(bench.create(request).await[0].id);
        }
        // By priority: the nines in order, then the older five. The oldest: the first three.
        let first = [ids[5], ids[7], ids[2]];
        want.insert(
            project,
            (
                first,
                BTreeSet::from([ids[5], ids[7], ids[2], ids[0], ids[1]]),
            ),
        );
    }
    let ready = bench.store.ready(at(100), 3).await.unwrap();
    assert_eq!(ready.projects.len(), 2);
    for project in ready.projects {
        let (first, all) = &want[&project.project.id];
        let got: Vec<TaskId> = project.candidates.iter().map(|c| c.task).collect();
        assert_eq!(got.len(), all.len(), "without doubles, and nothing else");
        assert_eq!(&got.iter().copied().collect::<BTreeSet<_>>(), all);
        let urgent: Vec<_> = got.iter().filter(|id| first.contains(id)).collect();
        assert_eq!(
            urgent,
            first.iter().collect::<Vec<_>>(),
            "by priority, then age"
        );
    }
}

/// "Ready is: ... due at `now`"; "`next_due` is the earliest date of a queued task that is not due yet and not blocked".
pub async fn ready_respects_dates(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let dated = async |second| {
        let wish = TaskSpec {
            not_before: Some(at(second)),
            ..spec("x")
        };
        bench.task_with(project, wish).await
    };
    let late = dated(30).await;
    let soon = dated(20).await;
    let blocked = TaskSpec {
        not_before: Some(at(25)),
        blocked_by: vec![late.id],
        ..spec("x")
    };
    bench.task_with(project, blocked).await;
    let ready = bench.store.ready(at(19), 5).await.unwrap();
    assert_eq!((ready.projects.len(), ready.next_due), (0, Some(at(20))));
    let kind = refused(
        bench
            .store
            .claim(bench.claim_for(&soon, at(19)).await)
            .await,
    );
    assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
    assert_eq!(ready_now(&bench, at(20)).await, BTreeSet::from([soon.id]));
    assert_eq!(
        bench.store.ready(at(20), 5).await.unwrap().next_due,
        Some(at(30))
    );
    bench
        .store
        .cancel_task(late.id, "me", at(21))
        .await
        .unwrap();
    assert_eq!(bench.store.ready(at(20), 5).await.unwrap().next_due, None);
    bench.claimed(&soon, at(20)).await;
    assert_eq!(ready_now(&bench, at(90)).await, BTreeSet::new());
}

/// "Not blocked": only the success of every blocker makes a task ready; a failed or cancelled one keeps it waiting.
pub async fn ready_waits_for_every_blocker(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let one = bench.task(project, "one").await;
    let two = bench.task(project, "two").await;
    let wish = TaskSpec {
        blocked_by: vec![one.id, two.id],
        ..spec("both first")
    };
    let task = bench.task_with(project, wish).await;
    let refuse = async |why: &str| {
        let claim = bench.claim_for(&task, at(9)).await;
        let kind = refused(bench.store.claim(claim).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task), "{why}");
        assert!(!ready_now(&bench, at(9)).await.contains(&task.id), "{why}");
    };
    refuse("both wait").await;
    bench.done(&one, Verdict::Succeeded, at(3)).await;
    refuse("the second waits").await;
    let claimed = bench.claimed(&two, at(4)).await;
    refuse("the second runs").await;
    let failed = end(Verdict::Failed {
        cause: Setback::bare(Reason::ExitCode),
    });
    bench
        .store
        .finish(claimed.run.id, claimed.run.token, failed, at(5))
        .await
        .unwrap();
    refuse("the second failed").await;
    let two = bench.store.retry_task(two.id, "me", at(6)).await.unwrap();
    refuse("the second waits again").await;
    bench.done(&two, Verdict::Cancelled, at(7)).await;
    refuse("the second was cancelled").await;
    let two = bench.store.retry_task(two.id, "me", at(8)).await.unwrap();
    bench.done(&two, Verdict::Succeeded, at(8)).await;
    assert_eq!(ready_now(&bench, at(9)).await, BTreeSet::from([task.id]));
    bench.claimed(&task, at(9)).await;
}

/// A blocker that had succeeded before the task was created blocks nothing.
pub async fn ready_counts_only_open_blockers(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let one = bench.task(project, "one").await;
    bench.done(&one, Verdict::Succeeded, at(3)).await;
    let wish = TaskSpec {
        blocked_by: vec![one.id],
        ..spec("after")
    };
    let task = bench.task_with(project, wish).await;
    assert_eq!(ready_now(&bench, at(4)).await, BTreeSet::from([task.id]));
}

/// "The machine of `begin` is what it asks for": what asks for another one takes no room, can't be claimed, and becomes
/// ready when a later `begin` brings what it wants.
pub async fn ready_is_what_the_machine_can_do(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let wish = |tags: &[&str], system_type| TaskSpec {
        priority: 9,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        system_type,
        ..spec("x")
    };
    let more = wish(&["gpu", "fast"], None);
    let kind = wish(&[], Some(SystemKind::Business));
    let later = TaskSpec {
        not_before: Some(at(20)),
        ..more.clone()
    };
    let wishes = [&more, &more, &kind, &kind, &later].map(|wish| new_task(project, wish.clone()));
    let others = bench.create(order(wishes.to_vec())).await;
    let fits = wish(&["a:b/c", "gpu"], Some(SystemKind::Devops));
    let fits = bench.task_with(project, fits).await;
    let plain = bench.task(project, "x").await;
    let own = BTreeSet::from([fits.id, plain.id]);
    let ready = bench.store.ready(at(9), 2).await.unwrap();
    let got = ready.projects[0].candidates.iter().map(|c| c.task);
    assert_eq!(got.collect::<BTreeSet<_>>(), own);
    assert_eq!(ready.next_due, None);
    assert_eq!(ready_now(&bench, at(30)).await, own);
    let claim = bench.claim_for(&others[0], at(9)).await;
    let kind = refused(bench.store.claim(claim).await);
    assert_eq!(kind, ErrorKind::WrongState(Noun::Task));

    let mut richer = bench.system.clone();
    richer.tags.push("fast".to_owned());
    bench.store.begin(&richer, at(10)).await.unwrap();
    let ready = bench.store.ready(at(10), 100).await.unwrap();
    assert_eq!(ready.next_due, Some(at(20)));
    let mut all = own.clone();
    all.extend([others[0].id, others[1].id, others[4].id]);
    assert_eq!(ready_now(&bench, at(30)).await, all);
    bench.claimed(&others[0], at(10)).await;

    let poorer = System {
        kind: SystemKind::Business,
        tags: vec![],
        ..richer
    };
    bench.store.begin(&poorer, at(40)).await.unwrap();
    let left = BTreeSet::from([others[2].id, others[3].id, plain.id]);
    assert_eq!(ready_now(&bench, at(50)).await, left);
}

/// "Projects that are paused or removed are left out; held ones are not."
pub async fn ready_leaves_paused_projects_out(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let task = bench.task(project, "x").await;
    let hold = Some(Setback::bare(Reason::ConfigUntrusted));
    bench
        .store
        .hold_project(project, hold.clone(), at(3))
        .await
        .unwrap();
    let ready = bench.store.ready(at(4), 5).await.unwrap();
    assert_eq!(ready.projects[0].project.hold, hold);
    bench
        .store
        .pause_project(project, true, at(5))
        .await
        .unwrap();
    assert_eq!(bench.store.ready(at(6), 5).await.unwrap().projects, []);
    bench
        .store
        .pause_project(project, false, at(7))
        .await
        .unwrap();
    assert_eq!(ready_now(&bench, at(8)).await, BTreeSet::from([task.id]));
    bench
        .store
        .remove_project(project, true, "me", at(9))
        .await
        .unwrap();
    assert_eq!(
        bench.store.ready(at(10), 5).await.unwrap(),
        crate::store::Ready::default()
    );
}

/// "When one of its tasks was started last."
pub async fn ready_knows_the_last_start(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    for second in [4, 6] {
        let task = bench.task(project, "x").await;
        bench.done(&task, Verdict::Succeeded, at(second)).await;
    }
    bench.task(project, "x").await;
    let ready = bench.store.ready(at(9), 5).await.unwrap();
    assert_eq!(ready.projects[0].last_started, Some(at(6)));
}

/// "Makes the run, raises the task's token": task and run as they must be, in one commit with their events.
pub async fn claim_makes_the_run(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let task = bench.task(made.project.id, "x").await;
    let before = bench.head().await;
    let claim = Claim {
        agent: made.agent.id,
        lease_until: Some(at(60)),
        ..bench.claim(task.id, at(3))
    };
    let claimed = bench.store.claim(claim.clone()).await.unwrap();
    let run = &claimed.run;
    assert_eq!(
        (run.id, run.task_id, run.project_id),
        (claim.run, task.id, made.project.id)
    );
    assert_eq!(
        (run.agent_id, run.system_id),
        (made.agent.id, bench.system.id)
    );
    assert_eq!(
        (run.attempt, run.lease_until, run.claimed_at),
        (1, Some(at(60)), at(3))
    );
    assert_eq!((&run.state, &run.stop), (&RunState::Launching, &None));
    assert_eq!(run.checkpoint, crate::run::Checkpoint::default());
    assert!(run.token > FencingToken(0));
    assert_eq!(
        claimed.task.state,
        TaskState::Running {
            run: run.id,
            stop: None
        }
    );
    assert_eq!(
        (claimed.task.attempts, claimed.task.latest_run),
        (1, Some(run.id))
    );
    assert!(claimed.task.revision > task.revision);
    assert_eq!(claimed.task.updated_at, at(3));
    let second = place.another().await;
    assert_eq!(second.run(run.id).await.unwrap(), claimed.run);
    assert_eq!(second.task(task.id).await.unwrap(), claimed.task);
    let told = bench.told_since(before).await;
    assert!(
        told == "run.created task.started" || told == "task.started run.created",
        "{told}"
    );
}

/// "`WrongState(Task)` when it is not ready now, also because another caller has it."
pub async fn claim_refuses_what_is_not_ready(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await.id;
    let task = bench.task(project, "x").await;
    let claimed = bench.claimed(&task, at(3)).await;
    let refuse = async || {
        let before = bench.head().await;
        let claim = bench.claim_for(&task, at(4)).await;
        let run = claim.run;
        let kind = refused(bench.store.claim(claim).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Task));
        assert_eq!(bench.head().await, before);
        assert_eq!(
            refused(bench.store.run(run).await),
            ErrorKind::NotFound(Noun::Run)
        );
    };
    refuse().await;
    let success = end(Verdict::Succeeded);
    bench
        .store
        .finish(claimed.run.id, claimed.run.token, success, at(4))
        .await
        .unwrap();
    refuse().await;
}

/// "Hands a queued task to exactly one caller": 32 callers at once, 20 tasks, each handed out once.
pub async fn claim_hands_out_once(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let many = (0..20)
        .map(|_| new_task(made.project.id, spec("x")))
        .collect();
    let tasks: Vec<TaskId> = bench
        .create(order(many))
        .await
        .iter()
        .map(|t| t.id)
        .collect();
    let start = Arc::new(tokio::sync::Barrier::new(32));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32 {
        let (store, start) = (Arc::clone(&bench.store), Arc::clone(&start));
        let claims: Vec<Claim> = tasks
            .iter()
            .cycle()
            .skip(caller % 5)
            .take(tasks.len())
            .map(|task| Claim {
                agent: made.agent.id,
                ..bench.claim(*task, at(3))
            })
            .collect();
        callers.spawn(async move {
            start.wait().await;
            let mut won = Vec::new();
            for claim in claims {
                match store.claim(claim).await {
                    Ok(claimed) => won.push(claimed),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task)),
                }
            }
            won
        });
    }
    let won: Vec<Claimed> = soon("the claims", callers.join_all()).await.concat();
    assert_eq!(won.len(), tasks.len());
    let handed: BTreeSet<TaskId> = won.iter().map(|claimed| claimed.task.id).collect();
    assert_eq!(handed, tasks.into_iter().collect());
    for claimed in won {
        assert_eq!(
            bench.store.task(claimed.task.id).await.unwrap(),
            claimed.task
        );
        assert_eq!(bench.store.run(claimed.run.id).await.unwrap(), claimed.run);
    }
    let counts = bench.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running), (0, 20));
    let query = EventQuery {
        kinds: vec![crate::event::EventKind::RunCreated],
        limit: 1_000,
        ..EventQuery::default()
    };
    assert_eq!(bench.store.events(&query).await.unwrap().len(), 20);
}
