//! From the launch to the end, and what a new daemon finds.

use super::*;
use crate::Noun;
use crate::reason::Reason;
use crate::task::MAX_TEXT_BYTES;

/// A program that ended: its whole output, and the report of the read that reached its end.
async fn outcome(bench: &Bench<'_>, run: RunId) -> (Exit, Vec<u8>, Option<Report>) {
    let exit = exit(&*bench.runtime, run).await;
    let out = all_output(&*bench.runtime, run, Stream::Out).await;
    let batches = read_all(&*bench.runtime, run, &RunEnd::Exited(exit.clone())).await;
    let report = batches.iter().next_back().and_then(report_of).cloned();
    (exit, out, report)
}

/// The prompt reaches standard input byte for byte, followed by its end, whatever it has in it.
pub async fn the_prompt_arrives_byte_for_byte(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let characters: String = (1_u8..=127).map(char::from).collect();
    let nasty = format!(
        "-rf '\"; $(reboot) `x` %s \\\u{1b}[201~\u{1b}]0;x\u{7}\r\n\u{80}\u{2028}\u{feff}🦀{characters}"
    );
    let mut long = nasty.repeat(MAX_TEXT_BYTES / nasty.len());
    long.push_str(&"x".repeat(MAX_TEXT_BYTES - long.len()));
    for prompt in [nasty, "\n".to_owned(), "no line break".to_owned(), long] {
        let mut order = bench.order(&Program::Echo);
        order.prompt = TaskText::new(prompt.clone()).unwrap();
        let run = launched(&*bench.runtime, &order).await;
        let (exit, out, report) = outcome(&bench, run).await;
        assert_eq!(
            (exit.code, exit.signal, exit.stopped),
            (Some(0), None, false)
        );
        assert!(
            out == prompt.as_bytes(),
            "{} bytes came of {}",
            out.len(),
            prompt.len()
        );
        assert_eq!(exit.out_bytes, prompt.len() as u64);
        let text = report.expect("a program that ended well has a report").text;
        assert!(
            !text.is_empty() && prompt.ends_with(&text),
            "the report is the output's end"
        );
        assert!(
            text == prompt || text.len() > 60_000,
            "{} bytes of report",
            text.len()
        );
    }
    bench.close().await;
}

/// A run works in its agent's folder with its profile's environment.
pub async fn folder_and_environment_arrive(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let run = bench.launch(&Program::Where).await;
    let (_, out, _) = outcome(&bench, run).await;
    let want = format!("{}\n{}\n", place.folder().display(), programs::VALUE);
    assert_eq!(String::from_utf8_lossy(&out), want);
    bench.close().await;
}

/// The record of an end has the exit code, and says that nobody stopped the run.
pub async fn an_exit_code_is_kept(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    for code in [0, 1, 7, 255] {
        let run = bench.launch(&Program::Exit(code)).await;
        let exit = exit(&*bench.runtime, run).await;
        assert_eq!((exit.code, exit.signal), (Some(code), None));
        assert_eq!((exit.stopped, exit.output_cut), (false, false));
        assert_eq!((exit.out_bytes, exit.err_bytes), (0, 0));
    }
    bench.close().await;
}

/// The record of an end has the signal, and says that nobody stopped the run.
pub async fn a_signal_is_kept(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    for signal in [9, 15] {
        let run = bench.launch(&Program::Signal(signal)).await;
        let exit = exit(&*bench.runtime, run).await;
        assert_eq!(
            (exit.code, exit.signal, exit.stopped),
            (None, Some(signal), false)
        );
    }
    bench.close().await;
}

/// "Returns once it is known whether the program runs": a run under way has a process that lives, and since when.
pub async fn launch_tells_of_the_process(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let order = bench.order(&Program::Wait("w".to_owned()));
    let status = bench.runtime.launch(&order).await.unwrap();
    let RunStatus::Running(told) = status else {
        panic!("the program was to run: {status:?}");
    };
    assert!(
        told.answers && place.programs().is_alive(told.pid),
        "{told:?}"
    );
    assert_eq!(process(&*bench.runtime, order.run).await, told);
    assert_eq!(bench.runtime.runs().await.unwrap(), [order.run]);
    place.programs().release("w");
    over(&*bench.runtime, order.run).await;
    let status = bench.runtime.inspect(order.run).await.unwrap();
    let RunStatus::Ended { started_at, .. } = status else {
        panic!("the run is over: {status:?}");
    };
    assert_eq!(started_at, Some(told.started_at));
    bench.close().await;
}

