//! What works with no daemon, and what is said where one is needed.

use insta::assert_snapshot;

use crate::support::{Machine, Ran};

#[test]
fn the_version_is_told() {
    let machine = Machine::bare();
    let version = env!("CARGO_PKG_VERSION");
    for line in [&["version"], &["--version"]] {
        assert_eq!(machine.ccm(line).ok(), format!("ccm {version}"));
    }
    assert_eq!(
        machine.ccm(&["version", "--json"]).json()["version"],
        version
    );
}

#[test]
fn wrong_command_lines_exit_2_and_name_the_nearest() {
    let machine = Machine::bare();
    for (line, word) in [
        (&["tsak"][..], "task"),
        (&["task", "creat"], "create"),
        (&["task", "list", "--staet", "queued"], "--state"),
        (&["task", "list", "--state", "done"], "queued"),
        (&["task", "wait"], "<ID>"),
        (&["task", "create", "--timeout", "5 minutes", "x"], "1h30m"),
        (&["task", "create", "--not-before", "soon", "x"], "+2h"),
        (&["task", "create", "--session", "new", "x"], "continue"),
        (&["task", "answer", "abcd"], "--allow"),
        (&["task", "answer", "abcd", "--allow", "--deny"], "--deny"),
        (
            &["task", "answer", "abcd", "--allow", "--text", "x"],
            "--text",
        ),
        (
            &["task", "answer", "abcd", "--deny", "--text", "x"],
            "--text",
        ),
        (
            &["task", "answer", "abcd", "--allow", "--message", "x"],
            "--message",
        ),
        (&["task", "answer", "abcd", "--message", "x"], "--deny"),
    ] {
        let told = machine.ccm(line).fails(2);
        assert!(told.contains(word), "{line:?}: {told}");
    }
}

#[test]
fn without_set_up_every_command_says_how_to_begin() {
    let machine = Machine::bare();
    machine.snapshots(|| {
        assert_snapshot!("bare_task_list", machine.ccm(&["task", "list"]));
        assert_snapshot!("bare_status", machine.ccm(&["daemon", "status"]));
        assert_snapshot!("bare_start", machine.ccm(&["daemon", "start"]));
        assert_snapshot!(
            "bare_config_get",
            machine.ccm(&["config", "get", "profile"])
        );
        assert_snapshot!("bare_logs", machine.ccm(&["daemon", "logs"]));
        assert_snapshot!("bare_config_path", machine.ccm(&["config", "path"]));
    });
}

#[test]
fn without_a_daemon_commands_exit_3() {
    let machine = Machine::new();
    machine.snapshots(|| {
        assert_snapshot!("down_task_list", machine.ccm(&["task", "list"]));
        assert_snapshot!("down_status", machine.ccm(&["daemon", "status"]));
        assert_snapshot!(
            "down_status_json",
            machine.ccm(&["daemon", "status", "--json"])
        );
        assert_snapshot!("down_stop", machine.ccm(&["daemon", "stop"]));
    });
    for line in [
        &["project", "list"][..],
        &["project", "remove", "x"],
        &["agent", "list"],
        &["agent", "attach"],
        &["task", "create", "--project", "x", "hello"],
        &["task", "wait", "abcd"],
        &["task", "answer", "abcd", "--allow"],
        &["agent", "send", "x", "hello"],
        &["asks"],
        &["daemon", "reload"],
    ] {
        machine.ccm(line).fails(3);
    }
}

#[test]
fn the_machine_is_set_up_without_questions() {
    let machine = Machine::bare();
    machine.snapshots(|| {
        let line = &[
            "init",
            "--yes",
            "--no-start",
            "--no-service",
            "--hostname",
            "box",
            "--minimal",
        ];
        assert_snapshot!("init_yes", machine.orchestrator(line));
        assert_snapshot!("init_again", machine.orchestrator(line));
        let line = &[
            "daemon",
            "init",
            "--no-start",
            "--no-service",
            "--profile",
            "full",
        ];
        assert_snapshot!("init_other_profile", machine.ccm(line));
    });
    assert_eq!(machine.ccm(&["config", "get", "profile"]).ok(), "minimal");
    assert_eq!(
        machine.ccm(&["config", "get", "system.hostname"]).ok(),
        "box"
    );
    let info = machine.ccm(&["info", "--json"]).json();
    assert_eq!(info["hostname"], "box");
    assert_eq!(info["set_up"], true);
    assert!(info["daemon"].is_null());
}

#[test]
fn config_is_read_checked_and_set() {
    let machine = Machine::new();
    machine.snapshots(|| {
        let config = |line: &[&str]| machine.ccm(&[&["config"], line].concat());
        assert_snapshot!("config_set", config(&["set", "agents.max_concurrent", "3"]));
        assert_snapshot!(
            "config_set_same",
            config(&["set", "agents.max_concurrent", "3"])
        );
        assert_eq!(config(&["get", "agents.max_concurrent"]).ok(), "3");
        assert_snapshot!("config_get_section", config(&["get", "agents"]));
        assert_snapshot!("config_get_typo", config(&["get", "agents.max_concurent"]));
        assert_snapshot!(
            "config_set_wrong",
            config(&["set", "agents.max_idle_time", "5 minutes"])
        );
        assert_snapshot!("config_validate", config(&["validate"]));
        let file = machine.path("ccm/config.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let broken = text.replace(
            "max_concurrent: 3",
            "max_concurrent: many\n  max_idel_time: 5",
        );
        assert_ne!(broken, text);
        let checked = config(&["validate", "--json"]).json();
        assert_eq!(checked["valid"], true);
        std::fs::write(&file, broken).unwrap();
        let checked = config(&["validate", "--json"]);
        checked.fails(1);
        let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!(checked["valid"], false);
        assert_eq!(checked["errors"].as_array().unwrap().len(), 2, "{checked}");
        assert_snapshot!("config_validate_broken", config(&["validate"]));
        assert_snapshot!("start_broken", machine.ccm(&["daemon", "start"]));
        machine.ccm(&["info"]).ok();
    });
}

