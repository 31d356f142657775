//! The machine's config file: defaults, errors with their places, and what set-up writes.

use std::path::Path;
use std::time::Duration;

use ccm_daemon::machine::config::{ProfileName, Unknown};
use ccm_daemon::machine::schema::MACHINE;
use ccm_daemon::machine::setup::{self, Answers};
use ccm_daemon::machine::{Config, Home, HomeChoice, Loaded};

fn home() -> Home {
    let choice = HomeChoice {
        ccm_home: Some("/srv/ccm".into()),
        user_home: Some("/home/u".into()),
        current_dir: "/".into(),
        ..HomeChoice::default()
    };
    Home::choose(&choice).unwrap()
}

fn errors(text: &str) -> String {
    Config::from_text(&home(), text, Unknown::Refused)
        .unwrap_err()
        .to_string()
}

fn loaded(text: &str) -> Loaded {
    Config::from_text(&home(), text, Unknown::Warned).unwrap()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let Loaded { config, warnings } = loaded("");
    assert_eq!(warnings, []);
    assert_eq!(config.profile, ProfileName::Full);
    assert_eq!(config.system.id, None);
    assert_eq!(config.system.hostname, setup::hostname());
    assert_eq!(config.system.tags, Vec::<String>::new());
    assert_eq!(config.database.sqlite_path, Path::new("/srv/ccm/ccm.db"));
    assert!(!config.supabase.enabled);
    assert_eq!((config.supabase.url, config.supabase.key), (None, None));
    assert_eq!(config.supabase.auth_file, Path::new("/srv/ccm/auth.json"));
    assert_eq!(config.sync.interval, Duration::from_secs(10));
    assert_eq!(config.sync.max_retries, 5);
    assert!(config.web_ui.enabled);
    assert_eq!(config.web_ui.listen_address().to_string(), "127.0.0.1:8765");
    assert_eq!((config.web_ui.tls, config.web_ui.socket), (None, None));
    assert_eq!(config.agents.max_concurrent, 10);
    assert_eq!(config.agents.max_idle_time, Duration::from_secs(300));
    assert_eq!(config.agents.tmux_session_name, "ccm");
    assert_eq!(
        config.daemon.log_file,
        Path::new("/srv/ccm/logs/daemon.log")
    );
    assert_eq!(config.daemon.health_check_interval, Duration::from_secs(60));
    assert_eq!(config.resources.max_agent_memory_mb, 2048);
    assert_eq!(config.resources.max_tmux_windows, 20);
    assert_eq!(config.resources.max_queue_size, 1000);
    assert_eq!(config.resources.max_supabase_connections, 5);
    assert_eq!(config.resources.connection_pool_size, 10);
    assert_eq!(config.retention.days, 30);
}

#[test]
fn the_sample_of_the_documentation_is_accepted() {
    let text = "\
profile: full  # full | minimal

system:
  id: \"01890a5d-ac96-774b-bcce-b302099a8057\"
  hostname: \"mac-pro\"
  type: developer  # developer | devops | business
  tags: [development, mac]

database:
  sqlite_path: ~/.ccm/ccm.db

supabase:
  enabled: true
  url: https://xxx.supabase.co
  key: sb_publishable_x
  auth_file: ~/.ccm/auth.json  # Encrypted JWT storage

sync:
  enabled: true
  interval_seconds: 10
  max_retries: 5
  conflict_resolution: last_write_wins  # last_write_wins | manual

web_ui:
  enabled: true  # false for minimal profile
  host: 127.0.0.1
  port: 8765

agents:
  max_concurrent: 10  # Limit simultaneous agents
  max_idle_time: 300  # Seconds, cleanup idle agents
  tmux_session_name: ccm

daemon:
  log_level: info  # debug | info | warning | error
  log_file: ~/.ccm/logs/daemon.log
  health_check_interval: 60  # Seconds
";
    let Loaded { config, warnings } = loaded(text);
    // Nothing is wrong with it; this version only has nobody to share with.
    assert!(
        warnings
            .iter()
            .all(|warning| warning.to_string().contains("supabase.")),
        "{warnings:?}"
    );
    assert_eq!(config.system.hostname, "mac-pro");
    assert_eq!(config.system.tags, ["development", "mac"]);
    assert_eq!(
        config.database.sqlite_path,
        Path::new("/home/u/.ccm/ccm.db")
    );
}