/// "A run's program is started at most once, whatever is called how often by however many daemons": one after the other,
/// at once, from two handles, and after the end.
pub async fn a_run_starts_at_most_once(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let second = place.another().await;
    let order = bench.order(&Program::Wait("once".to_owned()));
    let mut callers = tokio::task::JoinSet::new();
    for runtime in [&bench.runtime, &second, &bench.runtime, &second] {
        let (runtime, order) = (Arc::clone(runtime), order.clone());
        callers.spawn(async move { runtime.launch(&order).await.map_err(|e| e.kind()) });
    }
    for answer in soon("the launches", callers.join_all()).await {
        match answer {
            // Of callers at once some may not learn what happened.
            Ok(RunStatus::Running(_)) | Err(ErrorKind::Unavailable) => {}
            other => panic!("the program was to run: {other:?}"),
        }
    }
    until_output(&*bench.runtime, order.run, b"ready\n").await;
    let first = process(&*bench.runtime, order.run).await;
    for runtime in [&bench.runtime, &second] {
        let again = runtime.launch(&order).await.unwrap();
        assert_eq!(again, RunStatus::Running(first.clone()));
    }
    place.programs().release("once");
    let end = over(&*bench.runtime, order.run).await;
    for runtime in [&bench.runtime, &second] {
        let again = runtime.launch(&order).await.unwrap();
        assert_eq!(
            again,
            RunStatus::Ended {
                end: end.clone(),
                started_at: Some(first.started_at)
            }
        );
    }
    assert_eq!(place.programs().starts("once"), 1);
    assert_eq!(
        all_output(&*second, order.run, Stream::Out).await,
        b"ready\nout"
    );
    bench.close().await;
}

/// A program that can't be started is `NeverStarted` with `not_started` and a sentence that names it; asking again
/// changes nothing, and the agent can do the next run.
pub async fn a_missing_program_never_started(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let order = bench.order(&Program::Missing);
    let status = bench.runtime.launch(&order).await.unwrap();
    let RunStatus::Ended {
        end: RunEnd::NeverStarted(why),
        ..
    } = &status
    else {
        panic!("there is no such program: {status:?}");
    };
    assert_eq!(why.reason, Reason::NotStarted);
    let detail = why.detail.as_deref().expect("a sentence for people");
    let name = &order.profile.command[0];
    assert!(
        detail.contains(name.as_str()),
        "{detail:?} does not name {name}"
    );
    for runtime in [&bench.runtime, &place.another().await] {
        for again in [
            runtime.inspect(order.run).await,
            runtime.launch(&order).await,
        ] {
            let again = again.unwrap();
            let never = matches!(
                &again,
                RunStatus::Ended {
                    end: RunEnd::NeverStarted(_),
                    ..
                }
            );
            assert!(never, "{again:?}");
        }
    }
    let run = bench.launch(&Program::Exit(3)).await;
    assert_eq!(exit(&*bench.runtime, run).await.code, Some(3));
    bench.close().await;
}

/// "A run that has not passed its commit point when this returns `NeverStarted` never will": asking for a run that
/// nobody launched settles that nobody can.
pub async fn inspect_settles_what_was_not_launched(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let order = bench.order(&Program::Wait("void".to_owned()));
    let other = place.another().await;
    let asked = other.inspect(order.run).await.unwrap();
    let never = |status: &RunStatus| {
        matches!(
            status,
            RunStatus::Ended {
                end: RunEnd::NeverStarted(_),
                ..
            }
        )
    };
    assert!(never(&asked), "{asked:?}");
    for runtime in [&bench.runtime, &other] {
        let launched = runtime.launch(&order).await.unwrap();
        assert!(never(&launched), "{launched:?}");
    }
    assert!(never(&bench.runtime.inspect(order.run).await.unwrap()));
    assert_eq!(place.programs().starts("void"), 0);
    bench.close().await;
}

