//! What is written about a run before it ends, and lists of runs.

use super::*;
use crate::Noun;
use crate::event::EventKind;
use crate::id::FencingToken;
use crate::reason::Reason;
use crate::run::{Checkpoint, Observation, ParserState, Run, RunState, Stream};
use crate::store::{Intake, RunQuery};
use crate::task::{Setback, StopIntent, TaskState};

/// A run under way.
async fn underway(bench: &Bench) -> Run {
    let project = bench.project("p").await;
    let task = bench.task(project.id, "x").await;
    bench.claimed(&task, at(3)).await.run
}

fn intent(reason: Reason, by: &str, second: i64) -> StopIntent {
    StopIntent {
        reason,
        by: by.to_owned(),
        at: at(second),
    }
}

fn part(from: Checkpoint, out: u64) -> Intake {
    Intake {
        to: Checkpoint {
            out,
            ..from.clone()
        },
        observations: vec![Observation::Output {
            stream: Stream::Out,
            from: from.out,
            to: out,
        }],
        from,
        ask_ids: Vec::new(),
    }
}

/// "`Superseded` with an old token", in every method that takes one; nothing changes.
async fn all_refused(bench: &Bench, run: RunId, token: FencingToken) {
    let before = bench.head().await;
    let kept = bench.store.run(run).await.unwrap();
    let store = &bench.store;
    let gone = ErrorKind::Superseded;
    assert_eq!(refused(store.renew(run, token, at(99)).await), gone);
    assert_eq!(
        refused(store.mark_started(run, token, at(8), at(9)).await),
        gone
    );
    let stop = intent(Reason::Timeout, "engine", 9);
    assert_eq!(refused(store.mark_stopping(run, token, stop).await), gone);
    let held = Some(Reason::Unstoppable);
    assert_eq!(
        refused(store.mark_held(run, token, held, at(9)).await),
        gone
    );
    let intake = part(kept.checkpoint.clone(), kept.checkpoint.out + 1);
    assert_eq!(
        refused(store.take_in(run, token, intake, at(9)).await),
        gone
    );
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.run(run).await.unwrap(), kept);
}

/// "Writes about a run need the task's current token": neither an older nor a newer number will do.
pub async fn a_stale_token_writes_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    all_refused(&bench, run.id, FencingToken(run.token.0 - 1)).await;
    all_refused(&bench, run.id, FencingToken(run.token.0 + 1)).await;
    bench.store.renew(run.id, run.token, at(9)).await.unwrap();
}

/// "`Superseded` ... after the run ended", also once another run has the task.
pub async fn an_ended_run_takes_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    let mut lost = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    lost.retry_at = Some(at(5));
    let task = bench
        .store
        .finish(run.id, run.token, lost, at(4))
        .await
        .unwrap();
    all_refused(&bench, run.id, run.token).await;
    let next = bench.claimed(&task, at(6)).await.run;
    assert!(next.token > run.token);
    all_refused(&bench, run.id, run.token).await;
    all_refused(&bench, next.id, run.token).await;
    all_refused(&bench, run.id, next.token).await;
    assert_eq!(bench.store.run(next.id).await.unwrap(), next);
}

/// "`NotFound(Run)`" from everything that names a run that is not there.
pub async fn an_unknown_run_is_not_found(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let (run, token, store) = (RunId::new(), FencingToken(1), &bench.store);
    let missing = ErrorKind::NotFound(Noun::Run);
    assert_eq!(refused(store.run(run).await), missing);
    assert_eq!(refused(store.renew(run, token, at(9)).await), missing);
    assert_eq!(
        refused(store.mark_started(run, token, at(8), at(9)).await),
        missing
    );
    assert_eq!(
        refused(
            store
                .finish(run, token, end(Verdict::Succeeded), at(9))
                .await
        ),
        missing
    );
}

/// "Puts the end of a lease further away."
pub async fn renew_moves_the_lease(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    bench.store.renew(run.id, run.token, at(77)).await.unwrap();
    let kept = bench.store.run(run.id).await.unwrap();
    assert_eq!(
        kept,
        Run {
            lease_until: Some(at(77)),
            ..run
        }
    );
}

