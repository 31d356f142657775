//! What came of a run, for every combination of evidence.

use ccm_core::Reason;
use ccm_core::id::RunId;
use ccm_core::run::{Report, Verdict, judge};
use ccm_core::runtime::{Exit, RunEnd};
use ccm_core::task::{Setback, StopIntent, TaskState, TaskStateName};
use ccm_core::time::Timestamp;
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
    Exit {
        code,
        signal,
        stopped: false,
        output_cut: false,
        out_bytes: 0,
        err_bytes: 0,
        ended_at: at(9),
    }
}

prop_compose! {
    fn any_exit()(
        code in proptest::option::of(prop_oneof![Just(0), 1..256_i32]),
        signal in proptest::option::of(1..32_i32),
        stopped: bool,
        output_cut in proptest::bool::weighted(0.2),
    ) -> Exit {
        Exit { stopped, output_cut, ..exit(code, signal) }
    }
}

fn any_end() -> impl Strategy<Value = RunEnd> {
    prop_oneof![
        Just(RunEnd::NeverStarted(Setback::new(
            Reason::NotStarted,
            "install it"
        ))),
        Just(RunEnd::Gone),
        any_exit().prop_map(RunEnd::Exited),
    ]
}

prop_compose! {
    fn any_report()(
        error in proptest::option::weighted(0.3, Just("it broke".to_owned())),
        unfinished in proptest::bool::weighted(0.2),
        denied in 0..3_u32,
    ) -> Report {
        Report { text: "the answer".to_owned(), error, denied, unfinished, ..Report::default() }
    }
}

prop_compose! {
    fn any_stop()(reason in proptest::sample::select(Reason::ALL)) -> StopIntent {
        StopIntent { reason, by: "someone".to_owned(), at: at(5) }
    }
}

proptest! {
    /// Success needs all of it.
    #[test]
    fn success_needs_all_of_it(
        end in any_end(),
        report in proptest::option::of(any_report()),
        stop in proptest::option::of(any_stop()),
    ) {
        let outcome = judge(&end, report.as_ref(), stop.as_ref());
        let good_report = report.as_ref().is_some_and(|r| r.error.is_none() && !r.unfinished);
        let good_end = match &end {
            RunEnd::NeverStarted(_) => false,
            RunEnd::Gone => stop.is_none(),
            RunEnd::Exited(exit) => exit.code == Some(0) && !exit.stopped && !exit.output_cut,
        };
        let success = matches!(outcome.verdict, Verdict::Succeeded);
        prop_assert_eq!(success, good_report && good_end, "{:?}", outcome);
        prop_assert_ne!(&outcome.verdict, &Verdict::Superseded, "that is not for evidence to say");
    }

    /// The evidence is kept beside the verdict.
    #[test]
    fn evidence_is_kept(end in any_end(), report in any_report()) {
        let outcome = judge(&end, Some(&report), None);
        prop_assert_eq!(outcome.result.as_deref(), Some("the answer"));
        prop_assert_eq!(outcome.denied, report.denied);
        let code = match &end {
            RunEnd::Exited(exit) => exit.code,
            _ => None,
        };
        prop_assert_eq!(outcome.exit_code, code);
    }

    /// Where nothing was started there was no attempt, unless a person called it off.
    #[test]
    fn nothing_started_is_no_attempt(stop in proptest::option::of(any_stop())) {
        let cause = Setback::new(Reason::NotStarted, "install it");
        let verdict = judge(&RunEnd::NeverStarted(cause.clone()), None, stop.as_ref()).verdict;
        match stop.filter(StopIntent::is_final).map(|stop| stop.reason) {
            None => prop_assert_eq!(verdict, Verdict::NotStarted { cause }),
            Some(Reason::Cancelled) => prop_assert_eq!(verdict, Verdict::Cancelled),
            Some(reason) => {
                prop_assert_eq!(verdict, Verdict::Failed { cause: Setback::bare(reason) });
            }
        }
    }

    /// A run that ended before its stop reached it is judged as if nobody had wanted it stopped.
    #[test]
    fn a_stop_that_came_too_late_changes_nothing(
        end in any_exit(),
        report in proptest::option::of(any_report()),
        stop in any_stop(),
    ) {
        let end = RunEnd::Exited(Exit { stopped: false, ..end });
        let with = judge(&end, report.as_ref(), Some(&stop));
        prop_assert_eq!(with, judge(&end, report.as_ref(), None));
    }

    /// Together with the states: a cancel never leads to a requeue, and a success before it wins.
    #[test]
    fn a_cancelled_task_is_never_requeued(
        end in any_end(),
        report in proptest::option::of(any_report()),
        reason in prop_oneof![Just(Reason::Cancelled), Just(Reason::ProjectRemoved)],
        again: bool,
    ) {
        let stop = StopIntent { reason, by: "me".to_owned(), at: at(5) };
        let state = TaskState::Running { run: RunId::new(), stop: Some(stop.clone()) };
        let outcome = judge(&end, report.as_ref(), Some(&stop));
        let next = state.finish(&outcome.verdict, again, at(9)).unwrap().name();
        let success = matches!(outcome.verdict, Verdict::Succeeded);
        prop_assert!(next.is_final());
        prop_assert_eq!(next == TaskStateName::Succeeded, success);
    }
}

fn reason(end: &RunEnd, report: Option<&Report>) -> Reason {
    judge(end, report, None).verdict.setback().reason
}

#[test]
fn failures_have_their_reason() {
    let good = Report::default();
    let bad = Report {
        error: Some("it broke".to_owned()),
        ..Report::default()
    };
    let unfinished = Report {
        unfinished: true,
        ..Report::default()
    };
    let exited = |code, signal| RunEnd::Exited(exit(code, signal));
    assert_eq!(
        reason(&exited(Some(7), None), Some(&good)),
        Reason::ExitCode
    );
    assert_eq!(
        reason(&exited(None, Some(9)), Some(&good)),
        Reason::ExitCode
    );
    assert_eq!(
        reason(&exited(Some(1), None), Some(&bad)),
        Reason::AgentError
    );
    assert_eq!(
        reason(&exited(Some(0), None), Some(&bad)),
        Reason::AgentError
    );
    assert_eq!(
        reason(&exited(Some(0), None), Some(&unfinished)),
        Reason::NoResult
    );
    assert_eq!(reason(&exited(Some(0), None), None), Reason::NoResult);
    assert_eq!(reason(&exited(None, None), Some(&good)), Reason::Lost);
    assert_eq!(reason(&RunEnd::Gone, None), Reason::Lost);
    let cut = RunEnd::Exited(Exit {
        output_cut: true,
        stopped: true,
        ..exit(None, Some(15))
    });
    assert_eq!(reason(&cut, None), Reason::OutputLimit);
    let stopped = RunEnd::Exited(Exit {
        stopped: true,
        ..exit(Some(0), None)
    });
    assert_eq!(reason(&stopped, Some(&good)), Reason::Lost);
}
