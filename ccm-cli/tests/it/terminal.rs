//! What a person at a terminal sees and is asked.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};

use crate::server::{Server, json};
use crate::support::{Machine, PATIENCE, until};

/// A program on a terminal of 80 columns.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen was waited for already.
    seen: usize,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    pub(crate) fn new(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        // A daemon that the program starts must not inherit the terminal from the test, or it would never end.
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let child = command
            .env("TERM", "xterm")
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave)
            .spawn()
            .unwrap();
        // The command keeps its ends of the terminal open.
        drop(command);
        let keyboard = File::from(pty.master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal that nobody has open any more is an error to its other end.
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                shared.lock().unwrap().extend_from_slice(&bytes[..n]);
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: 0,
            reader: Some(reader),
        }
    }

    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned();
        text.replace("\r\n", "\n")
    }

    /// Waits until `words` are on the screen behind those that were waited for before, then types `keys`.
    #[track_caller]
    pub(crate) fn answer(&mut self, words: &str, keys: &str) {
        let begun = Instant::now();
        loop {
            let text = self.text();
            if let Some(at) = text[self.seen..].find(words) {
                self.seen += at + words.len();
                break;
            }
            let rest = &text[self.seen..];
            assert!(
                begun.elapsed() < PATIENCE,
                "never on the screen: {words:?}; {rest:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the program's end and returns its exit code and all that was on the screen.
    pub(crate) fn end(mut self) -> (i32, String) {
        let mut status = None;
        until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reader.take().unwrap().join().unwrap();
        (status.unwrap().code().unwrap_or(-1), self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn setting_a_project_up_offers_the_daemon_and_asks_for_trust() {
    let machine = Machine::new();
    let folder = machine.folder("cloned");
    std::fs::create_dir(folder.join(".ccm")).unwrap();
    let config = "agent:\n  driver: command\n  command: [\"\\e]0;x\\acat\"]\n";
    std::fs::write(folder.join(".ccm/config.yaml"), config).unwrap();
    let init = |answer: &str| {
        let mut command = machine.command("ccm", &["init"]);
        command.current_dir(&folder);
        let mut terminal = Terminal::new(command);
        if machine.info().is_none() {
            terminal.answer("Start it now? [Y/n]", "\n");
        }
        terminal.answer("Trust these settings? [y/N]", answer);
        terminal.end()
    };
    let trusted = || {
        let list = machine.ccm(&["project", "list"]).ok();
        assert!(list.starts_with("- cloned ("), "{list}");
        !list.contains("config_untrusted")
    };
    let (code, screen) = init("\n");
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("warning"), "{screen}");
    assert!(!screen.contains("\u{1b}]"), "{screen:?}");
    until("the queue is held", || !trusted());
    let (code, screen) = init("yes\n");
    assert_eq!(code, 0, "{screen}");
    assert!(trusted());
}

#[test]
fn removing_a_project_asks() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    let remove = |answer: &str| {
        let mut terminal = Terminal::new(machine.command("ccm", &["project", "remove", "demo"]));
        terminal.answer("[y/N]", answer);
        terminal.end().0
    };
    assert_eq!(remove("n\n"), 1);
    assert!(machine.ccm(&["project", "list"]).ok().contains("demo"));
    assert_eq!(remove("\u{4}"), 1);
    assert_eq!(remove("y\n"), 0);
    assert_eq!(machine.ccm(&["project", "list"]).ok(), "");
}

#[test]
fn uninstalling_asks_twice() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let uninstall = |answers: &[(&str, &str)]| {
        let mut terminal = Terminal::new(machine.command("ccm-orchestrator", &["uninstall"]));
        for (question, answer) in answers {
            terminal.answer(question, answer);
        }
        terminal.end()
    };
    let (code, screen) = uninstall(&[("Uninstall CCM? [y/N]", "\n")]);
    assert_eq!(code, 1, "{screen}");
    assert!(machine.info().is_some());
    let (code, screen) = uninstall(&[("Uninstall CCM? [y/N]", "y\n"), (" too? [y/N]", "\n")]);
    assert_eq!(code, 0, "{screen}");
    assert!(machine.info().is_none() && machine.home().is_set_up());
    let (code, screen) = uninstall(&[("Uninstall CCM? [y/N]", "y\n"), (" too? [y/N]", "y\n")]);
    assert_eq!(code, 0, "{screen}");
    assert!(!machine.path("ccm").exists());
}

#[test]
fn a_task_can_be_typed() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let mut command = machine.command("ccm", &["task", "create"]);
    command.current_dir(&project.folder);
    let mut terminal = Terminal::new(command);
    terminal.answer("Type the task", "say hello\n\u{4}");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let task = machine.ccm(&["task", "list", "--json"]).json();
    assert_eq!(task[0]["text"], "say hello\n");
}

#[test]
fn what_agents_print_can_not_hurt_a_terminal() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let hostile =
        r"printf '\033[31mred\033[0m \033]52;c;eA==\a\033]0;title\033\\\033[2J\033[6n\033[32mend'";
    let project = machine.project("demo", &["sh", "-c", hostile]);
    let id = project.task("x");
    machine.ccm(&["task", "wait", &id]).ok();
    let shown = |no_color: &str| {
        let mut command = machine.command("ccm", &["task", "logs", "-f", &id]);
        command.env("NO_COLOR", no_color);
        Terminal::new(command).end().1
    };
    assert_eq!(shown(""), "\u{1b}[31mred\u{1b}[0m \u{1b}[32mend\u{1b}[0m");
    assert_eq!(shown("1"), "red end");
    let mut command = machine.command("ccm", &["task", "show", &id]);
    command.env("NO_COLOR", "1");
    let (_, screen) = Terminal::new(command).end();
    assert!(screen.contains("red end"), "{screen:?}");
    assert!(!screen.contains('\u{1b}'), "{screen:?}");
    // A pipe gets every byte.
    let piped = machine.ccm(&["task", "logs", &id]).stdout;
    assert!(piped.ends_with(b"\x1b[2J\x1b[6n\x1b[32mend"));
}

