//! A run's transcript, told in parts as it grows.

use ccm_core::id::{RunId, TaskId};
use ccm_core::run::Stream;
use ccm_core::store::{NewDocument, Replica};
use ccm_core::sync::Kind;
use ccm_core::sync::documents::{self, TranscriptPart};
use ccm_core::transcript::{Entry, EntryBody};
use ccm_core::{ErrorKind, Noun, Result};
use serde_json::{Value, json};

use crate::app::App;
use crate::app::elsewhere::Parts;

/// A part with so many bytes of entries is full.
const FULL: usize = 64 * 1024;
/// The most of one text, in bytes. The rest of it is on this machine alone.
const LONGEST: usize = 16 * 1024;
/// The most that one line of output tells.
const MOST_OF_LINE: usize = 4 * FULL;
/// How many entries are read at once.
const PART: u32 = 200;
/// Of a run that has written more before it is told for the first time, the last so many bytes are.
const FIRST: u64 = 16 * 1024 * 1024;
/// How many parts are written in one commit.
const AT_ONCE: usize = 16;

/// The end of what was told of a run: the part that still grows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tail {
    task: TaskId,
    part: u32,
    entries: Vec<Entry>,
    size: usize,
    begin: u64,
    next: u64,
    /// Whether other machines may not have all of it.
    is_new: bool,
}

impl Tail {
    fn of(part: TranscriptPart) -> Self {
        Self {
            task: part.task_id,
            part: part.part,
            size: part.entries.iter().map(size).sum(),
            entries: part.entries,
            begin: part.begin,
            next: part.next,
            is_new: false,
        }
    }

    /// Takes an entry in. What is full before it is returned.
    fn push(&mut self, run: RunId, entry: Entry) -> Option<TranscriptPart> {
        let entry = shortened(entry);
        let more = size(&entry);
        let same_line = self
            .entries
            .last()
            .is_some_and(|last| last.offset == entry.offset);
        if same_line && self.size + more > MOST_OF_LINE {
            return None;
        }
        let is_full = self.size + more > FULL && !self.entries.is_empty() && !same_line;
        let full = is_full.then(|| {
            // The next part begins with this entry's line.
            self.next = entry.offset;
            self.close(run)
        });
        self.size += more;
        self.next = self.next.max(entry.offset);
        self.entries.push(entry);
        self.is_new = true;
        full
    }

    /// The part as it is, and an empty one after it.
    fn close(&mut self, run: RunId) -> TranscriptPart {
        let part = self.shown(run, false);
        self.part += 1;
        self.entries.clear();
        self.size = 0;
        self.begin = self.next;
        part
    }

    fn shown(&self, run: RunId, last: bool) -> TranscriptPart {
        TranscriptPart {
            run_id: run,
            task_id: self.task,
            part: self.part,
            entries: self.entries.clone(),
            begin: self.begin,
            next: self.next,
            last,
        }
    }
}

impl App {
    /// Tells what a run has said since it was told last; the end of it if it is over. Returns whether there may be more.
    pub(super) async fn tell_transcript(
        &self,
        replica: &dyn Replica,
        id: RunId,
        is_over: bool,
        kept: &mut Option<Tail>,
    ) -> Result<bool> {
        let tail = match kept {
            Some(tail) => tail,
            None => match self.tail(replica, id).await? {
                Some(tail) => kept.insert(tail),
                None => return Ok(false),
            },
        };
        // Another machine tells of it now.
        if self.engine().store().task(tail.task).await?.yielded {
            return Ok(false);
        }
        let mut written = Vec::new();
        loop {
            let runtime = self.engine().runtime();
            let told = match runtime.transcript(id, tail.next, None, PART).await {
                Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => break,
                told => told?,
            };
            for entry in told.entries {
                written.extend(tail.push(id, entry));
            }
            let stands = told.next <= tail.next;
            tail.is_new |= told.next > tail.next;
            tail.next = tail.next.max(told.next);
            if written.len() >= AT_ONCE {
                put(replica, std::mem::take(&mut written), self.now()).await?;
            }
            if told.complete || stands {
                break;
            }
        }
        if tail.is_new || is_over {
            written.push(tail.shown(id, is_over));
        }
        put(replica, written, self.now()).await?;
        tail.is_new = false;
        Ok(!is_over)
    }

    /// Where the telling of a run goes on; `None` if all was told.
    async fn tail(&self, replica: &dyn Replica, id: RunId) -> Result<Option<Tail>> {
        let run = match self.run(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => return Ok(None),
            run => run?,
        };
        let parts = Parts { replica, run: id };
        if let Some(extent) = parts.extent().await? {
            return Ok((!extent.newest.last).then(|| Tail::of(extent.newest)));
        }
        let size = match self.engine().runtime().output(id, Stream::Out, 0, 1).await {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => 0,
            chunk => chunk?.size,
        };
        let begin = match size.checked_sub(FIRST) {
            Some(from) if from > 0 => self.line_start(id, from).await?,
            _ => 0,
        };
        Ok(Some(Tail {
            task: run.task_id,
            part: 0,
            entries: Vec::new(),
            size: 0,
            begin,
            next: begin,
            is_new: false,
        }))
    }
}