/// Launching and asking at the same time agree: either the program runs and nobody says it never started, or it never
/// started and does not run.
pub async fn launch_and_inspect_agree(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    for number in 0..4 {
        let name = format!("race-{number}");
        let order = bench.order(&Program::Wait(name.clone()));
        let other = place.another().await;
        let (launched, asked) = tokio::join!(bench.runtime.launch(&order), async {
            for _ in 0..number {
                tokio::task::yield_now().await;
            }
            other.inspect(order.run).await
        });
        let now = bench.runtime.inspect(order.run).await.unwrap();
        let starts = |status: &RunStatus| match status {
            RunStatus::Running(_) => true,
            RunStatus::Ended { end, .. } => !matches!(end, RunEnd::NeverStarted(_)),
            RunStatus::Unstoppable(_) => panic!("{status:?}"),
        };
        for told in [launched, asked].into_iter().flatten() {
            assert_eq!(starts(&told), starts(&now), "{told:?}, and now {now:?}");
        }
        place.programs().release(&name);
        if starts(&now) {
            assert_eq!(exit(&*bench.runtime, order.run).await.code, Some(0));
        }
        assert_eq!(place.programs().starts(&name), usize::from(starts(&now)));
    }
    bench.close().await;
}

/// "`WrongState(Agent)` when the agent has another run in hand"; that run goes on, and the refused one can be launched
/// when it is over.
pub async fn a_busy_agent_refuses_another_run(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, before) = bench.waiting("one").await;
    let order = bench.order(&Program::Wait("two".to_owned()));
    for runtime in [&bench.runtime, &place.another().await] {
        let kind = kind_of(runtime.launch(&order).await);
        assert_eq!(kind, ErrorKind::WrongState(Noun::Agent));
    }
    assert_eq!(process(&*bench.runtime, run).await, before);
    assert_eq!(place.programs().starts("two"), 0);
    place.programs().release("one");
    over(&*bench.runtime, run).await;
    place.programs().release("two");
    launched(&*bench.runtime, &order).await;
    assert_eq!(exit(&*bench.runtime, order.run).await.code, Some(0));
    bench.close().await;
}

/// "Agents survive the caller": a new daemon sees a run, follows it, and learns how it ended, without the old one.
pub async fn a_new_daemon_adopts_runs(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let first = place.another().await;
    let order = bench.order(&Program::Wait("adopt".to_owned()));
    launched(&*first, &order).await;
    until_output(&*first, order.run, b"ready\n").await;
    let before = process(&*first, order.run).await;
    drop(first);
    let second = place.another().await;
    assert_eq!(second.runs().await.unwrap(), [order.run]);
    assert_eq!(process(&*second, order.run).await, before);
    let facts = second.agents().await.unwrap();
    assert_eq!(
        (facts[0].id, facts[0].run),
        (bench.agent.id, Some(order.run))
    );
    let batch = second
        .read(order.run, &Checkpoint::default(), None)
        .await
        .unwrap();
    assert_eq!(batch.checkpoint.out, 6);
    drop(second);
    place.programs().release("adopt");
    let third = place.another().await;
    let exit = exit(&*third, order.run).await;
    assert_eq!((exit.code, exit.out_bytes, exit.err_bytes), (Some(0), 9, 4));
    drop(third);
    let fourth = place.another().await;
    assert_eq!(over(&*fourth, order.run).await, RunEnd::Exited(exit));
    assert_eq!(
        fourth.runs().await.unwrap(),
        [order.run],
        "its data stay until they are discarded"
    );
    assert_eq!(place.programs().starts("adopt"), 1);
    bench.close().await;
}

/// A run whose host was killed is `Gone` with nothing of it left, has no report, and its agent can work again.
pub async fn a_killed_host_leaves_nothing(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, before) = bench.waiting("cut").await;
    let facts = bench.runtime.agents().await.unwrap();
    let host = facts[0].pid.expect("an agent with a run has a host");
    place.programs().kill(host);
    let end = over(&*bench.runtime, run).await;
    assert_eq!(end, RunEnd::Gone);
    assert!(
        !place.programs().is_alive(before.pid),
        "the program outlived its host"
    );
    let batches = read_all(&*bench.runtime, run, &end).await;
    assert!(
        batches
            .iter()
            .all(|batch| batch.reported == Reported::Nothing)
    );
    assert_eq!(
        all_output(&*bench.runtime, run, Stream::Out).await,
        b"ready\n"
    );
    let again = bench.runtime.start_agent(&bench.agent).await.unwrap();
    assert_ne!(again.pid, Some(host));
    let next = bench.launch(&Program::Exit(0)).await;
    assert_eq!(exit(&*bench.runtime, next).await.code, Some(0));
    assert_eq!(over(&*bench.runtime, run).await, RunEnd::Gone);
    bench.close().await;
}
