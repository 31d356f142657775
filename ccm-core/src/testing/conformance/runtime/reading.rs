//! Output: reading, ranges, being woken, discarding.

use super::*;
use crate::Noun;
use crate::run::Observation;
use crate::transcript::{EntryBody, Transcript};

/// "In whole lines ... Reading the same place twice gives the same answer"; "then an unterminated last line counts".
pub async fn read_is_repeatable_and_in_lines(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let start = Checkpoint::default();
    let (run, _) = bench.waiting("lines").await;
    let first = bench.runtime.read(run, &start, None).await.unwrap();
    assert_eq!((first.checkpoint.out, first.checkpoint.err), (6, 0));
    assert!(first.complete && first.reported == Reported::Nothing);
    let seen = Observation::Output {
        stream: Stream::Out,
        from: 0,
        to: 6,
    };
    assert_eq!(first.observations, [seen]);
    for runtime in [&bench.runtime, &place.another().await] {
        assert_eq!(runtime.read(run, &start, None).await.unwrap(), first);
        let nothing = runtime.read(run, &first.checkpoint, None).await.unwrap();
        assert_eq!(
            (nothing.observations, nothing.checkpoint),
            (Vec::new(), first.checkpoint.clone())
        );
    }
    place.programs().release("lines");
    let end = over(&*bench.runtime, run).await;
    let open = bench
        .runtime
        .read(run, &first.checkpoint, None)
        .await
        .unwrap();
    assert_eq!(
        open.checkpoint.out, 6,
        "an unterminated line counts only at the end"
    );
    assert_eq!(open.checkpoint.err, 4);
    assert_eq!(open.reported, Reported::Nothing);
    let last = bench
        .runtime
        .read(run, &first.checkpoint, Some(&end))
        .await
        .unwrap();
    assert_eq!((last.checkpoint.out, last.checkpoint.err), (9, 4));
    assert!(last.complete);
    assert_eq!(
        report_of(&last).map(|report| report.text.as_str()),
        Some("ready\nout")
    );
    assert_eq!(
        bench
            .runtime
            .read(run, &first.checkpoint, Some(&end))
            .await
            .unwrap(),
        last
    );
    let again = bench
        .runtime
        .read(run, &last.checkpoint, Some(&end))
        .await
        .unwrap();
    assert_eq!(again.checkpoint, last.checkpoint);
    assert_eq!(again.observations, []);
    assert_eq!(
        again.reported, last.reported,
        "the end can be reached again after a crash"
    );
    bench.close().await;
}

/// "At most about 1 MiB": much output comes in parts that follow on each other and tell every byte once.
pub async fn read_is_bounded(place: &dyn RuntimePlace) {
    const LINES: u32 = 50_000;
    const BYTES: u64 = LINES as u64 * 63 + 3;
    let bench = Bench::new(place);
    let run = bench.launch(&Program::Lines(LINES)).await;
    let end = over(&*bench.runtime, run).await;
    let batches = read_all(&*bench.runtime, run, &end).await;
    assert!(
        batches.len() >= 3,
        "{} bytes came in {} parts",
        BYTES,
        batches.len()
    );
    let mut told = 0;
    let mut read = 0;
    for batch in &batches {
        assert!(
            batch.checkpoint.out - read <= (1 << 20) + (1 << 16),
            "a part is too large"
        );
        let whole = batch.checkpoint.out % 63 == 0 || batch.checkpoint.out == BYTES;
        assert!(whole, "a part ends in the middle of a line");
        read = batch.checkpoint.out;
        for seen in &batch.observations {
            if let Observation::Output {
                stream: Stream::Out,
                from,
                to,
            } = seen
            {
                assert_eq!(*from, told, "a gap or a double");
                told = *to;
            }
        }
        assert_eq!(told, read, "what was read was told");
    }
    assert_eq!(read, BYTES);
    let (last, others) = batches.split_last().unwrap();
    assert!(
        others
            .iter()
            .all(|batch| batch.reported == Reported::Nothing)
    );
    assert!(report_of(last).unwrap().text.ends_with("49999\nend"));
    bench.close().await;
}

/// "Bytes of a run's output from `offset`, at most `limit`, as they were written"; `NotFound(Run)` without data.
pub async fn output_gives_ranges(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let run = bench.launch(&Program::Lines(3)).await;
    over(&*bench.runtime, run).await;
    let whole = format!("{:062}\n{:062}\n{:062}\nend", 0, 1, 2);
    let size = whole.len() as u64;
    for (offset, limit) in [
        (0, 1_000),
        (0, 10),
        (62, 2),
        (100, 1_000),
        (size - 1, 1),
        (size, 5),
        (size + 9, 5),
        (5, 0),
    ] {
        let chunk = bench
            .runtime
            .output(run, Stream::Out, offset, limit)
            .await
            .unwrap();
        let from = usize::try_from(offset.min(size)).unwrap();
        let to = usize::try_from((offset + limit).min(size))
            .unwrap()
            .max(from);
        assert_eq!(chunk.bytes, whole.as_bytes()[from..to], "{offset} {limit}");
        assert_eq!(chunk.size, size);
    }
    let err = bench.runtime.output(run, Stream::Err, 0, 10).await.unwrap();
    assert_eq!((err.bytes, err.size), (Vec::new(), 0));
    let kind = kind_of(bench.runtime.output(RunId::new(), Stream::Out, 0, 10).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Run));
    bench.close().await;
}

/// "Returns when `read` or `inspect` may have something new": a follower that only waits misses neither output nor end.
pub async fn changed_wakes_a_follower(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, _) = bench.waiting("wake").await;
    let follower = Arc::clone(&bench.runtime);
    let follow = tokio::spawn(async move { over(&*follower, run).await });
    tokio::task::yield_now().await;
    place.programs().release("wake");
    let end = soon("the end", follow).await.unwrap();
    assert!(matches!(end, RunEnd::Exited(_)), "{end:?}");
    bench.close().await;
}

