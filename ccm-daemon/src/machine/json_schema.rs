//! The tables as JSON Schema, for editors. Checking itself does not use it: it knows no lines.

use serde_json::{Map, Value, json};

use super::schema::{Key, Kind, MACHINE, Schema};
use super::values::default_of;

impl Schema {
    /// This table as JSON Schema 2020-12.
    pub fn json(&self) -> Value {
        let title = if std::ptr::eq(self, &raw const MACHINE) {
            "CCM on a machine: config.yaml"
        } else {
            "CCM in a project: .ccm/config.yaml"
        };
        let mut root = section();
        let map = object(&mut root);
        map.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        map.insert("title".to_owned(), title.into());
        for key in self.keys {
            let mut place = &mut root;
            let parts: Vec<&str> = key.path.split('.').collect();
            let Some((name, sections)) = parts.split_last() else {
                continue;
            };
            for part in sections {
                place = object(&mut place["properties"])
                    .entry(*part)
                    .or_insert_with(section);
            }
            object(&mut place["properties"]).insert((*name).to_owned(), property(key));
        }
        root
    }

    /// The same as text, as it is checked in and written beside the machine's config.
    pub fn json_text(&self) -> String {
        let text = serde_json::to_string_pretty(&self.json()).unwrap_or_default();
        format!("{text}\n")
    }
}

fn section() -> Value {
    json!({"type": ["object", "null"], "properties": {}, "additionalProperties": false})
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made one"),
    }
}

/// A key that is null is one that is not set, so null is always allowed.
fn property(key: &Key) -> Value {
    let mut property = kind(&key.kind);
    let map = object(&mut property);
    map.insert("description".to_owned(), key.doc.into());
    let default = default_of(key);
    if !default.is_null() {
        map.insert("default".to_owned(), default);
    }
    property
}

fn kind(kind: &Kind) -> Value {
    // Numbers and truth values that stand where a text is expected count as they are written.
    let scalar = json!(["string", "number", "boolean"]);
    match kind {
        Kind::Bool => json!({"type": ["boolean", "null"]}),
        Kind::Whole { min, max, .. } => {
            json!({"type": ["integer", "null"], "minimum": min, "maximum": max})
        }
        Kind::Choice(words) => {
            let words = words.iter().map(|word| Value::from(*word));
            json!({"enum": words.chain([Value::Null]).collect::<Vec<_>>()})
        }
        Kind::Text | Kind::Path => json!({
            "type": ["string", "number", "boolean", "null"],
            "pattern": r"^[^\u0000-\u001F\u007F-\u009F]*$",
        }),
        Kind::Word => word(r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"),
        Kind::Name => word(r"^[\p{L}\p{N}][\p{L}\p{M}\p{N}_.-]{0,63}$"),
        Kind::Id => text(r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"),
        Kind::Address => json!({
            "type": ["string", "null"],
            "anyOf": [
                {"type": "null"}, {"const": "localhost"}, {"format": "ipv4"}, {"format": "ipv6"},
            ],
        }),
        Kind::Url => text(concat!(
            r"^$|^https://[^/?#@ ]+([/?#].*)?$",
            r"|^http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]*)?([/?#].*)?$",
        )),
        Kind::Arguments => json!({"type": ["array", "null"], "items": {"type": scalar}}),
        Kind::Tags => list(r"^[\p{L}\p{M}\p{N}_.:/-]{1,64}$"),
        Kind::Hosts => list(r"^[A-Za-z0-9_.:\[\]-]{1,255}$"),
        Kind::Environment => json!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": "^(?!CCM_)[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": scalar},
        }),
    }
}

fn text(pattern: &str) -> Value {
    json!({"type": ["string", "null"], "pattern": pattern})
}

/// A text that may be all digits.
fn word(pattern: &str) -> Value {
    json!({"type": ["string", "number", "null"], "pattern": pattern})
}

fn list(pattern: &str) -> Value {
    json!({
        "type": ["array", "null"],
        "items": {"type": ["string", "number", "boolean"], "pattern": pattern},
    })
}
