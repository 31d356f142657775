//! Answers in the API's form.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::script::{Block, Pace, Usage};

/// So much of a text is sent at once.
const PIECE: usize = 8192;

/// A part of a stream.
#[derive(Debug)]
pub(crate) enum Part {
    Bytes(String),
    Pause(Duration),
    Gate(String),
    Cut,
}

/// A message of the assistant.
pub(crate) struct Message {
    id: String,
    model: Value,
    usage: Usage,
    blocks: Vec<Value>,
}

impl Message {
    pub(crate) fn new(model: &Value, usage: Usage, blocks: Vec<Block>) -> Self {
        Self {
            id: id("msg"),
            model: model.clone(),
            usage,
            blocks: blocks.into_iter().map(block).collect(),
        }
    }

    /// As the answer to a request that wants no stream.
    pub(crate) fn whole(&self) -> Value {
        let mut message = self.head(self.usage.output);
        message["content"] = json!(self.blocks);
        message["stop_reason"] = json!(self.stop_reason());
        message
    }

    pub(crate) fn stream(&self, pace: &Pace) -> Vec<Part> {
        let mut parts = vec![self.start()];
        for (index, block) in self.blocks.iter().enumerate() {
            let delta = |delta: Value| {
                event(json!({"type": "content_block_delta", "index": index, "delta": delta}))
            };
            parts.push(event(json!({
                "type": "content_block_start", "index": index, "content_block": empty(block),
            })));
            match block["type"].as_str() {
                Some("text") => {
                    for part in text(block["text"].as_str().unwrap_or_default(), pace) {
                        parts.push(match part {
                            Part::Bytes(text) => delta(json!({"type": "text_delta", "text": text})),
                            other => other,
                        });
                    }
                }
                Some("thinking") => {
                    let (thinking, signature) = (&block["thinking"], &block["signature"]);
                    parts.push(delta(
                        json!({"type": "thinking_delta", "thinking": thinking}),
                    ));
                    parts.push(delta(
                        json!({"type": "signature_delta", "signature": signature}),
                    ));
                }
                _ => {
                    let input = block["input"].to_string();
                    parts.push(delta(
                        json!({"type": "input_json_delta", "partial_json": input}),
                    ));
                }
            }
            parts.push(event(json!({"type": "content_block_stop", "index": index})));
        }
        parts.push(event(json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
            "usage": {"output_tokens": self.usage.output},
        })));
        parts.push(event(json!({"type": "message_stop"})));
        parts
    }

    /// The stream of a message of one text, cut before its end.
    pub(crate) fn cut(&self) -> Vec<Part> {
        let mut parts = self.stream(&Pace::AtOnce);
        // Without the ends of block and message.
        parts.truncate(parts.len() - 3);
        parts.push(Part::Cut);
        parts
    }

    fn start(&self) -> Part {
        event(json!({"type": "message_start", "message": self.head(1)}))
    }

    fn head(&self, output: u64) -> Value {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": {
                "input_tokens": self.usage.input,
                "cache_creation_input_tokens": self.usage.cache_creation,
                "cache_read_input_tokens": self.usage.cache_read,
                "output_tokens": output,
            },
        })
    }

    fn stop_reason(&self) -> &'static str {
        let uses_tools = self.blocks.iter().any(|block| block["type"] == "tool_use");
        if uses_tools { "tool_use" } else { "end_turn" }
    }
}

fn block(block: Block) -> Value {
    match block {
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::Thinking(text) => {
            json!({"type": "thinking", "thinking": text, "signature": id("signature")})
        }
        Block::Tool { name, input } => {
            json!({"type": "tool_use", "id": id("toolu"), "name": name, "input": input})
        }
    }
}

/// A block as its stream begins.
fn empty(block: &Value) -> Value {
    let mut empty = block.clone();
    for key in ["text", "thinking", "signature"] {
        if empty.get(key).is_some() {
            empty[key] = json!("");
        }
    }
    if empty.get("input").is_some() {
        empty["input"] = json!({});
    }
    empty
}

/// The pieces of a text, and what is between them.
fn text(text: &str, pace: &Pace) -> Vec<Part> {
    match pace {
        Pace::AtOnce => pieces(text),
        Pace::Words(pause) => text
            .split_inclusive(' ')
            .flat_map(|word| [Part::Bytes(word.to_owned()), Part::Pause(*pause)])
            .collect(),
        Pace::Halves { gate } => {
            let (first, second) = text.split_at(boundary(text, text.len() / 2));
            let mut parts = pieces(first);
            parts.push(Part::Gate(gate.clone()));
            parts.extend(pieces(second));
            parts
        }
    }
}

fn pieces(mut text: &str) -> Vec<Part> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = text.split_at(boundary(text, PIECE));
        pieces.push(Part::Bytes(piece.to_owned()));
        text = rest;
    }
    pieces
}

/// The first place from `at` on where a character begins, or the text's end.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

fn event(data: Value) -> Part {
    let name = data["type"].as_str().unwrap_or_default();
    Part::Bytes(format!("event: {name}\ndata: {data}\n\n"))
}

/// An error as the API tells it.
pub(crate) fn error(status: u16, message: &str) -> Value {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({
        "type": "error", "error": {"type": kind, "message": message}, "request_id": id("req"),
    })
}

/// An id like the API's, different from every other.
fn id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}
