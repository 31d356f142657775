//! What came of a run, for every combination of evidence.

use ccm_core::Reason;
use ccm_core::id::RunId;
use ccm_core::run::{Ending, Interruption, Outcome, Refusal, Report, Reported, Verdict, judge};
use ccm_core::runtime::{Exit, MemoryCut, RunEnd};
use ccm_core::schedule::retry::is_retried;
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
        memory_cut: None,
        deadline_cut: false,
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
        memory_cut in proptest::option::weighted(0.2, Just(MemoryCut { used_mb: 70, limit_mb: 64 })),
    ) -> Exit {
        Exit { stopped, output_cut, memory_cut, ..exit(code, signal) }
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
    fn any_refusal()(until in proptest::option::of(0..20_i64), lost_session: bool) -> Refusal {
        let cause = Setback::new(Reason::RateLimited, "come back later");
        Refusal { cause, until: until.map(at), lost_session }
    }
}

prop_compose! {
    fn any_report()(
        error in proptest::option::weighted(0.3, Just("it broke".to_owned())),
        refusal in proptest::option::weighted(0.2, any_refusal()),
        unfinished in proptest::option::weighted(0.2, Just("a build goes on".to_owned())),
        conclusive: bool,
        denied in 0..3_u32,
    ) -> Report {
        let text = "the answer".to_owned();
        Report { text, error, refusal, unfinished, conclusive, denied, ..Report::default() }
    }
}

fn any_reported() -> impl Strategy<Value = Reported> {
    prop_oneof![
        1 => Just(Reported::Nothing),
        1 => Just(Reported::Cut),
        4 => any_report().prop_map(Reported::Whole),
    ]
}

prop_compose! {
    fn any_stop()(reason in proptest::sample::select(Reason::ALL)) -> StopIntent {
        StopIntent { reason, by: "someone".to_owned(), at: at(5) }
    }
}

/// What came of it, with these last words.
fn outcome(end: &RunEnd, reported: &Reported, stop: Option<&StopIntent>) -> Outcome {
    outcome_of(end, reported, None, stop)
}

fn outcome_of(
    end: &RunEnd,
    reported: &Reported,
    interrupted: Option<&Interruption>,
    stop: Option<&StopIntent>,
) -> Outcome {
    let ending = Ending {
        end,
        reported,
        last_words: Some("no space left"),
        interrupted,
    };
    judge(&ending, stop)
}

fn whole(reported: &Reported) -> Option<&Report> {
    match reported {
        Reported::Whole(report) => Some(report),
        Reported::Nothing | Reported::Cut => None,
    }
}

