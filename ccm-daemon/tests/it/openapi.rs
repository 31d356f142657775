//! The description of the API: checked in, complete, and true about who may ask.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{DOCUMENT, Server};

struct Operation {
    method: String,
    path: String,
    value: &'static Value,
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    fn answers(&self) -> BTreeSet<&'static str> {
        let answers = self.value["responses"].as_object().unwrap();
        answers.keys().map(String::as_str).collect()
    }

    fn url(&self) -> String {
        self.path
            .replace("{id}", "01890000-0000-7000-8000-000000000000")
    }
}

fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, value) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.clone(),
                path: path.clone(),
                value,
            });
        }
    }
    assert!(operations.len() > 20, "{}", operations.len());
    operations
}

#[test]
fn the_checked_in_description_is_the_one_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/ccm-v1.json");
    let mut made = serde_json::to_string_pretty(&*DOCUMENT).unwrap();
    made.push('\n');
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{} is not what the routes say; run this test with CCM_BLESS=1 and look at the difference",
        path.display()
    );
}

#[test]
fn every_operation_is_described_with_its_problems() {
    assert_eq!(DOCUMENT["openapi"].as_str().unwrap().get(..3), Some("3.1"));
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let name = operation.name();
        let value = operation.value;
        let id = value["operationId"].as_str().unwrap_or_default();
        assert!(
            !id.is_empty() && ids.insert(id),
            "{name}: operation id {id:?}"
        );
        for text in ["summary", "description"] {
            let text = value[text].as_str().unwrap_or_default();
            assert!(text.len() > 5, "{name}: {value}");
        }
        assert_eq!(value["tags"].as_array().map(Vec::len), Some(1), "{name}");

        let answers = operation.answers();
        let mut wanted = BTreeSet::from(["403", "500"]);
        if operation.path != "/health" {
            wanted.insert("401");
        }
        if operation.path.contains('{') {
            wanted.extend(["400", "404"]);
        }
        if value["requestBody"].is_object() {
            wanted.extend(["400", "408", "413", "415", "422"]);
        }
        let missing: Vec<_> = wanted.difference(&answers).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
        for (status, answer) in value["responses"].as_object().unwrap() {
            let description = answer["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5, "{name} {status}");
            let problem = &answer["content"]["application/problem+json"]["schema"]["$ref"];
            let is_problem = problem == "#/components/schemas/Problem";
            let success = status.starts_with('2') || status == "101";
            assert_eq!(is_problem, !success, "{name} {status}");
            if status.starts_with('2') && status != "204" {
                let content = answer["content"].as_object().unwrap();
                let schema = &content.values().next().unwrap()["schema"];
                assert!(schema.is_object(), "{name} {status}");
            }
        }
    }
}

#[test]
fn every_schema_that_is_named_is_there() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(name)) = map.get("$ref") {
                    found.insert(name.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(&DOCUMENT, &mut found);
    assert!(found.contains("#/components/schemas/Problem"));
    for name in found {
        let pointer = name.strip_prefix('#').unwrap();
        assert!(DOCUMENT.pointer(pointer).is_some(), "{name} is nowhere");
    }
}

#[tokio::test]
async fn no_operation_answers_without_the_token() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    for operation in operations() {
        let open = operation.path == "/health";
        let security = &operation.value["security"];
        assert_eq!(security == &json!([{}]), open, "{}", operation.name());
        let method = Method::from_bytes(operation.method.to_uppercase().as_bytes()).unwrap();
        let wrong = format!("Bearer {}", "0".repeat(64));
        for token in [
            None,
            Some(wrong.as_str()),
            Some("Bearer"),
            Some(&server.token),
        ] {
            let url = format!("http://{}{}", server.address, operation.url());
            let mut request = client.request(method.clone(), url);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let reply = server.send(request).await;
            if open {
                assert_eq!(reply.status, 200);
            } else {
                assert_eq!(reply.headers["www-authenticate"], "Bearer");
                reply.problem("unauthorized");
            }
        }
    }
    assert!(!server.app.stopping().is_cancelled());
}
