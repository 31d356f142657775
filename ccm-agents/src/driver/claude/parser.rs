//! What the lines mean for a run.
//!
//! ```text
//!            message taken                result
//! resting ──────────────────▶ in a turn ─────────▶ resting
//!                              │      ▲
//!                    asks ─────┘      └──── has the answer
//! ```
//!
//! It rests while it has reported and has neither a message, a question nor background work to come back to.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use ccm_core::Result;
use ccm_core::id::InputId;
use ccm_core::run::{
    Checkpoint, Observation, Parking, ParserState, Refusal, Report, Reported, Stream, Usage,
};
use ccm_core::runtime::{Batch, RunEnd};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::ask::{self, Place};
use super::failure::{self, ApiError};
use super::words::{Assistant, Block, Content, Line, RateLimit, System, TurnResult, User};
use super::{Spool, parse, unreadable};
use crate::driver::lines::{self, Skipping, read_at};

/// Of the state below. A checkpoint with another one makes it anew from the beginning of the output.
const VERSION: u32 = 1;
/// How many of the last messages' names are kept, to count each once.
const REMEMBERED: usize = 64;
/// Output that is parsed again is read in pieces of this size.
const PIECE: u64 = 4 * 1024 * 1024;

/// How many beginnings of a line are tried in one that can't be read.
const TRIES: usize = 8;
/// The rest of a line comes sooner than that, if it comes.
const CUT_AFTER: Duration = Duration::from_secs(5);

/// What is remembered between two lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Parser {
    skipping: Skipping,
    /// Whether it is in a turn.
    busy: bool,
    /// Messages that it has and has not begun with.
    queued: BTreeSet<String>,
    /// Requests without an answer.
    open: BTreeSet<String>,
    background: u64,
    parked: bool,
    /// What the turns that are over used.
    used: Usage,
    cost_usd: Option<f64>,
    /// The price of the whole conversation when the last turn ended.
    total_usd: Option<f64>,
    /// What the messages of this turn used, as far as they say.
    turn: Usage,
    counted: Vec<String>,
    denied: u32,
    /// How many questions of this turn it took back: its result counts them as denied.
    taken_back: u32,
    api_error: Option<ApiError>,
    resets_at: Option<Timestamp>,
    /// The last result.
    result: Option<Place>,
    /// Of that result.
    refusal: Option<KeptRefusal>,
    /// A line is not whole, and no result came since: there was no room for it, or it was the last.
    cut: bool,
    /// A turn is over, and its result is what was cut.
    untold: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptRefusal {
    cause: Setback,
    until: Option<Timestamp>,
    lost_session: bool,
}

/// The next part of a run's output after `from`.
pub(crate) fn read(spool: &Spool, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
    let mut parser = Parser::restore(spool, from)?;
    let before = parser.clone();
    let part = lines::part(spool, from, &mut parser.skipping, end.is_some())?;
    let mut observations = Vec::new();
    for seen in part.seen {
        let range = match &seen {
            Observation::Output {
                stream: Stream::Out,
                from,
                to,
            } => Some((*from, *to)),
            _ => None,
        };
        observations.push(seen);
        if let (Some((from, to)), Some(file)) = (range, &spool.out) {
            parser.take(file, from, to, &mut observations)?;
        }
    }
    if (parser.used, parser.turn, parser.cost_usd) != (before.used, before.turn, before.cost_usd) {
        observations.push(Observation::Used {
            usage: sum(parser.used, parser.turn),
            cost_usd: parser.cost_usd,
        });
    }
    let over = part.complete && matches!(end, Some(RunEnd::Exited(_) | RunEnd::Gone));
    let reported = match over {
        true => parser.reported(spool)?,
        false => Reported::Nothing,
    };
    Ok(Batch {
        observations,
        reported,
        last_words: lines::last_words(spool).filter(|_| over),
        resting: part.complete && (parser.is_resting() || is_cut(spool, part.out)),
        complete: part.complete,
        checkpoint: Checkpoint {
            out: part.out,
            err: part.err,
            parser: parser.keep(from),
        },
    })
}

/// Whether standard output, taken in up to `out`, has ended in the middle of a line long ago: there was no room for the
/// rest. Such a program goes on as if it had been heard, so its report may never come, and it waits for input for ever.
fn is_cut(spool: &Spool, out: u64) -> bool {
    let written = || spool.out.as_ref()?.metadata().ok()?.modified().ok();
    out < spool.out_size
        && written()
            .and_then(|at| at.elapsed().ok())
            .is_some_and(|ago| ago > CUT_AFTER)
}

/// The line that stands at the end of one that can't be read, and where it begins. What is nested in it does not reach to
/// its end, so there is no other. A hostile line must not cost more than a few tries.
fn last_line_of(torn: &[u8]) -> Option<(usize, Line)> {
    const BEGINNING: &[u8] = b"{\"type\":";
    (1..torn.len())
        .rev()
        .filter(|at| torn[*at..].starts_with(BEGINNING))
        .take(TRIES)
        .find_map(|at| Some((at, parse(&torn[at..])?)))
}