/// "Never polls faster than once a second": while nothing happens it rarely returns.
pub async fn changed_does_not_spin(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, _) = bench.waiting("quiet").await;
    let mut wakes = 0;
    let spin = async {
        loop {
            bench.runtime.changed(run).await.unwrap();
            wakes += 1;
            tokio::task::yield_now().await;
        }
    };
    let passed: Result<(), _> = tokio::time::timeout(Duration::from_millis(1_500), spin).await;
    assert!(passed.is_err());
    // Something may still have been new, and the second may have passed twice.
    assert!(wakes <= 5, "it returned {wakes} times in 1.5 s");
    place.programs().release("quiet");
    bench.close().await;
}

/// "Deletes a run's data. Idempotent. `WrongState(Run)` while it is alive."
pub async fn discard_deletes_what_is_over(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, before) = bench.waiting("keep").await;
    let kind = kind_of(bench.runtime.discard(run).await);
    assert_eq!(kind, ErrorKind::WrongState(Noun::Run));
    assert_eq!(process(&*bench.runtime, run).await, before);
    place.programs().release("keep");
    assert_eq!(exit(&*bench.runtime, run).await.code, Some(0));
    for _ in 0..2 {
        bench.runtime.discard(run).await.unwrap();
        assert_eq!(bench.runtime.runs().await.unwrap(), []);
    }
    bench.runtime.discard(RunId::new()).await.unwrap();
    let kind = kind_of(bench.runtime.output(run, Stream::Out, 0, 10).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Run));
    bench.close().await;
}

/// The text of a part of a plain program's transcript, without its line breaks.
fn text_of(part: &Transcript) -> String {
    let texts = part.entries.iter().filter_map(|entry| match &entry.body {
        EntryBody::Output { text } => Some(text.replace('\n', "")),
        _ => None,
    });
    texts.collect()
}

/// "What the agent said and did after a place", in parts that follow on each other: of a program that is no coding CLI,
/// its whole output, once.
pub async fn a_transcript_tells_all_output(place: &dyn RuntimePlace) {
    const LINES: u32 = 20_000;
    let bench = Bench::new(place);
    let run = bench.launch(&Program::Lines(LINES)).await;
    let end = over(&*bench.runtime, run).await;
    assert!(matches!(end, RunEnd::Exited(_)));
    let size = u64::from(LINES) * 63 + 3;
    let (mut text, mut next) = (String::new(), 0);
    loop {
        let part = bench
            .runtime
            .transcript(run, next, None, 100)
            .await
            .unwrap();
        let offsets = part.entries.iter().map(|entry| entry.offset);
        let offsets: Vec<u64> = offsets.collect();
        assert!(offsets.is_sorted(), "{offsets:?}");
        let within = offsets.iter().all(|at| (next..part.next).contains(at));
        assert!(within, "{offsets:?} of {next} to {}", part.next);
        text.push_str(&text_of(&part));
        assert!(part.complete || part.next > next, "it does not get on");
        next = part.next;
        if part.complete {
            break;
        }
    }
    assert_eq!(next, size);
    // "As if it were not there".
    for (from, to) in [(0, 63), (63, 63 * 3), (63 * 100, 63 * 101), (0, size + 1)] {
        let part = bench
            .runtime
            .transcript(run, from, Some(to), 100)
            .await
            .unwrap();
        assert_eq!(part.begin, from);
        let lines = (from / 63..to.min(size) / 63).map(|line| format!("{line:062}"));
        let text = text_of(&part);
        if to <= size {
            assert!(part.complete, "{from} to {to}");
            assert_eq!((text, part.next), (lines.collect(), to));
        } else {
            assert!(text.starts_with(&format!("{:062}", 0)));
        }
    }
    let want: String = (0..LINES).map(|line| format!("{line:062}")).collect();
    assert!(
        text == want + "end",
        "the transcript differs from the output"
    );
    bench.close().await;
}

/// "Made from the output as it is now": while the program goes on, from where the last part ended, and until the run is
/// discarded. "`NotFound(Run)` when the run has no data, or no longer."
pub async fn a_transcript_goes_on(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let missing = ErrorKind::NotFound(Noun::Run);
    let nobody = bench.runtime.transcript(RunId::new(), 0, None, 100).await;
    assert_eq!(kind_of(nobody), missing);
    let (run, _) = bench.waiting("telling").await;
    let first = bench.runtime.transcript(run, 0, None, 100).await.unwrap();
    assert_eq!((text_of(&first).as_str(), first.next), ("ready", 6));
    assert!(first.complete);
    let nothing = bench
        .runtime
        .transcript(run, first.next, None, 100)
        .await
        .unwrap();
    assert_eq!((nothing.entries.len(), nothing.next), (0, 6));
    assert!(nothing.complete);
    place.programs().release("telling");
    over(&*bench.runtime, run).await;
    for runtime in [&bench.runtime, &place.another().await] {
        let rest = runtime
            .transcript(run, first.next, None, 100)
            .await
            .unwrap();
        assert_eq!((text_of(&rest).as_str(), rest.next), ("out", 9));
        assert!(rest.complete);
        let again = runtime.transcript(run, 0, None, 100).await.unwrap();
        assert_eq!(text_of(&again), "readyout");
    }
    bench.runtime.discard(run).await.unwrap();
    let gone = bench.runtime.transcript(run, 0, None, 100).await;
    assert_eq!(kind_of(gone), missing);
    bench.close().await;
}
