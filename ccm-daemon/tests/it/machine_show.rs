//! What counts and where it comes from.

use ccm_daemon::machine::schema::{MACHINE, PROJECT};
use ccm_daemon::machine::show::Origin;
use ccm_daemon::machine::{Config, ConfigFile, Home};
use serde_json::{Value, json};

fn machine(text: &str) -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    std::fs::write(home.config_file(), text).unwrap();
    (dir, home)
}

fn origin(file: &ConfigFile, machine: Option<&Home>, key: &str) -> (Value, Origin) {
    let effective = file.effective(machine).unwrap();
    let shown = effective.keys.into_iter().find(|shown| shown.key == key);
    let shown = shown.unwrap();
    (shown.value, shown.origin)
}

#[test]
fn every_key_is_there_and_secrets_are_hidden() {
    let (_dir, home) = machine("supabase: {key: sb_publishable_1}\n");
    let file = ConfigFile::machine(&home);
    let effective = file.effective(None).unwrap();
    assert_eq!(effective.keys.len(), MACHINE.keys.len());
    let values = effective.values();
    assert_eq!(values["agents"]["max_idle_time"], 300);
    assert_eq!(values["supabase"]["key"], "(hidden)");
    assert_eq!(values["web_ui"]["tls"]["cert"], Value::Null);
    assert_eq!(file.get("supabase").unwrap().value["key"], "(hidden)");
    // Who asks for it gets it.
    assert_eq!(file.get("supabase.key").unwrap().value, "sb_publishable_1");
    assert!(!effective.yaml(true).contains("sb_publishable"));
}

#[test]
fn what_is_shown_is_a_config_that_says_the_same() {
    let (_dir, home) =
        machine("profile: minimal\nsystem: {hostname: 'a: b', tags: [x, y]}\nweb_ui: {port: 1}\n");
    let file = ConfigFile::machine(&home);
    for origins in [false, true] {
        let text = file.effective(None).unwrap().yaml(origins);
        assert_eq!(file.validate_text(&text).unwrap(), [], "{text}");
        let other = tempfile::tempdir().unwrap();
        let other = Home::at(other.path());
        other.create().unwrap();
        std::fs::write(other.config_file(), &text).unwrap();
        let again = ConfigFile::machine(&other).effective(None).unwrap();
        assert_eq!(again.values(), file.effective(None).unwrap().values());
        let _ = Config::load(&other).unwrap();
    }
}

#[test]
fn each_value_says_where_it_comes_from() {
    let (_dir, home) =
        machine("profile: minimal\nagents:\n  max_concurrent: 10\nweb_ui: {port: null}\n");
    let file = ConfigFile::machine(&home);
    let at = |line| Origin::File {
        path: home.config_file().to_owned(),
        line,
    };
    let of = |key: &str| origin(&file, None, key);
    assert_eq!(of("agents.max_concurrent"), (json!(10), at(3)));
    assert_eq!(of("web_ui.port"), (json!(8765), Origin::Default));
    assert_eq!(of("supabase.url"), (Value::Null, Origin::Unset));
    let (enabled, from) = of("web_ui.enabled");
    assert_eq!(enabled, false);
    assert_eq!(from.to_string(), "off in the profile minimal");
    let (name, from) = of("system.hostname");
    assert!(name.is_string());
    assert_eq!(from.to_string(), "what this machine calls itself");
    let text = file.effective(None).unwrap().yaml(true);
    assert!(
        text.contains(&format!("  # {}:3\n", home.config_file().display())),
        "{text}"
    );
}

#[test]
fn a_project_has_what_its_machine_says_below_its_own() {
    let (dir, home) = machine("resources: {max_agent_memory_mb: 77}\n");
    let folder = dir.path().join("shop");
    std::fs::create_dir_all(folder.join(".ccm")).unwrap();
    let file = ConfigFile::project(&folder);
    let of = |key: &str| origin(&file, Some(&home), key);
    let (memory, from) = of("limits.memory_mb");
    assert_eq!(memory, 77);
    let config = home.config_file().display().to_string();
    assert_eq!(
        from.to_string(),
        format!("resources.max_agent_memory_mb ({config}:1)")
    );
    assert_eq!(of("name").0, "shop");
    std::fs::write(
        file.path(),
        "limits: {memory_mb: 50}\nagent: {env: {API_KEY: x, LANG: C}}\n",
    )
    .unwrap();
    assert_eq!(of("limits.memory_mb").0, 50);
    assert_eq!(
        of("agent.env").0,
        json!({"API_KEY": "(hidden)", "LANG": "(hidden)"})
    );
    assert_eq!(file.get("agent.env.LANG").unwrap().value, "C");
    assert_eq!(file.effective(None).unwrap().keys.len(), PROJECT.keys.len());
    // A machine whose config can't be used keeps nobody from looking at a project.
    std::fs::write(home.config_file(), "profile: [\n").unwrap();
    std::fs::write(file.path(), "").unwrap();
    assert_eq!(of("limits.memory_mb"), (Value::Null, Origin::Unset));
}
