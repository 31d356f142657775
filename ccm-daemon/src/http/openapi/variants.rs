//! Kinds that have fields of their own each: every one of them gets a name, by which readers and generators can tell it.

use serde_json::{Map, Value, json};

type Schemas = Map<String, Value>;

/// Names the kinds of those schemas that have some.
pub(super) fn name(schemas: &mut Schemas) {
    distribute(schemas, "Entry", "EntryBody");
    split(schemas, "Entry", "type");
    split(schemas, "Answer", "answer");
    split(schemas, "TerminalMessage", "type");
    // A request's kinds take no unknown fields either, which the derive says of structs alone.
    for kind in ["AnswerAllow", "AnswerDeny", "AnswerText"] {
        schemas[kind]["additionalProperties"] = json!(false);
    }
}

/// `outer` has the fields of `inner`, whose kinds have fields of their own: then every kind has all of them.
fn distribute(schemas: &mut Schemas, outer: &str, inner: &str) {
    let Some(inner) = schemas.remove(inner) else {
        return;
    };
    let shared = schemas[outer]["allOf"][1].clone();
    let mut kinds = inner["oneOf"].as_array().cloned().unwrap_or_default();
    for kind in &mut kinds {
        for (name, field) in shared["properties"].as_object().into_iter().flatten() {
            kind["properties"][name] = field.clone();
        }
        if let Some(required) = kind["required"].as_array_mut() {
            required.extend(shared["required"].as_array().cloned().unwrap_or_default());
        }
    }
    let description = schemas[outer]["description"].clone();
    schemas[outer] = json!({"description": description, "oneOf": kinds});
}

/// A kind that holds a struct is that struct and its tag: then the struct's schema becomes the kind's.
fn unwrap(schemas: &mut Schemas, kind: &mut Value) {
    let held = kind["allOf"][0]["$ref"].as_str().unwrap_or_default();
    let name = held.rsplit('/').next().unwrap_or_default();
    let Some(mut held) = schemas.remove(name) else {
        return;
    };
    let tag = &kind["allOf"][1];
    for (name, field) in tag["properties"].as_object().into_iter().flatten() {
        held["properties"][name] = field.clone();
    }
    if let Some(required) = held["required"].as_array_mut() {
        required.extend(tag["required"].as_array().cloned().unwrap_or_default());
    }
    *kind = held;
}

/// Moves the kinds of the schema `of` to schemas of their own, which the field `tag` tells apart.
fn split(schemas: &mut Schemas, of: &str, tag: &str) {
    let kinds = schemas[of]["oneOf"].as_array().cloned().unwrap_or_default();
    let (mut choices, mut mapping) = (Vec::new(), Map::new());
    for mut kind in kinds {
        unwrap(schemas, &mut kind);
        let value = kind["properties"][tag]["enum"][0].clone();
        let value = value.as_str().unwrap_or_default();
        let name = format!("{of}{}", camel(value));
        let reference = format!("#/components/schemas/{name}");
        choices.push(json!({"$ref": reference}));
        mapping.insert(value.to_owned(), json!(reference));
        schemas.insert(name, kind);
    }
    schemas[of]["oneOf"] = json!(choices);
    schemas[of]["discriminator"] = json!({"propertyName": tag, "mapping": mapping});
}

fn camel(text: &str) -> String {
    let words = text.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}