async fn put(
    replica: &dyn Replica,
    parts: Vec<TranscriptPart>,
    now: ccm_core::time::Timestamp,
) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let documents = parts.iter().map(|part| {
        Ok(NewDocument {
            kind: Kind::Transcript,
            id: TranscriptPart::id(part.run_id, part.part),
            body: Some(documents::write(part)?),
            settled: true,
        })
    });
    let documents = documents.collect::<Result<_>>()?;
    replica.put(documents, None, now).await.map(drop)
}

/// How much of a part an entry takes.
fn size(entry: &Entry) -> usize {
    serde_json::to_vec(entry).map_or(0, |json| json.len())
}

/// An entry with no more than the beginning of what is very long in it.
fn shortened(mut entry: Entry) -> Entry {
    match &mut entry.body {
        EntryBody::Prompt { text }
        | EntryBody::Text { text }
        | EntryBody::Thinking { text }
        | EntryBody::ToolResult { text, .. }
        | EntryBody::Result { text, .. }
        | EntryBody::Output { text }
        | EntryBody::Note { text } => shorten(text),
        EntryBody::ToolUse { input, .. } => shorten_value(input),
        EntryBody::Answered { answer, .. } => shorten(answer),
        EntryBody::Waiting { detail, .. } => shorten(detail),
        EntryBody::Asked { title, choices, .. } => {
            shorten(title);
            if serde_json::to_vec(choices).is_ok_and(|json| json.len() > LONGEST) {
                choices.clear();
            }
        }
        _ => {}
    }
    entry
}

fn shorten(text: &mut String) {
    if text.len() <= LONGEST {
        return;
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
    let left = text.len() - end.unwrap_or(0);
    text.truncate(end.unwrap_or(0));
    text.push_str(&format!("\n[{left} more bytes are on its own machine]"));
}

fn shorten_value(value: &mut Value) {
    if value.to_string().len() <= LONGEST {
        return;
    }
    match value {
        // What a tool is given is mostly one long text and some short ones.
        Value::Object(fields) => {
            for field in fields.values_mut() {
                match field {
                    Value::String(text) => shorten(text),
                    other if other.to_string().len() > LONGEST => *other = Value::Null,
                    _ => {}
                }
            }
            if fields.len() > 64 {
                *value = json!({});
            }
        }
        Value::String(text) => shorten(text),
        other => *other = Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail() -> Tail {
        Tail {
            task: TaskId::new(),
            part: 0,
            entries: Vec::new(),
            size: 0,
            begin: 0,
            next: 0,
            is_new: false,
        }
    }

    fn text(offset: u64, bytes: usize) -> Entry {
        Entry {
            offset,
            time: None,
            body: EntryBody::Text {
                text: "x".repeat(bytes),
            },
        }
    }

    #[test]
    fn parts_are_bounded_and_meet_at_the_beginning_of_a_line() {
        let run = RunId::new();
        let mut tail = tail();
        let mut parts: Vec<TranscriptPart> = Vec::new();
        for n in 0..20 {
            parts.extend(tail.push(run, text(n * 100, 10_000)));
            parts.extend(tail.push(run, text(n * 100, 100)));
        }
        parts.push(tail.shown(run, true));
        assert!(parts.len() > 2);
        for pair in parts.windows(2) {
            assert_eq!(pair[0].part + 1, pair[1].part);
            assert_eq!(pair[0].next, pair[1].begin);
            assert_eq!(pair[1].entries[0].offset, pair[1].begin);
        }
        for part in &parts {
            assert!(documents::write(part).unwrap().to_string().len() < FULL + 2_000);
        }
        let all: usize = parts.iter().map(|part| part.entries.len()).sum();
        assert_eq!(all, 40);
        assert_eq!(Tail::of(parts.pop().unwrap()).size, tail.size);
    }

    #[test]
    fn one_line_is_never_told_in_two_parts_nor_without_bounds() {
        let run = RunId::new();
        let mut tail = tail();
        for _ in 0..100 {
            assert_eq!(tail.push(run, text(7, 10_000)), None);
        }
        assert!(tail.size <= MOST_OF_LINE);
        assert!(tail.push(run, text(8, 1)).is_some());
    }

    #[test]
    fn what_is_very_long_is_told_by_its_beginning() {
        let entry = shortened(text(0, 1_000_000));
        assert!(size(&entry) < LONGEST + 200);
        let EntryBody::Text { text } = entry.body else {
            panic!("{entry:?}");
        };
        assert!(
            text.ends_with("[983616 more bytes are on its own machine]"),
            "{}",
            &text[LONGEST..]
        );
        let mut wide = "ö".repeat(LONGEST);
        shorten(&mut wide);
        assert!(wide.len() < LONGEST + 100);
        let mut input =
            json!({"content": "x".repeat(100_000), "path": "a", "list": vec!["x"; 50_000]});
        shorten_value(&mut input);
        assert_eq!(
            (&input["path"], &input["list"]),
            (&json!("a"), &Value::Null)
        );
        assert!(input.to_string().len() < LONGEST + 200);
    }
}
