//! What an agent said and did, told the same way whatever coding CLI it is.
//!
//! A driver makes entries of its program's output; the API gives them out, and terminals show them as
//! [`render`](Entry::render) writes them.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::ask::Choice;
use crate::reason::Reason;
use crate::run::Usage;
use crate::time::Timestamp;

/// How many lines of a tool's result a terminal shows.
const SHOWN_LINES: usize = 6;
/// How much of one line of it.
const SHOWN_CHARS: usize = 200;

/// A part of what a run said and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Transcript {
    /// In the order in which it happened.
    pub entries: Vec<Entry>,
    /// Goes into `before` for the part before: the place in standard output from which on it was read, in bytes.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub begin: u64,
    /// Goes into `after` for the next part: the place in standard output up to which it was read, in bytes.
    pub next: u64,
    /// Whether this reached the end of what there is now.
    pub complete: bool,
}

/// One thing that an agent said or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entry {
    /// The place in the run's standard output that tells of it, in bytes.
    pub offset: u64,
    /// When, if the program says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// What.
    #[serde(flatten)]
    pub body: EntryBody,
}

/// What an agent said or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub enum EntryBody {
    /// The conversation begins, or goes on.
    Session {
        /// The coding CLI's name for it.
        session_id: String,
        /// The model.
        model: Option<String>,
        /// The version of the coding CLI.
        version: Option<String>,
    },
    /// What a person, or CCM for them, said to the agent.
    Prompt {
        /// The text.
        text: String,
    },
    /// What the agent says.
    Text {
        /// The text.
        text: String,
    },
    /// What the agent thinks.
    Thinking {
        /// The text.
        text: String,
    },
    /// The agent uses a tool.
    ToolUse {
        /// Names this use; its result has the same.
        id: String,
        /// The tool.
        name: String,
        /// What it is given.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        input: serde_json::Value,
    },
    /// What came of it.
    ToolResult {
        /// Of this use.
        id: String,
        /// What the tool says.
        text: String,
        /// Whether it failed.
        is_error: bool,
    },
    /// The agent asks a person.
    Asked {
        /// The coding CLI's name for the request.
        request_id: String,
        /// In one line.
        title: String,
        /// What can be chosen.
        choices: Vec<Choice>,
    },
    /// It has the answer.
    Answered {
        /// The coding CLI's name for the request.
        request_id: String,
        /// In words.
        answer: String,
    },
    /// The provider of its model lets it wait.
    Waiting {
        /// Why.
        reason: Reason,
        /// In a sentence.
        detail: String,
        /// Until when, if that is known.
        until: Option<Timestamp>,
    },
    /// A turn is over.
    Result {
        /// The agent's final answer, or what went wrong.
        text: String,
        /// Whether it failed.
        is_error: bool,
        /// What the turn used.
        usage: Usage,
        /// What the turn cost.
        cost_usd: Option<f64>,
        /// How long it took, in milliseconds.
        duration_ms: Option<u64>,
    },
    /// Output that is no more than text.
    Output {
        /// The text.
        text: String,
    },
    /// Something that went by.
    Note {
        /// In a sentence.
        text: String,
    },
}

