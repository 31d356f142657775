//! Values as YAML on one line.

use serde_json::Value;

use super::yaml::{self, Scalar, Style};

/// `value` in flow style.
pub(crate) fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", scalar(key), flow(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A text without quotes where every reader takes it for that text, else in double quotes.
fn scalar(text: &str) -> String {
    if is_safe_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Double quotes and YAML's escapes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Line separators and marks of direction would change how the line looks.
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
            {
                let code = u32::from(c);
                out.push_str(&format!("\\u{code:04x}"));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_safe_plain(text: &str) -> bool {
    let inner =
        |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+' | '~' | '=');
    let begins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '.' | '~');
    // Older readers take these words for truth values.
    let word = text.to_ascii_lowercase();
    let truth = matches!(word.as_str(), "yes" | "no" | "on" | "off" | "y" | "n");
    text.starts_with(begins)
        && text.chars().all(inner)
        && text != "="
        && !truth
        && is_text(text)
        // Dates and numbers in base 60 are something else to older readers.
        && !text.starts_with(|c: char| c.is_ascii_digit())
        || is_plain_word_with_digits(text)
}

/// Such as `127.0.0.1`: begins with a digit, and is still a text to every reader.
fn is_plain_word_with_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.matches('.').count() >= 2
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn is_text(text: &str) -> bool {
    yaml::parse(&format!("a: {text}\n")).is_ok_and(|root| {
        root.get("a").is_some_and(|entry| {
            matches!(
                &entry.value.body,
                yaml::Body::Scalar {
                    style: Style::Plain,
                    ..
                }
            ) && entry.value.scalar() == Some(Scalar::Text(text))
        })
    })
}
