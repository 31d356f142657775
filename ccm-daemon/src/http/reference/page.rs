//! The reference as a whole: what holds everywhere, the operations by resource, the schemas.

use serde_json::Value;

use super::html::Html;
use super::{PROBLEMS_PATH, STYLE_PATH, operations, schemas};

/// The page for this description.
pub(super) fn reference(document: &Value) -> String {
    let mut html = begin("API reference");
    html.open("nav", &[("aria-label", "Contents")]);
    contents(&mut html, document);
    html.close("nav");
    html.open("main", &[]);
    html.element("h1", &[], "CCM's HTTP API");
    html.says("p", text(&document["info"]["description"]));
    conventions(&mut html);
    for tag in items(&document["tags"]) {
        let name = text(&tag["name"]);
        html.open("section", &[("id", name)]);
        html.element("h2", &[], name);
        html.says("p", text(&tag["description"]));
        for operation in operations::of(document, name) {
            operation.write(&mut html, document);
        }
        html.close("section");
    }
    html.open("section", &[("id", "schemas")]);
    html.element("h2", &[], "Schemas");
    html.says(
        "p",
        "Answers may get further fields; clients ignore what they don't know. A request with a field that is not here is \
         refused. Limits that every text, list or number has anyway are not repeated: 64 MiB, 2³¹−1 and 2⁶³−1.",
    );
    for (name, schema) in entries(&document["components"]["schemas"]) {
        schemas::write(&mut html, name, schema);
    }
    html.close("section");
    html.close("main");
    end(html)
}

/// The head of a page, up to its content.
pub(super) fn begin(title: &str) -> Html {
    let mut html = Html::default();
    html.open("!doctype html", &[]);
    html.open("html", &[("lang", "en")]);
    html.open("meta", &[("charset", "utf-8")]);
    let viewport = [
        ("name", "viewport"),
        ("content", "width=device-width, initial-scale=1"),
    ];
    html.open("meta", &viewport);
    html.open(
        "meta",
        &[("name", "color-scheme"), ("content", "light dark")],
    );
    html.element(
        "title",
        &[],
        &format!("{title} · CCM {}", env!("CARGO_PKG_VERSION")),
    );
    html.open("link", &[("rel", "stylesheet"), ("href", STYLE_PATH)]);
    html
}

pub(super) fn end(mut html: Html) -> String {
    html.close("html");
    html.into_string()
}

fn contents(html: &mut Html, document: &Value) {
    html.element("strong", &[], "CCM's HTTP API");
    html.open("ul", &[]);
    for (id, title) in [("begin", "How to ask"), ("errors", "Errors")] {
        html.open("li", &[]);
        html.link(&format!("#{id}"), title);
        html.close("li");
    }
    for tag in items(&document["tags"]) {
        let name = text(&tag["name"]);
        html.open("li", &[]);
        html.link(&format!("#{name}"), name);
        html.open("ul", &[]);
        for operation in operations::of(document, name) {
            html.open("li", &[]);
            html.link(
                &format!("#{}", operation.id()),
                text(&operation.value["summary"]),
            );
            html.close("li");
        }
        html.close("ul");
        html.close("li");
    }
    html.open("li", &[]);
    html.link("#schemas", "Schemas");
    html.close("li");
    html.close("ul");
}

fn conventions(html: &mut Html) {
    html.open("section", &[("id", "begin")]);
    html.element("h2", &[], "How to ask");
    html.says(
        "p",
        "The lines below run in a shell on the daemon's machine after these two. `ccm info` says where the machine's home \
         is, and `ccm daemon status` where the daemon listens.",
    );
    html.element(
        "pre",
        &[],
        "CCM=http://127.0.0.1:8765\nTOKEN=$(cat ~/.ccm-global/token)",
    );
    html.says(
        "p",
        "Bodies are JSON. Times are RFC 3339 in UTC, ids are UUIDs, mostly of version 7, so they sort by when they were \
         made. The description that this page is made from is at `/api/v1/openapi.json`.",
    );
    html.close("section");
    html.open("section", &[("id", "errors")]);
    html.element("h2", &[], "Errors");
    html.open("p", &[]);
    html.prose("Every answer that is no success is a ");
    html.link("#schema-Problem", "Problem");
    html.prose(" of type `application/problem+json`. Programs look at its `code`; ");
    html.link(PROBLEMS_PATH, "the page of problems");
    html.prose(" lists them all with what to do.");
    html.close("p");
    html.close("section");
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.as_str(), value))
}
