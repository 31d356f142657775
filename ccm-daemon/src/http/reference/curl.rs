//! A line for a shell that asks for an operation.

use serde_json::{Map, Value, json};

use super::operations::Operation;
use super::page::{entries, items, text};

/// The line for `operation`, after `CCM` and `TOKEN` were set. What only its reader knows is a variable in it.
pub(super) fn line(operation: &Operation<'_>, document: &Value) -> String {
    let mut line = "curl".to_owned();
    if !operation.is_open() {
        line.push_str(" -H \"Authorization: Bearer $TOKEN\"");
    }
    let body = &operation.value["requestBody"]["content"]["application/json"]["schema"];
    let method = operation.method.to_uppercase();
    // A body makes curl's method POST.
    match (&*method, body.is_object()) {
        ("GET", false) | ("POST", true) => {}
        _ => line.push_str(&format!(" -X {method}")),
    }
    if body.is_object() {
        let body = example(body, document, &[]);
        // A quote in it would end the shell's.
        line.push_str(&format!(
            " --json '{}'",
            body.to_string().replace('\'', "'\\''")
        ));
    }
    if operation.value["responses"]["200"]["content"]["text/event-stream"].is_object() {
        line.push_str(" --no-buffer");
    }
    let path = operation.path.replace("{", "$").replace("}", "");
    let path = path.replace("$id", "$ID");
    line.push_str(&format!(" \"$CCM{path}\""));
    line
}

/// A value that fits `schema`: its own example, or the least there is. `within` are the schemas around it.
fn example(schema: &Value, document: &Value, within: &[&str]) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = reference
            .strip_prefix('#')
            .and_then(|at| document.pointer(at));
        return match target {
            Some(target) if !within.contains(&reference) => {
                example(target, document, &[within, &[reference]].concat())
            }
            _ => Value::Null,
        };
    }
    if !schema["example"].is_null() {
        return schema["example"].clone();
    }
    for listed in ["enum", "oneOf", "allOf"] {
        if let Some(first) = items(&schema[listed]).next() {
            return match listed {
                "enum" => first.clone(),
                _ => example(first, document, within),
            };
        }
    }
    let kind = match &schema["type"] {
        Value::Array(names) => text(&names[0]),
        name => text(name),
    };
    match kind {
        "object" => {
            let mut object = Map::new();
            for (name, field) in entries(&schema["properties"]) {
                if items(&schema["required"]).any(|one| one == name) {
                    object.insert(name.to_owned(), example(field, document, within));
                }
            }
            Value::Object(object)
        }
        "array" if schema["minItems"].as_u64().unwrap_or(0) > 0 => {
            json!([example(&schema["items"], document, within)])
        }
        "array" => json!([]),
        "integer" | "number" => schema["minimum"].clone(),
        "boolean" => json!(false),
        _ if schema["format"] == "uuid" => json!("0198f2a4-3c5e-7b61-9d2f-8e4a6c1b7d90"),
        _ => json!("..."),
    }
}
