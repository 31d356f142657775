//! What the stub was asked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Serialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    /// `null` if it was no JSON.
    pub(crate) body: Value,
}

/// What a tool gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolResult {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) is_error: bool,
}

impl Request {
    /// The session of Claude Code that it belongs to.
    pub(crate) fn session(&self) -> Option<&str> {
        self.header("x-claude-code-session-id")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn model(&self) -> Option<&str> {
        self.body["model"].as_str()
    }

    /// Whether it asks for the next message of a conversation. What else Claude Code wants of a model, it asks for without
    /// tools or as a summary.
    pub(crate) fn is_turn(&self) -> bool {
        let has_tools = self.body["tools"]
            .as_array()
            .is_some_and(|tools| !tools.is_empty());
        self.path == "/v1/messages" && has_tools && !self.wants_summary()
    }

    /// Whether it asks for a summary that is to stand for the conversation from now on.
    pub(crate) fn wants_summary(&self) -> bool {
        self.messages().last().is_some_and(|message| {
            text_of(&message["content"]).contains("<analysis> block followed by a <summary> block")
        })
    }

    /// The last thing that a user wrote, without what Claude Code adds to it.
    pub(crate) fn last_user_text(&self) -> Option<String> {
        self.user_texts()
            .map(|(_, text)| text)
            .filter(|text| !text.trim().is_empty())
            .last()
    }

    /// What tools gave back, in all of the conversation.
    pub(crate) fn tool_results(&self) -> Vec<ToolResult> {
        let blocks = self
            .messages()
            .iter()
            .filter(|message| message["role"] == "user")
            .flat_map(|message| message["content"].as_array().into_iter().flatten());
        blocks
            .filter(|block| block["type"] == "tool_result")
            .map(|block| ToolResult {
                id: block["tool_use_id"].as_str().unwrap_or_default().to_owned(),
                text: text_of(&block["content"]),
                is_error: block["is_error"] == true,
            })
            .collect()
    }

    /// The system prompt, and the system messages in the conversation.
    pub(crate) fn system_text(&self) -> String {
        let messages = self
            .messages()
            .iter()
            .filter(|message| message["role"] == "system")
            .map(|message| text_of(&message["content"]));
        let texts: Vec<String> = std::iter::once(text_of(&self.body["system"]))
            .chain(messages)
            .collect();
        texts.join("\n")
    }

    /// Every text that the user wrote, each with the place of the message that has it. What was written after a turn that
    /// failed is in the same message as what was written before; what was written while a turn ran is in a system message.
    pub(crate) fn user_texts(&self) -> impl Iterator<Item = (usize, String)> {
        let messages = self.messages().iter().enumerate();
        messages.flat_map(|(place, message)| {
            let texts = texts_of(&message["content"]).into_iter();
            let written: Vec<String> = match message["role"].as_str() {
                Some("user") => texts.map(without_reminders).collect(),
                Some("system") => texts.filter_map(sent_meanwhile).collect(),
                _ => Vec::new(),
            };
            written.into_iter().map(move |text| (place, text))
        })
    }

    /// How many answers follow the message at `place`. Messages of the assistant with nothing between them are one.
    pub(crate) fn answers_after(&self, place: usize) -> usize {
        let roles: Vec<&str> = self.messages()[place..]
            .iter()
            .filter_map(|message| message["role"].as_str())
            .collect();
        roles
            .windows(2)
            .filter(|pair| pair[0] != "assistant" && pair[1] == "assistant")
            .count()
    }

    fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map_or(&[], Vec::as_slice)
    }
}

fn text_of(content: &Value) -> String {
    texts_of(content).join("\n")
}

/// The texts of a content, which is one or a list of blocks.
fn texts_of(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => Vec::new(),
    }
}

/// What the user wrote while a turn ran, which Claude Code puts between sentences of its own.
fn sent_meanwhile(text: &str) -> Option<String> {
    let text = text.strip_prefix("The user sent a new message while you were working:\n")?;
    let end = text.rfind("\n\nThis is how Claude Code");
    Some(text[..end.unwrap_or(text.len())].to_owned())
}

fn without_reminders(text: &str) -> String {
    const END: &str = "</system-reminder>";
    let mut left = text;
    let mut kept = String::new();
    while let Some((before, after)) = left.split_once("<system-reminder>") {
        kept.push_str(before);
        left = after.split_once(END).map_or("", |(_, after)| after);
    }
    kept + left
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(messages: Value) -> Request {
        Request {
            method: "POST".to_owned(),
            path: "/v1/messages".to_owned(),
            headers: BTreeMap::new(),
            body: json!({"system": [{"type": "text", "text": "be good"}], "messages": messages}),
        }
    }

    #[test]
    fn a_conversation_is_read() {
        let result = |id: &str, content| json!({"type": "tool_result", "tool_use_id": id, "content": content, "is_error": id == "b"});
        let request = request(json!([
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>\n@say no\n</system-reminder>"},
                {"type": "text", "text": "go"},
            ]},
            {"role": "system", "content": "be quick"},
            {"role": "assistant", "content": "one"},
            {"role": "assistant", "content": "still one"},
            {"role": "user", "content": [
                result("a", json!("fine")),
                result("b", json!([{"type": "text", "text": "bad"}])),
            ]},
            {"role": "assistant", "content": "two"},
        ]));
        assert_eq!(request.last_user_text().unwrap().trim(), "go");
        assert_eq!(request.system_text(), "be good\nbe quick");
        assert_eq!(request.answers_after(0), 2);
        assert_eq!(request.answers_after(4), 1);
        let results = request.tool_results();
        assert_eq!(results[0].text, "fine");
        assert_eq!((&*results[1].text, results[1].is_error), ("bad", true));
    }
    #[test]
    fn every_text_of_the_user_is_found() {
        let request = request(json!([
            {"role": "user", "content": [
                {"type": "text", "text": "@fail 500"},
                {"type": "text", "text": "@say a"},
            ]},
            {"role": "system", "content": "# Environment\n@say no"},
            {"role": "assistant", "content": "a"},
            {"role": "system", "content": [{"type": "text", "text":
                "The user sent a new message while you were working:\n@say b\n\nThis is how Claude Code does it."
            }]},
        ]));
        let texts: Vec<(usize, String)> = request.user_texts().collect();
        let texts: Vec<(usize, &str)> = texts
            .iter()
            .map(|(place, text)| (*place, &**text))
            .collect();
        assert_eq!(texts, [(0, "@fail 500"), (0, "@say a"), (3, "@say b")]);
    }
}
