//! Transcripts from their end: the last part first, and from there to those before it.

use ccm_core::id::RunId;
use ccm_core::run::Stream;
use ccm_core::transcript::Transcript;
use ccm_core::{Error, Result};

use super::App;
use super::runs::kept;

/// How much output before a place is looked at for one answer, unless a single line is longer.
const WINDOW: u64 = 256 * 1024;
/// How often, when nothing in it is worth telling.
const WINDOWS: usize = 64;
/// How much is read at once on the way back to the beginning of a line.
const STEP: u64 = 1024 * 1024;

impl App {
    /// The last entries before a place, at most about `limit`. Costs the same at any length of the output.
    pub(crate) async fn transcript_before(
        &self,
        id: RunId,
        before: u64,
        limit: u32,
    ) -> Result<Transcript> {
        let run = self.run(id).await?;
        let none = Transcript {
            complete: true,
            ..Transcript::default()
        };
        kept(&run, self.told_before(id, before, limit).await, none)
    }

    async fn told_before(&self, id: RunId, before: u64, limit: u32) -> Result<Transcript> {
        let size = self.bytes(id, 0, 1).await?.1;
        // Of output that is still coming, the last line is told once it is whole.
        let to = (before < size).then_some(before);
        let mut told = self.window(id, before.min(size), to).await?;
        for _ in 1..WINDOWS {
            if !told.entries.is_empty() || told.begin == 0 {
                break;
            }
            let earlier = self.window(id, told.begin, Some(told.begin)).await?;
            told.begin = earlier.begin;
            told.entries = earlier.entries;
        }
        leave_last(&mut told, limit as usize);
        Ok(told)
    }

    /// What is told of the lines in the window before `end`.
    async fn window(&self, id: RunId, end: u64, to: Option<u64>) -> Result<Transcript> {
        let runtime = self.engine().runtime();
        let begin = self.line_start(id, end).await?;
        let mut told = Transcript {
            begin,
            next: begin,
            ..Transcript::default()
        };
        loop {
            let part = runtime.transcript(id, told.next, to, u32::MAX).await?;
            let stands = part.next <= told.next;
            told.entries.extend(part.entries);
            told.next = part.next.max(told.next);
            told.complete = part.complete && to.is_none();
            if part.complete || stands || told.next >= end {
                return Ok(told);
            }
        }
    }

    /// Where the first line in the window before `end` begins, or the one that is longer than the window.
    pub(super) async fn line_start(&self, id: RunId, end: u64) -> Result<u64> {
        let Some(from) = end.checked_sub(WINDOW).filter(|from| *from > 0) else {
            return Ok(0);
        };
        // The end of the line before it is what a line begins after; the last byte ends the last line itself.
        let last = end - 1;
        let (bytes, _) = self.bytes(id, from - 1, last - (from - 1)).await?;
        if let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            return Ok(from + at as u64);
        }
        let mut to = from - 1;
        while to > 0 {
            let begin = to.saturating_sub(STEP);
            let (bytes, _) = self.bytes(id, begin, to - begin).await?;
            if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
                return Ok(begin + at as u64 + 1);
            }
            to = begin;
        }
        Ok(0)
    }

    /// Bytes of standard output, as many as there are, and how many there are in all.
    async fn bytes(&self, id: RunId, from: u64, most: u64) -> Result<(Vec<u8>, u64)> {
        let chunk = self.engine().runtime();
        let chunk = chunk.output(id, Stream::Out, from, most).await?;
        if (chunk.bytes.len() as u64) < most.min(chunk.size.saturating_sub(from)) {
            return Err(Error::unavailable(
                "less of a run's output was read than there is",
            ));
        }
        Ok((chunk.bytes, chunk.size))
    }
}

/// Leaves about the last `limit` entries. What one line tells stays together.
pub(super) fn leave_last(told: &mut Transcript, limit: usize) {
    let surplus = told.entries.len().saturating_sub(limit);
    if surplus == 0 {
        return;
    }
    let split = told.entries[surplus - 1].offset;
    let kept = told.entries[surplus..].iter();
    let same = kept.take_while(|entry| entry.offset == split).count();
    // A line that tells more than the limit is told whole.
    let from = match surplus + same {
        from if from < told.entries.len() => from,
        _ => told.entries.partition_point(|entry| entry.offset < split),
    };
    told.entries.drain(..from);
    if let Some(first) = told.entries.first() {
        told.begin = first.offset;
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::transcript::{Entry, EntryBody};

    use super::*;

    #[test]
    fn what_one_line_tells_stays_together() {
        let entry = |offset| Entry {
            offset,
            time: None,
            body: EntryBody::Text {
                text: String::new(),
            },
        };
        let offsets = [0, 10, 10, 10, 20, 30, 30];
        for (limit, begin, count) in [
            (9, 5, 7),
            (7, 5, 7),
            (6, 10, 6),
            (5, 20, 3),
            (3, 20, 3),
            (2, 30, 2),
            (1, 30, 2),
        ] {
            let mut told = Transcript {
                entries: offsets.map(entry).to_vec(),
                begin: 5,
                ..Transcript::default()
            };
            leave_last(&mut told, limit);
            assert_eq!((told.begin, told.entries.len()), (begin, count), "{limit}");
        }
    }
}
