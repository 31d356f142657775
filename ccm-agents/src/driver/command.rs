//! The driver `command`: any program that reads the prompt on standard input; its exit code decides.

use std::io;

use ccm_core::run::{Checkpoint, Observation, ParserState, Report, Reported};
use ccm_core::runtime::{Batch, LaunchOrder, RunEnd};
use ccm_core::task::Setback;
use ccm_core::transcript::{Entry, EntryBody, Transcript};
use ccm_core::{Error, Reason, Result};

use super::lines::{self, Skipping, read_at};
use super::{Plan, Spool};

/// How much of standard output is the result.
const RESULT: u64 = 64 * 1024;
const PARSER_VERSION: u32 = 1;

pub(super) fn plan(order: &LaunchOrder) -> std::result::Result<Plan, Setback> {
    let profile = &order.profile;
    let refused = |detail: &str| Err(Setback::new(Reason::NotStarted, detail));
    if profile.command.first().is_none_or(String::is_empty) {
        return refused(
            "there is no program to run; set agent.command (a list: the program and its arguments) in \
             .ccm/config.yaml",
        );
    }
    let argv = [&profile.command[..], &profile.args[..]].concat();
    if argv.iter().any(|argument| argument.contains('\0')) {
        return refused("agent.command or agent.args has a NUL character; remove it");
    }
    Ok(Plan {
        argv,
        first_input: order.prompt.as_str().as_bytes().to_vec(),
        then_close: true,
        interrupt: None,
    })
}

/// What must be remembered between reads.
fn skipping(state: Option<&ParserState>) -> Skipping {
    state
        .filter(|state| state.version == PARSER_VERSION)
        .and_then(|state| serde_json::from_str(&state.data).ok())
        .unwrap_or_default()
}

fn into_state(skipping: Skipping) -> Option<ParserState> {
    if skipping == Skipping::default() {
        return None;
    }
    Some(ParserState {
        version: PARSER_VERSION,
        data: serde_json::to_string(&skipping).ok()?,
    })
}

pub(super) fn read(spool: &Spool, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
    let mut skipping = skipping(from.parser.as_ref());
    let part = lines::part(spool, from, &mut skipping, end.is_some())?;
    let exited = part.complete && matches!(end, Some(RunEnd::Exited(_)));
    let reported = if exited {
        Reported::Whole(report(spool).map_err(|error| {
            Error::unavailable("could not read a run's output").with_source(error)
        })?)
    } else {
        Reported::Nothing
    };
    Ok(Batch {
        observations: part.seen,
        checkpoint: Checkpoint {
            out: part.out,
            err: part.err,
            parser: into_state(skipping),
        },
        reported,
        last_words: lines::last_words(spool).filter(|_| exited),
        resting: false,
        complete: part.complete,
    })
}

/// The output as it is, in pieces of whole lines.
pub(super) fn tell(spool: &Spool, from: u64, ended: bool) -> Result<Transcript> {
    let at = Checkpoint {
        out: from,
        err: spool.err_size,
        parser: None,
    };
    let part = lines::part(spool, &at, &mut Skipping::default(), ended)?;
    let mut entries = Vec::new();
    for seen in part.seen {
        let (offset, body) = match seen {
            Observation::Output { from, to, .. } => {
                let bytes = spool
                    .out
                    .as_ref()
                    .map(|file| lines::read_at(file, from, to - from));
                let bytes = bytes.transpose().map_err(|error| {
                    Error::unavailable("could not read a run's output").with_source(error)
                })?;
                let bytes = bytes.unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (from, EntryBody::Output { text })
            }
            Observation::Skipped { offset, length, .. } => {
                let text = format!("{length} bytes without the end of a line are not shown");
                (offset, EntryBody::Note { text })
            }
            _ => continue,
        };
        entries.push(Entry {
            offset,
            time: None,
            body,
        });
    }
    Ok(Transcript {
        entries,
        begin: from,
        next: part.out,
        complete: part.complete,
    })
}