#[test]
fn paths_begin_at_the_machine_home() {
    let config = loaded(
        "database: {sqlite_path: data/x.db}\nweb_ui: {socket: ccm.sock}\ndaemon: {log_file: /var/log/ccm.log}\n",
    )
    .config;
    assert_eq!(config.database.sqlite_path, Path::new("/srv/ccm/data/x.db"));
    assert_eq!(
        config.web_ui.socket.as_deref(),
        Some(Path::new("/srv/ccm/ccm.sock"))
    );
    assert_eq!(config.daemon.log_file, Path::new("/var/log/ccm.log"));
}

#[test]
fn errors_name_file_line_key_and_what_is_allowed() {
    for (text, wanted) in [
        (
            "agents:\n  max_idle_time: 5 minutes\n",
            "config.yaml:2: agents.max_idle_time: expected seconds (a whole number), found \"5 minutes\"",
        ),
        (
            "profile: big\n",
            "config.yaml:1: profile: expected full or minimal, found \"big\"",
        ),
        (
            "daemon: {log_level: loud}\n",
            "config.yaml:1: daemon.log_level: expected debug, info, warning or error, found \"loud\"",
        ),
        (
            "web_ui:\n  port: 70000\n",
            "config.yaml:2: web_ui.port: expected a whole number from 0 to 65535, found 70000",
        ),
        (
            "web_ui:\n  port: 80.5\n",
            "config.yaml:2: web_ui.port: expected a whole number from 0 to 65535, found 80.5",
        ),
        (
            "web_ui:\n  enabled: yes\n",
            "config.yaml:2: web_ui.enabled: expected true or false, found \"yes\"",
        ),
        (
            "agents:\n  max_concurrent: 0\nresources: {max_agents: 1}\n",
            "config.yaml:2: agents.max_concurrent: expected a whole number from 1 to 10000, found 0",
        ),
        (
            "system:\n  tags: mac\n",
            "config.yaml:2: system.tags: expected a list of tags, each 1 to 64 letters, digits, -, _, ., : or /, found \"mac\"",
        ),
        (
            "system:\n  tags:\n    - mac\n    - a b\n",
            "config.yaml:4: system.tags: expected a list of tags, each 1 to 64 letters, digits, -, _, ., : or /, found \"a b\" in it",
        ),
        (
            "system: {id: system-abc-123}\n",
            "config.yaml:1: system.id: expected an id (UUID) as set-up writes it, or no line: then one is made, found \"system-abc-123\"",
        ),
        (
            "supabase: {url: \"http://example.net\"}\n",
            "config.yaml:1: supabase.url: expected an https:// address (http:// only on this machine), found \"http://example.net\"",
        ),
        (
            "agents: [1]\n",
            "config.yaml:1: agents: expected keys and values, found a list",
        ),
        (
            "- a\n",
            "config.yaml:1: expected keys and values, found a list",
        ),
        (
            "agents:\n  max_idle_tme: 3\n",
            "config.yaml:2: agents.max_idle_tme: unknown key, did you mean agents.max_idle_time?",
        ),
        (
            "port: 3\n",
            "config.yaml:1: port: unknown key, did you mean web_ui.port?",
        ),
        (
            "agnets: {}\n",
            "config.yaml:1: agnets: unknown key, did you mean agents?",
        ),
        ("zzzzzzzzzz: {}\n", "config.yaml:1: zzzzzzzzzz: unknown key"),
        (
            "sync: {}\nsync: {}\n",
            "config.yaml:2: sync: written twice, first in line 1",
        ),
        (
            "a: [\n",
            "config.yaml:1: not valid YAML: unclosed bracket '['",
        ),
        (
            "x: *y\n",
            "config.yaml:1: not valid YAML: while parsing node, found unknown anchor",
        ),
        (
            "web_ui:\n  host: 0.0.0.0\n",
            "config.yaml:2: web_ui.host: 0.0.0.0 is not an address of this machine alone; that needs web_ui.tls.cert, web_ui.tls.key and web_ui.allow_remote: true",
        ),
        (
            "web_ui:\n  tls: {cert: x.pem}\n",
            "config.yaml:2: web_ui.tls.cert: web_ui.tls.cert and web_ui.tls.key must both be set, or neither",
        ),
        (
            "supabase: {key: sb_secret_hush}\n",
            "config.yaml:1: supabase.key: expected the publishable key (sb_publishable_...), found a secret one, which must never be on a user's machine",
        ),
    ] {
        assert_eq!(errors(text), wanted, "{text}");
    }
}

