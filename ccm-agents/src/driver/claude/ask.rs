//! What Claude Code asks, and how it is answered.

use ccm_core::ask::{Answer, AskKind, Choice, ChoiceOption, Question};
use ccm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::words::{ControlRequest, Line};
use super::{Spool, parse, unreadable};
use crate::driver::lines::read_at;
use crate::terminal;

/// The tool with which it asks a question that is no permission.
const QUESTION: &str = "AskUserQuestion";
/// How much of what is asked about is kept with the ask; all of it is in the run's output.
const DETAIL: usize = 16 * 1024;
const TITLE: usize = 200;
/// What a denial says that has no words of its own.
const DENIED: &str = "The user denied this.";

/// Where in standard output a request is: its content, which can be large, is not kept twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What a request asks.
pub(super) fn question(request: &Value, place: Place) -> Question {
    let payload = json!(place).to_string();
    let subtype = text(request, "subtype");
    if subtype != "can_use_tool" {
        return Question {
            kind: AskKind::Permission,
            title: one_line(&format!(
                "Claude Code wants {subtype}, which CCM does not know"
            )),
            detail: format!(
                "Whatever is answered, it is told that CCM can't do this.\n\n{}",
                cut(&pretty(request))
            ),
            choices: Vec::new(),
            payload,
        };
    }
    let tool = text(request, "tool_name");
    let input = &request["input"];
    let choices = match tool {
        QUESTION => choices(input),
        _ => Vec::new(),
    };
    if let Some(first) = choices.first() {
        let more = match choices.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        return Question {
            kind: AskKind::Choice,
            title: one_line(&format!("{}{more}", first.question)),
            detail: cut(&describe_choices(&choices)),
            choices,
            payload,
        };
    }
    let detail = detail(tool, request);
    let about = about(tool, input).unwrap_or_else(|| detail.clone());
    Question {
        kind: AskKind::Permission,
        title: one_line(&format!("{tool}: {about}")),
        detail: cut(&detail),
        choices,
        payload,
    }
}

