//! Directives: from a prompt to what is answered.

use std::time::Duration;

use serde_json::Value;

/// What a prompt asks of the stub.
#[derive(Debug, PartialEq)]
pub(crate) struct Script {
    steps: Vec<Step>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) hold: Option<String>,
    pub(crate) usage: Usage,
    pub(crate) headers: Vec<(String, String)>,
    /// How many requests it answers, if not all of its step.
    pub(crate) times: Option<u32>,
    pub(crate) answer: Answer,
}

/// Tokens that an answer reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cache_creation: u64,
    pub(crate) cache_read: u64,
    pub(crate) output: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Message { blocks: Vec<Block>, pace: Pace },
    Error { status: u16, message: String },
    Cut { text: String },
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    Text(String),
    Thinking(String),
    Tool { name: String, input: Value },
}

/// How fast the texts of a message come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pace {
    AtOnce,
    Words(Duration),
    Halves { gate: String },
}

impl Usage {
    pub(crate) const USUAL: Self = Self {
        input: 100,
        cache_creation: 20,
        cache_read: 30,
        output: 50,
    };
}

impl Step {
    /// An answer of which nothing special was asked.
    pub(crate) fn of(answer: Answer) -> Self {
        Self {
            hold: None,
            usage: Usage::USUAL,
            headers: Vec::new(),
            times: None,
            answer,
        }
    }

    pub(crate) fn say(text: &str) -> Self {
        Self::of(Answer::say(text.to_owned()))
    }

    pub(crate) fn error(status: u16, message: String) -> Self {
        Self::of(Answer::Error { status, message })
    }
}

impl Answer {
    fn say(text: String) -> Self {
        Self::message(vec![Block::Text(text)], Pace::AtOnce)
    }

    fn message(blocks: Vec<Block>, pace: Pace) -> Self {
        Self::Message { blocks, pace }
    }
}

impl Script {
    /// The directives in `text`; `None` if it has none.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut steps = Vec::new();
        let mut next = Step::say("");
        let mut any = false;
        for (name, rest) in text.lines().filter_map(directive) {
            any = true;
            match name {
                "hold" => next.hold = Some(word(rest).ok_or("@hold needs the name of a gate")?.0),
                "usage" => next.usage = usage(rest)?,
                "header" => next.headers.push(header(rest)?),
                _ => {
                    let mut step = std::mem::replace(&mut next, Step::say(""));
                    fill(&mut step, name, rest)?;
                    steps.push(step);
                }
            }
        }
        if any && next != Step::say("") {
            return Err("the last directive changes one that follows, and none does".to_owned());
        }
        Ok(any.then_some(Self { steps }))
    }

    /// What the request after `answered` answers gets; `None` when the directives have run out. `again` counts a request
    /// that meets the step of that number, and returns how many did before.
    pub(crate) fn step(
        &self,
        mut answered: usize,
        mut again: impl FnMut(usize) -> u32,
    ) -> Option<Step> {
        for (number, step) in self.steps.iter().enumerate() {
            match step.times {
                None if answered == 0 => return Some(step.clone()),
                None => answered -= 1,
                Some(times) if answered == 0 && again(number) < times => return Some(step.clone()),
                // What stands before an answer that was given is over.
                Some(_) => {}
            }
        }
        None
    }
}

/// A directive's name and what follows it.
fn directive(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('@')?;
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    is_word.then_some((name, rest.trim()))
}

fn fill(step: &mut Step, name: &str, rest: &str) -> Result<(), String> {
    step.answer = match name {
        "say" => Answer::say(unescaped(rest)),
        "big" => Answer::say(lines(number(name, rest)?)),
        "slow" => {
            let (pause, text) = word(rest).ok_or("@slow needs milliseconds and a text")?;
            let pace = Pace::Words(Duration::from_millis(number(name, &pause)?));
            Answer::message(vec![Block::Text(unescaped(text))], pace)
        }
        "stall" => {
            let (gate, text) = word(rest).ok_or("@stall needs the name of a gate and a text")?;
            Answer::message(vec![Block::Text(unescaped(text))], Pace::Halves { gate })
        }
        "think" => {
            let text = unescaped(rest);
            let blocks = vec![Block::Thinking(text.clone()), Block::Text(text)];
            Answer::message(blocks, Pace::AtOnce)
        }
        "tool" => {
            let (tool, left) = use_of_tool(name, rest)?;
            if !left.is_empty() {
                return Err(format!(
                    "@tool: there is more after the tool's input: {left}"
                ));
            }
            let Block::Tool { name, .. } = &tool else {
                unreachable!("it is one")
            };
            let text = Block::Text(format!("using {name}"));
            Answer::message(vec![text, tool], Pace::AtOnce)
        }
        "tools" => {
            let mut blocks = Vec::new();
            let mut left = rest;
            loop {
                let (tool, after) = use_of_tool(name, left)?;
                blocks.push(tool);
                if after.is_empty() {
                    break Answer::message(blocks, Pace::AtOnce);
                }
                left = after
                    .strip_prefix("||")
                    .ok_or_else(|| format!("@tools: expected || before {after}"))?;
            }
        }
        "fail" => fail(step, rest)?,
        "cut" => {
            let (times, text) = times(rest);
            step.times = times;
            let text = if text.is_empty() { "cut off" } else { text };
            Answer::Cut {
                text: unescaped(text),
            }
        }
        _ => return Err(format!("there is no directive @{name}")),
    };
    Ok(())
}