#[test]
fn all_errors_are_reported_together_and_in_order() {
    let text = "web_ui:\n  port: x\nnonsense: 1\nagents:\n  max_concurrent: -1\n";
    let lines: Vec<String> = errors(text).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("config.yaml:2: web_ui.port: "));
    assert!(lines[1].starts_with("config.yaml:3: nonsense: unknown key"));
    assert!(lines[2].starts_with("config.yaml:5: agents.max_concurrent: "));
}

#[test]
fn an_unknown_key_is_a_warning_to_the_daemon() {
    let Loaded { warnings, .. } = loaded("agents:\n  max_agent: 3\n");
    assert_eq!(
        warnings[0].to_string(),
        "config.yaml:2: agents.max_agent: unknown key, did you mean resources.max_agents?"
    );
}

#[test]
fn limits_that_disagree_are_a_warning_and_the_smaller_one_counts() {
    let Loaded { config, warnings } = loaded("agents:\n  max_concurrent: 5\n");
    assert_eq!(config.max_concurrent(), 5);
    assert_eq!(
        warnings[0].to_string(),
        "config.yaml:2: agents.max_concurrent: agents.max_concurrent is 5 and resources.max_agents is 10: the smaller one counts, 5"
    );
    let Loaded { config, .. } = loaded("resources: {max_agents: 3}\n");
    assert_eq!(config.max_concurrent(), 3);
}

#[test]
fn sharing_without_a_place_to_share_in_is_a_warning() {
    let Loaded { warnings, config } = loaded("supabase:\n  enabled: true\n");
    let told: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "config.yaml:2: supabase.enabled: nothing is shared without supabase.url; `ccm supabase connect` asks for it"
        ]
    );
    assert!(config.shares());
    let paused = "supabase: {enabled: true, url: 'https://x.y', key: k}\nsync:\n  enabled: false\n";
    let Loaded { warnings, config } = loaded(paused);
    assert!(warnings.is_empty() && !config.shares(), "{warnings:?}");
}

#[test]
fn the_minimal_profile_has_no_web_ui_whatever_it_says() {
    let config = loaded("profile: minimal\nweb_ui: {enabled: true}\n").config;
    assert!(!config.web_ui.enabled);
}

#[test]
fn other_machines_are_served_with_tls_and_the_flag_only() {
    let tls = "  tls: {cert: c.pem, key: k.pem}\n";
    assert!(errors(&format!("web_ui:\n  host: 10.0.0.1\n{tls}")).contains("allow_remote"));
    assert!(
        errors("web_ui:\n  host: 10.0.0.1\n  allow_remote: true\n").contains("web_ui.tls.cert")
    );
    let config = loaded(&format!(
        "web_ui:\n  host: 10.0.0.1\n  allow_remote: true\n{tls}"
    ))
    .config;
    assert_eq!(config.web_ui.tls.unwrap().cert, Path::new("/srv/ccm/c.pem"));
    for host in ["localhost", "127.0.0.2", "\"::1\""] {
        assert!(
            loaded(&format!("web_ui: {{host: {host}}}\n"))
                .config
                .web_ui
                .host
                .is_loopback()
        );
    }
}

