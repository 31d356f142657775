//! Bare requests at a unix socket, one connection each: whoever is killed takes one with it and not more.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The longest that an answer may take. A daemon answers from its own disk, whatever its line is like.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) const fn is_good(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// Whether it leaves open if the request took effect.
    pub(crate) const fn is_open(&self) -> bool {
        self.status >= 500
    }
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Nobody was there: nothing has happened.
    NobodyThere,
    /// Nobody knows what has happened.
    Unknown(String),
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NobodyThere => f.write_str("nobody is there"),
            Self::Unknown(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// Asks a daemon.
pub(crate) fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, Unanswered> {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return Err(Unanswered::NobodyThere);
    };
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str("Content-Type: application/json\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut exchange = || -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| Unanswered::Unknown(error.to_string()))?;
    parse(&answer).ok_or_else(|| Unanswered::Unknown("an answer that was cut".to_owned()))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut parsed = Answer {
        status,
        ..Answer::default()
    };
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("etag") {
            parsed.etag = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        }
    }
    let body = &answer[end + 4..];
    if length.is_some_and(|length| length != body.len()) {
        return None;
    }
    parsed.body = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body).ok()?,
    };
    Some(parsed)
}

/// All parts of a list.
pub(crate) fn all(socket: &Path, path: &str) -> Result<Vec<Value>, String> {
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let page = format!("{path}{token}");
        let answer =
            ask(socket, "GET", &page, &[], None).map_err(|error| format!("{path}: {error}"))?;
        if !answer.is_good() {
            return Err(format!("{path}: {} {}", answer.status, answer.body));
        }
        let Value::Object(mut body) = answer.body else {
            return Err(format!("{path}: no object"));
        };
        if let Some(Value::Array(part)) = body.get_mut("items").map(Value::take) {
            items.extend(part);
        }
        match body.get("next_page_token").and_then(Value::as_str) {
            Some(next) => {
                let and = if path.contains('?') { '&' } else { '?' };
                token = format!("{and}page_token={next}");
            }
            None => return Ok(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let whole = b"HTTP/1.1 201 Created\r\nETag: \"1\"\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        let answer = parse(whole).unwrap();
        assert_eq!(
            (answer.status, answer.etag.as_deref()),
            (201, Some("\"1\""))
        );
        assert_eq!(answer.body["a"], 1);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_none(), "{end}");
        }
    }
}
