use std::path::Path;

use serde_json::{Value, json};

use super::config::Unknown;
use super::{Config, ConfigFile, Home, ProjectConfig, backup, edit, prompts, service, trust, yaml};

/// A machine's config file, and one key of it changed.
pub fn machine_config(text: &str) {
    let home = Home::at("/nowhere");
    for unknown in [Unknown::Warned, Unknown::Refused] {
        if let Err(errors) = Config::from_text(&home, text, unknown) {
            told(&errors.to_string(), errors.problems.len());
        }
    }
    let file = ConfigFile::machine(&home);
    for (key, value) in [
        ("web_ui.port", "1234"),
        ("web_ui.allowed_hosts", "[a, b]"),
        ("system.tags", "[x]"),
    ] {
        if let Ok(edited) = file.set_in(text, key, value) {
            yaml::parse(&edited.text).expect("what was edited can be read");
        }
    }
}

/// A project's config file.
pub fn project_config(text: &str) {
    let folder = Path::new("/nowhere");
    for unknown in [Unknown::Warned, Unknown::Refused] {
        match ProjectConfig::from_text(folder, text, unknown) {
            Ok(loaded) => drop(loaded.config.code_settings()),
            Err(errors) => told(&errors.to_string(), errors.problems.len()),
        }
    }
    let file = ConfigFile::project(folder);
    for (key, value) in [("agent.command", "[a, b]"), ("agent.environment.X", "y")] {
        if let Ok(edited) = file.set_in(text, key, value) {
            yaml::parse(&edited.text).expect("what was edited can be read");
        }
    }
}

fn told(text: &str, problems: usize) {
    assert!(problems > 0 && !text.is_empty());
}

/// Any YAML, with a key set and taken away again: nothing else changes.
pub fn edit(text: &str) {
    let Ok(root) = yaml::parse(text) else { return };
    let comments = yaml::comments(text, &root);
    for range in comments {
        assert!(text[range].starts_with('#'));
    }
    let Some(before) = edit::generic(&root) else {
        return;
    };
    for value in [json!("a: b # c"), json!([1, "x"]), json!(true), Value::Null] {
        let Ok(set) = edit::set(text, &["a", "b"], &value) else {
            continue;
        };
        let read = yaml::parse(&set).expect("it can be read");
        let says = edit::generic(&read).expect("it says one thing");
        assert_eq!(says.pointer("/a/b"), Some(&value), "{set:?}");
        if before.pointer("/a/b").is_none()
            && let Ok(unset) = edit::unset(&set, &["a", "b"])
        {
            let read = yaml::parse(&unset).expect("it can be read");
            let says = edit::generic(&read).expect("it says one thing");
            assert_eq!(says.pointer("/a/b"), None, "{unset:?}");
        }
    }
}

/// A template for tasks.
pub fn template(text: &str) {
    prompts::fuzz(text);
}

/// A backup.
pub fn archive(bytes: &[u8]) {
    backup::fuzz(bytes);
}

/// Files of the home and of the system, and what service managers say.
pub fn records(bytes: &[u8]) {
    if let Ok(info) = serde_json::from_slice::<super::DaemonInfo>(bytes) {
        let _ = (info.url(), info.web_ui_url());
    }
    trust::fuzz(bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Some(token) = super::Token::parse(&text) {
        assert_eq!(token.reveal().len(), 64);
    }
    service::systemd::fuzz(&text);
    service::launchd::fuzz(&text);
}
