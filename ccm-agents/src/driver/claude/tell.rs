//! What people are shown of a run.

use ccm_core::Result;
use ccm_core::run::{Checkpoint, Observation};
use ccm_core::transcript::{Entry, EntryBody, Transcript};
use serde_json::Value;

use super::ask::{self, Place};
use super::failure;
use super::words::{
    Assistant, Block, Content, Line, RateLimit, Response, System, TurnResult, User,
};
use super::{Spool, parse, unreadable};
use crate::driver::lines::{self, Skipping, read_at};

/// A line with more bytes is not shown while it comes; it is in the transcript.
const MAX_SHOWN: usize = 4 * 1024 * 1024;
/// How much output one part is made of, unless a single line is longer.
const MAX_PART: u64 = 4 * 1024 * 1024;
/// How much of one text is told; all of it is in the run's output.
const MAX_TEXT: usize = 1024 * 1024;

/// Shows output as it comes.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    line: Vec<u8>,
    /// Until the next line begins.
    skipping: bool,
    /// Each turn says again which conversation it belongs to.
    session: Option<String>,
}

impl Teller {
    /// What is to be shown of more output.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let mut shown = String::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if !self.skipping {
                self.line.extend_from_slice(part);
                if self.line.len() > MAX_SHOWN {
                    self.line = Vec::new();
                    self.skipping = true;
                    shown.push_str("[a very long line is not shown here]\n");
                }
            }
            if ends {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.skipping) {
                    self.show(&line, &mut shown);
                }
            }
        }
        shown
    }

    /// Some output was left out.
    pub(crate) fn skip(&mut self) {
        self.line = Vec::new();
        self.skipping = true;
    }

    fn show(&mut self, line: &[u8], shown: &mut String) {
        for entry in entries(line, 0) {
            if let EntryBody::Session { session_id, .. } = &entry.body
                && self.session.replace(session_id.clone()).as_ref() == Some(session_id)
            {
                continue;
            }
            shown.push_str(&entry.render());
        }
    }
}

/// The entries after a place, at most about `limit`.
pub(crate) fn tell(spool: &Spool, from: u64, limit: u32, ended: bool) -> Result<Transcript> {
    let mut told = Transcript {
        entries: Vec::new(),
        begin: from,
        next: from,
        complete: false,
    };
    let mut skipping = Skipping::default();
    // A line of which a part was passed over is passed over to its end, or its rest would pass for a line.
    while !told.complete
        && (skipping.is_inside()
            || told.entries.len() < limit as usize && told.next - from < MAX_PART)
    {
        let at = Checkpoint {
            out: told.next,
            err: spool.err_size,
            parser: None,
        };
        let part = lines::part(spool, &at, &mut skipping, ended)?;
        told.complete = part.complete;
        for seen in part.seen {
            match seen {
                Observation::Output { from, to, .. } => {
                    let stopped = tell_range(spool, from, to, limit, &mut told)?;
                    if stopped {
                        told.complete = false;
                        return Ok(told);
                    }
                }
                Observation::Skipped { offset, length, .. } => {
                    let text = format!("{length} bytes in one line are not told here");
                    told.entries.push(entry(offset, EntryBody::Note { text }));
                    told.next = offset + length;
                }
                _ => {}
            }
        }
        told.next = part.out;
    }
    Ok(told)
}

/// Tells the lines of a range; whether there were enough before its end.
fn tell_range(
    spool: &Spool,
    from: u64,
    to: u64,
    limit: u32,
    told: &mut Transcript,
) -> Result<bool> {
    let Some(file) = &spool.out else {
        return Ok(false);
    };
    let bytes = read_at(file, from, to - from).map_err(unreadable)?;
    let mut at = from;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if told.entries.len() >= limit as usize {
            told.next = at;
            return Ok(true);
        }
        told.entries.extend(entries(line, at));
        at += line.len() as u64;
    }
    Ok(false)
}

fn entry(offset: u64, body: EntryBody) -> Entry {
    Entry {
        offset,
        time: None,
        body,
    }
}

