//! `config get` and `config set`: one key changes, everything else stays.

use ccm_daemon::machine::schema::{Kind, MACHINE, PROJECT, Schema};
use ccm_daemon::machine::{ConfigFile, Home};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn file(dir: &tempfile::TempDir, text: &str) -> ConfigFile {
    let home = Home::at(dir.path());
    std::fs::write(home.config_file(), text).unwrap();
    ConfigFile::machine(&home)
}

#[test]
fn a_set_key_is_got_and_the_rest_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let text = "# mine\nagents:\n  max_idle_time: 60 # short\n";
    let file = file(&dir, text);
    let edited = file.set("agents.max_idle_time", "90").unwrap();
    assert!(edited.changed);
    assert_eq!(
        edited.text,
        "# mine\nagents:\n  max_idle_time: 90 # short\n"
    );
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), edited.text);
    let got = file.get("agents.max_idle_time").unwrap();
    assert_eq!((got.value, got.line), (json!(90), Some(3)));
    let usual = file.get("agents.tmux_socket").unwrap();
    assert_eq!((usual.value, usual.line), (json!("ccm"), None));
    assert_eq!(file.get("sync").unwrap().value["max_retries"], 5);

    let again = file.set("agents.max_idle_time", "90").unwrap();
    assert!(!again.changed);
}

#[test]
fn what_is_not_allowed_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = "agents:\n  max_idle_time: 60\n";
    let file = file(&dir, text);
    for (key, value, wanted) in [
        (
            "agents.max_idle_time",
            "5 minutes",
            "agents.max_idle_time: expected seconds (a whole number), found \"5 minutes\"",
        ),
        (
            "agents.max_idle_tme",
            "5",
            "agents.max_idle_tme: unknown key, did you mean agents.max_idle_time?",
        ),
        (
            "agents",
            "5",
            "agents is a section: set one of its keys, such as agents.max_concurrent",
        ),
        (
            "web_ui.host",
            "0.0.0.0",
            "web_ui.host: 0.0.0.0 is not an address of this machine alone; that needs web_ui.tls.cert, web_ui.tls.key and web_ui.allow_remote: true",
        ),
        (
            "system.tags",
            "[a",
            "system.tags: not valid YAML: unclosed bracket '['",
        ),
        (
            "system.hostname",
            "a\n---\nb",
            "system.hostname: only one document (one `---`) is allowed",
        ),
    ] {
        assert_eq!(file.set(key, value).unwrap_err().to_string(), wanted);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    }
    assert!(file.get("nope").is_err());
}

#[test]
fn a_broken_file_can_be_mended_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, "web_ui: {port: x}\nsync: {max_retries: y}\n");
    assert!(file.get("web_ui.port").is_err());
    assert_eq!(file.validate().unwrap_err().problems.len(), 2);
    file.set("web_ui.port", "80").unwrap();
    file.set("sync.max_retries", "3").unwrap();
    assert_eq!(file.get("web_ui.port").unwrap().value, 80);

    let e = super::machine_edit::file(&dir, "a: [\n")
        .set("web_ui.port", "1")
        .unwrap_err();
    assert!(
        e.to_string().contains("config.yaml:1: not valid YAML"),
        "{e}"
    );
}

#[test]
fn a_replacement_is_taken_only_if_it_is_free_of_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, "profile: full\n");
    assert!(file.replace("profile: big\n").is_err());
    assert_eq!(file.text().unwrap(), "profile: full\n");
    file.replace("profile: minimal # now\n").unwrap();
    assert_eq!(file.text().unwrap(), "profile: minimal # now\n");
}

#[cfg(unix)]
#[test]
fn a_link_to_the_config_stays_a_link_and_modes_stay() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = dir.path().join("dotfiles.yaml");
    std::fs::write(&elsewhere, "profile: full\n").unwrap();
    std::fs::set_permissions(&elsewhere, PermissionsExt::from_mode(0o640)).unwrap();
    let home = Home::at(dir.path().join("home"));
    home.create().unwrap();
    std::os::unix::fs::symlink(&elsewhere, home.config_file()).unwrap();
    ConfigFile::machine(&home)
        .set("profile", "minimal")
        .unwrap();
    assert!(
        std::fs::symlink_metadata(home.config_file())
            .unwrap()
            .is_symlink()
    );
    assert_eq!(
        std::fs::read_to_string(&elsewhere).unwrap(),
        "profile: minimal\n"
    );
    let mode = std::fs::metadata(&elsewhere).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn entries_of_a_map_are_set_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".ccm")).unwrap();
    let file = ConfigFile::project(dir.path());
    file.set("agent.env.LANG", "C.UTF-8").unwrap();
    file.set("agent.env.EMPTY", "''").unwrap();
    file.set("agent.env.NUMBER", "1").unwrap();
    assert_eq!(
        file.text().unwrap(),
        "agent:\n  env:\n    LANG: C.UTF-8\n    EMPTY: \"\"\n    NUMBER: \"1\"\n"
    );
    assert_eq!(file.get("agent.env.NUMBER").unwrap().value, "1");
    let e = file.set("agent.env.LIST", "[secret]").unwrap_err();
    assert_eq!(
        e.to_string(),
        "agent.env.LIST: expected a text (in quotes if it is empty)"
    );
    let e = file.set("agent.env.CCM_RUN_ID", "1").unwrap_err();
    assert!(e.to_string().contains("set by CCM itself"), "{e}");
}

