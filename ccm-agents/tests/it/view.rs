//! What a terminal shows of an agent.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ccm_agents::Hosts;
use ccm_core::AgentRuntime;
use ccm_core::runtime::RunEnd;

use crate::bench::*;

/// A viewer whose output is collected.
struct Viewer {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Viewer {
    fn open(bench: &Bench) -> Self {
        let mut child = command(bench).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let shown = shown.clone();
            move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                    shown.lock().unwrap().extend_from_slice(&buffer[..count]);
                }
            }
        });
        Self { child, shown }
    }

    fn text(&self) -> String {
        String::from_utf8(self.shown.lock().unwrap().clone()).unwrap()
    }

    async fn shows(&self, words: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.text().contains(words) {
            assert!(
                std::time::Instant::now() < deadline,
                "{words:?} is not in {:?}",
                self.text()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that a pane gets.
fn command(bench: &Bench) -> Command {
    let argv = Hosts::new(bench.config(1))
        .unwrap()
        .view_command(bench.agent);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null());
    command
}

#[tokio::test]
async fn a_viewer_waits_shows_and_waits_again() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.agent_dir()).unwrap();
    let viewer = Viewer::open(&bench);
    viewer.shows("is not running; waiting for it").await;
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    viewer.shows("waiting for a task").await;
    assert!(
        viewer
            .text()
            .contains(&bench.folder().display().to_string())
    );
    let order = bench.order(
        &["sh", "-c", "cat; echo oops >&2; exit 3"],
        "Mend the roof\nand more\n",
    );
    exit_of(&runtime, &order).await;
    viewer.shows("exit code 3 after").await;
    let text = viewer.text();
    for words in ["▶", "Mend the roof", "and more", "oops"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    // One that comes later sees what was.
    Viewer::open(&bench).shows("exit code 3 after").await;
    kill(bench.host_pid(), "KILL");
    viewer.shows("bench is not running; waiting for it").await;
    exit_of(&runtime, &bench.sh("echo back")).await;
    viewer.shows("back\n").await;
}

#[tokio::test]
async fn hostile_output_does_not_reach_the_terminal_or_the_log() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    let viewer = Viewer::open(&bench);
    viewer.shows("waiting").await;
    // Slowly, so that sequences are cut by the host's looks.
    let script = r#"printf 'a\033]52;c;'; sleep 0.1; printf 'aGk=\a\033'; sleep 0.1; printf ']0;T'; sleep 0.1
        printf 'ITLE\033\\\033[6n\033[31mred\033[m\033[?1049h\033P$q\033\\ \033cz\n'"#;
    let order = bench.order(&["sh", "-c", script], "\x1b]0;evil\x07 title");
    exit_of(&runtime, &order).await;
    viewer.shows("exit code 0").await;
    let log = std::fs::read_to_string(bench.folder().join(".ccm/agent.log")).unwrap();
    assert!(log.contains("red z\n") && !log.contains('\x1b'), "{log:?}");
    assert!(viewer.text().contains("\x1b[31mred\x1b[m z\n"));
    for text in [viewer.text(), log] {
        for (at, _) in text.match_indices('\x1b') {
            let rest = &text[at + 1..];
            let colour = rest
                .strip_prefix('[')
                .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';'));
            assert!(colour.is_some_and(|rest| rest.starts_with('m')), "{rest:?}");
        }
        for gone in ["TITLE", "\x07", "aGk"] {
            assert!(!text.contains(gone), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_pane_that_is_stuck_holds_up_no_run() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    // Nobody reads what this one writes.
    let mut stuck = command(&bench).stdout(Stdio::piped()).spawn().unwrap();
    let order = bench.sh("i=0; while [ $i -lt 50 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo; sleep 0.01; i=$((i+1)); done");
    let exit = exit_of(&runtime, &order).await;
    assert_eq!((exit.code, exit.out_bytes), (Some(0), 50 * 100_001));
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

#[tokio::test]
async fn a_log_behind_a_link_is_left_alone() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let target = bench.dir.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, bench.folder().join(".ccm/agent.log")).unwrap();
    assert_eq!(exit_of(&runtime, &bench.sh("echo hi")).await.code, Some(0));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
}

#[tokio::test]
async fn keys_in_a_terminal_do_nothing() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("echo one; until [ -e \"$BENCH/go\" ]; do sleep 0.01; done; echo two");
    runtime.launch(&order).await.unwrap();
    let pty = nix::pty::openpty(None, None).unwrap();
    for end in [&pty.master, &pty.slave] {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
    let shown = command(&bench);
    // The terminal must control it, so that keys could become signals.
    let mut viewer = Command::new("setsid")
        .arg("--ctty")
        .arg(shown.get_program())
        .args(shown.get_args())
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    let mut terminal = std::fs::File::from(pty.master.try_clone().unwrap());
    let mut text = Vec::new();
    read_until(&mut terminal, &mut text, "one");
    use std::io::Write;
    // Ctrl-C, Ctrl-Z, Ctrl-\, Ctrl-D, Ctrl-S, and something typed.
    terminal.write_all(b"\x03\x1a\x1c\x04\x13typed\r").unwrap();
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    let end = end_of(&runtime, order.run).await;
    assert!(matches!(end, RunEnd::Exited(exit) if exit.code == Some(0) && !exit.stopped));
    read_until(&mut terminal, &mut text, "exit code 0");
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("two") && !text.contains("typed"), "{text}");
    assert!(
        viewer.try_wait().unwrap().is_none(),
        "it never ends by itself"
    );
    // But with its terminal it does.
    drop((terminal, pty));
    let mut gone = viewer;
    until("the viewer to end", || gone.try_wait().unwrap()).await;
}

/// Reads a terminal until it shows `words`. A test's own time limit ends one that waits in vain.
fn read_until(terminal: &mut std::fs::File, text: &mut Vec<u8>, words: &str) {
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(text).contains(words) {
        let count = terminal.read(&mut buffer).unwrap();
        text.extend_from_slice(&buffer[..count]);
    }
}
