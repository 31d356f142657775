//! The states of a task: random walks never leave the graph that is documented.

use ccm_core::id::RunId;
use ccm_core::run::Verdict;
use ccm_core::task::{CancelEffect, Setback, StopIntent, TaskState, TaskStateName};
use ccm_core::time::Timestamp;
use ccm_core::{ErrorKind, Noun, Reason};
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// One thing that can happen to a task.
#[derive(Debug, Clone)]
enum Move {
    Claim,
    Cancel,
    Stop(Reason),
    Finish(Verdict, bool),
    Retry,
    Abandon,
}

fn any_reason() -> impl Strategy<Value = Reason> {
    proptest::sample::select(Reason::ALL)
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let cause = || any_reason().prop_map(Setback::bare);
    prop_oneof![
        Just(Verdict::Succeeded),
        cause().prop_map(|cause| Verdict::Failed { cause }),
        Just(Verdict::Cancelled),
        cause().prop_map(|cause| Verdict::Lost { cause }),
        Just(Verdict::Superseded),
        cause().prop_map(|cause| Verdict::NotStarted { cause }),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => Just(Move::Claim),
        1 => Just(Move::Cancel),
        2 => any_reason().prop_map(Move::Stop),
        3 => (any_verdict(), any::<bool>()).prop_map(|(verdict, again)| Move::Finish(verdict, again)),
        1 => Just(Move::Retry),
        1 => Just(Move::Abandon),
    ]
}

fn make(state: &TaskState, step: &Move, now: i64) -> ccm_core::Result<TaskState> {
    match step {
        Move::Claim => state.claim(RunId::new()),
        Move::Cancel => state.cancel("me", at(now)).map(|(state, _)| state),
        Move::Stop(reason) => state.stop(StopIntent {
            reason: *reason,
            by: "someone".to_owned(),
            at: at(now),
        }),
        Move::Finish(verdict, again) => state.finish(verdict, *again, at(now)),
        Move::Retry => state.retry(),
        Move::Abandon => state.abandon(at(now)),
    }
}

/// Whether the graph has this way.
fn documented(from: TaskStateName, step: &Move, to: TaskStateName) -> bool {
    use TaskStateName::{Cancelled, Failed, Queued, Running, Succeeded};
    match (from, step) {
        (Queued, Move::Claim) => to == Running,
        (Queued, Move::Cancel) => to == Cancelled,
        (Queued, Move::Abandon) => to == Failed,
        (Running, Move::Cancel | Move::Stop(_)) => to == Running,
        (Running, Move::Finish(Verdict::Succeeded, _)) => to == Succeeded,
        (Running, Move::Finish(_, again)) => {
            matches!(to, Failed | Cancelled) || (*again && to == Queued)
        }
        (Cancelled, Move::Cancel) => to == Cancelled,
        (Succeeded | Failed | Cancelled, Move::Retry) => to == Queued,
        _ => false,
    }
}

fn final_stop(state: &TaskState) -> Option<&StopIntent> {
    match state {
        TaskState::Running { stop, .. } => stop.as_ref().filter(|stop| stop.is_final()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn walks_stay_in_the_graph(steps in proptest::collection::vec(any_move(), 1..60)) {
        let mut state = TaskState::Queued { last: None };
        let mut outcomes = 0;
        for (now, step) in (1_i64..).zip(&steps) {
            let next = match make(&state, step, now) {
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::WrongState(Noun::Task));
                    continue;
                }
                Ok(next) => next,
            };
            let (from, to) = (state.name(), next.name());
            prop_assert!(documented(from, step, to), "{state:?} -> {step:?} -> {next:?}");
            if from.is_final() && !matches!(step, Move::Cancel) {
                prop_assert!(matches!(step, Move::Retry), "only a retry leaves {from}");
                outcomes = 0;
            }
            if to.is_final() && from != to {
                outcomes += 1;
                prop_assert_eq!(outcomes, 1, "at most one outcome until a person retries");
            }
            if let (TaskState::Running { run, .. }, Move::Cancel | Move::Stop(_)) = (&state, step) {
                prop_assert_eq!(next.run(), Some(*run), "a stop is of the same run");
            }
            if let Some(stop) = final_stop(&state) {
                match step {
                    Move::Finish(Verdict::Succeeded, _) => {
                        prop_assert_eq!(to, TaskStateName::Succeeded, "a success before the stop wins");
                    }
                    Move::Finish(..) => {
                        let want = match stop.reason {
                            Reason::ProjectRemoved => TaskStateName::Failed,
                            _ => TaskStateName::Cancelled,
                        };
                        prop_assert_eq!(to, want, "a person's stop never leads to a requeue");
                    }
                    _ => prop_assert_eq!(final_stop(&next), Some(stop), "it stays until the end"),
                }
            }
            if let (TaskState::Running { run, .. }, Move::Finish(..)) = (&state, step) {
                prop_assert!(to == TaskStateName::Queued || next.run() == Some(*run));
            }
            state = next;
        }
    }

    /// A verdict that says what a person decided never leads to a requeue, whatever the policy wants.
    #[test]
    fn a_decision_is_never_requeued(again: bool, lost: bool) {
        let running = TaskState::Running { run: RunId::new(), stop: None };
        let removed = Setback::bare(Reason::ProjectRemoved);
        let removed = if lost {
            Verdict::Lost { cause: removed }
        } else {
            Verdict::Failed { cause: removed }
        };
        for verdict in [Verdict::Cancelled, removed] {
            prop_assert!(running.finish(&verdict, again, at(1)).unwrap().name().is_final());
        }
    }

    /// Of any two decisions one stays; a person's is never lost; saying the same again changes nothing.
    #[test]
    fn decisions_merge(first in any_reason(), second in any_reason()) {
        let intent = |reason, by: &str| StopIntent { reason, by: by.to_owned(), at: at(1) };
        let (one, two) = (intent(first, "one"), intent(second, "two"));
        let merged = one.clone().or(two.clone());
        prop_assert!(merged == one || merged == two);
        prop_assert_eq!(merged.is_final(), one.is_final() || two.is_final());
        prop_assert_eq!(merged.clone().or(two.clone()), merged.clone());
        prop_assert_eq!(merged.clone().or(one), merged);
    }
}

#[test]
fn a_cancel_tells_what_it_did() {
    let run = RunId::new();
    let waiting = TaskState::Queued { last: None };
    let (cancelled, effect) = waiting.cancel("me", at(1)).unwrap();
    assert_eq!(effect, CancelEffect::Done);
    assert_eq!(
        cancelled.cancel("you", at(2)).unwrap(),
        (cancelled, CancelEffect::Unchanged)
    );
    let running = TaskState::Running { run, stop: None };
    let timeout = StopIntent {
        reason: Reason::Timeout,
        by: "engine".to_owned(),
        at: at(1),
    };
    for state in [running.clone(), running.stop(timeout).unwrap()] {
        let (stopping, effect) = state.cancel("me", at(3)).unwrap();
        assert_eq!(effect, CancelEffect::Stopping, "{state:?}");
        let (same, effect) = stopping.cancel("you", at(4)).unwrap();
        assert_eq!((same, effect), (stopping, CancelEffect::Unchanged));
    }
}

#[test]
fn names_are_read_back() {
    for name in TaskStateName::ALL {
        assert_eq!(name.as_str().parse::<TaskStateName>().unwrap(), *name);
    }
    let error = "done".parse::<TaskStateName>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for reason in Reason::ALL {
        assert_eq!(reason.as_str().parse::<Reason>().unwrap(), *reason);
        assert_eq!(serde_json::json!(reason), reason.as_str());
    }
}
