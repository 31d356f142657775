//! The end of a run and what it means for its task.

use super::*;
use crate::id::FencingToken;
use crate::reason::Reason;
use crate::run::{Run, RunState};
use crate::task::{Setback, StopIntent, TaskState};

fn verdicts() -> Vec<Verdict> {
    vec![
        Verdict::Succeeded,
        Verdict::Failed {
            cause: Setback::new(Reason::ExitCode, "exit code 7"),
        },
        Verdict::Cancelled,
        Verdict::Lost {
            cause: Setback::bare(Reason::LostOutput),
        },
        Verdict::NotStarted {
            cause: Setback::new(Reason::NotStarted, "install it"),
        },
    ]
}

/// "Commits a run's outcome and what it means for its task": every verdict, with every kind of stop, with and without
/// another attempt, leads where [`TaskState::finish`] leads; a final stop never leads to a requeue.
pub async fn finish_follows_the_states(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let stops = [
        None,
        Some(Reason::Cancelled),
        Some(Reason::ProjectRemoved),
        Some(Reason::Timeout),
    ];
    for verdict in verdicts() {
        for stop in stops {
            for retry_at in [None, Some(at(50))] {
                let case = format!("{verdict:?}, stop {stop:?}, again {retry_at:?}");
                let task = bench.task(project.id, "x").await;
                let mut claimed = bench.claimed(&task, at(3)).await;
                let (run, token) = (claimed.run.id, claimed.run.token);
                if let Some(reason) = stop {
                    let intent = StopIntent {
                        reason,
                        by: "someone".to_owned(),
                        at: at(4),
                    };
                    bench
                        .store
                        .mark_stopping(run, token, intent)
                        .await
                        .expect("mark_stopping");
                    claimed.task = bench.store.task(task.id).await.expect("task");
                }
                let finish = Finish {
                    retry_at,
                    ..end(verdict.clone())
                };
                let want = claimed
                    .task
                    .state
                    .finish(&verdict, retry_at.is_some(), at(5))
                    .expect("finish");
                let got = bench
                    .store
                    .finish(run, token, finish, at(5))
                    .await
                    .expect("finish");
                assert_eq!(got.state, want, "{case}");
                if stop.is_some_and(|reason| reason != Reason::Timeout) {
                    assert!(
                        got.state.name().is_final(),
                        "{case}: a person's stop forbids a requeue"
                    );
                }
                let waits = matches!(want, TaskState::Queued { .. });
                assert!(
                    !waits || got.due_at == retry_at,
                    "{case}: due at {:?}",
                    got.due_at
                );
                assert!(got.revision > claimed.task.revision, "{case}");
                assert_eq!(got.updated_at, at(5), "{case}");
                assert_eq!(got.cost_usd, Some(0.25), "{case}");
                assert_eq!(
                    bench.store.task(task.id).await.expect("task"),
                    got,
                    "{case}"
                );
                let kept = bench.store.run(run).await.expect("run");
                let ended = RunState::Ended {
                    started_at: None,
                    finished_at: at(5),
                    outcome: outcome(verdict.clone()),
                };
                assert_eq!(kept.state, ended, "{case}");
                assert_eq!(
                    (Some(kept.usage), kept.cost_usd),
                    (end(verdict.clone()).usage, Some(0.25)),
                    "{case}"
                );
                if waits {
                    bench
                        .store
                        .cancel_task(task.id, "suite", at(6))
                        .await
                        .expect("cancel");
                }
            }
        }
    }
}

/// Each end is told by `run.ended` and by what became of the task, in one commit.
pub async fn finish_tells_run_and_task(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let lost = Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    };
    let cases = [
        (Verdict::Succeeded, None, "task.succeeded"),
        (lost.clone(), None, "task.failed"),
        (lost, Some(at(9)), "task.requeued"),
        (Verdict::Cancelled, None, "task.cancelled"),
    ];
    for (verdict, retry_at, told) in cases {
        let task = bench.task(project.id, "x").await;
        let run = bench.claimed(&task, at(3)).await.run;
        let before = bench.head().await;
        let finish = Finish {
            retry_at,
            ..end(verdict)
        };
        bench
            .store
            .finish(run.id, run.token, finish, at(5))
            .await
            .unwrap();
        let got = bench.told_since(before).await;
        assert!(
            got == format!("run.ended {told}") || got == format!("{told} run.ended"),
            "{got}"
        );
    }
}