#[test]
fn a_machine_that_was_not_set_up_says_how_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = ConfigFile::machine(&Home::at(dir.path().join("none")));
    for answer in [file.get("profile").err(), file.set("profile", "full").err()] {
        let e = answer.unwrap().to_string();
        assert!(e.contains("run `ccm-orchestrator init`"), "{e}");
    }
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_lost_project_file_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = ConfigFile::project(dir.path());
    assert_eq!(file.get("agent.driver").unwrap().value, "claude");
    file.set("limits.timeout", "5").unwrap();
    assert_eq!(file.text().unwrap(), "limits:\n  timeout: 5\n");
    assert_eq!(file.get("limits.timeout").unwrap().line, Some(2));
}

/// Any value that a key of the kind may have.
fn value_of(kind: Kind) -> BoxedStrategy<Value> {
    let text = "[ -~äß€]{1,12}".prop_filter("blank", |text| !text.trim().is_empty());
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Whole { min, max, .. } => (min..=max).prop_map(Value::from).boxed(),
        Kind::Choice(words) => proptest::sample::select(words)
            .prop_map(Value::from)
            .boxed(),
        Kind::Text | Kind::Path => text.prop_map(Value::from).boxed(),
        Kind::Word => "[a-zA-Z_][a-zA-Z0-9_-]{0,8}".prop_map(Value::from).boxed(),
        Kind::Name => "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}"
            .prop_map(Value::from)
            .boxed(),
        Kind::Id => any::<u128>()
            .prop_map(|n| {
                Value::from(ccm_core::id::SystemId::from_uuid(uuid::Uuid::from_u128(n)).to_string())
            })
            .boxed(),
        Kind::Address => Just(json!("127.0.0.1")).boxed(),
        Kind::Url => "https://[a-z]{1,8}\\.example\\.net(:[0-9]{2,4})?/[a-z#?=]{0,4}"
            .prop_map(Value::from)
            .boxed(),
        Kind::Arguments => {
            let argument = proptest::string::string_regex("[ -~\n\tä\u{85}]{0,10}").unwrap();
            proptest::collection::vec(argument, 0..4)
                .prop_map(Value::from)
                .boxed()
        }
        Kind::Tags => proptest::collection::vec("[a-z0-9:./_-]{1,6}", 0..4)
            .prop_map(Value::from)
            .boxed(),
        Kind::Hosts => proptest::collection::vec("[a-z0-9.-]{1,6}(:[0-9]{2})?", 0..3)
            .prop_map(Value::from)
            .boxed(),
        Kind::Environment => {
            proptest::collection::btree_map("[A-BD-Z_][A-Z0-9_]{0,4}", "[ -~\n]{0,8}", 0..4)
                .prop_map(|map| {
                    map.into_iter()
                        .map(|(k, v)| (k, Value::from(v)))
                        .collect::<Map<_, _>>()
                        .into()
                })
                .boxed()
        }
    }
}

/// Some keys of a schema with values.
fn settings(schema: &'static Schema) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let keys: Vec<_> = schema
        .keys
        .iter()
        .map(|key| {
            let path = key.path;
            prop_oneof![
                2 => Just(None),
                1 => value_of(key.kind).prop_map(move |value| Some((path, value))),
            ]
        })
        .collect();
    keys.prop_map(|keys| keys.into_iter().flatten().collect())
}