/// What one line tells.
fn entries(line: &[u8], offset: u64) -> Vec<Entry> {
    let Some(word) = parse(line) else {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        // Something beside the protocol, which a wrapper around the program may have said.
        return match text.is_empty() {
            true => Vec::new(),
            false => vec![entry(offset, EntryBody::Output { text: cut(text) })],
        };
    };
    let time = match &word {
        Line::Assistant(said) => said.timestamp,
        Line::User(said) => said.timestamp,
        _ => None,
    };
    let mut told = Vec::new();
    match word {
        Line::System(system) => told.extend(of_system(system)),
        Line::Assistant(said) => of_assistant(said, &mut told),
        Line::User(said) => of_user(said, &mut told),
        Line::Result(result) => told.push(of_result(*result)),
        Line::ControlRequest(request) => {
            let nowhere = Place {
                offset,
                length: line.len() as u64,
            };
            let question = ask::question(&request.request, nowhere);
            told.push(EntryBody::Asked {
                request_id: request.request_id,
                title: question.title,
                choices: question.choices,
            });
        }
        Line::ControlResponse(said) => told.push(of_response(said.response)),
        Line::ControlCancelRequest { .. } => {
            told.push(note("the agent takes the question back"));
        }
        Line::RateLimitEvent { rate_limit_info } => told.extend(of_limit(&rate_limit_info)),
        Line::CommandLifecycle { .. } | Line::Other => {}
    }
    told.into_iter()
        .map(|body| Entry { offset, time, body })
        .collect()
}

fn note(text: &str) -> EntryBody {
    EntryBody::Note {
        text: text.to_owned(),
    }
}

fn of_system(system: System) -> Option<EntryBody> {
    match system {
        System::Init {
            session_id,
            model,
            claude_code_version,
        } => Some(EntryBody::Session {
            session_id,
            model,
            version: claude_code_version,
        }),
        System::ApiRetry(retry) => {
            let cause = failure::retrying(&retry);
            Some(EntryBody::Waiting {
                reason: cause.reason,
                detail: cause.detail.unwrap_or_default(),
                until: None,
            })
        }
        System::TaskNotification { summary } => Some(EntryBody::Note { text: summary? }),
        System::CompactBoundary => Some(note("the conversation was shortened")),
        System::BackgroundTasksChanged { .. } | System::Other => None,
    }
}

fn of_assistant(said: Assistant, told: &mut Vec<EntryBody>) {
    // The result says it again.
    if said.is_api_error_message {
        return;
    }
    let blocks = match said.message.content {
        Content::Text(text) => vec![Block::Text { text }],
        Content::Blocks(blocks) => blocks,
        Content::Other(_) => Vec::new(),
    };
    for block in blocks {
        told.push(match block {
            Block::Text { text } => EntryBody::Text { text: cut(text) },
            Block::Thinking { thinking } => EntryBody::Thinking {
                text: cut(thinking),
            },
            Block::ToolUse { id, name, input } => EntryBody::ToolUse { id, name, input },
            Block::ToolResult { .. } | Block::Other => continue,
        });
    }
}

fn of_user(said: User, told: &mut Vec<EntryBody>) {
    let from_ccm = said.is_replay && said.parent_tool_use_id.is_none();
    let blocks = match said.message.content {
        Content::Text(text) => vec![Block::Text { text }],
        Content::Blocks(blocks) => blocks,
        Content::Other(_) => Vec::new(),
    };
    for block in blocks {
        told.push(match block {
            Block::Text { text } if from_ccm => EntryBody::Prompt { text: cut(text) },
            Block::Text { text } => EntryBody::Note { text: cut(text) },
            Block::ToolResult {
                tool_use_id,
                content,
                is_error,
            } => EntryBody::ToolResult {
                id: tool_use_id,
                text: cut(flat(&content)),
                is_error: is_error.unwrap_or(false),
            },
            _ => continue,
        });
    }
}

/// The text of a tool's result, which may have parts of other kinds.
fn flat(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let parts = parts.iter().map(|part| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[{}]", part["type"].as_str().unwrap_or("something")),
            });
            parts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn of_result(result: TurnResult) -> EntryBody {
    let (usage, cost) = result.used();
    let text = match result.is_error {
        true if result.was_interrupted() => "interrupted".to_owned(),
        true => result.complaint(),
        false => result.result.clone().unwrap_or_default(),
    };
    EntryBody::Result {
        text: cut(text),
        is_error: result.is_error,
        usage,
        cost_usd: cost.or(result.total_cost_usd),
        duration_ms: result.duration_ms,
    }
}

fn of_response(response: Response) -> EntryBody {
    // What it repeats is an answer; to an interrupt it answers itself.
    let is_answer = response.response.get("behavior").is_some() || response.error.is_some();
    if !is_answer {
        return note("interrupted");
    }
    EntryBody::Answered {
        answer: ask::in_words(&response.response, response.error.as_deref()),
        request_id: response.request_id,
    }
}

fn of_limit(limit: &RateLimit) -> Option<EntryBody> {
    let cause = limit.rejection()?;
    Some(EntryBody::Waiting {
        reason: cause.reason,
        detail: cause.detail.unwrap_or_default(),
        until: limit.until(),
    })
}

fn cut(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let mut at = MAX_TEXT;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}\n[{} more bytes]", &text[..at], text.len() - at)
}
