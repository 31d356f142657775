//! A part of the log as readers get it: each event was written once, and everybody is sent a slice of the same bytes.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;
use ccm_core::api::EventKind;
use ccm_core::event::{Cursor, Event};
use ccm_core::id::{LogId, ProjectId, RunId, Seq, TaskId};
use ccm_core::store::EventQuery;

/// How large a segment becomes. One event alone may be larger.
///
/// It is the least that a reader who does not read can hold on to, so it is about what a connection costs anyway.
pub(super) const SEGMENT_BYTES: usize = 16 * 1024;

/// Events that follow each other without a gap.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    first: u64,
    text: Bytes,
    marks: Box<[Mark]>,
}

/// What filters look at, and where the event's text ends.
#[derive(Debug, Clone, Copy)]
struct Mark {
    end: usize,
    kind: EventKind,
    project: Option<ProjectId>,
    task: Option<TaskId>,
    run: Option<RunId>,
}

impl Mark {
    fn fits(&self, query: &EventQuery) -> bool {
        query.project.is_none_or(|id| self.project == Some(id))
            && query.task.is_none_or(|id| self.task == Some(id))
            && query.run.is_none_or(|id| self.run == Some(id))
            && (query.kinds.is_empty() || query.kinds.contains(&self.kind))
    }
}

/// What a segment has for a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The text of what the reader wants; empty if that is nothing.
    pub(super) text: Bytes,
    /// Up to where the segment was looked through.
    pub(super) upto: Seq,
}

impl Segment {
    /// The segments of events in the order of the log.
    pub(super) fn of(log: LogId, events: &[Event]) -> Vec<Self> {
        let mut segments = Vec::new();
        let mut open = Open::default();
        for event in events {
            let follows = event.seq.0 == open.first + open.marks.len() as u64;
            if !follows || open.text.len() >= SEGMENT_BYTES {
                segments.extend(open.close());
                open = Open::default();
            }
            open.add(log, event);
        }
        segments.extend(open.close());
        segments
    }

    /// The first event.
    pub(super) fn first(&self) -> Seq {
        Seq(self.first)
    }

    /// The last event.
    pub(super) fn last(&self) -> Seq {
        Seq(self.first + self.marks.len() as u64 - 1)
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.marks)
    }

    /// This one and the one after it, if together they are no larger than one may be.
    pub(super) fn join(&self, next: &Self) -> Option<Self> {
        let length = self.text.len();
        if self.last().0 + 1 != next.first || length + next.text.len() > SEGMENT_BYTES {
            return None;
        }
        let moved = next.marks.iter().map(|mark| Mark {
            end: length + mark.end,
            ..*mark
        });
        Some(Self {
            first: self.first,
            text: [&*self.text, &*next.text].concat().into(),
            marks: self.marks.iter().copied().chain(moved).collect(),
        })
    }

    /// What it has for a reader after `after`, no more than `room` bytes unless the first event alone is more. `None`
    /// if the reader's next event is not in it.
    pub(super) fn after(&self, after: Seq, query: &EventQuery, room: usize) -> Option<Part> {
        let next = after.0 + 1;
        if next < self.first || next > self.last().0 {
            return None;
        }
        let from = (next - self.first) as usize;
        let mut wanted: Vec<Range<usize>> = Vec::new();
        let mut length = 0;
        let mut at = self.start(from);
        let mut upto = after.0;
        for mark in &self.marks[from..] {
            let event = at..mark.end;
            at = mark.end;
            if mark.fits(query) {
                if length > 0 && length + event.len() > room {
                    break;
                }
                length += event.len();
                match wanted.last_mut() {
                    Some(last) if last.end == event.start => last.end = event.end,
                    _ => wanted.push(event),
                }
            }
            upto += 1;
        }
        let text = match &wanted[..] {
            [] => Bytes::new(),
            // Mostly readers want everything, and then there is nothing to copy.
            [one] => self.text.slice(one.clone()),
            many => {
                let mut text = Vec::with_capacity(length);
                for part in many {
                    text.extend_from_slice(&self.text[part.clone()]);
                }
                text.into()
            }
        };
        Some(Part {
            text,
            upto: Seq(upto),
        })
    }

    fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .map_or(0, |before| self.marks[before].end)
    }
}

/// A segment that is being written.
#[derive(Default)]
struct Open {
    first: u64,
    text: Vec<u8>,
    marks: Vec<Mark>,
}

impl Open {
    fn add(&mut self, log: LogId, event: &Event) {
        if self.marks.is_empty() {
            self.first = event.seq.0;
        }
        write_event(&mut self.text, log, event);
        self.marks.push(Mark {
            end: self.text.len(),
            kind: event.kind,
            project: event.project_id,
            task: event.task_id,
            run: event.run_id,
        });
    }

    fn close(self) -> Option<Segment> {
        (!self.marks.is_empty()).then(|| Segment {
            first: self.first,
            text: self.text.into(),
            marks: self.marks.into(),
        })
    }
}

/// One event of a stream.
pub(super) fn write_event(text: &mut Vec<u8>, log: LogId, event: &Event) {
    let id = Cursor {
        log,
        seq: event.seq,
    };
    // Nothing can go wrong when memory is written to, and an event always serializes.
    let _ = write!(text, "id: {id}\nevent: {}\ndata: ", event.kind);
    let _ = serde_json::to_writer(&mut *text, event);
    text.extend_from_slice(b"\n\n");
}