/// A file in a person's hand: comments everywhere, blank lines, several ways to write a value.
fn written(settings: &[(&'static str, Value)], style: u64) -> String {
    let mut style = style;
    let mut pick = move |ways: u64| {
        style = style
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (style >> 33) % ways
    };
    let mut text = String::from("# head\n");
    let mut open: Vec<&str> = Vec::new();
    for (path, value) in settings {
        let parts: Vec<&str> = path.split('.').collect();
        let (name, sections) = parts.split_last().unwrap();
        let same = open
            .iter()
            .zip(sections)
            .take_while(|(a, b)| a == b)
            .count();
        open.truncate(same);
        for section in &sections[same..] {
            let indent = "  ".repeat(open.len());
            let comment = ["", "  # a section", " "][pick(3) as usize];
            text.push_str(&format!("{indent}{section}:{comment}\n"));
            open.push(section);
        }
        let indent = "  ".repeat(sections.len());
        match pick(5) {
            0 => text.push_str(&format!("{indent}# about {name}: x\n")),
            1 => text.push('\n'),
            _ => {}
        }
        // JSON is YAML, save for what only JSON's escapes can say.
        let flow = value.to_string();
        let comment = ["", "  # why #2", "   "][pick(3) as usize];
        match value {
            Value::Array(items) if !items.is_empty() && pick(2) == 0 => {
                text.push_str(&format!("{indent}{name}:{comment}\n"));
                let dash = if pick(2) == 0 { "" } else { "  " };
                for item in items {
                    text.push_str(&format!("{indent}{dash}- {item}"));
                    text.push_str(["\n", "  # item\n"][pick(2) as usize]);
                }
            }
            Value::Object(map) if !map.is_empty() && pick(2) == 0 => {
                text.push_str(&format!("{indent}{name}:{comment}\n"));
                for (key, value) in map {
                    text.push_str(&format!("{indent}    {key}: {value}\n"));
                }
            }
            Value::String(s) if pick(2) == 0 && !s.contains(['\'', '\n']) => {
                text.push_str(&format!("{indent}{name}: '{s}'{comment}\n"));
            }
            _ => text.push_str(&format!("{indent}{name}:  {flow}{comment}\n")),
        }
    }
    if pick(3) == 0 {
        text.push_str("# the end");
    }
    text
}

fn put(place: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *place = value;
        return;
    };
    if !place.is_object() {
        *place = json!({});
    }
    put(&mut place[*first], rest, value);
}

fn meaning(text: &str) -> Value {
    serde_saphyr::from_str::<Option<Value>>(text)
        .unwrap_or_else(|e| panic!("{e}\n{text}"))
        .unwrap_or(json!({}))
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Sets `path` in a file of `settings` and compares with another parser's view of both texts.
fn edits(
    file: &ConfigFile,
    text: &str,
    key: &'static str,
    value: &Value,
) -> std::result::Result<(), TestCaseError> {
    let edited = match file.set_in(text, key, &value.to_string()) {
        Ok(edited) => edited.text,
        // Two keys may contradict each other; that is checked elsewhere.
        Err(e)
            if e.to_string().contains("needs a program")
                || e.to_string().contains("not available yet")
                || e.to_string().contains("must both be set")
                || e.to_string().contains("found an empty text") =>
        {
            return Ok(());
        }
        Err(e) => return Err(TestCaseError::fail(format!("{key} = {value}: {e}\n{text}"))),
    };
    let mut wanted = meaning(text);
    let path: Vec<&str> = key.split('.').collect();
    put(&mut wanted, &path, value.clone());
    prop_assert_eq!(
        meaning(&edited),
        wanted,
        "{} = {}\n{}\n--\n{}",
        key,
        value,
        text,
        edited
    );

    // All lines that are not about the key are still there, in their order.
    let name = path[path.len() - 1];
    let before = lines(text);
    let about = before
        .iter()
        .position(|line| line.trim_start().starts_with(&format!("{name}:")));
    let mut after = lines(&edited).into_iter();
    for (n, line) in before.iter().enumerate() {
        let item = line.trim_start().starts_with("- ") || line.starts_with("      ");
        let changed = Some(n) == about
            || item
            || before
                .iter()
                .filter(|l| l.trim_start().starts_with(&format!("{name}:")))
                .count()
                > 1;
        if !changed {
            prop_assert!(
                after.any(|kept| kept == *line),
                "{key} = {value}: {line:?} is gone\n{text}\n--\n{edited}"
            );
        }
    }
    // Comments of the lines that changed are still there, too.
    for comment in ["# head", "# item", "# why #2", "# a section", "# the end"] {
        prop_assert!(
            edited.matches(comment).count() >= text.matches(comment).count(),
            "{key} = {value}: {comment} is gone\n{text}\n--\n{edited}"
        );
    }
    Ok(())
}

fn any_setting(schema: &'static Schema) -> impl Strategy<Value = (&'static str, Value)> {
    proptest::sample::select(schema.keys)
        .prop_flat_map(|key| value_of(key.kind).prop_map(move |value| (key.path, value)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn setting_a_machine_key_changes_that_alone(
        old in settings(&MACHINE),
        style in any::<u64>(),
        new in any_setting(&MACHINE),
    ) {
        let file = ConfigFile::machine(&Home::at("/nowhere"));
        edits(&file, &written(&old, style), new.0, &new.1)?;
    }

    #[test]
    fn setting_a_project_key_changes_that_alone(
        old in settings(&PROJECT),
        style in any::<u64>(),
        new in any_setting(&PROJECT),
    ) {
        let file = ConfigFile::project("/nowhere".as_ref());
        edits(&file, &written(&old, style), new.0, &new.1)?;
    }

    #[test]
    fn no_text_at_all_breaks_the_reader(text in "[-a-c:#'\"\\[\\]{},|> \n&*!?%0-9é]{0,60}", value in "[ -~\n]{0,12}") {
        let file = ConfigFile::machine(&Home::at("/nowhere"));
        let _ = file.validate_text(&text);
        let _ = file.set_in(&text, "agents.max_concurrent", "7");
        let _ = file.set_in("a: 1\n", "system.hostname", &value);
    }
}