#[test]
fn a_project_is_written_but_not_registered_without_a_daemon() {
    let machine = Machine::new();
    let folder = machine.folder("demo");
    machine.snapshots(|| {
        assert_snapshot!("init_down", machine.ccm_in(&folder, &["init"]));
    });
    let below = folder.join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let set = ["config", "set", "--project", "agent.model", "sonnet"];
    machine.ccm_in(&below, &set).ok();
    let get = ["config", "get", "--project", "agent.model"];
    assert_eq!(machine.ccm_in(&below, &get).ok(), "sonnet");
    let trust = machine.ccm_in(&folder, &["project", "trust", "--json"]);
    assert_eq!(trust.json()["trusted"], true);
    machine
        .ccm_in(&folder, &["config", "validate", "--project"])
        .ok();
}

#[test]
fn settings_of_others_are_shown_and_not_trusted_by_themselves() {
    let machine = Machine::new();
    let folder = machine.folder("cloned");
    std::fs::create_dir(folder.join(".ccm")).unwrap();
    let config = "agent:\n  driver: command\n  command: [rm, '-rf', '/']\n";
    std::fs::write(folder.join(".ccm/config.yaml"), config).unwrap();
    machine.snapshots(|| {
        let ccm = |line: &[&str]| machine.ccm_in(&folder, line);
        assert_snapshot!("trust_before_init", ccm(&["project", "trust"]));
        assert_snapshot!("init_untrusted", ccm(&["init"]));
        assert_snapshot!("trust_no_terminal", ccm(&["project", "trust"]));
        assert_snapshot!(
            "set_untrusted",
            ccm(&["config", "set", "--project", "agent.model", "x"])
        );
        assert_snapshot!("trust_yes", ccm(&["project", "trust", "--yes"]));
        assert_snapshot!("trust_again", ccm(&["project", "trust"]));
        std::fs::write(folder.join(".ccm/config.yaml"), config.replace("rm", "ls")).unwrap();
        assert_snapshot!("trust_changed", ccm(&["project", "trust"]));
    });
}

#[test]
fn folders_that_can_not_be_projects_are_refused() {
    let machine = Machine::new();
    let inner = machine.folder("outer/inner");
    machine.ccm(&["init", "outer"]).fails(3);
    machine.snapshots(|| {
        assert_snapshot!("init_nested", machine.ccm_in(&inner, &["init"]));
        assert_snapshot!("init_missing", machine.ccm(&["init", "nowhere"]));
        assert_snapshot!("init_root", machine.ccm(&["init", "/"]));
        assert_snapshot!(
            "init_bad_name",
            machine.ccm(&["init", "outer", "--name", "a/b"])
        );
        let home = machine.path("home");
        assert_snapshot!("init_home", machine.ccm_in(&home, &["init"]));
    });
    machine.ccm_in(&inner, &["init", "--nested"]).fails(3);
}

#[test]
fn task_texts_that_can_not_be_are_refused_before_anybody_is_asked() {
    let machine = Machine::new();
    let refused = |input: &[u8]| machine.ccm_with(&["task", "create"], input);
    assert_snapshot!("text_empty", refused(b""));
    assert_snapshot!("text_nul", refused(b"a\0b"));
    assert_snapshot!("text_not_utf8", refused(b"ab\xffc"));
    assert_snapshot!("text_too_long", refused(&vec![b'x'; 1024 * 1024 + 1]));
    // The largest one gets as far as to the daemon.
    refused(&vec![b'x'; 1024 * 1024]).fails(3);
    assert_snapshot!(
        "tag_wrong",
        machine.ccm(&["task", "create", "--tag", "a b", "x"])
    );
    assert_snapshot!(
        "title_wrong",
        machine.ccm(&["task", "create", "--title", " ", "x"])
    );
}

#[test]
fn a_token_belongs_to_an_address() {
    let machine = Machine::bare();
    let with = |url: &str, token: &str| {
        let mut command = machine.command("ccm", &["task", "list"]);
        Ran::of(command.env("CCM_URL", url).env("CCM_TOKEN", token))
    };
    assert_snapshot!("elsewhere_no_token", with("http://127.0.0.1:1", ""));
    assert_snapshot!("elsewhere_down", with("http://127.0.0.1:1", "x"));
    assert_snapshot!("elsewhere_no_url", with("localhost:1", "x"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let machine = Machine::bare();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ran = Ran::of(machine.command("ccm", &["info"]).stdout(writer));
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
}
