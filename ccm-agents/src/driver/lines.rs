//! Taking in a stream in whole lines, however long they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ccm_core::run::{Checkpoint, Observation, Stream};
use ccm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::Spool;

/// How much of a stream one read takes in, unless a single line is longer.
const BATCH: u64 = 512 * 1024;
/// A line with more bytes is not looked at.
pub(super) const MAX_LINE: u64 = 64 * 1024 * 1024;
/// How much of the end of standard error is looked at for the last line.
const LAST_WORDS: u64 = 4096;
/// How much of that line is told.
const TOLD: usize = 300;

/// What must be remembered between reads: whether a stream is in the middle of a line that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Skipping {
    out: bool,
    err: bool,
}

impl Skipping {
    /// Whether it is in the middle of a line of standard output.
    pub(super) fn is_inside(self) -> bool {
        self.out
    }
}

/// A part of a run's output that is to be taken in.
#[derive(Debug)]
pub(super) struct Part {
    /// What was read, in order.
    pub(super) seen: Vec<Observation>,
    /// Where it ended in standard output and in standard error.
    pub(super) out: u64,
    pub(super) err: u64,
    /// Whether there is no more now.
    pub(super) complete: bool,
}

/// The next part after `from`, in whole lines; once the run has ended an unterminated last line counts.
pub(super) fn part(
    spool: &Spool,
    from: &Checkpoint,
    skipping: &mut Skipping,
    ended: bool,
) -> Result<Part> {
    let failed =
        |error: io::Error| Error::unavailable("could not read a run's output").with_source(error);
    let mut seen = Vec::new();
    let out = Reader {
        stream: Stream::Out,
        file: spool.out.as_ref(),
        size: spool.out_size,
        ended,
    };
    let (out, out_done) = out
        .take(from.out, &mut skipping.out, &mut seen)
        .map_err(failed)?;
    let err = Reader {
        stream: Stream::Err,
        file: spool.err.as_ref(),
        size: spool.err_size,
        ended,
    };
    let (err, err_done) = err
        .take(from.err, &mut skipping.err, &mut seen)
        .map_err(failed)?;
    Ok(Part {
        seen,
        out,
        err,
        complete: out_done && err_done,
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
        &self,
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

pub(super) fn read_at(file: &File, from: u64, length: u64) -> io::Result<Vec<u8>> {
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

/// The last line of standard error that says something, cut to what fits into a sentence.
pub(super) fn last_words(spool: &Spool) -> Option<String> {
    let file = spool.err.as_ref()?;
    let from = spool.err_size.saturating_sub(LAST_WORDS);
    let bytes = read_at(file, from, spool.err_size - from).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let plain = crate::terminal::line(line.trim());
    Some(plain.chars().take(TOLD).collect())
}
