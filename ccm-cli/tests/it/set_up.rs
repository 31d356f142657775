//! Setting a machine up: the dialogue at a terminal, the same by options, and being cut short.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::support::{Machine, Ran, until};
use crate::terminal::Terminal;

/// The service has tests of its own, and whether it is asked for depends on the machine.
const INIT: &[&str] = &["init", "--no-service"];

fn dialogue(machine: &Machine, args: &[&str]) -> Terminal {
    Terminal::new(machine.command("ccm-orchestrator", &[INIT, args].concat()))
}

fn get(machine: &Machine, key: &str) -> String {
    machine.ccm(&["config", "get", key]).ok()
}

#[test]
fn everything_is_asked_in_the_order_of_the_document() {
    let machine = Machine::bare();
    let mut terminal = dialogue(&machine, &[]);
    terminal.answer("Select profile?", "");
    terminal.answer("[1] Full", "");
    terminal.answer("[2] Minimal", "");
    terminal.answer("Profile? [1]", "x\r");
    terminal.answer("Please answer with a number from 1 to 2.", "");
    terminal.answer("Profile? [1]", "2\r");
    terminal.answer("Enable Supabase? (y/n) [n]", "maybe\r");
    terminal.answer("Please answer y or n.", "");
    terminal.answer("Enable Supabase? (y/n) [n]", "\r");
    terminal.answer("System hostname? [", "laptop\r");
    terminal.answer("Start daemon now? (y/n) [y]", "n\r");
    terminal.answer("✓ Setup complete", "");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(get(&machine, "profile"), "minimal");
    assert_eq!(get(&machine, "system.hostname"), "laptop");
    assert_eq!(get(&machine, "supabase.enabled"), "false");
    // The document's "This creates": config and database.
    for (name, mode) in [("config.yaml", 0o600), ("ccm.db", 0o600), ("token", 0o600)] {
        let meta = std::fs::metadata(machine.path("ccm").join(name)).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{name}");
    }
}

#[test]
fn the_defaults_are_taken_by_enter_alone_and_the_daemon_starts() {
    let machine = Machine::bare();
    // Only so that nobody else's port is in the way; set-up itself finds a folder without a config.
    let mut terminal = dialogue(&machine, &["--no-start"]);
    for words in ["Profile? [1]", "Enable Supabase?", "System hostname? ["] {
        // Newlines do as well as the key itself, for whoever types by a program.
        terminal.answer(words, "\n");
    }
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(get(&machine, "profile"), "full");
    machine.set("web_ui.port", "0");
    machine.set("agents.runtime", "process");

    // A set-up that was cut short before the start asks for nothing but that.
    let mut terminal = dialogue(&machine, &[]);
    terminal.answer("Start daemon now? (y/n) [y]", "\r");
    terminal.answer("nothing was changed", "");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("Profile?"), "{screen}");
    assert!(screen.contains("Web UI: http://localhost:"), "{screen}");
    assert!(machine.info().is_some());
    let again = machine.orchestrator(&[INIT, &["--yes"]].concat());
    machine.snapshots(|| assert_snapshot!("set_up_running", again));
}

#[test]
fn a_supabase_project_that_can_not_be_reached_is_told_and_the_rest_goes_on() {
    let machine = Machine::bare();
    let mut terminal = dialogue(&machine, &["--profile", "full", "--no-start"]);
    terminal.answer("Enable Supabase? (y/n)", "y\r");
    terminal.answer("Supabase URL?", "http://evil.example\r");
    terminal.answer("expected an https:// address", "");
    // Nobody listens there.
    terminal.answer("Supabase URL?", "http://127.0.0.1:1\r");
    terminal.answer("Supabase publishable key?", "sb_secret_abc\r");
    terminal.answer("found a secret one", "");
    terminal.answer("Supabase publishable key?", "sb_publishable_abc\r");
    terminal.answer("Email?", "nobody\r");
    terminal.answer("is no email address", "");
    terminal.answer("Email?", "ada@example.com\r");
    terminal.answer("Password?", "hunter2\r");
    terminal.answer("System hostname? [", "\r");
    terminal.answer("ccm-orchestrator supabase connect", "");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("Setup complete"), "{screen}");
    // What is typed for a secret is never on the screen.
    for typed in ["sb_secret_abc", "sb_publishable_abc", "hunter2"] {
        assert!(!screen.contains(typed), "{screen}");
    }
    assert_eq!(get(&machine, "supabase.url"), "http://127.0.0.1:1");
    assert_eq!(get(&machine, "supabase.key"), "sb_publishable_abc");
    assert_eq!(get(&machine, "supabase.enabled"), "false");
    assert!(!machine.path("ccm/auth.json").exists());
}

#[test]
fn leaving_at_any_question_changes_nothing() {
    let questions = [
        ("Profile? [1]", "1\r"),
        ("Enable Supabase?", "n\r"),
        ("System hostname? [", "box\r"),
        ("Start daemon now?", ""),
    ];
    for last in 0..questions.len() {
        for (key, code) in [("\u{3}", 130), ("\u{4}", 1)] {
            let machine = Machine::bare();
            let mut terminal = dialogue(&machine, &[]);
            for (words, answer) in &questions[..last] {
                terminal.answer(words, answer);
            }
            terminal.answer(questions[last].0, key);
            let (ended, screen) = terminal.end();
            assert_eq!(ended, code, "{screen}");
            assert!(!machine.path("ccm").exists(), "{screen}");
        }
    }
}

