//! The driver `command`: any program that reads the prompt on standard input; its exit code decides.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ccm_core::run::{Checkpoint, Observation, ParserState, Report, Reported, Stream};
use ccm_core::runtime::{Batch, LaunchOrder, RunEnd};
use ccm_core::task::Setback;
use ccm_core::{Error, Reason, Result};
use serde::{Deserialize, Serialize};

use super::{Plan, Spool};

/// How much of a stream one read takes in, unless a single line is longer.
const BATCH: u64 = 512 * 1024;
/// A line with more bytes is not looked at.
const MAX_LINE: u64 = 64 * 1024 * 1024;
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
    })
}

/// What must be remembered between reads: whether a stream is in the middle of a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Parser {
    skipping_out: bool,
    skipping_err: bool,
}

impl Parser {
    fn from_state(state: Option<&ParserState>) -> Self {
        state
            .filter(|state| state.version == PARSER_VERSION)
            .and_then(|state| serde_json::from_str(&state.data).ok())
            .unwrap_or_default()
    }

    fn into_state(self) -> Option<ParserState> {
        if self == Self::default() {
            return None;
        }
        Some(ParserState {
            version: PARSER_VERSION,
            data: serde_json::to_string(&self).ok()?,
        })
    }
}

pub(super) fn read(spool: &Spool, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
    let failed =
        |error: io::Error| Error::unavailable("could not read a run's output").with_source(error);
    let mut parser = Parser::from_state(from.parser.as_ref());
    let mut observations = Vec::new();
    let ended = end.is_some();
    let mut out = Reader {
        stream: Stream::Out,
        file: spool.out.as_ref(),
        size: spool.out_size,
        ended,
    };
    let (out_at, out_done) = out
        .take(from.out, &mut parser.skipping_out, &mut observations)
        .map_err(failed)?;
    let mut err = Reader {
        stream: Stream::Err,
        file: spool.err.as_ref(),
        size: spool.err_size,
        ended,
    };
    let (err_at, err_done) = err
        .take(from.err, &mut parser.skipping_err, &mut observations)
        .map_err(failed)?;
    let complete = out_done && err_done;
    let reported = match end {
        Some(RunEnd::Exited(_)) if complete => Reported::Whole(report(spool).map_err(failed)?),
        _ => Reported::Nothing,
    };
    Ok(Batch {
        observations,
        checkpoint: Checkpoint {
            out: out_at,
            err: err_at,
            parser: parser.into_state(),
        },
        reported,
        last_words: None,
        resting: false,
        complete,
    })
}

struct Reader<'a> {
    stream: Stream,
    file: Option<&'a File>,
    size: u64,
    ended: bool,
}

impl Reader<'_> {
    /// Takes in whole lines from `from` on. Says where it stopped, and whether nothing more can be taken now.
    fn take(
        &mut self,
        from: u64,
        skipping: &mut bool,
        seen: &mut Vec<Observation>,
    ) -> io::Result<(u64, bool)> {
        let Some(file) = self.file.filter(|_| from < self.size) else {
            return Ok((from, true));
        };
        let rest = self.size - from;
        let to = if *skipping {
            None
        } else {
            match last_line_end(file, from, rest.min(BATCH))? {
                Some(to) => Some(to),
                None => first_line_end(file, from, rest.min(MAX_LINE))?,
            }
        };
        let whole = self.ended && rest <= BATCH && !*skipping;
        if whole || to.is_some() {
            let to = if whole {
                self.size
            } else {
                to.unwrap_or(self.size)
            };
            seen.push(Observation::Output {
                stream: self.stream,
                from,
                to,
            });
            return Ok((to, to == self.size));
        }
        if !*skipping && rest <= MAX_LINE {
            if !self.ended {
                return Ok((from, true));
            }
            seen.push(Observation::Output {
                stream: self.stream,
                from,
                to: self.size,
            });
            return Ok((self.size, true));
        }
        self.skip(file, from, skipping, seen)
    }

    /// Passes over a line that is too long, in pieces, because its end may be far or not written yet.
    fn skip(
        &self,
        file: &File,
        from: u64,
        skipping: &mut bool,
        seen: &mut Vec<Observation>,
    ) -> io::Result<(u64, bool)> {
        let rest = self.size - from;
        let end = first_line_end(file, from, rest.min(MAX_LINE))?;
        let to = match end {
            Some(end) => end,
            None if rest >= MAX_LINE => from + MAX_LINE,
            None if self.ended => self.size,
            None => return Ok((from, true)),
        };
        *skipping = end.is_none() && !(self.ended && to == self.size);
        seen.push(Observation::Skipped {
            stream: self.stream,
            offset: from,
            length: to - from,
        });
        Ok((to, to == self.size))
    }
}

/// Where the last line that ends in the `length` bytes after `from` does.
fn last_line_end(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    let bytes = read_at(file, from, length)?;
    let at = bytes.iter().rposition(|byte| *byte == b'\n');
    Ok(at.map(|at| from + at as u64 + 1))
}

/// Where the first line that ends in the `length` bytes after `from` does, without holding them all.
fn first_line_end(file: &File, from: u64, length: u64) -> io::Result<Option<u64>> {
    let (mut at, end) = (from, from + length);
    while at < end {
        let bytes = read_at(file, at, (end - at).min(BATCH))?;
        if bytes.is_empty() {
            break;
        }
        if let Some(found) = bytes.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(at + found as u64 + 1));
        }
        at += bytes.len() as u64;
    }
    Ok(None)
}

fn read_at(file: &File, from: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
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
    use super::*;
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
            out_bytes: spool.out_size,
            err_bytes: spool.err_size,
            ended_at: Timestamp::from_micros(0),
        })
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
        assert!(again.observations.is_empty() && again.complete && again.report.is_none());
        assert_eq!(again.checkpoint, batch.checkpoint);
        let last = read(&spool, &batch.checkpoint, Some(&exited(&spool))).unwrap();
        assert_eq!(
            last.observations,
            [output(Stream::Out, 8, 11), output(Stream::Err, 0, 3)]
        );
        assert_eq!(last.report.unwrap().text, "one\ntwo\nthr");
        let gone = read(&spool, &batch.checkpoint, Some(&RunEnd::Gone)).unwrap();
        assert!(gone.complete && gone.report.is_none());
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
        let text = read(&spool, &at, Some(&end)).unwrap().report.unwrap().text;
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