/// "Notes that a run's program was started. Idempotent."
pub async fn mark_started_is_idempotent(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    let before = bench.head().await;
    bench
        .store
        .mark_started(run.id, run.token, at(4), at(5))
        .await
        .unwrap();
    assert_eq!(bench.told_since(before).await, "run.started");
    let want = RunState::Running {
        started_at: at(4),
        held: None,
    };
    assert_eq!(bench.store.run(run.id).await.unwrap().state, want);
    bench
        .store
        .mark_started(run.id, run.token, at(4), at(6))
        .await
        .unwrap();
    assert_eq!(bench.told_since(before).await, "run.started");
    let second = place.another().await;
    assert_eq!(second.run(run.id).await.unwrap().state, want);
}

/// "Notes a decision to end a run; see [`StopIntent::or`] for two of them. Idempotent."
pub async fn stop_intents_merge(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    let timeout = intent(Reason::Timeout, "engine", 4);
    let person = intent(Reason::Cancelled, "me", 6);
    let steps = [
        (timeout.clone(), &timeout, true, "the first counts"),
        (
            intent(Reason::MemoryLimit, "watchdog", 5),
            &timeout,
            false,
            "the first stays",
        ),
        (timeout.clone(), &timeout, false, "again"),
        (
            person.clone(),
            &person,
            true,
            "a person's beats the machine's",
        ),
        (
            intent(Reason::ProjectRemoved, "you", 7),
            &person,
            false,
            "the first person's stays",
        ),
        (
            timeout.clone(),
            &person,
            false,
            "the machine's doesn't beat a person's",
        ),
    ];
    for (given, want, tells, why) in steps {
        let before = bench.head().await;
        let kept = bench
            .store
            .mark_stopping(run.id, run.token, given)
            .await
            .unwrap();
        assert_eq!(kept.stop.as_ref(), Some(want), "{why}");
        assert_eq!(bench.store.run(run.id).await.unwrap(), kept);
        let task = bench.store.task(run.task_id).await.unwrap();
        assert_eq!(
            task.state,
            TaskState::Running {
                run: run.id,
                stop: Some(want.clone())
            }
        );
        let told = if tells { "task.stopping" } else { "" };
        assert_eq!(bench.told_since(before).await, told, "{why}");
    }
}

/// "Notes that a run is over but held, or lifts that"; the same again tells nothing.
pub async fn mark_held_tells_only_changes(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    bench
        .store
        .mark_started(run.id, run.token, at(4), at(4))
        .await
        .unwrap();
    let held = Some(Reason::Unstoppable);
    for (held, tells) in [(held, true), (held, false), (None, true), (None, false)] {
        let before = bench.head().await;
        bench
            .store
            .mark_held(run.id, run.token, held, at(5))
            .await
            .unwrap();
        let kept = bench.store.run(run.id).await.unwrap();
        assert_eq!(
            kept.state,
            RunState::Running {
                started_at: at(4),
                held
            }
        );
        let told = if tells { "run.held" } else { "" };
        assert_eq!(bench.told_since(before).await, told);
    }
}

/// "Checkpoint, observations and their events in one commit", in the order they were seen.
pub async fn take_in_keeps_what_was_seen(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    bench
        .store
        .mark_started(run.id, run.token, at(4), at(4))
        .await
        .unwrap();
    let before = bench.head().await;
    let seen = vec![
        Observation::Output {
            stream: Stream::Out,
            from: 0,
            to: 40,
        },
        Observation::Session {
            session_id: "s\"1".to_owned(),
        },
        Observation::Skipped {
            stream: Stream::Err,
            offset: 3,
            length: 1 << 40,
        },
        Observation::Output {
            stream: Stream::Err,
            from: 3,
            to: (1 << 40) + 3,
        },
    ];
    let to = Checkpoint {
        out: 40,
        err: (1 << 40) + 3,
        parser: Some(ParserState {
            version: 3,
            data: "{\"é\":1}".to_owned(),
        }),
    };
    let intake = Intake {
        from: Checkpoint::default(),
        to: to.clone(),
        observations: seen.clone(),
        ask_ids: Vec::new(),
    };
    bench
        .store
        .take_in(run.id, run.token, intake, at(5))
        .await
        .unwrap();
    let kept = place.another().await.run(run.id).await.unwrap();
    assert_eq!(kept.checkpoint, to);
    assert_eq!(kept.session_id.as_deref(), Some("s\"1"));
    let told = bench.told_since(before).await;
    assert_eq!(told, "run.output run.observed run.observed run.output");
    let query = EventQuery {
        run: Some(run.id),
        kinds: vec![EventKind::RunOutput, EventKind::RunObserved],
        limit: 10,
        ..EventQuery::default()
    };
    let events = bench.store.events(&query).await.unwrap();
    for event in &events {
        assert_eq!(
            (event.task_id, event.project_id),
            (Some(run.task_id), Some(run.project_id))
        );
        assert_eq!((event.run_id, event.time), (Some(run.id), at(5)));
    }
    let range = &events[0].data;
    assert_eq!(
        (&range["stream"], &range["from"], &range["to"]),
        (&"out".into(), &0.into(), &40.into())
    );
    let session: Observation = serde_json::from_value(events[1].data.clone()).unwrap();
    assert_eq!(session, seen[1]);
}

