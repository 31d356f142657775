//! Transcripts of runs on other machines, as far as those shared them.

use ccm_core::api;
use ccm_core::id::RunId;
use ccm_core::store::Replica;
use ccm_core::sync::Kind;
use ccm_core::sync::documents::TranscriptPart;
use ccm_core::transcript::{Entry, EntryBody, Transcript};
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::known;
use crate::app::App;
use crate::app::transcripts::leave_last;

/// How many bytes of output one answer is about, at most and about.
const MOST: u64 = 1024 * 1024;

impl App {
    /// A part of what a run's agent said and did, whichever machine's it is.
    pub(crate) async fn any_transcript(
        &self,
        id: RunId,
        after: u64,
        limit: u32,
    ) -> Result<Transcript> {
        match self.transcript(id, after, limit).await {
            Err(error) if self.is_elsewhere(&error, id).await? => {
                let (parts, run) = self.parts(id).await?.ok_or(error)?;
                parts.after(after, limit, &run).await
            }
            told => told,
        }
    }

    /// The last entries before a place, whichever machine's run it is.
    pub(crate) async fn any_transcript_before(
        &self,
        id: RunId,
        before: u64,
        limit: u32,
    ) -> Result<Transcript> {
        match self.transcript_before(id, before, limit).await {
            Err(error) if self.is_elsewhere(&error, id).await? => {
                let (parts, run) = self.parts(id).await?.ok_or(error)?;
                parts.before(before, limit, &run).await
            }
            told => told,
        }
    }

    /// Whether an error is that the run is not one of this machine.
    async fn is_elsewhere(&self, error: &Error, id: RunId) -> Result<bool> {
        // The output of a run of this machine can be gone as well.
        if error.kind() != ErrorKind::NotFound(Noun::Run) {
            return Ok(false);
        }
        match self.run(id).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn parts(&self, id: RunId) -> Result<Option<(Parts<'_>, api::Run)>> {
        let Some(elsewhere) = self.elsewhere() else {
            return Ok(None);
        };
        let run = elsewhere.run(id).await?;
        let replica = elsewhere.replica;
        Ok(run.map(|run| (Parts { replica, run: id }, run)))
    }
}

/// What is known of a run's transcript, in parts.
pub(in crate::app) struct Parts<'a> {
    pub(in crate::app) replica: &'a dyn Replica,
    pub(in crate::app) run: RunId,
}

/// Which parts there are.
pub(in crate::app) struct Extent {
    oldest: TranscriptPart,
    pub(in crate::app) newest: TranscriptPart,
}

impl Extent {
    /// What is told where earlier parts are no longer kept.
    fn gap(&self) -> Option<Entry> {
        (self.oldest.begin > 0).then(|| Entry {
            offset: self.oldest.begin,
            time: None,
            body: EntryBody::Note {
                text: "What came before is kept on its own machine alone: only the end of a long transcript is shared."
                    .to_owned(),
            },
        })
    }

    /// Whether whoever has read up to `next` has all that will ever come, or comes now.
    fn is_complete(&self, next: u64, run: &api::Run) -> bool {
        let tail = run.finished_at.is_some() && !self.newest.last;
        next >= self.newest.next && !tail
    }
}