/// A success brings the agent's answer to the task; when the program had been started is kept from either side.
pub async fn finish_keeps_result_and_start(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    for noted in [false, true] {
        let task = bench.task(project.id, "x").await;
        let run = bench.claimed(&task, at(3)).await.run;
        if noted {
            bench
                .store
                .mark_started(run.id, run.token, at(4), at(4))
                .await
                .unwrap();
        }
        let finish = Finish {
            started_at: Some(at(4)),
            ..end(Verdict::Succeeded)
        };
        let done = bench
            .store
            .finish(run.id, run.token, finish, at(6))
            .await
            .unwrap();
        assert_eq!(done.result.as_deref(), Some("what came of it"));
        let kept = bench.store.run(run.id).await.unwrap();
        let outcome = outcome(Verdict::Succeeded);
        let want = RunState::Ended {
            started_at: Some(at(4)),
            finished_at: at(6),
            outcome,
        };
        assert_eq!(kept.state, want);
    }
}

/// "A verdict `NotStarted` takes the attempt back"; false starts are counted until something was started.
pub async fn a_false_start_is_no_attempt(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut task = bench.task(project.id, "x").await;
    let cause = Setback::new(Reason::NotStarted, "install it");
    for number in 1..=3 {
        let run = bench.claimed(&task, at(3)).await.run;
        assert_eq!(run.attempt, 1);
        let verdict = Verdict::NotStarted {
            cause: cause.clone(),
        };
        let finish = Finish {
            retry_at: Some(at(3)),
            ..end(verdict)
        };
        task = bench
            .store
            .finish(run.id, run.token, finish, at(3))
            .await
            .unwrap();
        assert_eq!((task.attempts, task.false_starts), (0, number));
        assert_eq!(
            task.state,
            TaskState::Queued {
                last: Some(cause.clone())
            }
        );
        assert_eq!(task.latest_run, Some(run.id));
    }
    let run = bench.claimed(&task, at(4)).await.run;
    let verdict = Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    };
    let finish = Finish {
        retry_at: Some(at(4)),
        ..end(verdict)
    };
    task = bench
        .store
        .finish(run.id, run.token, finish, at(4))
        .await
        .unwrap();
    assert_eq!((task.attempts, task.false_starts), (1, 0));
    assert_eq!(bench.claimed(&task, at(5)).await.run.attempt, 2);
}

/// "With `finish.retry_at` the task waits again until then."
pub async fn a_requeued_task_waits_for_its_date(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let run = bench.claimed(&task, at(3)).await.run;
    let verdict = Verdict::Failed {
        cause: Setback::bare(Reason::ExitCode),
    };
    let finish = Finish {
        retry_at: Some(at(20)),
        ..end(verdict)
    };
    let task = bench
        .store
        .finish(run.id, run.token, finish, at(5))
        .await
        .unwrap();
    let ready = bench.store.ready(at(19), 5).await.unwrap();
    assert_eq!((ready.projects.len(), ready.next_due), (0, Some(at(20))));
    let ready = bench.store.ready(at(20), 5).await.unwrap();
    assert_eq!(ready.projects[0].candidates[0].task, task.id);
    let next = bench.claimed(&task, at(20)).await.run;
    assert_eq!(next.attempt, 2);
    assert!(next.token > run.token);
}