#[test]
fn questions_have_no_colours_where_nobody_wants_them() {
    let machine = Machine::bare();
    let mut command = machine.command("ccm-orchestrator", &[INIT, &["--no-start"]].concat());
    command.env("NO_COLOR", "1").env("LANG", "C");
    let mut terminal = Terminal::new(command);
    for words in ["Profile? [1]", "Enable Supabase?", "System hostname? ["] {
        terminal.answer(words, "\r");
    }
    terminal.answer("Setup complete", "");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(
        !screen.contains("\u{1b}[3") && !screen.contains("\u{1b}[1;3"),
        "{screen:?}"
    );
    assert!(screen.is_ascii(), "{screen:?}");
}

#[test]
fn every_answer_is_an_option_too() {
    let machine = Machine::bare();
    machine.snapshots(|| {
        let init = |args: &[&str]| machine.orchestrator(&[INIT, args].concat());
        assert_snapshot!("set_up_nothing_given", init(&[]));
        assert_snapshot!("set_up_some_missing", init(&["--minimal", "--supabase"]));
        assert_snapshot!("set_up_both", init(&["--supabase", "--no-supabase"]));
        assert_snapshot!(
            "set_up_bad_url",
            init(&["--yes", "--supabase-url", "http://x.example"])
        );
        assert_snapshot!(
            "set_up_secret_key",
            init(&["--yes", "--supabase-key", "sb_secret_x"])
        );
        assert_snapshot!("set_up_bad_hostname", init(&["--yes", "--hostname", " "]));
        assert!(!machine.path("ccm").exists());
        let refused = init(&["--yes", "--password", "hunter2"]);
        assert!(!refused.stderr.contains("hunter2"), "{refused}");
        assert_snapshot!("set_up_password", refused);
        let line = [
            "--profile",
            "full",
            "--supabase",
            "--supabase-url",
            "http://127.0.0.1:1",
            "--supabase-key",
            "sb_publishable_x",
            "--email",
            "ada@example.com",
            "--password-stdin",
            "--otp",
            "123456",
            "--hostname",
            "box",
            "--no-service",
            "--no-start",
        ];
        let mut command = machine.command("ccm-orchestrator", &[&["init"], &line[..]].concat());
        assert_snapshot!(
            "set_up_all_given",
            Ran::with_input(&mut command, b"hunter2\n")
        );
        for folder in ["ccm", "ccm/logs", "ccm/run"] {
            for file in std::fs::read_dir(machine.path(folder)).unwrap().flatten() {
                let bytes = std::fs::read(file.path()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains("hunter2"), "{file:?}");
                assert!(!text.contains("ada@example.com"), "{file:?}");
            }
        }
        let other = [
            "--yes",
            "--no-start",
            "--minimal",
            "--hostname",
            "other",
            "--supabase-url",
            "https://y.co",
        ];
        assert_snapshot!("set_up_other_answers", init(&other));
    });
    assert_eq!(get(&machine, "system.hostname"), "box");
}

#[test]
fn a_set_up_that_was_cut_is_completed() {
    let machine = Machine::bare();
    let init = || machine.orchestrator(&[INIT, &["--yes", "--no-start"]].concat());
    init().ok();
    let config = std::fs::read_to_string(machine.path("ccm/config.yaml")).unwrap();
    // Each file that the next step would have made.
    for gone in ["token", "ccm.db", "runs", "logs"] {
        let path = machine.path("ccm").join(gone);
        if path.is_dir() {
            std::fs::remove_dir(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        init().ok();
        assert!(path.exists(), "{gone}");
    }
    assert_eq!(
        std::fs::read_to_string(machine.path("ccm/config.yaml")).unwrap(),
        config
    );
    let told = init();
    assert!(told.stderr.contains("nothing was changed"), "{told}");
}

#[test]
fn a_full_disk_leaves_nothing_half_made() {
    let Some(machine) = Machine::on_a_small_disk(8) else {
        return;
    };
    let home = machine.path("ccm");
    for entry in std::fs::read_dir(&home).unwrap().flatten() {
        let path = entry.path();
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    machine.disk().fill(0);
    let told = machine
        .orchestrator(&[INIT, &["--yes", "--no-start"]].concat())
        .fails(1);
    assert!(told.contains("can't be"), "{told}");
    assert!(!home.join("config.yaml").exists());
    let left: Vec<_> = std::fs::read_dir(&home).unwrap().flatten().collect();
    let half = left
        .iter()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(".config"));
    assert_eq!(half.count(), 0, "{left:?}");
    machine.disk().free();
    machine
        .orchestrator(&[INIT, &["--yes", "--no-start"]].concat())
        .ok();
    assert_eq!(get(&machine, "profile"), "full");
}

#[test]
fn a_terminal_that_goes_away_ends_the_question() {
    let machine = Machine::bare();
    let pty = nix::pty::openpty(None, None).unwrap();
    for end in [&pty.master, &pty.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let mut command = machine.command("ccm-orchestrator", INIT);
    let mut child = command
        .env("TERM", "xterm")
        .stdin(pty.slave.try_clone().unwrap())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    drop(command);
    let mut screen = File::from(pty.master);
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("Profile? [1]") {
        let mut bytes = [0; 1024];
        let n = screen.read(&mut bytes).unwrap();
        text.extend_from_slice(&bytes[..n]);
    }
    // The process is of another terminal's session, so no signal tells it.
    drop(screen);
    let mut ended = None;
    until("the program ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(129));
    assert!(!machine.path("ccm").exists());
}
