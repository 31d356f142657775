//! Whether a value is of its kind.

use std::net::IpAddr;

use serde_json::Value;

use super::schema::Kind;
use super::yaml::{Body, Node, Scalar};

/// Why a value is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) line: usize,
    /// The entry of a map that it is about.
    pub(crate) entry: Option<String>,
    pub(crate) message: String,
}

/// What is said about a variable's value. What was found is not shown: it may be a secret.
pub(crate) const VARIABLE: &str = "expected a text (in quotes if it is empty)";

/// The most characters of a text.
const MAX_TEXT: usize = 32 * 1024;

/// The value that `node` writes, if it is of the kind.
pub(crate) fn value(kind: &Kind, node: &Node) -> Result<Value, Wrong> {
    let fail = || {
        Err(wrong(
            node,
            format!("expected {}, found {}", expected(kind), node.found()),
        ))
    };
    match kind {
        Kind::Bool => match node.scalar() {
            Some(Scalar::Bool(value)) => Ok(Value::Bool(value)),
            _ => fail(),
        },
        Kind::Whole { min, max, .. } => match node.scalar() {
            Some(Scalar::Int(value)) if (*min..=*max).contains(&value) => Ok(value.into()),
            Some(Scalar::Int(value)) => {
                let expected = expected_in_range(kind, *min, *max);
                Err(wrong(node, format!("expected {expected}, found {value}")))
            }
            _ => fail(),
        },
        Kind::Arguments => list(kind, node, argument),
        Kind::Tags => list(kind, node, |item| {
            text_of(item).filter(|text| ccm_core::task::is_tag(text))
        }),
        Kind::Hosts => list(kind, node, |item| {
            text_of(item).filter(|text| is_host(text))
        }),
        Kind::Environment => environment(node),
        Kind::Choice(words) => match text_of(node) {
            Some(text) if words.contains(&text.as_str()) => Ok(text.into()),
            _ => fail(),
        },
        _ => match text_of(node) {
            Some(text) if is_text_of(kind, &text) => Ok(text.into()),
            // An empty text is a way to say that a key is not set.
            Some(text)
                if text.is_empty() && matches!(kind, Kind::Url | Kind::Text | Kind::Path) =>
            {
                Ok(Value::Null)
            }
            _ => fail(),
        },
    }
}

/// What the kind allows, in words that follow "expected".
pub(crate) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Whole {
            unit: Some(unit), ..
        } => format!("{unit} (a whole number)"),
        Kind::Whole { min, max, .. } => expected_in_range(kind, *min, *max),
        Kind::Choice(words) => match words.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        },
        Kind::Text => "one line of text".to_owned(),
        Kind::Word => "a word of letters, digits, - and _".to_owned(),
        Kind::Name => {
            "a name of 1 to 64 letters, digits, -, _ and . that begins with a letter or digit"
                .to_owned()
        }
        Kind::Id => "an id (UUID) as set-up writes it, or no line: then one is made".to_owned(),
        Kind::Path => "a path".to_owned(),
        Kind::Address => "an IP address or localhost".to_owned(),
        Kind::Url => "an https:// address (http:// only on this machine)".to_owned(),
        Kind::Arguments => "a list of texts, such as [sh, -c, \"cat\"]".to_owned(),
        Kind::Tags => "a list of tags, each 1 to 64 letters, digits, -, _, ., : or /".to_owned(),
        Kind::Hosts => "a list of host names, such as [box.example.net]".to_owned(),
        Kind::Environment => "names and values, such as {LANG: C.UTF-8}".to_owned(),
    }
}

fn expected_in_range(kind: &Kind, min: i64, max: i64) -> String {
    match kind {
        Kind::Whole {
            unit: Some(unit), ..
        } => format!("{unit} (a whole number from {min} to {max})"),
        _ => format!("a whole number from {min} to {max}"),
    }
}

/// Whether `text` can be the name of a project.
pub(crate) fn is_name(text: &str) -> bool {
    text.chars().count() <= 64
        && text.starts_with(char::is_alphanumeric)
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The address that a host key names.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    text.parse().ok()
}

fn is_text_of(kind: &Kind, text: &str) -> bool {
    match kind {
        Kind::Word => {
            (1..=64).contains(&text.len())
                && !text.starts_with('-')
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        }
        Kind::Name => is_name(text),
        Kind::Id => text.parse::<ccm_core::id::SystemId>().is_ok(),
        Kind::Address => address(text).is_some(),
        Kind::Url => is_url(text),
        _ => !text.is_empty(),
    }
}

fn is_url(text: &str) -> bool {
    let host_of = |rest: &str| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    if let Some(rest) = text.strip_prefix("https://") {
        let host = host_of(rest);
        return !host.is_empty() && !host.contains(['@', ' ']);
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return false;
    };
    let host = host_of(rest);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => &host,
    };
    name == "localhost"
        || name == "[::1]"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn is_host(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']' | '_'))
}

/// A text of one line. Numbers and the like count as written, so that a hostname of digits needs no quotes.
fn text_of(node: &Node) -> Option<String> {
    let text = argument(node)?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// Any text without NUL.
pub(crate) fn argument(node: &Node) -> Option<String> {
    match &node.body {
        Body::Scalar { text, .. }
            if !node.is_null() && !text.contains('\0') && text.len() <= MAX_TEXT =>
        {
            Some(text.clone())
        }
        _ => None,
    }
}

fn list(
    kind: &Kind,
    node: &Node,
    item_of: impl Fn(&Node) -> Option<String>,
) -> Result<Value, Wrong> {
    let Body::List { items, .. } = &node.body else {
        let message = format!("expected {}, found {}", expected(kind), node.found());
        return Err(wrong(node, message));
    };
    items
        .iter()
        .map(|item| {
            item_of(item).map(Value::from).ok_or_else(|| {
                wrong(
                    item,
                    format!("expected {}, found {} in it", expected(kind), item.found()),
                )
            })
        })
        .collect()
}

fn environment(node: &Node) -> Result<Value, Wrong> {
    let Body::Map { entries, .. } = &node.body else {
        let message = format!(
            "expected {}, found {}",
            expected(&Kind::Environment),
            node.found()
        );
        return Err(wrong(node, message));
    };
    let mut map = serde_json::Map::new();
    for entry in entries {
        let name = text_of(&entry.key).unwrap_or_default();
        if let Err(message) = environment_name(&name) {
            return Err(wrong(&entry.key, message));
        }
        let fail = |message: String| Wrong {
            line: entry.value.line,
            entry: Some(name.clone()),
            message,
        };
        let text = argument(&entry.value).ok_or_else(|| fail(VARIABLE.to_owned()))?;
        if map.insert(name.clone(), text.into()).is_some() {
            return Err(fail("written twice".to_owned()));
        }
    }
    Ok(Value::Object(map))
}

/// Whether `name` can be a variable in an agent's environment.
pub(crate) fn environment_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next();
    if !first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Err(format!(
            "expected names of variables (letters, digits and _), found {name:?}"
        ));
    }
    if name.starts_with("CCM_") {
        return Err(format!(
            "{name}: names that begin with CCM_ are set by CCM itself"
        ));
    }
    Ok(())
}

fn wrong(node: &Node, message: String) -> Wrong {
    Wrong {
        line: node.line,
        entry: None,
        message,
    }
}
