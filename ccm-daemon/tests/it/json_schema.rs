//! The schemas for editors: checked in, valid, and of one mind with the checks themselves.

use std::path::Path;

use ccm_daemon::machine::config::{Config, Unknown};
use ccm_daemon::machine::schema::{Key, Kind, MACHINE, PROJECT, Schema};
use ccm_daemon::machine::{Home, ProjectConfig};
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator(schema: &Schema) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema.json())
        .unwrap()
}

#[test]
fn the_checked_in_schemas_are_what_the_tables_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for (name, schema) in [("config", &MACHINE), ("project", &PROJECT)] {
        let path = folder.join(format!("{name}.schema.json"));
        let made = schema.json_text();
        if std::env::var_os("CCM_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == made,
            "{} is not what the table says; run this test with CCM_BLESS=1 and look at the difference",
            path.display()
        );
    }
}

#[test]
fn they_are_valid_schemas_of_the_version_that_they_name() {
    for schema in [&MACHINE, &PROJECT] {
        let json = schema.json();
        assert_eq!(
            json["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        jsonschema::meta::validate(&json).unwrap();
        // A key that the schema does not know is none of the table's.
        for key in schema.keys {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            assert_eq!(json.pointer(&pointer).unwrap()["description"], key.doc);
        }
    }
}

/// What is allowed and what is not, for a key of each kind.
fn samples(key: &Key) -> (Vec<Value>, Vec<Value>) {
    match key.kind {
        Kind::Bool => (vec![json!(true)], vec![json!("yes"), json!(1)]),
        Kind::Whole { min, max, .. } => (
            vec![json!(min), json!(max)],
            vec![
                json!(min - 1),
                json!(max + 1),
                json!("5 minutes"),
                json!(1.5),
                json!(true),
            ],
        ),
        Kind::Choice(words) => (
            words.iter().map(|word| json!(word)).collect(),
            vec![json!("other"), json!(""), json!(1)],
        ),
        Kind::Text | Kind::Path => (
            vec![json!("a b"), json!(""), json!(12)],
            vec![json!("a\nb"), json!([]), json!({"a": 1})],
        ),
        Kind::Word => (
            vec![json!("ccm-1_x"), json!(12)],
            vec![json!("a b"), json!("-x"), json!(""), json!("ö"), json!([])],
        ),
        Kind::Name => (
            vec![json!("my-shop.2"), json!("größe"), json!(12)],
            vec![json!("a/b"), json!(".x"), json!("x".repeat(65)), json!([])],
        ),
        Kind::Id => (
            vec![json!("01a2062d-9a3c-75ff-b66b-e5d340227cb8")],
            vec![json!("system-abc-123"), json!(12)],
        ),
        // Other hosts than loopback need other keys besides, which is more than a schema is asked.
        Kind::Address => (
            vec![json!("127.0.0.1"), json!("::1"), json!("localhost")],
            vec![json!("box"), json!("127.0.0.1:80"), json!("")],
        ),
        Kind::Url => (
            vec![
                json!("https://x.supabase.co"),
                json!("http://localhost:54321"),
                json!("http://127.0.0.1"),
                json!("http://[::1]:80/x"),
                json!(""),
            ],
            vec![
                json!("http://x.supabase.co"),
                json!("https://"),
                json!("https://a@b"),
                json!("ftp://x"),
                json!("http://localhost.evil.example"),
            ],
        ),
        Kind::Arguments => (
            vec![json!([]), json!(["sh", "-c", "cat\n"]), json!([1])],
            vec![json!("cat"), json!([["cat"]]), json!([null])],
        ),
        Kind::Tags => (
            vec![json!([]), json!(["gpu", "os:linux/6"])],
            vec![json!("gpu"), json!(["a b"]), json!([""])],
        ),
        Kind::Hosts => (
            vec![json!(["box.example", "[::1]:80"])],
            vec![json!("box"), json!(["a b"]), json!(["https://x"])],
        ),
        Kind::Environment => (
            vec![json!({}), json!({"LANG": "C", "N": 1, "E": ""})],
            vec![
                json!([]),
                json!({"CCM_X": "1"}),
                json!({"a-b": "1"}),
                json!({"A": ["x"]}),
            ],
        ),
    }
}

/// The document that sets one key.
fn document(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .fold(value, |inner, part| json!({part: inner}))
}

/// Whether the checks complain about the key itself.
fn is_refused(schema: &Schema, key: &Key, document: &Value) -> bool {
    // JSON is YAML.
    let text = document.to_string();
    let problems = if schema.file == MACHINE.file {
        Config::from_text(&Home::at("/x"), &text, Unknown::Refused).err()
    } else {
        ProjectConfig::from_text(Path::new("/x"), &text, Unknown::Refused).err()
    };
    problems.is_some_and(|errors| {
        errors.problems.iter().any(|problem| {
            let own = problem
                .key
                .as_deref()
                .is_some_and(|path| path.starts_with(key.path));
            let type_error = problem.message.starts_with("expected")
                || problem.message.contains("names that begin with CCM_");
            own && type_error
        })
    })
}

#[test]
fn schema_and_checks_are_of_one_mind() {
    for schema in [&MACHINE, &PROJECT] {
        let validator = validator(schema);
        for key in schema.keys {
            let (good, bad) = samples(key);
            let cases = good
                .into_iter()
                .chain([Value::Null])
                .map(|value| (value, true))
                .chain(bad.into_iter().map(|value| (value, false)));
            for (value, allowed) in cases {
                let document = document(key.path, value);
                assert_eq!(validator.is_valid(&document), allowed, "schema: {document}");
                assert_eq!(
                    !is_refused(schema, key, &document),
                    allowed,
                    "checks: {document}"
                );
            }
        }
        for unknown in [json!({"agnets": {}}), json!({"nmae": 1})] {
            assert!(!validator.is_valid(&unknown), "{unknown}");
        }
        assert!(validator.is_valid(&json!({})));
    }
    for sections in [json!({"agents": null}), json!({"web_ui": {"tls": null}})] {
        assert!(validator(&MACHINE).is_valid(&sections));
    }
    assert!(!validator(&MACHINE).is_valid(&json!({"agents": {"max_agents": 1}})));
}
