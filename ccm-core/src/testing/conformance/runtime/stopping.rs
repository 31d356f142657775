//! Stopping runs.

use super::*;
use crate::runtime::Stopped;

const GRACE: Duration = Duration::from_millis(200);

/// "A run whose stop set takes more than its order allows is ended ... Its exit record says so, and other runs go on":
/// also one that takes much, and may.
pub async fn too_much_memory_ends_a_run(place: &dyn RuntimePlace) {
    let (bench, other) = (Bench::new(place), Bench::new(place));
    let ordered = |bench: &Bench<'_>, takes, limit| LaunchOrder {
        limits: RunLimits {
            memory_mb: limit,
            ..RunLimits::default()
        },
        ..bench.order(&Program::Memory(takes))
    };
    let bounded = launched(&*other.runtime, &ordered(&other, 48, Some(512))).await;
    let unbounded = Bench::new(place);
    let free = launched(&*unbounded.runtime, &ordered(&unbounded, 128, None)).await;
    let run = launched(&*bench.runtime, &ordered(&bench, 160, Some(64))).await;

    let exit = exit(&*bench.runtime, run).await;
    let cut = exit.memory_cut.expect("the reason of its end");
    assert!(cut.limit_mb == 64 && cut.used_mb >= 64, "{cut:?}");
    assert!(!exit.stopped && exit.code != Some(0), "{exit:?}");
    for run in [bounded, free] {
        process(&*bench.runtime, run).await;
    }
    let next = bench.launch(&Program::Exit(0)).await;
    let next = super::exit(&*bench.runtime, next).await;
    assert_eq!((next.code, next.memory_cut), (Some(0), None));
    bench.close().await;
}

/// "Ends everything in the run's stop set", also what ignores every signal and left its session, "until it was seen
/// empty twice"; the record says that the run was stopped, and its agent can do the next one.
pub async fn stop_empties_the_stop_set(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let run = bench.launch(&Program::Stubborn).await;
    let pids = async {
        loop {
            let out = all_output(&*bench.runtime, run, Stream::Out).await;
            let out = String::from_utf8(out).unwrap();
            let lines: Vec<&str> = out.split_inclusive('\n').collect();
            if lines.len() >= 2 && out.ends_with('\n') {
                break lines
                    .iter()
                    .map(|line| line.trim().parse().unwrap())
                    .collect::<Vec<u32>>();
            }
            bench.runtime.changed(run).await.unwrap();
        }
    };
    let pids = soon("the family's process ids", pids).await;
    for pid in &pids {
        assert!(place.programs().is_alive(*pid), "{pid} was to live");
    }
    let stopped = soon("the stop", bench.runtime.stop(run, GRACE))
        .await
        .unwrap();
    assert_eq!(stopped, Stopped::Empty);
    for pid in &pids {
        assert!(
            !place.programs().is_alive(*pid),
            "{pid} of {pids:?} was left"
        );
    }
    let exit = exit(&*bench.runtime, run).await;
    assert!(exit.stopped, "{exit:?}");
    let next = bench.launch(&Program::Exit(0)).await;
    assert_eq!(super::exit(&*bench.runtime, next).await.code, Some(0));
    bench.close().await;
}

/// "Idempotent; a run that is over, or unknown, is stopped already": that changes nothing about how it ended.
pub async fn stop_is_idempotent(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, _) = bench.waiting("never").await;
    let second = place.another().await;
    let both = async { tokio::join!(bench.runtime.stop(run, GRACE), second.stop(run, GRACE)) };
    let (one, two) = soon("the stops", both).await;
    assert_eq!(
        (one.unwrap(), two.unwrap()),
        (Stopped::Empty, Stopped::Empty)
    );
    let end = over(&*bench.runtime, run).await;
    assert_eq!(
        bench.runtime.stop(run, GRACE).await.unwrap(),
        Stopped::Empty
    );
    assert_eq!(over(&*second, run).await, end);
    assert_eq!(
        bench.runtime.stop(RunId::new(), GRACE).await.unwrap(),
        Stopped::Empty
    );
    let done = bench.launch(&Program::Exit(4)).await;
    let end = over(&*bench.runtime, done).await;
    assert_eq!(
        bench.runtime.stop(done, GRACE).await.unwrap(),
        Stopped::Empty
    );
    assert_eq!(over(&*bench.runtime, done).await, end);
    bench.close().await;
}

/// "Nothing else is ever signalled": other agents' runs go on.
pub async fn stop_touches_no_other_run(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let other = Bench::new(place);
    let (run, _) = bench.waiting("stopped").await;
    let (bystander, before) = other.waiting("bystander").await;
    bench.runtime.stop(run, GRACE).await.unwrap();
    assert_eq!(process(&*bench.runtime, bystander).await, before);
    place.programs().release("bystander");
    let exit = exit(&*bench.runtime, bystander).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), false));
    bench.close().await;
}

/// What a stopped run had written stays readable.
pub async fn stop_keeps_the_output(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, _) = bench.waiting("cut").await;
    bench.runtime.stop(run, GRACE).await.unwrap();
    let end = over(&*bench.runtime, run).await;
    let batches = read_all(&*bench.runtime, run, &end).await;
    assert_eq!(batches.last().unwrap().checkpoint.out, 6);
    assert_eq!(
        all_output(&*bench.runtime, run, Stream::Out).await,
        b"ready\n"
    );
    bench.close().await;
}