/// "`Superseded` ... when the kept checkpoint is not `intake.from`": of two equal takings-in the second is refused, and
/// nothing of it is kept.
pub async fn take_in_compares_the_checkpoint(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    let first = part(Checkpoint::default(), 10);
    bench
        .store
        .take_in(run.id, run.token, first.clone(), at(4))
        .await
        .unwrap();
    let before = bench.head().await;
    let parser = Some(ParserState {
        version: 1,
        data: String::new(),
    });
    let ahead = Checkpoint {
        out: 11,
        ..Checkpoint::default()
    };
    let other_memory = Checkpoint {
        parser,
        ..first.to.clone()
    };
    for wrong in [first.clone(), part(ahead, 20), part(other_memory, 20)] {
        let kind = refused(bench.store.take_in(run.id, run.token, wrong, at(5)).await);
        assert_eq!(kind, ErrorKind::Superseded);
    }
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.run(run.id).await.unwrap().checkpoint, first.to);
    bench
        .store
        .take_in(run.id, run.token, part(first.to, 20), at(6))
        .await
        .unwrap();
}

/// Of many takings-in of the same part at once exactly one is kept.
pub async fn take_in_keeps_one_of_many(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let run = underway(&bench).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&bench.store);
        let (id, token) = (run.id, run.token);
        let intake = part(Checkpoint::default(), 10);
        callers.spawn(async move { store.take_in(id, token, intake, at(5)).await.is_ok() });
    }
    let answers = soon("the answers", callers.join_all()).await;
    assert_eq!(answers.into_iter().filter(|done| *done).count(), 1);
    let query = EventQuery {
        kinds: vec![EventKind::RunOutput],
        limit: 100,
        ..EventQuery::default()
    };
    assert_eq!(bench.store.events(&query).await.unwrap().len(), 1);
}

/// "All runs that have not ended, oldest first"; "Runs, newest first", by task and agent, in pages.
pub async fn runs_are_listed(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let one = bench.register("one").await;
    let two = bench.register("two").await;
    let mut lost = end(Verdict::Lost {
        cause: Setback::bare(Reason::Lost),
    });
    lost.retry_at = Some(at(4));
    let mut task = bench.task(one.project.id, "x").await;
    let mut newest = Vec::new();
    for _ in 0..3 {
        let run = bench.claimed(&task, at(4)).await.run;
        task = bench
            .store
            .finish(run.id, run.token, lost.clone(), at(4))
            .await
            .unwrap();
        newest.insert(0, run.id);
    }
    let other = bench.task(two.project.id, "y").await;
    newest.insert(0, bench.claimed(&other, at(5)).await.run.id);
    newest.insert(0, bench.claimed(&task, at(5)).await.run.id);
    let open = bench.store.open_runs().await.unwrap();
    let open: Vec<RunId> = open.iter().map(|run| run.id).collect();
    assert_eq!(open, [newest[1], newest[0]]);
    let all = RunQuery {
        task: None,
        agent: None,
        before: None,
        limit: 10,
    };
    let list = async |query: &RunQuery| {
        let page = bench.store.runs(query).await.unwrap();
        (
            page.items.iter().map(|run| run.id).collect::<Vec<_>>(),
            page.more,
        )
    };
    assert_eq!(list(&all).await, (newest.clone(), false));
    let first = RunQuery {
        limit: 2,
        ..all.clone()
    };
    assert_eq!(list(&first).await, (newest[..2].to_vec(), true));
    let rest = RunQuery {
        before: Some(newest[1]),
        limit: 3,
        ..all.clone()
    };
    assert_eq!(list(&rest).await, (newest[2..].to_vec(), false));
    let of_task = RunQuery {
        task: Some(other.id),
        ..all.clone()
    };
    assert_eq!(list(&of_task).await.0, [newest[1]]);
    let of_agent = RunQuery {
        agent: Some(one.agent.id),
        ..all
    };
    assert_eq!(
        list(&of_agent).await.0,
        [newest[0], newest[2], newest[3], newest[4]]
    );
}