#[test]
fn what_set_up_writes_is_valid_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    let answers = Answers {
        profile: ProfileName::Minimal,
        hostname: Some("my: box".to_owned()),
        ..Answers::default()
    };
    setup::set_up(&home, &answers).unwrap();
    let text = std::fs::read_to_string(home.config_file()).unwrap();
    let Loaded { config, warnings } =
        Config::from_text(&self::home(), &text, Unknown::Refused).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.profile, ProfileName::Minimal);
    assert!(config.system.id.is_some());
    // Editors find the schema that the first line names.
    let named = text.lines().next().unwrap();
    assert_eq!(named, "# yaml-language-server: $schema=config.schema.json");
    let schema = std::fs::read_to_string(home.schema_file()).unwrap();
    assert_eq!(schema, MACHINE.json_text());
    assert_eq!(config.system.hostname, "my: box");
    let mut usual = loaded("").config;
    usual.profile = ProfileName::Minimal;
    usual.web_ui.enabled = false;
    usual.system = config.system.clone();
    assert_eq!(config, usual);
    assert!(text.contains("  max_idle_time: 300 "), "{text}");
}

#[test]
fn set_up_runs_twice_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("home"));
    assert!(Config::load(&home).unwrap_err().missing);
    let first = setup::set_up(&home, &Answers::default()).unwrap();
    assert!(first.created.contains(&home.config_file().to_owned()));
    assert!(first.created.contains(&home.token_file()));
    let text = std::fs::read_to_string(home.config_file()).unwrap();
    let token = home.token().unwrap();

    let answers = Answers {
        profile: ProfileName::Minimal,
        hostname: Some("other".to_owned()),
        ..Answers::default()
    };
    let second = setup::set_up(&home, &answers).unwrap();
    assert_eq!(second.created, Vec::<std::path::PathBuf>::new());
    assert_eq!(second.config, first.config);
    assert_eq!(std::fs::read_to_string(home.config_file()).unwrap(), text);
    assert_eq!(home.token().unwrap(), token);

    // What is missing is made again.
    std::fs::remove_file(home.token_file()).unwrap();
    let third = setup::set_up(&home, &answers).unwrap();
    assert_eq!(third.created, [home.token_file()]);
    assert_ne!(home.token().unwrap(), token);
}

#[test]
fn set_up_leaves_a_broken_config_and_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    std::fs::write(home.config_file(), "profile: x\n").unwrap();
    let e = setup::set_up(&home, &Answers::default()).unwrap_err();
    assert!(e.to_string().starts_with("config.yaml:1: profile: "), "{e}");
    assert_eq!(
        std::fs::read_to_string(home.config_file()).unwrap(),
        "profile: x\n"
    );
}

#[test]
fn a_config_without_an_id_gets_one_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    std::fs::write(home.config_file(), "# mine\nsystem:\n  tags: [a]\n").unwrap();
    let id = setup::system_id(&home, &Config::load(&home).unwrap().config).unwrap();
    let config = Config::load(&home).unwrap().config;
    assert_eq!(config.system.id, Some(id));
    assert_eq!(setup::system_id(&home, &config).unwrap(), id);
    let text = std::fs::read_to_string(home.config_file()).unwrap();
    assert!(
        text.starts_with("# mine\nsystem:\n  tags: [a]\n  id: "),
        "{text}"
    );
}

#[test]
fn a_file_that_can_not_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    let e = Config::load(&home).unwrap_err();
    assert!(e.to_string().contains("run `ccm-orchestrator init`"), "{e}");
    std::fs::write(home.config_file(), b"profile: full\n# \xff\n").unwrap();
    let e = Config::load(&home).unwrap_err();
    assert!(!e.missing);
    assert!(
        e.to_string().ends_with("it is not UTF-8 text (line 2)"),
        "{e}"
    );
}