fn choices(input: &Value) -> Vec<Choice> {
    let questions = input["questions"].as_array();
    let questions = questions.map(Vec::as_slice).unwrap_or_default();
    questions
        .iter()
        .map(|question| Choice {
            question: text(question, "question").to_owned(),
            header: text(question, "header").to_owned(),
            options: question["options"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .map(|option| ChoiceOption {
                    label: text(option, "label").to_owned(),
                    description: text(option, "description").to_owned(),
                })
                .collect(),
            multiple: question["multiSelect"].as_bool().unwrap_or(false),
        })
        .collect()
}

fn describe_choices(choices: &[Choice]) -> String {
    let mut lines = Vec::new();
    for choice in choices {
        lines.push(choice.question.clone());
        for (at, option) in choice.options.iter().enumerate() {
            let note = match option.description.is_empty() {
                true => String::new(),
                false => format!(": {}", option.description),
            };
            lines.push(format!("  {}. {}{note}", at + 1, option.label));
        }
        if choice.multiple {
            lines.push("  (more than one may be chosen)".to_owned());
        }
    }
    lines.join("\n")
}

/// The one thing that a tool is about.
fn about(tool: &str, input: &Value) -> Option<String> {
    if tool == "ExitPlanMode" {
        return Some("may it go on with this plan?".to_owned());
    }
    [
        "command",
        "file_path",
        "notebook_path",
        "url",
        "query",
        "path",
    ]
    .iter()
    .find_map(|key| input[*key].as_str())
    .map(str::to_owned)
}

/// All that a person needs to decide.
fn detail(tool: &str, request: &Value) -> String {
    let input = &request["input"];
    let mut lines = Vec::new();
    match (tool, input) {
        ("Bash", _) if input["command"].is_string() => {
            lines.push(text(input, "command").to_owned());
            lines.extend(input["description"].as_str().map(|why| format!("# {why}")));
            if input["run_in_background"] == true {
                lines.push("# in the background".to_owned());
            }
        }
        ("Write", _) if input["content"].is_string() => {
            lines.push(text(input, "file_path").to_owned());
            lines.extend(marked('+', text(input, "content")));
        }
        ("Edit", _) if input["new_string"].is_string() => {
            lines.push(text(input, "file_path").to_owned());
            lines.extend(marked('-', text(input, "old_string")));
            lines.extend(marked('+', text(input, "new_string")));
            if input["replace_all"] == true {
                lines.push("(everywhere in the file)".to_owned());
            }
        }
        ("ExitPlanMode", _) if input["plan"].is_string() => {
            lines.push(text(input, "plan").to_owned());
        }
        _ => lines.push(pretty(input)),
    }
    for (key, what) in [
        ("blocked_path", "it would touch"),
        ("decision_reason", "asked because"),
    ] {
        lines.extend(
            request[key]
                .as_str()
                .map(|said| format!("({what}: {said})")),
        );
    }
    lines.join("\n")
}

fn marked(mark: char, text: &str) -> impl Iterator<Item = String> {
    text.lines().map(move |line| format!("{mark} {line}"))
}

/// The request that an ask was made of.
pub(super) fn request_at(payload: &str, spool: &Spool) -> Result<Value> {
    let gone = || {
        Error::new(
            ErrorKind::Corrupt,
            "the request that was asked is no longer in the run's output",
        )
    };
    let place: Place = serde_json::from_str(payload).map_err(|_| gone())?;
    let file = spool.out.as_ref().ok_or_else(gone)?;
    let line = read_at(file, place.offset, place.length).map_err(unreadable)?;
    match parse(&line) {
        Some(Line::ControlRequest(ControlRequest { request, .. })) => Ok(request),
        _ => Err(gone()),
    }
}

/// The line that answers a request.
pub(super) fn response(request_id: &str, request: &Value, answer: &Answer) -> Value {
    if text(request, "subtype") != "can_use_tool" {
        return json!({
            "type": "control_response",
            "response": {
                "subtype": "error",
                "request_id": request_id,
                "error": "CCM can't do this",
            },
        });
    }
    let input = &request["input"];
    let response = match answer {
        Answer::Allow => json!({ "behavior": "allow", "updatedInput": input }),
        Answer::Deny { message } => json!({
            "behavior": "deny",
            "message": message.as_deref().filter(|text| !text.is_empty()).unwrap_or(DENIED),
        }),
        Answer::Text { text: texts } => {
            let questions = choices(input);
            let answers: serde_json::Map<String, Value> = questions
                .into_iter()
                .zip(texts)
                .map(|(choice, text)| (choice.question, json!(text)))
                .collect();
            let mut input = input.clone();
            input["answers"] = Value::Object(answers);
            json!({ "behavior": "allow", "updatedInput": input })
        }
    };
    json!({
        "type": "control_response",
        "response": { "subtype": "success", "request_id": request_id, "response": response },
    })
}

/// An answer that the program repeats, in words.
pub(super) fn in_words(response: &Value, error: Option<&str>) -> String {
    if let Some(error) = error {
        return format!("refused: {error}");
    }
    let answers = response["updatedInput"]["answers"].as_object();
    match (text(response, "behavior"), answers) {
        ("deny", _) => format!("denied: {}", text(response, "message")),
        (_, Some(answers)) => {
            let texts = answers.values().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join("; ")
        }
        ("allow", None) => "allowed".to_owned(),
        (other, None) => other.to_owned(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = terminal::line(&flat);
    match plain.char_indices().nth(TITLE) {
        Some((at, _)) => format!("{}…", &plain[..at]),
        None => plain,
    }
}

fn cut(text: &str) -> String {
    if text.len() <= DETAIL {
        return text.to_owned();
    }
    let mut at = DETAIL;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!(
        "{}\n({} more bytes; all of it is in the run's transcript)",
        &text[..at],
        text.len() - at
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        offset: 0,
        length: 0,
    };

    fn tool(name: &str, input: Value) -> Value {
        json!({ "subtype": "can_use_tool", "tool_name": name, "input": input })
    }

    #[test]
    fn a_permission_shows_what_is_asked_about() {
        let bash = question(
            &tool(
                "Bash",
                json!({ "command": "rm -rf\n build", "description": "clean" }),
            ),
            PLACE,
        );
        assert_eq!(bash.kind, AskKind::Permission);
        assert_eq!(bash.title, "Bash: rm -rf build");
        assert_eq!(bash.detail, "rm -rf\n build\n# clean");
        let edit = question(
            &tool(
                "Edit",
                json!({ "file_path": "/a", "old_string": "x\ny", "new_string": "z" }),
            ),
            PLACE,
        );
        assert_eq!(edit.detail, "/a\n- x\n- y\n+ z");
        let other = question(&tool("mcp__x", json!({ "n": 1 })), PLACE);
        assert_eq!(other.title, "mcp__x: { \"n\": 1 }");
    }

    #[test]
    fn what_is_large_is_cut_and_titles_are_one_plain_line() {
        let ask = question(
            &tool(
                "Write",
                json!({ "file_path": "/a\u{1b}[31m\nb", "content": "€".repeat(20_000) }),
            ),
            PLACE,
        );
        assert!(ask.detail.len() < DETAIL + 100 && ask.detail.contains("more bytes"));
        assert!(!ask.title.contains(['\u{1b}', '\n']));
    }

    #[test]
    fn a_question_is_answered_by_its_text() {
        let request = tool(
            QUESTION,
            json!({ "questions": [
                { "question": "Which?", "header": "Pick", "multiSelect": false,
                  "options": [{ "label": "A", "description": "aa" }] },
                { "question": "How?", "options": [], "multiSelect": true },
            ]}),
        );
        let ask = question(&request, PLACE);
        assert_eq!(ask.kind, AskKind::Choice);
        assert_eq!(ask.title, "Which? (and 1 more)");
        assert_eq!(ask.choices.len(), 2);
        let answer = Answer::Text {
            text: vec!["A".to_owned(), "so".to_owned()],
        };
        let line = response("r", &request, &answer);
        let input = &line["response"]["response"]["updatedInput"];
        assert_eq!(input["answers"], json!({ "Which?": "A", "How?": "so" }));
        assert_eq!(input["questions"], request["input"]["questions"]);
        assert_eq!(in_words(&line["response"]["response"], None), "so; A");
    }

    #[test]
    fn what_is_not_known_is_asked_too_and_refused() {
        let request = json!({ "subtype": "elicitation", "message": "?" });
        let ask = question(&request, PLACE);
        assert!(ask.title.contains("elicitation"));
        let line = response("r", &request, &Answer::Allow);
        assert_eq!(line["response"]["subtype"], "error");
    }
}
