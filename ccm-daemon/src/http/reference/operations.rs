//! One operation: what it does, what it takes, what it answers, and a line to try it.

use serde_json::Value;

use super::html::Html;
use super::page::{entries, items, text};
use super::{curl, schemas};

/// An operation of the API.
pub(super) struct Operation<'a> {
    pub(super) path: &'a str,
    pub(super) method: &'a str,
    pub(super) value: &'a Value,
}

/// The operations of a resource.
pub(super) fn of<'a>(document: &'a Value, tag: &'a str) -> impl Iterator<Item = Operation<'a>> {
    all(document).filter(move |operation| operation.value["tags"][0] == tag)
}

/// Every operation, those of a path together.
pub(super) fn all(document: &Value) -> impl Iterator<Item = Operation<'_>> {
    entries(&document["paths"]).flat_map(|(path, item)| {
        entries(item).map(move |(method, value)| Operation {
            path,
            method,
            value,
        })
    })
}

impl Operation<'_> {
    pub(super) fn id(&self) -> &str {
        text(&self.value["operationId"])
    }

    pub(super) fn is_open(&self) -> bool {
        // Overrides what holds for the whole API with nothing.
        self.value["security"].is_array()
    }

    pub(super) fn write(&self, html: &mut Html, document: &Value) {
        let id = self.id();
        html.open("article", &[("id", id)]);
        html.open("h3", &[]);
        html.link(&format!("#{id}"), text(&self.value["summary"]));
        html.close("h3");
        html.open("p", &[("class", "call")]);
        html.element("span", &[("class", "method")], &self.method.to_uppercase());
        html.text(" ");
        html.code(self.path);
        html.close("p");
        html.says("p", text(&self.value["description"]));
        if self.is_open() {
            html.says("p", "Needs no token.");
        }
        self.write_parameters(html);
        let body = &self.value["requestBody"]["content"]["application/json"]["schema"];
        if body.is_object() {
            html.open("p", &[]);
            html.text("Body: ");
            schemas::write_type(html, body);
            html.close("p");
        }
        self.write_answers(html);
        html.open("pre", &[("tabindex", "0")]);
        html.text(&curl::line(self, document));
        html.close("pre");
        html.close("article");
    }

    fn write_parameters(&self, html: &mut Html) {
        let mut parameters = items(&self.value["parameters"]).peekable();
        if parameters.peek().is_none() {
            return;
        }
        begin_table(html, "Parameters", &["name", "in", "value", "meaning"]);
        for parameter in parameters {
            html.open("tr", &[]);
            html.open("td", &[]);
            html.code(text(&parameter["name"]));
            html.close("td");
            html.element("td", &[], text(&parameter["in"]));
            html.open("td", &[]);
            schemas::write_type(html, &parameter["schema"]);
            html.close("td");
            html.says("td", text(&parameter["description"]));
            html.close("tr");
        }
        end_table(html);
    }

    fn write_answers(&self, html: &mut Html) {
        begin_table(html, "Answers", &["status", "body", "meaning"]);
        for (status, answer) in entries(&self.value["responses"]) {
            html.open("tr", &[]);
            html.open("td", &[]);
            html.code(status);
            html.close("td");
            html.open("td", &[]);
            for (kind, content) in entries(&answer["content"]) {
                if content["schema"]["$ref"].is_string() {
                    schemas::write_type(html, &content["schema"]);
                } else {
                    html.code(kind);
                }
            }
            html.close("td");
            html.open("td", &[]);
            html.prose(text(&answer["description"]));
            write_headers(html, &answer["headers"]);
            write_links(html, &answer["links"]);
            html.close("td");
            html.close("tr");
        }
        end_table(html);
    }
}

fn write_headers(html: &mut Html, headers: &Value) {
    for (name, header) in entries(headers) {
        html.open("p", &[]);
        html.text("Header ");
        html.code(name);
        html.text(", ");
        schemas::write_type(html, &header["schema"]);
        html.prose(&format!(": {}", text(&header["description"])));
        html.close("p");
    }
}

fn write_links(html: &mut Html, links: &Value) {
    let mut links = entries(links).peekable();
    if links.peek().is_none() {
        return;
    }
    html.open("p", &[("class", "next")]);
    html.text("Then:");
    for (_, link) in links {
        let to = text(&link["operationId"]);
        html.text(" ");
        html.link(&format!("#{to}"), to);
    }
    html.close("p");
}

/// A table in a box of its own, which scrolls where the page is narrow.
pub(super) fn begin_table(html: &mut Html, caption: &str, heads: &[&str]) {
    html.open("div", &[("class", "table"), ("tabindex", "0")]);
    html.open("table", &[]);
    html.element("caption", &[], caption);
    html.open("tr", &[]);
    for head in heads {
        html.element("th", &[("scope", "col")], head);
    }
    html.close("tr");
}

pub(super) fn end_table(html: &mut Html) {
    html.close("table");
    html.close("div");
}