/// What all of a task's runs cost is added up.
pub async fn costs_add_up(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut task = bench.task(project.id, "x").await;
    for (cost_usd, sum) in [
        (None, None),
        (Some(0.5), Some(0.5)),
        (None, Some(0.5)),
        (Some(0.25), Some(0.75)),
    ] {
        let run = bench.claimed(&task, at(3)).await.run;
        let verdict = Verdict::Lost {
            cause: Setback::bare(Reason::Lost),
        };
        let finish = Finish {
            cost_usd,
            retry_at: Some(at(3)),
            ..end(verdict)
        };
        task = bench
            .store
            .finish(run.id, run.token, finish, at(3))
            .await
            .unwrap();
        assert_eq!(task.cost_usd, sum);
    }
}

/// "A task commits one outcome: the same call again answers with the task as it is."
pub async fn finish_again_answers_the_same(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let mut again = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    again.retry_at = Some(at(9));
    for finish in [end(Verdict::Succeeded), again] {
        let task = bench.task(project.id, "x").await;
        let run = bench.claimed(&task, at(3)).await.run;
        let first = bench
            .store
            .finish(run.id, run.token, finish.clone(), at(5))
            .await
            .unwrap();
        let kept = bench.store.run(run.id).await.unwrap();
        let before = bench.head().await;
        let second = bench
            .store
            .finish(run.id, run.token, finish, at(6))
            .await
            .unwrap();
        assert_eq!(second, first);
        assert_eq!(bench.head().await, before);
        assert_eq!(bench.store.run(run.id).await.unwrap(), kept);
    }
}

/// A run keeps its first outcome, whatever a second call says.
pub async fn the_first_outcome_counts(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let run = bench.claimed(&task, at(3)).await.run;
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = Arc::clone(&bench.store);
        let (id, token) = (run.id, run.token);
        let cause = Setback::new(Reason::ExitCode, format!("{number}"));
        let finish = end(Verdict::Failed { cause });
        callers.spawn(async move { store.finish(id, token, finish, at(5)).await.unwrap() });
    }
    let answers = soon("the answers", callers.join_all()).await;
    let kept = bench.store.task(task.id).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == kept));
    let query = EventQuery {
        kinds: vec![crate::event::EventKind::RunEnded],
        limit: 100,
        ..EventQuery::default()
    };
    assert_eq!(bench.store.events(&query).await.unwrap().len(), 1);
}

/// "`Superseded` with an old token ... the task is untouched": once another run has the task, a late end of the first
/// changes neither the task, nor the other run, nor the outcome that the first one has.
pub async fn a_late_finish_is_superseded(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let first = bench.claimed(&task, at(3)).await.run;
    let mut lost = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    lost.retry_at = Some(at(4));
    let task = bench
        .store
        .finish(first.id, first.token, lost, at(4))
        .await
        .unwrap();
    let kept = bench.store.run(first.id).await.unwrap();
    let next = bench.claimed(&task, at(5)).await;
    let before = bench.head().await;
    for token in [first.token, next.run.token] {
        let late = end(Verdict::Succeeded);
        let kind = refused(bench.store.finish(first.id, token, late, at(6)).await);
        assert_eq!(kind, ErrorKind::Superseded);
    }
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.run(first.id).await.unwrap(), kept);
    assert_eq!(bench.store.task(task.id).await.unwrap(), next.task);
    assert_eq!(bench.store.run(next.run.id).await.unwrap(), next.run);
}

/// "`Superseded` with an old token": a caller with a wrong token ends no run whose own claim still counts.
pub async fn a_wrong_token_ends_no_run(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    let claimed = bench.claimed(&task, at(3)).await;
    let run: &Run = &claimed.run;
    for token in [FencingToken(run.token.0 - 1), FencingToken(run.token.0 + 1)] {
        let kind = refused(
            bench
                .store
                .finish(run.id, token, end(Verdict::Succeeded), at(4))
                .await,
        );
        assert_eq!(kind, ErrorKind::Superseded);
    }
    assert_eq!(bench.store.task(task.id).await.unwrap(), claimed.task);
    let done = bench
        .store
        .finish(run.id, run.token, end(Verdict::Succeeded), at(5))
        .await
        .unwrap();
    assert_eq!(
        done.state,
        TaskState::Succeeded {
            run: run.id,
            at: at(5)
        }
    );
}