proptest! {
    /// Success needs all of it, or the agent's own word before an end by force.
    #[test]
    fn success_needs_all_of_it(
        end in any_end(),
        reported in any_reported(),
        stop in proptest::option::of(any_stop()),
    ) {
        let outcome = outcome(&end, &reported, stop.as_ref());
        let good = whole(&reported).is_some_and(|report| {
            report.error.is_none() && report.refusal.is_none() && report.unfinished.is_none()
        });
        let concluded = good && whole(&reported).is_some_and(|report| report.conclusive);
        let good_end = match &end {
            RunEnd::NeverStarted(_) => false,
            RunEnd::Gone => stop.is_none() || concluded,
            RunEnd::Exited(exit) => {
                let forced = exit.stopped || exit.output_cut || exit.memory_cut.is_some();
                let by_itself = exit.code == Some(0) && !forced;
                by_itself || (concluded && (exit.stopped || exit.signal.is_some()))
            }
        };
        let success = matches!(outcome.verdict, Verdict::Succeeded);
        prop_assert_eq!(success, good && good_end, "{:?}", outcome);
        prop_assert_ne!(&outcome.verdict, &Verdict::Superseded, "that is not for evidence to say");
    }

    /// A run that did not say how it went never did well, however it ended.
    #[test]
    fn silence_is_no_success(
        end in any_end(),
        reported in prop_oneof![Just(Reported::Nothing), Just(Reported::Cut)],
        stop in proptest::option::of(any_stop()),
    ) {
        let outcome = outcome(&end, &reported, stop.as_ref());
        prop_assert_ne!(outcome.verdict, Verdict::Succeeded);
        prop_assert_eq!(outcome.result, None);
    }

    /// An agent that said itself that it is done is done, whatever was done to it afterwards.
    #[test]
    fn a_conclusive_report_wins(
        exit in any_exit(),
        by_signal: bool,
        stop in proptest::option::of(any_stop()),
    ) {
        let report = Report { conclusive: true, ..Report::default() };
        let forced = if by_signal {
            Exit { code: None, signal: Some(9), ..exit }
        } else {
            Exit { stopped: true, ..exit }
        };
        for end in [RunEnd::Exited(forced), RunEnd::Gone] {
            let outcome = outcome(&end, &Reported::Whole(report.clone()), stop.as_ref());
            prop_assert_eq!(outcome.verdict, Verdict::Succeeded);
        }
    }

    /// After an interruption only a person says how it goes on: whatever it reported, it is no success, and nothing repeats
    /// it by itself but what was never started.
    #[test]
    fn an_interrupted_run_has_not_succeeded(
        end in any_end(),
        reported in any_reported(),
        stop in proptest::option::of(any_stop()),
    ) {
        let interruption = Interruption { by: "ada".to_owned(), at: at(3) };
        let outcome = outcome_of(&end, &reported, Some(&interruption), stop.as_ref());
        prop_assert_ne!(&outcome.verdict, &Verdict::Succeeded);
        if stop.is_none() && matches!(end, RunEnd::Gone) {
            let setback = outcome.verdict.setback();
            prop_assert_eq!(setback.reason, Reason::Interrupted);
            prop_assert!(setback.detail.unwrap().starts_with("ada interrupted"));
            prop_assert!(!is_retried(&outcome.verdict));
        }
        if stop.is_some_and(|stop| stop.reason == Reason::Cancelled) && matches!(end, RunEnd::Gone) {
            prop_assert_eq!(outcome.verdict, Verdict::Cancelled);
        }
    }

    /// Only the program's own report says that it was refused, and it says it of a run that ended by itself.
    #[test]
    fn a_refusal_is_reported(
        end in any_end(),
        reported in any_reported(),
        stop in proptest::option::of(any_stop()),
    ) {
        let refusal = whole(&reported).and_then(|report| report.refusal.as_ref());
        let by_itself = match &end {
            RunEnd::Exited(exit) => {
                !exit.stopped && !exit.output_cut && exit.memory_cut.is_none()
            }
            RunEnd::NeverStarted(_) | RunEnd::Gone => false,
        };
        match outcome(&end, &reported, stop.as_ref()).verdict {
            Verdict::Refused { cause, until, lost_session } => {
                let told = Refusal { cause, until, lost_session };
                prop_assert_eq!(Some(&told), refusal);
                prop_assert!(by_itself);
            }
            verdict => prop_assert!(refusal.is_none() || !by_itself, "{:?}", verdict),
        }
    }

    /// The evidence is kept beside the verdict.
    #[test]
    fn evidence_is_kept(end in any_end(), report in any_report()) {
        let outcome = outcome(&end, &Reported::Whole(report.clone()), None);
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
        let end = RunEnd::NeverStarted(cause.clone());
        let verdict = outcome(&end, &Reported::Nothing, stop.as_ref()).verdict;
        match stop.filter(StopIntent::is_final) {
            None => prop_assert_eq!(verdict, Verdict::NotStarted { cause }),
            Some(stop) if stop.reason == Reason::Cancelled => {
                prop_assert_eq!(verdict, Verdict::Cancelled);
            }
            Some(stop) => {
                let cause = Setback::new(stop.reason, format!("stopped by {}", stop.by));
                prop_assert_eq!(verdict, Verdict::Failed { cause });
            }
        }
    }

    /// A run that ended before its stop reached it is judged as if nobody had wanted it stopped.
    #[test]
    fn a_stop_that_came_too_late_changes_nothing(
        end in any_exit(),
        reported in any_reported(),
        stop in any_stop(),
    ) {
        let end = RunEnd::Exited(Exit { stopped: false, ..end });
        let with = outcome(&end, &reported, Some(&stop));
        prop_assert_eq!(with, outcome(&end, &reported, None));
    }

    /// Together with the states: a cancel never leads to a requeue, and a success before it wins.
    #[test]
    fn a_cancelled_task_is_never_requeued(
        end in any_end(),
        reported in any_reported(),
        reason in prop_oneof![Just(Reason::Cancelled), Just(Reason::ProjectRemoved)],
        again: bool,
    ) {
        let stop = StopIntent { reason, by: "me".to_owned(), at: at(5) };
        let state = TaskState::Running { run: RunId::new(), stop: Some(stop.clone()) };
        let outcome = outcome(&end, &reported, Some(&stop));
        let next = state.finish(&outcome.verdict, again, at(9)).unwrap().name();
        let success = matches!(outcome.verdict, Verdict::Succeeded);
        prop_assert!(next.is_final());
        prop_assert_eq!(next == TaskStateName::Succeeded, success);
    }
}