impl Parts<'_> {
    /// The entries from a place on.
    async fn after(&self, after: u64, limit: u32, run: &api::Run) -> Result<Transcript> {
        let mut told = Transcript {
            begin: after,
            next: after,
            ..Transcript::default()
        };
        let Some(extent) = self.extent().await? else {
            told.complete = run.finished_at.is_none();
            return Ok(told);
        };
        let gap = extent.gap().filter(|_| after < extent.oldest.begin);
        let after = after.max(extent.oldest.begin);
        told.next = after.min(extent.newest.next).max(after);
        let mut number = self.holding(&extent, after).await?;
        while number <= extent.newest.part {
            let Some(part) = self.part(number).await? else {
                break;
            };
            told.next = told.next.max(part.next);
            let new = part.entries.into_iter();
            told.entries
                .extend(new.filter(|entry| entry.offset >= after));
            if told.entries.len() > limit as usize || told.next - after >= MOST {
                break;
            }
            number += 1;
        }
        leave_first(&mut told, limit as usize);
        told.complete = extent.is_complete(told.next, run);
        told.entries.splice(0..0, gap);
        Ok(told)
    }

    /// The last entries before a place.
    async fn before(&self, before: u64, limit: u32, run: &api::Run) -> Result<Transcript> {
        let Some(extent) = self.extent().await? else {
            return Ok(Transcript {
                complete: run.finished_at.is_none(),
                ..Transcript::default()
            });
        };
        let end = before.min(extent.newest.next);
        let mut told = Transcript {
            begin: end,
            next: end,
            ..Transcript::default()
        };
        if end > extent.oldest.begin {
            let mut number = self.holding(&extent, end - 1).await?;
            loop {
                let Some(part) = self.part(number).await? else {
                    break;
                };
                told.begin = part.begin;
                let earlier = part.entries.into_iter();
                let earlier: Vec<_> = earlier.filter(|entry| entry.offset < end).collect();
                told.entries.splice(0..0, earlier);
                let enough = told.entries.len() >= limit as usize || end - told.begin >= MOST;
                if enough || number == extent.oldest.part {
                    break;
                }
                number -= 1;
            }
            leave_last(&mut told, limit as usize);
        }
        told.complete = before >= extent.newest.next && extent.is_complete(end, run);
        if told.begin <= extent.oldest.begin {
            // Nothing is to be had before it.
            told.begin = 0;
            told.entries.splice(0..0, extent.gap());
        }
        Ok(told)
    }

    async fn part(&self, number: u32) -> Result<Option<TranscriptPart>> {
        let id = TranscriptPart::id(self.run, number);
        let document = self.replica.document(&Kind::Transcript, id).await?;
        Ok(document.as_ref().and_then(known))
    }

    /// Which parts there are. Each later one has taken the place of the one [`TranscriptPart::KEPT`] before it, so the
    /// newest is where the round of the first place ends.
    pub(in crate::app) async fn extent(&self) -> Result<Option<Extent>> {
        const KEPT: u32 = TranscriptPart::KEPT;
        let Some(first) = self.part(0).await? else {
            return Ok(None);
        };
        let round = first.part / KEPT;
        let (mut newest, mut beyond) = (first.clone(), KEPT);
        while newest.part % KEPT + 1 < beyond {
            let middle = (newest.part % KEPT + beyond) / 2;
            match self.part(middle).await? {
                Some(part) if part.part == round * KEPT + middle => newest = part,
                _ => beyond = middle,
            }
        }
        let mut oldest = first;
        if round > 0 {
            // What is being written just now may be missing for a moment.
            let before = self.part(newest.part + 1).await?;
            oldest = before
                .filter(|part| part.part + KEPT == newest.part + 1)
                .unwrap_or(oldest);
        }
        Ok(Some(Extent { oldest, newest }))
    }

    /// The number of the part that holds a place, or of the newest.
    async fn holding(&self, extent: &Extent, place: u64) -> Result<u32> {
        let (mut low, mut high) = (extent.oldest.part, extent.newest.part);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.part(middle).await? {
                Some(part) if part.next <= place => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// Leaves about the first `limit` entries. What one line tells stays together.
fn leave_first(told: &mut Transcript, limit: usize) {
    let Some(last) = limit.checked_sub(1).and_then(|at| told.entries.get(at)) else {
        return;
    };
    let kept = told
        .entries
        .partition_point(|entry| entry.offset <= last.offset);
    if let Some(next) = told.entries.get(kept) {
        told.next = next.offset;
        told.entries.truncate(kept);
    }
}
