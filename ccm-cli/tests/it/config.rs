//! `config show|edit|unset|validate|schema`, and what is said of accounts that can't be used yet.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use insta::assert_snapshot;

use crate::support::{Machine, Ran};
use crate::terminal::Terminal;

impl Machine {
    /// An editor that does what `script` says with the file `$1`.
    fn editor(&self, script: &str) -> String {
        let path = self.path("editor.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn edit(&self, args: &[&str], script: &str) -> Ran {
        let editor = self.editor(script);
        let mut command = self.command("ccm", &[&["config", "edit"], args].concat());
        Ran::of(command.env("EDITOR", editor))
    }

    fn file(&self) -> PathBuf {
        self.path("ccm/config.yaml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }
}

#[test]
fn what_counts_is_shown_with_its_origin() {
    let machine = Machine::bare();
    machine.ccm(&["config", "show"]).fails(4);
    let machine = Machine::new();
    let id = machine.ccm(&["config", "get", "system.id"]).ok();
    machine.set("profile", "minimal");
    machine.set("supabase.key", "sb_publishable_secret");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&id, "[ID]");
    settings.bind(|| {
        machine.snapshots(|| {
            assert_snapshot!("config_show", machine.ccm(&["config", "show"]));
            assert_snapshot!(
                "config_show_origin",
                machine.ccm(&["config", "show", "--origin"])
            );
        });
    });
    let json = machine.ccm(&["config", "show", "--json"]).json();
    assert_eq!(json["web_ui"]["enabled"], false);
    assert_eq!(json["supabase"]["key"], "(hidden)");
    let origins = machine
        .ccm(&["config", "show", "--origin", "--json"])
        .json();
    let of = |key: &str| {
        let all = origins.as_array().unwrap();
        all.iter().find(|one| one["key"] == key).unwrap().clone()
    };
    assert_eq!(of("profile")["origin"], "file");
    assert_eq!(of("profile")["line"], 4);
    assert_eq!(of("web_ui.enabled")["origin"], "derived");
    assert_eq!(of("web_ui.socket")["origin"], "unset");

    let folder = machine.folder("shop");
    machine.ccm_in(&folder, &["init"]).fails(3);
    machine.set("resources.max_agent_memory_mb", "99");
    machine.snapshots(|| {
        let show = ["config", "show", "--project", "--origin"];
        assert_snapshot!("config_show_project", machine.ccm_in(&folder, &show));
        std::fs::write(machine.file(), "profile: fast\nagnets: 1\n").unwrap();
        assert_snapshot!("config_show_broken", machine.ccm(&["config", "show"]));
    });
}

#[test]
fn a_key_is_unset() {
    let machine = Machine::new();
    machine.snapshots(|| {
        let unset = |key: &str| machine.ccm(&["config", "unset", key]);
        machine.set("agents.max_idle_time", "60");
        assert_snapshot!("config_unset", unset("agents.max_idle_time"));
        assert!(
            machine.text().contains("  # max_idle_time: 60 "),
            "{}",
            machine.text()
        );
        assert_eq!(
            machine.ccm(&["config", "get", "agents.max_idle_time"]).ok(),
            "300"
        );
        assert_snapshot!("config_unset_again", unset("agents.max_idle_time"));
        assert_snapshot!("config_unset_typo", unset("agents.max_idel_time"));
        machine.ccm(&["config", "validate"]).ok();
        machine.set("agents.max_idle_time", "70");
        assert!(
            machine.text().contains("  max_idle_time: 70"),
            "{}",
            machine.text()
        );
    });
    let folder = machine.folder("shop");
    machine.ccm_in(&folder, &["init"]).fails(3);
    let project = |line: &[&str]| machine.ccm_in(&folder, &[&["config"], line].concat());
    project(&["set", "--project", "agent.env.A", "1"]).ok();
    project(&["set", "--project", "agent.env.B", "2"]).ok();
    project(&["unset", "--project", "agent.env.A"]).ok();
    let left = project(&["get", "--project", "agent.env", "--json"]).json();
    assert_eq!(left, serde_json::json!({"B": "2"}));
    let trusted = machine
        .ccm_in(&folder, &["project", "trust", "--json"])
        .json();
    assert_eq!(trusted["trusted"], true);
}

#[test]
fn an_edited_file_takes_the_old_ones_place_only_when_it_is_right() {
    let machine = Machine::new();
    let before = machine.text();
    machine.snapshots(|| {
        assert_snapshot!("edit_nothing", machine.edit(&[], "exit 0"));
        assert_snapshot!("edit_fails", machine.edit(&[], "exit 3"));
        let script = "sed -i 's/^  port: .*/  port: many/; s/^profile/profil/' \"$1\"";
        assert_snapshot!("edit_broken", machine.edit(&[], script));
        assert_eq!(machine.text(), before);
        let script = "sed -i 's/^  port: .*/  port: 0/; s/^profil:/profile:/' \"$1\"; echo '# mine' >> \"$1\"";
        assert_snapshot!("edit_goes_on", machine.edit(&[], script));
    });
    assert!(machine.text().ends_with("# mine\n"), "{}", machine.text());
    let mode = std::fs::metadata(machine.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!machine.path("ccm/config.draft.yaml").exists());

    // Somebody else was quicker.
    let other = machine.command::<&str>("ccm", &[]);
    let ccm = other.get_program().to_str().unwrap();
    let script = format!(
        "echo '# edited' >> \"$1\"; CCM_HOME={} {ccm} config set web_ui.port 1234",
        machine.path("ccm").display()
    );
    let told = machine.edit(&[], &script).fails(5);
    assert!(told.contains("was changed meanwhile"), "{told}");
    assert!(machine.text().contains("port: 1234"), "{}", machine.text());
    machine.edit(&["--fresh"], "exit 0").ok();
    assert!(!machine.text().contains("# edited"), "{}", machine.text());

    // A file that is broken is mended.
    std::fs::write(machine.file(), "profile: [\n").unwrap();
    machine.edit(&[], "exit 0").fails(1);
    machine.edit(&[], "echo 'profile: minimal' > \"$1\"").ok();
    assert_eq!(machine.text(), "profile: minimal\n");
}

#[test]
fn editors_with_arguments_and_none_at_all() {
    let machine = Machine::new();
    let mut command = machine.command("ccm", &["config", "edit"]);
    command
        .env("VISUAL", "sed -i -e 's/^profile: full/profile: minimal/'")
        .env("EDITOR", "false");
    Ran::of(&mut command).ok();
    assert_eq!(machine.ccm(&["config", "get", "profile"]).ok(), "minimal");
    let bin = machine.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let mut command = machine.command("ccm", &["config", "edit"]);
    let told = Ran::of(command.env("PATH", &bin)).fails(2);
    assert!(told.contains("EDITOR"), "{told}");
    machine.ccm(&["config", "edit", "--project"]).fails(4);
}

#[test]
fn at_a_terminal_a_broken_edit_can_go_on_be_kept_or_be_thrown_away() {
    let machine = Machine::new();
    let before = machine.text();
    let edit = |answers: &[&str], script: &str| {
        let editor = machine.editor(script);
        let mut command = machine.command("ccm", &["config", "edit"]);
        command.env("EDITOR", editor);
        let mut terminal = Terminal::new(command);
        for answer in answers {
            terminal.answer("profile: expected full or minimal", "");
            terminal.answer("What now? [1]", answer);
        }
        terminal.end()
    };
    let broken = "sed -i 's/^profile: full/profile: fast/' \"$1\"";
    let (code, screen) = edit(&["throw\r"], broken);
    assert_eq!(code, 1, "{screen}");
    assert!(!machine.path("ccm/config.draft.yaml").exists());
    let (code, screen) = edit(&["2\r"], broken);
    assert_eq!(code, 1, "{screen}");
    assert!(machine.path("ccm/config.draft.yaml").exists());
    assert_eq!(machine.text(), before);
    // The first time it is still broken, the second time it is right.
    let script =
        "grep -q '# again' \"$1\" && sed -i 's/fast/minimal/' \"$1\" || echo '# again' >> \"$1\"";
    let (code, screen) = edit(&["\r"], script);
    assert_eq!(code, 0, "{screen}");
    assert_eq!(machine.ccm(&["config", "get", "profile"]).ok(), "minimal");
}

#[test]
fn an_edited_project_is_trusted_if_it_was() {
    let machine = Machine::new();
    let folder = machine.folder("shop");
    machine.ccm_in(&folder, &["init"]).fails(3);
    let edit = |script: &str| {
        let editor = machine.editor(script);
        let mut command = machine.command("ccm", &["config", "edit", "--project"]);
        Ran::of(command.current_dir(&folder).env("EDITOR", editor))
    };
    let trusted = || machine.ccm_in(&folder, &["project", "trust", "--json"]);
    edit("printf 'agent:\\n  args: [-x]\\n' > \"$1\"").ok();
    assert_eq!(trusted().json()["trusted"], true);
    // Somebody else's change was never looked at, and one's own does not make up for it.
    let file = folder.join(".ccm/config.yaml");
    std::fs::write(&file, "agent:\n  args: [--evil]\n").unwrap();
    let told = edit("echo 'limits: {timeout: 5}' >> \"$1\"");
    told.ok();
    assert!(told.stderr.contains("+ agent.args: [\"--evil\"]"), "{told}");
    assert!(told.stderr.contains("not trusted"), "{told}");
    trusted().fails(2);
}

#[test]
fn set_copes_with_files_as_people_write_them() {
    let machine = Machine::new();
    let file = machine.file();
    let set = |text: &str, key: &str, value: &str| {
        std::fs::write(&file, text).unwrap();
        machine.ccm(&["config", "set", key, value])
    };
    for (text, key, value, wanted) in [
        (
            "profile: full\r\nagents:\r\n  max_concurrent: 3\r\n",
            "agents.max_concurrent",
            "4",
            "profile: full\r\nagents:\r\n  max_concurrent: 4\r\n",
        ),
        (
            "\u{feff}profile: full\n",
            "profile",
            "minimal",
            "\u{feff}profile: minimal\n",
        ),
        (
            "agents: {max_concurrent: 3} # x",
            "agents.max_concurrent",
            "4",
            "agents: {max_concurrent: 4} # x",
        ),
        (
            "profile: full",
            "web_ui.port",
            "1",
            "profile: full\n\nweb_ui:\n  port: 1\n",
        ),
        ("system:\n    tags: [a]\n", "system.tags", "[b, c d]", ""),
        (
            "profile: full\n",
            "supabase.url",
            "",
            "profile: full\n\nsupabase:\n  url: null\n",
        ),
    ] {
        let ran = set(text, key, value);
        if wanted.is_empty() {
            ran.fails(2);
            assert_eq!(machine.text(), text);
        } else {
            ran.ok();
            assert_eq!(machine.text(), wanted, "{text:?}");
        }
    }
    for (text, words) in [
        (
            "profile: full\nprofile: full\n",
            "written twice, first in line 1",
        ),
        ("agents:\n\tmax_concurrent: 3\n", "not valid YAML"),
        ("a: &x 1\n", "anchors"),
    ] {
        let told = set(text, "web_ui.port", "1").fails(2);
        assert!(machine.text() == text, "{told}");
        let told = machine.ccm(&["config", "validate"]).fails(1);
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_file_that_can_not_be_written_is_named() {
    let Some(machine) = Machine::on_a_small_disk(4) else {
        return;
    };
    let before = machine.text();
    machine.disk().fill(0);
    let told = machine
        .ccm(&["config", "set", "system.tags", "[a]"])
        .fails(1);
    assert!(told.contains("config.yaml can't be written"), "{told}");
    assert_eq!(machine.text(), before);
    machine.disk().free();
    machine.disk().set_read_only(true);
    let told = machine
        .ccm(&["config", "set", "system.tags", "[a]"])
        .fails(1);
    assert!(told.contains("config.yaml can't be written"), "{told}");
    machine.disk().set_read_only(false);
    machine.ccm(&["config", "set", "system.tags", "[a]"]).ok();
}

#[test]
fn the_schema_is_printed() {
    let machine = Machine::bare();
    for (args, key) in [
        (&["config", "schema"][..], "agents"),
        (&["config", "schema", "--project"], "agent"),
    ] {
        let schema = machine.ccm(args).json();
        assert!(schema["properties"][key].is_object(), "{schema}");
    }
}

#[test]
fn validate_tells_all_errors_and_all_that_is_odd() {
    let machine = Machine::new();
    machine.set("agents.max_concurrent", "3");
    machine.set("supabase.enabled", "true");
    machine.snapshots(|| {
        assert_snapshot!(
            "config_validate_warnings",
            machine.ccm(&["config", "validate"])
        );
    });
    let folder = machine.folder("shop");
    machine.ccm_in(&folder, &["init"]).fails(3);
    let file = folder.join(".ccm/config.yaml");
    std::fs::write(
        &file,
        "agent:\n  driver: gemini\n  moddel: x\nlimits:\n  timeout: 5m\n",
    )
    .unwrap();
    machine.snapshots(|| {
        let validate = ["config", "validate", "--project"];
        assert_snapshot!(
            "config_validate_project",
            machine.ccm_in(&folder, &validate)
        );
    });
}

#[test]
fn a_machine_that_shares_nothing_says_so() {
    let machine = Machine::new();
    machine.snapshots(|| {
        let run = |args: &[&str]| machine.orchestrator(args);
        assert_snapshot!("supabase_status", run(&["supabase", "status"]));
        assert_snapshot!("supabase_connect", run(&["supabase", "connect"]));
        assert_snapshot!("supabase_disconnect", run(&["supabase", "disconnect"]));
        assert_snapshot!("sync_status", run(&["sync", "status"]));
        assert_snapshot!("sync_now", run(&["sync", "now"]));
        assert_snapshot!("sync_conflicts", run(&["sync", "conflicts"]));
        assert_snapshot!("sync_resolve", run(&["sync", "resolve", "x"]));
    });
    let status = machine
        .orchestrator(&["supabase", "status", "--json"])
        .json();
    assert_eq!(status["connected"], false);
    let status = machine.orchestrator(&["sync", "status", "--json"]).json();
    assert_eq!(
        (&status["enabled"], &status["condition"]),
        (&false.into(), &"off".into())
    );
    assert_eq!(
        machine.orchestrator(&["sync", "conflicts", "--json"]).ok(),
        "[]"
    );
    machine.set("supabase.url", "https://x.supabase.co");
    let status = machine.orchestrator(&["supabase", "status"]).ok();
    assert!(status.contains("https://x.supabase.co"), "{status}");
}

#[test]
fn a_project_gets_the_agent_that_was_named() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let folder = machine.folder("shop");
    let init = |args: &[&str]| machine.ccm_in(&folder, &[&["init"], args].concat());
    let agent = || {
        let get = |key| {
            machine
                .ccm_in(&folder, &["config", "get", "--project", key])
                .ok()
        };
        format!("{} {}", get("agent.driver"), get("agent.command"))
    };
    machine.snapshots(|| {
        assert_snapshot!("init_agent_unknown", init(&["--agent", "gemini"]));
        assert_snapshot!("init_agent_no_program", init(&["--agent", "command"]));
        assert_snapshot!("init_program_alone", init(&["--", "cat"]));
        assert!(!folder.join(".ccm").exists());
        assert_snapshot!(
            "init_agent",
            init(&["--agent", "command", "--", "sh", "-c", "cat"])
        );
        assert_eq!(agent(), r#"command ["sh","-c","cat"]"#);
        let task = machine.ccm_in(&folder, &["task", "create", "hello"]).ok();
        machine.ccm(&["task", "wait", &task]).ok();
        assert_snapshot!(
            "init_agent_again",
            init(&["--agent", "command", "--", "sh", "-c", "cat"])
        );
        assert_snapshot!("init_agent_other", init(&["--agent", "claude"]));
        assert_eq!(agent(), "claude []");
        init(&["--agent", "command", "--", "tac"]).ok();
        assert_eq!(agent(), r#"command ["tac"]"#);
    });
    let trusted = machine
        .ccm_in(&folder, &["project", "trust", "--json"])
        .json();
    assert_eq!(trusted["trusted"], true);
    drop(daemon);
}

#[test]
fn a_project_without_an_agent_waits_until_it_is_wanted() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let folder = machine.folder("shop");
    let ccm = |args: &[&str]| machine.ccm_in(&folder, args);
    machine.snapshots(|| {
        assert_snapshot!("init_no_agent", ccm(&["init", "--no-agent"]));
        assert_snapshot!("init_no_agent_again", ccm(&["init", "--no-agent"]));
    });
    ccm(&["config", "set", "--project", "agent.command", "[cat]"]).ok();
    ccm(&["config", "set", "--project", "agent.driver", "command"]).ok();
    let task = ccm(&["task", "create", "hello"]).ok();
    let state = || machine.ccm(&["task", "show", &task, "--json"]).json()["state"].clone();
    // Durable: a daemon that is new knows it too.
    daemon.stop();
    let daemon = machine.daemon();
    assert_eq!(state(), "queued");
    let shown = machine.ccm(&["task", "show", &task]).ok();
    assert!(shown.contains("agent start"), "{shown}");
    ccm(&["agent", "start"]).ok();
    machine.ccm(&["task", "wait", &task]).ok();
    drop(daemon);
    ccm(&["init", "--agent", "claude", "--no-agent"]).fails(2);
}