fn setback(end: &RunEnd, reported: &Reported) -> Setback {
    outcome(end, reported, None).verdict.setback()
}

fn exited(code: Option<i32>, signal: Option<i32>) -> RunEnd {
    RunEnd::Exited(exit(code, signal))
}

#[test]
fn failures_have_their_reason() {
    let reason = |end: &RunEnd, reported: &Reported| setback(end, reported).reason;
    let good = Reported::Whole(Report::default());
    let bad = Reported::Whole(Report {
        error: Some("it broke".to_owned()),
        ..Report::default()
    });
    let unfinished = Reported::Whole(Report {
        unfinished: Some("a build goes on".to_owned()),
        ..Report::default()
    });
    let (nothing, missing) = (Reported::Nothing, Reported::Cut);
    for (end, reported, want) in [
        (exited(Some(7), None), &good, Reason::ExitCode),
        (exited(None, Some(9)), &good, Reason::ExitCode),
        (exited(Some(1), None), &bad, Reason::AgentError),
        (exited(Some(0), None), &bad, Reason::AgentError),
        (exited(Some(0), None), &unfinished, Reason::NoResult),
        (exited(Some(0), None), &nothing, Reason::NoResult),
        (exited(Some(0), None), &missing, Reason::LostOutput),
        (exited(None, None), &good, Reason::Lost),
        (RunEnd::Gone, &nothing, Reason::Lost),
    ] {
        assert_eq!(reason(&end, reported), want, "{end:?} {reported:?}");
    }
    let cut = RunEnd::Exited(Exit {
        output_cut: true,
        stopped: true,
        ..exit(None, Some(15))
    });
    assert_eq!(reason(&cut, &nothing), Reason::OutputLimit);
    for used_mb in [70, 64] {
        let cut = RunEnd::Exited(Exit {
            memory_cut: Some(MemoryCut {
                used_mb,
                limit_mb: 64,
            }),
            ..exit(None, Some(9))
        });
        let why = setback(&cut, &nothing);
        assert_eq!(why.reason, Reason::MemoryLimit);
        let detail = why.detail.unwrap_or_default();
        for word in [used_mb.to_string().as_str(), "64 MiB", "limits.memory_mb"] {
            assert!(detail.contains(word), "{detail}");
        }
    }
    let stopped = RunEnd::Exited(Exit {
        stopped: true,
        ..exit(Some(0), None)
    });
    assert_eq!(reason(&stopped, &good), Reason::Lost);
}

#[test]
fn last_words_are_told_where_nothing_better_is_known() {
    let told = |end: &RunEnd, reported: &Reported| {
        let detail = setback(end, reported).detail.unwrap_or_default();
        detail.contains("no space left")
    };
    for (code, signal) in [(Some(7), None), (Some(0), None), (None, Some(9))] {
        for reported in [Reported::Nothing, Reported::Cut] {
            assert!(
                told(&exited(code, signal), &reported),
                "{code:?} {signal:?}"
            );
        }
    }
    let bad = Reported::Whole(Report {
        error: Some("it broke".to_owned()),
        ..Report::default()
    });
    assert!(!told(&exited(Some(7), None), &bad), "the agent said why");
    let unfinished = Reported::Whole(Report {
        unfinished: Some("a build goes on".to_owned()),
        ..Report::default()
    });
    let why = setback(&exited(Some(0), None), &unfinished);
    assert_eq!(why.detail.as_deref(), Some("a build goes on"));
}
