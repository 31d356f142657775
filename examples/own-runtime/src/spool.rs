//! What a program wrote, in whole lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ccm_core::run::{Checkpoint, Observation, Report, Reported, Stream};
use ccm_core::runtime::{Batch, Chunk, RunEnd};
use ccm_core::transcript::{Entry, EntryBody, Transcript};

/// How much of a stream one read takes in, unless a single line is longer.
const WINDOW: u64 = 512 * 1024;
/// How much of its output is a program's report.
const REPORT: u64 = 64 * 1024;

/// One stream of a run. A file that is not there has nothing in it.
struct Spool {
    file: Option<File>,
    size: u64,
}

impl Spool {
    fn open(run: &Path, stream: Stream) -> io::Result<Self> {
        let file = match File::open(run.join(stream.as_str())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file?),
        };
        let size = file
            .as_ref()
            .map_or(Ok(0), |file| file.metadata().map(|it| it.len()))?;
        Ok(Self { file, size })
    }

    fn bytes(&self, from: u64, limit: u64) -> io::Result<Vec<u8>> {
        let length = self.size.saturating_sub(from).min(limit);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if let Some(file) = self.file.as_ref().filter(|_| length > 0) {
            file.read_exact_at(&mut bytes, from)?;
        }
        Ok(bytes)
    }

    /// Where the lines end that begin at `from`: as many as fit into the window, or one that is longer.
    fn lines(&self, from: u64, ended: bool) -> io::Result<u64> {
        if ended && self.size.saturating_sub(from) <= WINDOW {
            return Ok(self.size.max(from));
        }
        let mut at = from;
        while at < self.size {
            let bytes = self.bytes(at, WINDOW)?;
            let is_break = |byte: &u8| *byte == b'\n';
            let found = match at == from {
                true => bytes.iter().rposition(is_break),
                false => bytes.iter().position(is_break),
            };
            if let Some(found) = found {
                return Ok(at + found as u64 + 1);
            }
            at += bytes.len() as u64;
        }
        Ok(if ended { self.size.max(from) } else { from })
    }
}

pub(crate) fn output(run: &Path, stream: Stream, offset: u64, limit: u64) -> io::Result<Chunk> {
    let spool = Spool::open(run, stream)?;
    let bytes = spool.bytes(offset, limit)?;
    let size = spool.size;
    Ok(Chunk { bytes, size })
}

/// What a program wrote is all that is known of what it did: one entry for each window of lines.
pub(crate) fn transcript(run: &Path, from: u64, to: Option<u64>) -> io::Result<Transcript> {
    let mut spool = Spool::open(run, Stream::Out)?;
    spool.size = to.map_or(spool.size, |to| to.min(spool.size));
    let mut bytes = spool.bytes(from, WINDOW)?;
    if from + (bytes.len() as u64) < spool.size
        && let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n')
    {
        bytes.truncate(last + 1);
    }
    let next = from + bytes.len() as u64;
    let body = EntryBody::Output {
        text: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let entry = Entry {
        offset: from,
        time: None,
        body,
    };
    Ok(Transcript {
        entries: Some(entry).filter(|_| next > from).into_iter().collect(),
        begin: from,
        next,
        complete: next >= spool.size,
    })
}

pub(crate) fn read(run: &Path, from: &Checkpoint, end: Option<&RunEnd>) -> io::Result<Batch> {
    let mut out = Spool::open(run, Stream::Out)?;
    let mut err = Spool::open(run, Stream::Err)?;
    if let Some(RunEnd::Exited(exit)) = end {
        (out.size, err.size) = (exit.out_bytes, exit.err_bytes);
    }
    let mut batch = Batch {
        checkpoint: from.clone(),
        complete: true,
        ..Batch::default()
    };
    for (stream, spool) in [(Stream::Out, &out), (Stream::Err, &err)] {
        let from = from.offset(stream);
        let to = spool.lines(from, end.is_some())?;
        match stream {
            Stream::Out => batch.checkpoint.out = to,
            Stream::Err => batch.checkpoint.err = to,
        }
        if to > from {
            batch
                .observations
                .push(Observation::Output { stream, from, to });
        }
        // What is left after these lines is no whole line, or the next read's.
        batch.complete &= to == from || to >= spool.size || spool.lines(to, end.is_some())? == to;
    }
    if let (true, Some(RunEnd::Exited(_))) = (batch.complete, end) {
        let tail = out.bytes(out.size.saturating_sub(REPORT), REPORT)?;
        // The window may begin inside a character.
        let inside = tail.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
        let text = String::from_utf8_lossy(&tail[inside.min(3)..]).into_owned();
        batch.reported = Reported::Whole(Report {
            text,
            ..Report::default()
        });
    }
    Ok(batch)
}
