//! Schemas: in a word or two where they are used, with all their fields in a section of their own.

use serde_json::Value;

use super::html::Html;
use super::operations::{begin_table, end_table};
use super::page::{entries, items, text};

/// The section of a named schema.
pub(super) fn write(html: &mut Html, name: &str, schema: &Value) {
    let id = format!("schema-{name}");
    html.open("article", &[("id", &id)]);
    html.open("h3", &[]);
    html.link(&format!("#{id}"), name);
    html.close("h3");
    html.says("p", text(&schema["description"]));
    write_body(html, schema);
    html.close("article");
}

fn write_body(html: &mut Html, schema: &Value) {
    let kinds = &schema["discriminator"]["mapping"];
    if kinds.is_object() {
        let tag = text(&schema["discriminator"]["propertyName"]);
        html.says("p", &format!("One of these, as its `{tag}` says:"));
        html.open("ul", &[]);
        for choice in items(&schema["oneOf"]) {
            html.open("li", &[]);
            write_type(html, choice);
            html.close("li");
        }
        html.close("ul");
    }
    if schema["properties"].is_object() {
        write_fields(html, schema);
    } else if !schema["type"].is_null() {
        html.open("p", &[]);
        write_type(html, schema);
        html.close("p");
    }
}

fn write_fields(html: &mut Html, schema: &Value) {
    let required = |name: &str| items(&schema["required"]).any(|one| one == name);
    begin_table(html, "Fields", &["field", "value", "meaning"]);
    for (name, field) in entries(&schema["properties"]) {
        html.open("tr", &[]);
        html.open("td", &[]);
        html.code(name);
        if !required(name) {
            html.element("span", &[("class", "optional")], " optional");
        }
        html.close("td");
        html.open("td", &[]);
        write_type(html, field);
        html.close("td");
        html.says("td", description(field));
        html.close("tr");
    }
    end_table(html);
}

/// The derive puts the description of a field that may be null into the choice that it stands for.
fn description(field: &Value) -> &str {
    let own = &field["description"];
    let mut choices = items(&field["oneOf"]).map(|choice| &choice["description"]);
    text(if own.is_null() {
        choices.next().unwrap_or(own)
    } else {
        own
    })
}

/// What a value is, in a line.
pub(super) fn write_type(html: &mut Html, schema: &Value) {
    if let Some(name) = text(&schema["$ref"])
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
    {
        html.link(&format!("#schema-{name}"), name);
        return;
    }
    let choices = [&schema["oneOf"], &schema["anyOf"], &schema["allOf"]];
    for (at, choice) in choices.into_iter().flat_map(items).enumerate() {
        if at > 0 {
            html.text(" or ");
        }
        write_type(html, choice);
    }
    for (at, value) in items(&schema["enum"]).enumerate() {
        html.text(if at > 0 { " | " } else { "" });
        html.code(&value.to_string());
    }
    if schema["enum"].is_array() {
        return;
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        several => items(several).map(text).collect(),
    };
    if names.contains(&"array") {
        html.text("list of ");
        write_type(html, &schema["items"]);
        html.text(if names.len() > 1 { " or null" } else { "" });
    } else {
        html.text(&names.join(" or "));
    }
    for limit in limits(schema) {
        html.text(", ");
        html.prose(&limit);
    }
}

/// What is not worth telling: the largest text, list and number there is.
const ALWAYS: [i64; 3] = [64 * 1024 * 1024, i32::MAX as i64, i64::MAX];

fn limits(schema: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(format) = schema["format"].as_str() {
        limits.push(format!("`{format}`"));
    }
    let ranges = [
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " of them"),
        ("minimum", "maximum", ""),
    ];
    for (least, most, what) in ranges {
        let least = schema[least].as_i64().filter(|least| *least != i64::MIN);
        let most = schema[most].as_i64().filter(|most| !ALWAYS.contains(most));
        match (least, most) {
            (Some(least), Some(most)) if least == most => limits.push(format!("{least}{what}")),
            (Some(least), Some(most)) => limits.push(format!("{least} to {most}{what}")),
            (Some(least), None) => limits.push(format!("at least {least}{what}")),
            (None, Some(most)) => limits.push(format!("at most {most}{what}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        limits.push(format!("matches `{pattern}`"));
    }
    if !schema["default"].is_null() {
        limits.push(format!("`{}` if left out", schema["default"]));
    }
    limits
}