#[test]
fn tables_fit_the_terminal_and_ids_can_be_used() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    machine.ccm(&["project", "pause", "demo"]).ok();
    let title = "a title that is far too long for the rest of this line ".repeat(2);
    let id = project.task(&title);
    let list = |no_color: &str| {
        let mut command = machine.command("ccm", &["task", "list"]);
        command.env("NO_COLOR", no_color);
        Terminal::new(command).end().1
    };
    assert!(
        list("").contains("\u{1b}[2mqueued\u{1b}[0m"),
        "{:?}",
        list("")
    );
    let screen = list("1");
    let lines: Vec<_> = screen.lines().collect();
    assert_eq!(lines.len(), 2, "{screen}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    let (short, rest) = lines[1].split_once(' ').unwrap();
    assert!(id.ends_with(short) && rest.contains('…'), "{screen}");
    assert_eq!(
        machine.ccm(&["task", "show", short, "--json"]).json()["id"],
        *id
    );
    let (_, screen) = Terminal::new(machine.command("ccm", &["agent", "list"])).end();
    assert!(
        screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    assert!(
        screen.contains("MEMORY") && screen.contains("CPU"),
        "{screen}"
    );
    let piped = machine.ccm(&["agent", "list"]).ok();
    assert!(piped.contains("RUN") && piped.contains("WINDOW"), "{piped}");
    let piped = machine.ccm(&["task", "list"]).ok();
    assert!(
        piped.contains(title.trim_end().get(..70).unwrap()),
        "{piped}"
    );
}

#[test]
fn errors_have_colours_on_a_terminal_only() {
    let machine = Machine::new();
    let run = |no_color: &str| {
        let mut command = machine.command("ccm", &["task", "list"]);
        command.env("NO_COLOR", no_color);
        Terminal::new(command).end()
    };
    let (code, screen) = run("");
    assert_eq!(code, 3);
    assert!(
        screen.starts_with("\u{1b}[1;31merror\u{1b}[0m: the daemon"),
        "{screen:?}"
    );
    assert!(!run("1").1.contains('\u{1b}'));
}

#[test]
fn an_agent_is_joined_and_left_without_ending_its_run() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    let script = "echo marker; while [ ! -e go ]; do sleep 0.05; done";
    let project = machine.project("demo", &["sh", "-c", script]);
    let id = project.task("x");
    let agents = machine.ccm(&["agent", "list", "--json"]).json();
    assert!(agents[0]["window"].is_string(), "{agents}");
    let mut terminal = Terminal::new(machine.command("ccm", &["agent", "attach", "demo"]));
    // The viewer shows what the run prints; then the person detaches.
    terminal.answer("marker", "\u{2}d");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let task = machine.ccm(&["task", "show", &id, "--json"]).json();
    assert_eq!(task["state"], "running");
    std::fs::write(project.folder.join("go"), "").unwrap();
    machine.ccm(&["task", "wait", &id]).ok();
}