impl Parser {
    fn restore(spool: &Spool, from: &Checkpoint) -> Result<Self> {
        let kept = from
            .parser
            .as_ref()
            .filter(|state| state.version == VERSION)
            .and_then(|state| serde_json::from_str(&state.data).ok());
        if let Some(parser) = kept {
            return Ok(parser);
        }
        let mut parser = Self::default();
        if let Some(file) = &spool.out {
            // What was told then is not told again.
            parser.take(file, 0, from.out.min(spool.out_size), &mut Vec::new())?;
        }
        Ok(parser)
    }

    fn keep(&self, from: &Checkpoint) -> Option<ParserState> {
        if *self == Self::default() && from.parser.is_none() {
            return None;
        }
        Some(ParserState {
            version: VERSION,
            data: serde_json::to_string(self).ok()?,
        })
    }

    /// Takes in the lines between two places.
    fn take(&mut self, file: &File, from: u64, to: u64, seen: &mut Vec<Observation>) -> Result<()> {
        let (mut at, mut piece) = (from, PIECE);
        while at < to {
            let bytes = read_at(file, at, piece.min(to - at)).map_err(unreadable)?;
            if bytes.is_empty() {
                break;
            }
            let last = at + bytes.len() as u64 >= to;
            let mut taken = 0;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                let whole = line.ends_with(b"\n");
                if !whole && !last {
                    break;
                }
                self.line(line, whole, at + taken as u64, seen);
                taken += line.len();
            }
            // A line that is longer than a piece.
            piece = if taken == 0 { piece * 2 } else { PIECE };
            at += taken as u64;
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], whole: bool, offset: u64, seen: &mut Vec<Observation>) {
        let place = Place {
            offset,
            length: bytes.len() as u64,
        };
        match parse(bytes) {
            Some(line) => self.word(line, place, seen),
            // What a wrapper around the program says beside the protocol is no part of it.
            None => {
                self.cut |= !whole || bytes.starts_with(b"{");
                // The next line for which there was room stands right behind the half of one for which there was none.
                match last_line_of(bytes) {
                    // It is not a whole line, so it is missed like one that is not there.
                    None | Some((_, Line::Result(_))) => {}
                    Some((at, line)) => {
                        let place = Place {
                            offset: place.offset + at as u64,
                            length: place.length - at as u64,
                        };
                        self.word(line, place, seen);
                    }
                }
            }
        }
    }

    fn word(&mut self, line: Line, place: Place, seen: &mut Vec<Observation>) {
        match line {
            Line::System(system) => self.system(system, seen),
            Line::Assistant(said) => self.assistant(said, seen),
            Line::User(said) => self.user(said, seen),
            Line::Result(result) => self.turn_over(&result, place, seen),
            Line::ControlRequest(request) => {
                self.busy = true;
                self.open.insert(request.request_id.clone());
                seen.push(Observation::Asked {
                    question: ask::question(&request.request, place),
                    request_id: request.request_id,
                });
            }
            Line::ControlResponse(said) => {
                let request_id = said.response.request_id;
                if self.open.remove(&request_id) {
                    seen.push(Observation::AnswerTaken { request_id });
                } else {
                    // An interrupt is answered, whether there was a turn to be interrupted or not.
                    message_taken(&request_id, seen);
                }
            }
            Line::ControlCancelRequest { request_id } => {
                if self.open.remove(&request_id) {
                    self.taken_back += 1;
                    seen.push(Observation::Withdrawn { request_id });
                }
            }
            Line::CommandLifecycle {
                command_uuid,
                state,
            } => self.lifecycle(command_uuid, &state, seen),
            Line::RateLimitEvent { rate_limit_info } => self.limit(&rate_limit_info, seen),
            Line::Other => {}
        }
    }

    fn system(&mut self, system: System, seen: &mut Vec<Observation>) {
        match system {
            System::Init { session_id, .. } => {
                self.busy = true;
                seen.push(Observation::Session { session_id });
            }
            System::ApiRetry(retry) => self.park(failure::retrying(&retry), None, seen),
            System::BackgroundTasksChanged { tasks } => self.background = tasks.len() as u64,
            System::TaskNotification { .. } | System::CompactBoundary | System::Other => {}
        }
    }

    fn lifecycle(&mut self, name: String, state: &str, seen: &mut Vec<Observation>) {
        match state {
            "queued" => {
                message_taken(&name, seen);
                self.queued.insert(name);
            }
            "started" => {
                self.queued.remove(&name);
                self.busy = true;
            }
            _ => {
                self.queued.remove(&name);
                // Otherwise the result ends the turn.
                if self.cut && self.busy {
                    self.busy = false;
                    self.untold = true;
                }
            }
        }
    }

    fn assistant(&mut self, said: Assistant, seen: &mut Vec<Observation>) {
        self.busy = true;
        if said.is_api_error_message {
            self.api_error = said.error.map(|error| ApiError {
                error,
                status: said.api_error_status,
            });
            return;
        }
        self.unpark(seen);
        let (Some(id), Some(usage)) = (said.message.id, said.message.usage) else {
            return;
        };
        // The lines of one message repeat what the message used.
        if self.counted.contains(&id) {
            return;
        }
        if self.counted.len() == REMEMBERED {
            self.counted.remove(0);
        }
        self.counted.push(id);
        self.turn = sum(self.turn, usage.into());
    }

    fn user(&mut self, said: User, seen: &mut Vec<Observation>) {
        if said.is_replay {
            if let Some(name) = said.uuid {
                message_taken(&name, seen);
            }
            return;
        }
        self.busy = true;
        let has_result = matches!(
            &said.message.content,
            Content::Blocks(blocks)
                if blocks.iter().any(|block| matches!(block, Block::ToolResult { .. }))
        );
        if has_result {
            self.unpark(seen);
        }
    }

    fn limit(&mut self, limit: &RateLimit, seen: &mut Vec<Observation>) {
        let Some(cause) = limit.rejection() else {
            return;
        };
        self.resets_at = limit.until();
        self.park(cause, self.resets_at, seen);
    }

    fn park(&mut self, cause: Setback, until: Option<Timestamp>, seen: &mut Vec<Observation>) {
        self.busy = true;
        self.parked = true;
        seen.push(Observation::Parked {
            parking: Some(Parking { cause, until }),
        });
    }

    fn unpark(&mut self, seen: &mut Vec<Observation>) {
        if std::mem::take(&mut self.parked) {
            seen.push(Observation::Parked { parking: None });
        }
    }

    fn turn_over(&mut self, result: &TurnResult, place: Place, seen: &mut Vec<Observation>) {
        self.unpark(seen);
        (self.busy, self.cut, self.untold) = (false, false, false);
        let (usage, cost) = result.used();
        self.used = sum(self.used, usage);
        self.turn = Usage::default();
        // Older versions tell only what the conversation cost in all.
        let by_total = || {
            let total = result.total_cost_usd?;
            Some((total - self.total_usd.unwrap_or(0.0)).max(0.0))
        };
        if let Some(cost) = cost.or_else(by_total) {
            self.cost_usd = Some(self.cost_usd.unwrap_or(0.0) + cost);
        }
        self.total_usd = result.total_cost_usd;
        let denied = u32::try_from(result.permission_denials.len()).unwrap_or(0);
        self.denied += denied.saturating_sub(std::mem::take(&mut self.taken_back));
        let refused = match result.is_error {
            true => failure::refusal(result, self.api_error.as_ref(), self.resets_at),
            false => None,
        };
        self.refusal = refused.map(|refusal| KeptRefusal {
            cause: refusal.cause,
            until: refusal.until,
            lost_session: refusal.lost_session,
        });
        self.api_error = None;
        self.result = Some(place);
    }

    fn is_resting(&self) -> bool {
        (self.result.is_some() || self.untold) && self.unfinished().is_none()
    }

    /// What is still to come, in words.
    fn unfinished(&self) -> Option<String> {
        if !self.open.is_empty() {
            return Some("the agent ended with a question open".to_owned());
        }
        if self.busy || !self.queued.is_empty() {
            return Some("the agent ended while it was at work on a further message".to_owned());
        }
        match self.background {
            0 => None,
            1 => Some("the agent ended with a background task still running".to_owned()),
            count => Some(format!(
                "the agent ended with {count} background tasks still running"
            )),
        }
    }

    fn reported(&self, spool: &Spool) -> Result<Reported> {
        if self.untold {
            return Ok(Reported::Cut);
        }
        let (Some(place), Some(file)) = (self.result, &spool.out) else {
            return Ok(match self.cut {
                true => Reported::Cut,
                false => Reported::Nothing,
            });
        };
        let line = read_at(file, place.offset, place.length).map_err(unreadable)?;
        let Some(Line::Result(result)) = parse(&line) else {
            return Ok(Reported::Cut);
        };
        let error = match (result.is_error, result.was_interrupted()) {
            (_, true) => Some("its turn was interrupted".to_owned()),
            (true, false) => Some(with_status(&result)),
            (false, false) => None,
        };
        let refusal = self.refusal.clone().map(|kept| Refusal {
            cause: kept.cause,
            until: kept.until,
            lost_session: kept.lost_session,
        });
        Ok(Reported::Whole(Report {
            text: result.result.unwrap_or_default(),
            conclusive: true,
            error,
            refusal,
            denied: self.denied,
            usage: sum(self.used, self.turn),
            cost_usd: self.cost_usd,
            unfinished: self.unfinished(),
        }))
    }
}

fn with_status(result: &TurnResult) -> String {
    let said = result.complaint();
    match result.api_error_status {
        Some(status) if !said.contains(&status.to_string()) => format!("{said} ({status})"),
        _ => said,
    }
}

/// A message or an interrupt that CCM sent carries the id of its input. The prompt has another name, and so has what others
/// sent.
fn message_taken(name: &str, seen: &mut Vec<Observation>) {
    if let Ok(input_id) = name.parse::<InputId>() {
        seen.push(Observation::MessageTaken { input_id });
    }
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        input_tokens: a.input_tokens + b.input_tokens,
        output_tokens: a.output_tokens + b.output_tokens,
        cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
        cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
    }
}

#[cfg(test)]
mod tests;
