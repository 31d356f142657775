//! Segments at hand: the newest part of the log, and parts that readers who catch up have asked for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ccm_core::id::Seq;
use ccm_core::store::EventQuery;

use super::segment::{Part, Segment};

/// How much of the newest part of the log is at hand while somebody reads.
const TAIL_BYTES: usize = 1024 * 1024;
/// How much is at hand for readers who catch up.
const PAST_BYTES: usize = 2 * 1024 * 1024;

/// What the tail has for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something, or at least the news that up to there is nothing.
    Part(Part),
    /// Nothing yet: the reader has everything.
    Nothing,
    /// Nothing any more: the reader is too far behind and has to ask the log.
    Behind,
    /// Nothing ever again: the log can't be read.
    Ended,
}

/// The newest part of the log, without gaps. What it lacks is in the log.
#[derive(Debug)]
pub(super) struct Tail(Mutex<Newest>);

#[derive(Debug)]
struct Newest {
    /// Everything after this event and up to `head` is in `segments`.
    base: Seq,
    head: Seq,
    segments: VecDeque<Segment>,
    bytes: usize,
    ended: bool,
}

impl Tail {
    /// A tail that begins after `base`.
    pub(super) fn after(base: Seq) -> Self {
        Self(Mutex::new(Newest {
            base,
            head: base,
            segments: VecDeque::new(),
            bytes: 0,
            ended: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        // Nothing that holds it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last event that it has.
    pub(super) fn head(&self) -> Seq {
        self.lock().head
    }

    /// Adds what comes next in the log.
    pub(super) fn push(&self, segments: Vec<Segment>) {
        let mut newest = self.lock();
        for segment in segments {
            newest.push(segment);
        }
    }

    /// Says that nothing comes any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// What it has for a reader at `at`.
    pub(super) fn find(&self, at: Seq, query: &EventQuery, room: usize) -> Found {
        let newest = self.lock();
        if newest.ended {
            return Found::Ended;
        }
        if at < newest.base {
            return Found::Behind;
        }
        let mut upto = at;
        let begin = newest
            .segments
            .partition_point(|segment| segment.last() <= at);
        for segment in newest.segments.range(begin..) {
            let Some(part) = segment.after(upto, query, room) else {
                break;
            };
            if !part.text.is_empty() {
                return Found::Part(part);
            }
            upto = part.upto;
        }
        if upto == at {
            return Found::Nothing;
        }
        Found::Part(Part {
            text: bytes::Bytes::new(),
            upto,
        })
    }
}

impl Newest {
    fn push(&mut self, segment: Segment) {
        if segment.first().0 != self.head.0 + 1 {
            // What lies between was removed from the log. Readers who have not seen it learn that from the log.
            self.segments.clear();
            self.bytes = 0;
            self.base = Seq(segment.first().0 - 1);
        }
        self.head = segment.last();
        // Many small commits become few segments, so that a reader who is a little late gets them with one write.
        let joined = self.segments.back().and_then(|last| last.join(&segment));
        if joined.is_some()
            && let Some(last) = self.segments.pop_back()
        {
            self.bytes -= last.bytes();
        }
        let segment = joined.unwrap_or(segment);
        self.bytes += segment.bytes();
        self.segments.push_back(segment);
        while self.bytes > TAIL_BYTES && self.segments.len() > 1 {
            let Some(oldest) = self.segments.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.base = oldest.last();
        }
    }
}

/// Parts of the log that were read a short while ago. A thousand readers who come back after a restart want the same.
#[derive(Debug, Default)]
pub(super) struct Past(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    segments: VecDeque<Segment>,
    bytes: usize,
}

impl Past {
    fn lock(&self) -> MutexGuard<'_, Recent> {
        // Nothing that holds it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, at: Seq, query: &EventQuery, room: usize) -> Option<Part> {
        let recent = self.lock();
        let mut newest_first = recent.segments.iter().rev();
        newest_first.find_map(|segment| segment.after(at, query, room))
    }

    pub(super) fn keep(&self, segments: Vec<Segment>) {
        let mut recent = self.lock();
        for segment in segments {
            recent.bytes += segment.bytes();
            recent.segments.push_back(segment);
        }
        while recent.bytes > PAST_BYTES && recent.segments.len() > 1 {
            let Some(oldest) = recent.segments.pop_front() else {
                break;
            };
            recent.bytes -= oldest.bytes();
        }
    }
}
