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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_quoted_where_a_reader_could_take_them_for_something_else() {
        for (text, wanted) in [
            ("ccm", "ccm"),
            ("a-b_c.d/e", "a-b_c.d/e"),
            ("~/x.db", "~/x.db"),
            ("127.0.0.1", "127.0.0.1"),
            ("", "\"\""),
            ("yes", "\"yes\""),
            ("Off", "\"Off\""),
            ("n", "\"n\""),
            ("null", "\"null\""),
            ("true", "\"true\""),
            ("~", "\"~\""),
            ("12", "\"12\""),
            ("1.5", "\"1.5\""),
            ("2026-01-31", "\"2026-01-31\""),
            ("12:30", "\"12:30\""),
            ("-x", "\"-x\""),
            ("a: b", "\"a: b\""),
            ("a #b", "\"a #b\""),
            ("a\nb\u{7}\u{2028}", "\"a\\nb\\u0007\\u2028\""),
        ] {
            assert_eq!(scalar(text), wanted);
        }
        assert_eq!(flow(&json!({"A": [1, true, null]})), "{A: [1, true, null]}");
    }
}