/// The end of standard output is what the program answered.
fn report(spool: &Spool) -> io::Result<Report> {
    let from = spool.out_size.saturating_sub(RESULT);
    let mut bytes = match &spool.out {
        Some(file) => read_at(file, from, spool.out_size - from)?,
        None => Vec::new(),
    };
    if from > 0 {
        let is_inside = |byte: &u8| byte & 0xc0 == 0x80;
        let cut = bytes.iter().take(3).take_while(|byte| is_inside(byte));
        let cut = cut.count();
        bytes.drain(..cut);
    }
    Ok(Report {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        ..Report::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::lines::MAX_LINE;
    use super::*;
    use ccm_core::run::Stream;
    use ccm_core::runtime::Exit;
    use ccm_core::time::Timestamp;
    use proptest::prelude::*;
    use std::io::Write;

    fn spool(out: &[u8], err: &[u8]) -> Spool {
        let file = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Some(file)
        };
        Spool {
            out: file(out),
            err: file(err),
            out_size: out.len() as u64,
            err_size: err.len() as u64,
        }
    }

    fn exited(spool: &Spool) -> RunEnd {
        RunEnd::Exited(Exit {
            code: Some(0),
            signal: None,
            stopped: false,
            output_cut: false,
            memory_cut: None,
            deadline_cut: false,
            out_bytes: spool.out_size,
            err_bytes: spool.err_size,
            ended_at: Timestamp::from_micros(0),
        })
    }

    fn text_of(reported: Reported) -> String {
        match reported {
            Reported::Whole(report) => report.text,
            other => panic!("{other:?}"),
        }
    }

    fn output(stream: Stream, from: u64, to: u64) -> Observation {
        Observation::Output { stream, from, to }
    }

    #[test]
    fn only_whole_lines_count_before_the_end() {
        let spool = spool(b"one\ntwo\nthr", b"err");
        let start = Checkpoint::default();
        let batch = read(&spool, &start, None).unwrap();
        assert_eq!(batch.observations, [output(Stream::Out, 0, 8)]);
        assert_eq!((batch.checkpoint.out, batch.checkpoint.err), (8, 0));
        assert_eq!(batch, read(&spool, &start, None).unwrap());
        let again = read(&spool, &batch.checkpoint, None).unwrap();
        assert!(
            again.observations.is_empty() && again.complete && again.reported == Reported::Nothing
        );
        assert_eq!(again.checkpoint, batch.checkpoint);
        let last = read(&spool, &batch.checkpoint, Some(&exited(&spool))).unwrap();
        assert_eq!(
            last.observations,
            [output(Stream::Out, 8, 11), output(Stream::Err, 0, 3)]
        );
        assert_eq!(text_of(last.reported), "one\ntwo\nthr");
        let gone = read(&spool, &batch.checkpoint, Some(&RunEnd::Gone)).unwrap();
        assert!(gone.complete && gone.reported == Reported::Nothing);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let mut long = vec![b'x'; MAX_LINE as usize + 5];
        long.extend_from_slice(b"\nnext\n");
        let spool = spool(&long, b"");
        let end = exited(&spool);
        let mut at = Checkpoint::default();
        let mut seen = Vec::new();
        loop {
            let batch = read(&spool, &at, Some(&end)).unwrap();
            seen.extend(batch.observations);
            at = batch.checkpoint;
            if batch.complete {
                break;
            }
        }
        let skipped = |offset, length| Observation::Skipped {
            stream: Stream::Out,
            offset,
            length,
        };
        assert_eq!(
            seen,
            [
                skipped(0, MAX_LINE),
                skipped(MAX_LINE, 6),
                output(Stream::Out, MAX_LINE + 6, MAX_LINE + 11)
            ]
        );
        assert_eq!(at.parser, None);
    }

    #[test]
    fn the_result_is_the_end_of_the_output_from_a_whole_character_on() {
        let text = "€".repeat(30_000);
        let spool = spool(text.as_bytes(), b"");
        let end = exited(&spool);
        let at = Checkpoint {
            out: spool.out_size,
            ..Checkpoint::default()
        };
        let text = text_of(read(&spool, &at, Some(&end)).unwrap().reported);
        assert!(text.len() as u64 > RESULT - 4 && text.len() as u64 <= RESULT);
        assert!(text.chars().all(|c| c == '€'));
    }

    #[test]
    fn a_spool_that_shrank_has_nothing_new() {
        let spool = spool(b"a\n", b"");
        let at = Checkpoint {
            out: 50,
            ..Checkpoint::default()
        };
        let batch = read(&spool, &at, None).unwrap();
        assert!(batch.complete && batch.checkpoint == at);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_byte_is_taken_in_once(
            lines in prop::collection::vec(0usize..400_000, 0..8),
            grows in prop::collection::vec(0u64..2_000_000, 0..5),
            ends_open in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            for length in lines {
                bytes.extend(std::iter::repeat_n(b'x', length));
                bytes.push(b'\n');
            }
            if ends_open {
                bytes.extend_from_slice(b"open");
            }
            let mut spool = spool(&bytes, b"");
            let full = spool.out_size;
            let end = exited(&spool);
            let mut at = Checkpoint::default();
            let mut sizes: Vec<u64> = grows.into_iter().map(|size| size.min(full)).collect();
            sizes.sort_unstable();
            for (n, size) in sizes.iter().copied().chain([full]).enumerate() {
                spool.out_size = size;
                let end = (n == sizes.len()).then_some(&end);
                loop {
                    let batch = read(&spool, &at, end).unwrap();
                    for seen in &batch.observations {
                        let Observation::Output { from, to, .. } = seen else { panic!("{seen:?}") };
                        prop_assert_eq!(*from, at.out);
                        prop_assert!(*to == full || bytes[*to as usize - 1] == b'\n');
                    }
                    at = batch.checkpoint;
                    if batch.complete {
                        break;
                    }
                }
            }
            prop_assert_eq!(at.out, full);
        }
    }
}