impl Entry {
    /// The entry for a terminal: lines with colours, the last one ended.
    ///
    /// The text in it is the agent's own and may hold anything; whoever shows it filters it.
    pub fn render(&self) -> String {
        let mut out = String::new();
        match &self.body {
            EntryBody::Session { model, version, .. } => {
                let model = model.as_deref().unwrap_or("the default model");
                let version = version.as_deref().unwrap_or("?");
                line(&mut out, DIM, &format!("{model}, version {version}"));
            }
            EntryBody::Prompt { text } => excerpt(&mut out, "› ", BOLD, text),
            EntryBody::Text { text } | EntryBody::Output { text } => block(&mut out, "", "", text),
            EntryBody::Thinking { text } => excerpt(&mut out, "  ", DIM, text),
            EntryBody::ToolUse { name, input, .. } => {
                let shown = one_line(&describe(input));
                let _ = writeln!(out, "{BLUE}● {name}{RESET} {shown}");
            }
            EntryBody::ToolResult { text, is_error, .. } => {
                let colour = if *is_error { RED } else { DIM };
                excerpt(&mut out, "  ", colour, text);
            }
            EntryBody::Asked { title, choices, .. } => {
                line(&mut out, YELLOW, &format!("? {}", one_line(title)));
                for choice in choices {
                    if choice.question != *title {
                        line(
                            &mut out,
                            YELLOW,
                            &format!("  {}", one_line(&choice.question)),
                        );
                    }
                    for (at, option) in choice.options.iter().enumerate() {
                        let shown = one_line(&option.label);
                        let _ = writeln!(out, "    {}. {shown}", at + 1);
                    }
                }
                line(&mut out, DIM, "  (it waits for an answer: ccm asks)");
            }
            EntryBody::Answered { answer, .. } => {
                line(&mut out, YELLOW, &format!("! {}", one_line(answer)));
            }
            EntryBody::Waiting { detail, until, .. } => {
                let until = until.map(|at| format!(" (until {at})")).unwrap_or_default();
                line(&mut out, YELLOW, &format!("… {}{until}", one_line(detail)));
            }
            EntryBody::Result {
                text,
                is_error,
                usage,
                cost_usd,
                duration_ms,
            } => {
                if *is_error {
                    block(&mut out, "✗ ", RED, text);
                }
                line(&mut out, DIM, &figures(usage, *cost_usd, *duration_ms));
            }
            EntryBody::Note { text } => line(&mut out, DIM, &one_line(text)),
        }
        out
    }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const BLUE: &str = "\x1b[34m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[m";

fn line(out: &mut String, colour: &str, text: &str) {
    let _ = writeln!(out, "{colour}{text}{RESET}");
}

/// A text as it is, its first line marked.
fn block(out: &mut String, mark: &str, colour: &str, text: &str) {
    let reset = if colour.is_empty() { "" } else { RESET };
    for (at, part) in text.trim_end().lines().enumerate() {
        let lead = if at == 0 {
            mark.to_owned()
        } else {
            " ".repeat(mark.chars().count())
        };
        let _ = writeln!(out, "{colour}{lead}{part}{reset}");
    }
}

/// The beginning of a text that may be long.
fn excerpt(out: &mut String, lead: &str, colour: &str, text: &str) {
    let mut lines = text.trim_end().lines();
    for part in lines.by_ref().take(SHOWN_LINES) {
        line(out, colour, &format!("{lead}{}", shortened(part)));
    }
    match lines.count() {
        0 => {}
        more => line(out, colour, &format!("{lead}(and {more} more lines)")),
    }
}

fn one_line(text: &str) -> String {
    shortened(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What a tool is given, in a line: the one thing that most tools are about, or all of it.
fn describe(input: &serde_json::Value) -> String {
    const TELLING: &[&str] = &[
        "command",
        "file_path",
        "path",
        "pattern",
        "url",
        "query",
        "description",
        "prompt",
        "skill",
    ];
    let telling = TELLING.iter().find_map(|key| input.get(*key)?.as_str());
    match telling {
        Some(text) => text.to_owned(),
        None if input.as_object().is_some_and(serde_json::Map::is_empty) => String::new(),
        None => input.to_string(),
    }
}

fn figures(usage: &Usage, cost_usd: Option<f64>, duration_ms: Option<u64>) -> String {
    let tokens_in = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    let mut parts = vec![format!(
        "{tokens_in} tokens in, {} out",
        usage.output_tokens
    )];
    if let Some(cost) = cost_usd {
        parts.insert(0, format!("${cost:.4}"));
    }
    if let Some(ms) = duration_ms {
        parts.push(format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(body: EntryBody) -> String {
        let entry = Entry {
            offset: 0,
            time: None,
            body,
        };
        entry.render()
    }

    #[test]
    fn a_tool_is_told_in_one_line() {
        let tool = |input: serde_json::Value| {
            rendered(EntryBody::ToolUse {
                id: "1".to_owned(),
                name: "Bash".to_owned(),
                input,
            })
        };
        let shown = tool(serde_json::json!({ "command": "a\n  b", "timeout": 5 }));
        assert_eq!(shown, format!("{BLUE}● Bash{RESET} a b\n"));
        let long = tool(serde_json::json!({ "command": "€".repeat(1000) }));
        assert!(long.ends_with("…\n") && long.chars().count() < 250);
        assert_eq!(
            tool(serde_json::json!({})),
            format!("{BLUE}● Bash{RESET} \n")
        );
    }

    #[test]
    fn a_long_result_is_shortened_and_says_so() {
        let shown = rendered(EntryBody::ToolResult {
            id: "1".to_owned(),
            text: "x\n".repeat(10),
            is_error: false,
        });
        assert_eq!(shown.lines().count(), SHOWN_LINES + 1);
        assert!(shown.contains("(and 4 more lines)"));
    }

    #[test]
    fn an_entry_is_flat_on_the_wire() {
        let entry = Entry {
            offset: 7,
            time: None,
            body: EntryBody::Text {
                text: "hi".to_owned(),
            },
        };
        let json = serde_json::to_value(&entry).unwrap();
        let flat = serde_json::json!({ "offset": 7, "type": "text", "text": "hi" });
        assert_eq!(json, flat);
        assert_eq!(serde_json::from_value::<Entry>(json).unwrap(), entry);
    }
}
