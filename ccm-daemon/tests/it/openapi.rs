//! The description of the API: checked in, complete, and true about who may ask.

use std::collections::BTreeSet;
use std::path::Path;

use ccm_core::Reason;
use ccm_core::api::{EventKind, ProblemCode, TaskStateName};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{DOCUMENT, Server, validator};

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
        // 101 is what a web socket begins with.
        let succeeds = |status: &&str| status.starts_with('2') || *status == "101";
        assert!(answers.iter().any(succeeds), "{name} never succeeds");
        for (status, answer) in value["responses"].as_object().unwrap() {
            let description = answer["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5, "{name} {status}");
            let problem = &answer["content"]["application/problem+json"]["schema"]["$ref"];
            let is_problem = problem == "#/components/schemas/Problem";
            let is_error = status.starts_with(['4', '5']);
            assert_eq!(is_problem, is_error, "{name} {status}");
            if status.starts_with('2') && status != "204" {
                let content = answer["content"].as_object().unwrap();
                let schema = &content.values().next().unwrap()["schema"];
                assert!(schema.is_object(), "{name} {status}");
            }
        }
    }
}

/// A route that is not described escapes every test here, so each of these is named.
#[test]
fn every_route_but_the_pages_is_described() {
    const PAGES: &[&str] = &[
        "reference/mod.rs: PATH",
        "reference/mod.rs: PROBLEMS_PATH",
        "reference/mod.rs: STYLE_PATH",
        "web/mod.rs: &path",
        "web/mod.rs: PAGE",
        "web/mod.rs: SIGN_IN",
        "web/mod.rs: file.path",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    fn look(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, root, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root).unwrap().display();
                for call in [".route(", ".route_service(", ".nest_service("] {
                    let calls = source.split(call).skip(1);
                    let paths = calls.map(|rest| rest.split(',').next().unwrap().trim());
                    found.extend(paths.map(|path| format!("{file}: {path}")));
                }
            }
        }
    }
    let mut found = Vec::new();
    look(&root, &root, &mut found);
    found.sort();
    assert_eq!(found, PAGES);
}

/// What a request may hold has a limit of its own, and no unknown fields. Answers stay open for what is added later.
#[test]
fn every_value_of_a_request_is_bounded() {
    fn look(schema: &Value, place: &str, seen: &mut BTreeSet<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            if seen.insert(reference.to_owned()) {
                let target = DOCUMENT.pointer(&reference[1..]).unwrap();
                look(target, reference, seen);
            }
            return;
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            for (at, one) in schema[choice].as_array().into_iter().flatten().enumerate() {
                look(one, &format!("{place}/{choice}/{at}"), seen);
            }
        }
        let is = |name: &str| match &schema["type"] {
            Value::Array(names) => names.iter().any(|one| one == name),
            one => one == name,
        };
        let known = [
            "string", "integer", "number", "boolean", "array", "object", "null",
        ];
        assert!(
            schema["oneOf"].is_array()
                || schema["allOf"].is_array()
                || known.iter().any(|name| is(name)),
            "{place} has no type: {schema}"
        );
        if is("string") && schema["enum"].is_null() {
            let most = schema["maxLength"].as_u64();
            assert!(
                most.is_some_and(|most| most <= 1024 * 1024),
                "{place} has no maxLength of its own"
            );
        }
        if is("integer") {
            let bounds = (&schema["minimum"], &schema["maximum"]);
            assert!(
                bounds.0.is_i64() && bounds.1.is_i64(),
                "{place}: {bounds:?}"
            );
        }
        if is("array") {
            let most = schema["maxItems"].as_u64();
            assert!(
                most.is_some_and(|most| most <= 1000),
                "{place} has no maxItems of its own"
            );
            look(&schema["items"], &format!("{place}/items"), seen);
        }
        if is("object") {
            assert_eq!(
                schema["additionalProperties"], false,
                "{place} takes unknown fields"
            );
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                look(property, &format!("{place}/{name}"), seen);
            }
        }
    }
    let mut seen = BTreeSet::new();
    for operation in operations() {
        let name = operation.name();
        for parameter in operation.value["parameters"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let place = format!("{name}, parameter {}", parameter["name"]);
            assert!(
                parameter["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 5),
                "{place}"
            );
            look(&parameter["schema"], &place, &mut seen);
        }
        let body = &operation.value["requestBody"];
        if body.is_object() {
            assert_eq!(body["required"], true, "{name}");
            look(
                &body["content"]["application/json"]["schema"],
                &format!("{name}, body"),
                &mut seen,
            );
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

/// Every answer in these tests is held against its schema, so the schemas must be able to say no.
#[test]
fn a_schema_refuses_what_it_does_not_describe() {
    let task = validator("#/components/schemas/TaskId");
    assert!(task.is_valid(&json!("01890000-0000-7000-8000-000000000000")));
    assert!(!task.is_valid(&json!("0189")));
    let health = validator("#/components/schemas/Health");
    assert!(health.is_valid(&json!({"status": "ok", "new": 1})));
    assert!(!health.is_valid(&json!({"new": 1})));
    let answer = validator("#/components/schemas/Answer");
    assert!(answer.is_valid(&json!({"answer": "deny"})));
    assert!(!answer.is_valid(&json!({"answer": "deny", "new": 1})));
}

/// The derive sees the attributes of serde only if nothing is in between.
#[test]
fn names_are_described_as_they_are_on_the_wire() {
    fn names<T: serde::Serialize>(all: &[T]) -> Value {
        all.iter()
            .map(|one| serde_json::to_value(one).unwrap())
            .collect()
    }
    let described = |schema: &str| DOCUMENT["components"]["schemas"][schema]["enum"].clone();
    assert_eq!(described("EventKind"), names(EventKind::ALL));
    assert_eq!(described("TaskStateName"), names(TaskStateName::ALL));
    assert_eq!(described("Reason"), names(Reason::ALL));
    // One more stands for those that a client is too old to know.
    let mut problems = described("ProblemCode");
    problems.as_array_mut().unwrap().pop();
    assert_eq!(problems, names(ProblemCode::ALL));
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