#[test]
fn a_question_is_shown_and_asked() {
    let ask = |kind: &str, questions: &str| {
        let id = "019aa7a0-0000-7000-8000-3f2a9c1b7d4e";
        let body = format!(
            r#"{{"id":"{id}","run_id":"{id}","task_id":"{id}","project_id":"{id}","agent_id":"{id}","kind":"{kind}",
            "title":"Clean up?","detail":"rm -rf build","options":[],"questions":{questions},"state":"open",
            "answer":null,"answered_by":null,"created_at":"2020-01-31T12:00:00Z","answered_at":null}}"#
        );
        json("200 OK", "application/json", &body)
    };
    let questions = r#"[{"question":"How?","header":"","multiple":false,"options":[
        {"label":"all","description":""},{"label":"some","description":"the old ones"}]}]"#;
    for (kind, questions, dialogue, sent) in [
        (
            "permission",
            "[]",
            &[("Allow it? [y/n]", "\n"), ("answer y or n.", "y\n")][..],
            r#"{"answer":"allow"}"#,
        ),
        (
            "permission",
            "[]",
            &[("Allow it? [y/n]", "n\n"), ("[nothing]", "wait\n")],
            r#"{"answer":"deny","message":"wait"}"#,
        ),
        (
            "choice",
            questions,
            &[("2. some (the old ones)", ""), ("Your choice", "2\n")],
            r#"{"answer":"text","text":["2"]}"#,
        ),
        (
            "text",
            "[]",
            &[("Answer: ", "all of it\n")],
            r#"{"answer":"text","text":["all of it"]}"#,
        ),
    ] {
        let machine = Machine::bare();
        let server = Server::new(vec![ask(kind, questions), ask(kind, questions)]);
        let id = "019aa7a0-0000-7000-8000-3f2a9c1b7d4e";
        let mut command = machine.command("ccm", &["task", "answer", id]);
        command.env("CCM_URL", &server.url).env("CCM_TOKEN", "x");
        let mut terminal = Terminal::new(command);
        for (words, keys) in dialogue {
            terminal.answer(words, keys);
        }
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("  rm -rf build"), "{screen}");
        assert!(server.requests()[1].ends_with(sent), "{screen}");
    }
}

#[test]
fn stopping_an_agent_at_work_asks() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let script = "while [ ! -e go ]; do sleep 0.05; done";
    let project = machine.project("demo", &["sh", "-c", script]);
    let id = project.task("The one task");
    let state = |of: &[&str]| machine.ccm(of).json()["state"].clone();
    until("it works", || {
        state(&["agent", "show", "demo", "--json"]) == "working"
    });
    let stop = |answer: &str| {
        let mut terminal = Terminal::new(machine.command("ccm", &["agent", "stop", "demo"]));
        terminal.answer("Stop it? [y/N]", answer);
        terminal.end()
    };
    let (code, screen) = stop("n\n");
    assert_eq!(code, 1, "{screen}");
    assert!(
        screen.contains("demo works on \"The one task\""),
        "{screen}"
    );
    assert!(screen.contains("demo goes on."), "{screen}");
    assert_eq!(state(&["task", "show", &id, "--json"]), "running");
    let (code, screen) = stop("y\n");
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("demo is stopped"), "{screen}");
    assert_eq!(state(&["task", "show", &id, "--json"]), "failed");
}
