//! The program as a process of its own: its arguments, its exit codes, its lock, its signals.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use ccm_daemon::machine::{DaemonInfo, Home};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::PATIENCE;

/// The variable with which this test program becomes the daemon; its value is the arguments, with newlines in between.
const ARGUMENTS: &str = "CCM_TEST_DAEMON";

/// No test, but what the tests below start.
#[test]
fn the_program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments = arguments.lines().map(Into::into);
    std::process::exit(ccm_daemon::run_with(arguments) as i32);
}

fn program(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "program::the_program", "--nocapture"])
        .env(ARGUMENTS, arguments.join("\n"))
        .env("HOME", home)
        .env("CCM_HOME", home.join("ccm"))
        .env_remove("CCM_CONFIG")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A machine home with a config.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

pub(crate) const CONFIG: &str = "web_ui:\n  port: 0\nagents:\n  runtime: process\n";

impl Machine {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("ccm")).unwrap();
        let machine = Self { dir };
        std::fs::write(machine.config(), config).unwrap();
        machine
    }

    fn config(&self) -> PathBuf {
        self.home().config_file().to_owned()
    }

    pub(crate) fn home(&self) -> Home {
        Home::at(self.dir.path().join("ccm"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        program(self.dir.path(), arguments).output().unwrap()
    }

    /// A daemon that is up.
    pub(crate) fn start(&self) -> Daemon {
        let mut child = program(self.dir.path(), &[]).spawn().unwrap();
        let begun = Instant::now();
        loop {
            let info = self.home().running_daemon();
            if let Some(info) = info.filter(|info| info.pid == child.id()) {
                return Daemon { child, info };
            }
            if let Some(status) = child.try_wait().unwrap() {
                let mut said = String::new();
                child.stderr.unwrap().read_to_string(&mut said).unwrap();
                panic!("the daemon ended with {status}: {said}");
            }
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("the daemon does not come up");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) struct Daemon {
    child: Child,
    pub(crate) info: DaemonInfo,
}

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Its exit code and what it said on standard error.
    pub(crate) fn end(mut self) -> (i32, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that ended was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

async fn health(info: &DaemonInfo) -> bool {
    let answer = reqwest::get(format!("{}/health", info.url())).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

#[test]
fn arguments_are_checked() {
    let machine = Machine::new(CONFIG);
    let help = machine.run(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("Usage: ccm-daemon"), "{help}");
    let version = machine.run(&["--version"]);
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let said = refused(&machine.run(&["--nope"]), 2);
    assert!(said.contains("--nope") && said.contains("--help"), "{said}");
}

#[test]
fn a_broken_config_is_told_with_its_line_and_starts_nothing() {
    let machine = Machine::new("web_ui:\n  port: many\n");
    let said = refused(&machine.run(&[]), 2);
    assert!(said.contains("config.yaml:2: web_ui.port: "), "{said}");
    assert!(!machine.home().token_file().exists());

    let missing = Machine::new(CONFIG);
    std::fs::remove_file(missing.config()).unwrap();
    let said = refused(&missing.run(&[]), 2);
    assert!(said.contains("ccm-orchestrator init"), "{said}");

    let open = Machine::new("web_ui:\n  host: 0.0.0.0\n  port: 0\n");
    let said = refused(&open.run(&[]), 2);
    assert!(said.contains("web_ui.host"), "{said}");
}

#[tokio::test]
async fn a_second_daemon_names_the_first_and_does_it_no_harm() {
    let machine = Machine::new(CONFIG);
    let first = machine.start();
    assert!(health(&first.info).await);
    let said = refused(&machine.run(&[]), 5);
    for part in [first.info.pid.to_string(), first.info.address.to_string()] {
        assert!(said.contains(&part), "{said}");
    }
    assert!(health(&first.info).await);
    assert_eq!(machine.home().running_daemon(), Some(first.info.clone()));
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let holder = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = holder.local_addr().unwrap().port();
    let machine = Machine::new(&CONFIG.replace("port: 0", &format!("port: {port}")));
    let said = refused(&machine.run(&[]), 1);
    for part in [&port.to_string(), "ccm config set web_ui.port"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(machine.home().running_daemon().is_none());
    assert!(!machine.home().dir().join("ccm.db").exists());
}

#[tokio::test]
async fn a_hangup_has_it_read_its_config_again() {
    let machine = Machine::new(CONFIG);
    let daemon = machine.start();
    let log = machine.home().logs_dir().join("daemon.log");
    let logged = |words: &str| {
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "never logged: {words}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    daemon.signal(Signal::SIGHUP);
    logged("the config was read again and says what it said");
    let changed = format!("{CONFIG}  tmux_socket: other\ndaemon: {{log_level: debug}}\n");
    std::fs::write(machine.config(), changed).unwrap();
    daemon.signal(Signal::SIGHUP);
    logged("daemon.log_level: \"info\" -> \"debug\"");
    logged("agents.tmux_socket: \"ccm\" -> \"other\" counts after `ccm daemon restart`");
    std::fs::write(machine.config(), "profile: fast\n").unwrap();
    daemon.signal(Signal::SIGHUP);
    logged("the changed config is not used: config.yaml:1: profile: expected full or minimal");
    assert!(health(&daemon.info).await);
    // The level that was reloaded counts still.
    std::fs::write(
        machine.config(),
        format!("{CONFIG}daemon: {{log_level: error}}\n"),
    )
    .unwrap();
    let before = std::fs::read_to_string(&log).unwrap();
    daemon.signal(Signal::SIGHUP);
    logged("daemon.log_level: \"debug\" -> \"error\"");
    assert!(before.contains(" INFO "));
    daemon.signal(Signal::SIGTERM);
    let (code, said) = daemon.end();
    assert_eq!(code, 0, "{said}");
    let after = std::fs::read_to_string(&log).unwrap();
    assert!(!after.contains("stopping by SIGTERM"), "{after}");
}

#[tokio::test]
async fn signals_end_it_but_for_hangup() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let machine = Machine::new(CONFIG);
        let daemon = machine.start();
        daemon.signal(Signal::SIGHUP);
        assert!(health(&daemon.info).await);
        daemon.signal(signal);
        let (code, said) = daemon.end();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(signal.as_str()), "{said}");
        assert!(said.contains("0 runs go on"), "{said}");
        assert!(machine.home().running_daemon().is_none());
        let log = machine.home().logs_dir().join("daemon.log");
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("0 runs go on"), "{log}");
    }
}

#[tokio::test]
async fn every_start_is_the_next_epoch_and_a_killed_one_is_no_obstacle() {
    let machine = Machine::new(CONFIG);
    let first = machine.start();
    let epoch = first.info.epoch;
    first.signal(Signal::SIGKILL);
    drop(first);
    assert!(machine.home().running_daemon().is_none());
    let second = machine.start();
    assert!(second.info.epoch > epoch);
    assert!(health(&second.info).await);
}

/// What a browser gets at `/`.
async fn page(info: &DaemonInfo) -> (u16, String, String) {
    let answer = reqwest::get(format!("{}/", info.url())).await.unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    (answer.status().as_u16(), kind, answer.text().await.unwrap())
}

#[tokio::test]
async fn the_full_profile_has_a_page_if_it_was_built_in() {
    let machine = Machine::new(CONFIG);
    let daemon = machine.start();
    let (status, kind, body) = page(&daemon.info).await;
    let localhost = format!("http://localhost:{}", daemon.info.address.port());
    let client = reqwest::Client::new();
    let token = machine.home().token().unwrap();
    let asked = client
        .get(format!("{}/api/v1/status", daemon.info.url()))
        .bearer_auth(token.reveal());
    let told: serde_json::Value = asked.send().await.unwrap().json().await.unwrap();
    if cfg!(feature = "web-ui") {
        assert_eq!((status, &*kind), (200, "text/html; charset=utf-8"));
        assert!(body.contains("<title>CCM</title>"), "{body}");
        assert!(!body.contains(token.reveal()), "{body}");
        assert_eq!(daemon.info.web_ui_url(), Some(localhost.clone()));
        assert_eq!(told["web_ui"], localhost);
        assert_eq!(told["problems"], serde_json::json!([]));
    } else {
        assert_eq!((status, &*kind), (404, "application/problem+json"));
        assert!(body.contains("built without the web UI"), "{body}");
        assert_eq!(daemon.info.web_ui_url(), None);
        assert!(told["web_ui"].is_null());
        let problem = told["problems"][0].as_str().unwrap();
        assert!(problem.contains("config set profile minimal"), "{problem}");
    }
    // The page alone is open, and only to be read.
    let answer = client.post(format!("{}/", daemon.info.url())).send().await;
    assert_eq!(answer.unwrap().status(), 405);
    let answer = reqwest::get(format!("{}/nowhere", daemon.info.url())).await;
    assert_eq!(answer.unwrap().status(), 401);
}

#[tokio::test]
async fn without_a_web_ui_a_browser_is_told_why() {
    for (config, reason) in [
        (
            "profile: minimal\nweb_ui:\n  port: 0\n  enabled: true\n",
            "config set profile full",
        ),
        (
            "web_ui:\n  port: 0\n  enabled: false\n",
            "config set web_ui.enabled true",
        ),
    ] {
        let machine = Machine::new(&format!("{config}agents:\n  runtime: process\n"));
        let daemon = machine.start();
        let (status, kind, body) = page(&daemon.info).await;
        assert_eq!(
            (status, &*kind),
            (404, "application/problem+json"),
            "{body}"
        );
        assert!(body.contains(reason), "{body}");
        assert_eq!(daemon.info.web_ui_url(), None);
        assert!(health(&daemon.info).await);
    }
}
