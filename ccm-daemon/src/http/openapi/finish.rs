//! What the description says beyond what the handlers and types can say for themselves.

use serde_json::{Map, Value, json};

use super::variants;

/// No text of an answer is longer: what agents say comes in lines of at most 64 MiB, and nothing else is as large.
const LONGEST_TEXT: u64 = 64 * 1024 * 1024;
/// No list of an answer is longer.
const LONGEST_LIST: u64 = i32::MAX as u64;

/// Completes a description: what it repeats becomes a reference, and every value has its bounds.
pub(super) fn finish(document: &mut Value) {
    refer_to_items(document);
    for operation in operations(document) {
        simplify_parameters(operation);
        describe_stream(operation);
        describe_locations(operation);
    }
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        variants::name(schemas);
    }
    bound(document);
    // Whoever runs the daemon is its audience.
    document["servers"][0]["x-internal"] = json!(true);
}

/// Every operation of the description.
pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter();
    let items = paths.flat_map(|paths| paths.values_mut());
    let operations = items.filter_map(Value::as_object_mut);
    operations.flat_map(|item| item.values_mut())
}

/// A part of a list names its objects' schema, which the derive repeats in it.
fn refer_to_items(document: &mut Value) {
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else {
        return;
    };
    for (name, schema) in schemas.iter_mut() {
        if let Some(of) = name.strip_prefix("Page_") {
            schema["properties"]["items"]["items"] =
                json!({"$ref": format!("#/components/schemas/{of}")});
        }
    }
}

/// A parameter that may be left out is not one that may be null.
fn simplify_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters");
    let parameters = parameters.and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let Some(schema) = parameter["schema"].as_object_mut() else {
            continue;
        };
        let choices = schema.get("oneOf").and_then(Value::as_array);
        if let Some(choice) =
            choices.and_then(|choices| choices.iter().find(|one| one["type"] != "null"))
        {
            let choice = choice.clone();
            schema.clear();
            // What the parameter is about it says itself.
            schema.insert("$ref".to_owned(), choice["$ref"].clone());
        } else if let Some(types) = schema.get("type").and_then(Value::as_array)
            && let Some(name) = types.iter().find(|name| *name != "null").cloned()
        {
            schema.insert("type".to_owned(), name);
        }
    }
}

/// Says of the headers that name a place what the derive can't.
fn describe_locations(operation: &mut Value) {
    let answers = operation["responses"].as_object_mut().into_iter().flatten();
    for (_, answer) in answers {
        if let Some(location) = answer.pointer_mut("/headers/Location/schema") {
            *location = json!({"type": "string", "format": "uri-reference", "maxLength": 256});
        }
    }
}

/// OpenAPI 3.1 has no words for a stream of events: its text is no value that ends, and has no bounds.
fn describe_stream(operation: &mut Value) {
    if let Some(stream) = operation.pointer_mut("/responses/200/content/text~1event-stream") {
        *stream = json!({"schema": {
            "description": "Server-Sent Events; the `data` of each is an `Event`.",
            "contentMediaType": "text/event-stream",
            "contentSchema": {"$ref": "#/components/schemas/Event"},
        }});
    }
}

/// Gives every schema in `value` the bounds that its type has anyway, where it has none of its own.
fn bound(value: &mut Value) {
    match value {
        Value::Object(map) => {
            bound_one(map);
            for (key, value) in map {
                // These hold values of clients, not schemas.
                if !matches!(&**key, "default" | "enum" | "example" | "examples") {
                    bound(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}

fn bound_one(schema: &mut Map<String, Value>) {
    let is = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    };
    if is("string") && !schema.contains_key("enum") {
        let longest = if schema.get("format").is_some_and(|format| format == "uuid") {
            schema.entry("minLength").or_insert(json!(36));
            36
        } else {
            LONGEST_TEXT
        };
        schema.entry("maxLength").or_insert(json!(longest));
    } else if is("array") {
        schema.entry("maxItems").or_insert(json!(LONGEST_LIST));
    } else if is("integer") {
        bound_integer(schema);
    }
}

fn bound_integer(schema: &mut Map<String, Value>) {
    let signed = !schema.contains_key("minimum");
    let narrow = schema.get("format").is_some_and(|format| format == "int32");
    let (least, most) = match (narrow, signed) {
        (true, true) => (i64::from(i32::MIN), i64::from(i32::MAX)),
        (true, false) => (0, i64::from(u32::MAX)),
        (false, true) => (i64::MIN, i64::MAX),
        (false, false) => (0, i64::MAX),
    };
    schema.entry("minimum").or_insert(json!(least));
    let most = schema.entry("maximum").or_insert(json!(most));
    // A number of 32 bits without a sign does not fit into one that has a sign.
    let wide = most.as_i64().is_none_or(|most| most > i64::from(i32::MAX));
    if wide || !narrow {
        schema.insert("format".to_owned(), json!("int64"));
    }
}