fn fail(step: &mut Step, rest: &str) -> Result<Answer, String> {
    let (words, message) = match rest.split_once(" : ") {
        Some((words, message)) => (words, Some(unescaped(message))),
        None => (rest, None),
    };
    let (status, mut words) = word(words).ok_or("@fail needs a status")?;
    let status = number("fail", &status)?;
    while let Some((next, left)) = word(words) {
        match times(&next) {
            (Some(count), _) => step.times = Some(count),
            (None, _) => step.headers.push(header(&next)?),
        }
        words = left;
    }
    let message = message.unwrap_or_else(|| format!("the stub says {status}"));
    Ok(Answer::Error { status, message })
}

/// The first word of a text, and the rest.
fn word(text: &str) -> Option<(String, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (!word.is_empty()).then(|| (word.to_owned(), rest.trim_start()))
}

/// An `xN` that a text begins with, and the rest.
fn times(text: &str) -> (Option<u32>, &str) {
    word(text)
        .and_then(|(word, rest)| Some((Some(word.strip_prefix('x')?.parse().ok()?), rest)))
        .unwrap_or((None, text))
}

/// `NAME JSON` at the beginning of a text, and the rest.
fn use_of_tool<'a>(directive: &str, text: &'a str) -> Result<(Block, &'a str), String> {
    let (name, rest) =
        word(text.trim_start()).ok_or_else(|| format!("@{directive} needs a tool's name"))?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let input = match values.next() {
        Some(Ok(input)) => input,
        Some(Err(error)) => return Err(format!("@{directive} {name}: {error}")),
        None => return Err(format!("@{directive} {name} needs an input, such as {{}}")),
    };
    let rest = rest[values.byte_offset()..].trim();
    Ok((Block::Tool { name, input }, rest))
}

fn usage(text: &str) -> Result<Usage, String> {
    let (input, output) = text.split_once(' ').ok_or("@usage needs IN and OUT")?;
    Ok(Usage {
        input: number("usage", input)?,
        output: number("usage", output)?,
        cache_creation: 0,
        cache_read: 0,
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("expected a header as NAME=VALUE, found {text}"))
}

fn number<T: std::str::FromStr>(directive: &str, text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("@{directive}: expected a number, found {text:?}"))
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\\\").map(|part| part.replace("\\n", "\n"));
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |all, part| all + "\\" + &part)
}

/// A text of `length` bytes, whose lines are numbered so that a missing one shows.
fn lines(length: usize) -> String {
    let mut text = String::with_capacity(length + 64);
    for number in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{number:07} {}\n", "-".repeat(55)));
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn steps(text: &str) -> Vec<Step> {
        Script::parse(text).unwrap().unwrap().steps
    }

    #[test]
    fn only_directives_count() {
        assert_eq!(
            Script::parse("hello\n@README.md\nmail@say x\n@a/b\n @say y"),
            Ok(None)
        );
        assert_eq!(steps("look:\n@say a b\nbye"), [Step::say("a b")]);
        assert_eq!(steps("@say"), [Step::say("")]);
    }

    #[test]
    fn texts_have_new_lines() {
        assert_eq!(steps(r"@say a\nb\\nc"), [Step::say("a\nb\\nc")]);
    }

    #[test]
    fn tools_take_any_json() {
        let found =
            steps(r#"@tools Bash {"command":"a || b"} || Read {"file_path":"x"}"#).remove(0);
        let tool = |name: &str, input| Block::Tool {
            name: name.to_owned(),
            input,
        };
        let blocks = vec![
            tool("Bash", json!({"command": "a || b"})),
            tool("Read", json!({"file_path": "x"})),
        ];
        assert_eq!(found.answer, Answer::message(blocks, Pace::AtOnce));
    }

    #[test]
    fn a_big_text_is_as_long_as_asked() {
        for length in [0, 1, 63, 64, 65, 100_000] {
            assert_eq!(lines(length).len(), length);
        }
    }

    #[test]
    fn a_failure_has_headers_a_count_and_a_message() {
        let step = steps("@fail 429 retry-after=1 x2 : too much").remove(0);
        assert_eq!(step.times, Some(2));
        assert_eq!(step.headers, [("retry-after".to_owned(), "1".to_owned())]);
        let message = "too much".to_owned();
        assert_eq!(
            step.answer,
            Answer::Error {
                status: 429,
                message
            }
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, said) in [
            ("@sey x", "there is no directive @sey"),
            ("@tool Bash", "@tool Bash needs an input, such as {}"),
            (
                "@tool Bash {",
                "@tool Bash: EOF while parsing an object at line 1 column 1",
            ),
            (
                "@tool Bash {} {}",
                "@tool: there is more after the tool's input: {}",
            ),
            ("@tools A {} B {}", "@tools: expected || before B {}"),
            ("@fail soon", "@fail: expected a number, found \"soon\""),
            (
                "@fail 500 twice",
                "expected a header as NAME=VALUE, found twice",
            ),
            (
                "@say a\n@hold gate",
                "the last directive changes one that follows, and none does",
            ),
        ] {
            assert_eq!(Script::parse(text), Err(said.to_owned()));
        }
    }

    #[test]
    fn a_counted_failure_is_followed_by_the_next_directive() {
        let script = Script::parse("@say a\n@fail 500 x2\n@say b")
            .unwrap()
            .unwrap();
        let mut seen = 0;
        let mut meet = |answered| {
            script.step(answered, |_| {
                seen += 1;
                seen - 1
            })
        };
        assert_eq!(meet(0), Some(Step::say("a")));
        let failed = meet(1).unwrap();
        assert!(matches!(failed.answer, Answer::Error { status: 500, .. }));
        assert_eq!(meet(1), Some(failed));
        assert_eq!(meet(1), Some(Step::say("b")));
        assert_eq!(meet(2), None);
    }
}
