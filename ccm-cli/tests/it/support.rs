//! A machine of a test's own: home, config, projects, daemon, all of it in one temporary folder and gone with it.
//!
//! ```ignore
//! let machine = Machine::new();
//! let daemon = machine.daemon();
//! let project = machine.project("demo", &["sh", "-c", "cat; exit 0"]);
//! let task = project.ccm(&["task", "create", "hello"]).ok();
//! machine.ccm(&["task", "wait", &task]).ok();
//! ```

#![allow(dead_code, reason = "a harness has more than the tests of today need")]

mod asked;
mod disk;
mod namespace;

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccm_cli::client::{Client, Endpoint};
use ccm_daemon::machine::{ConfigFile, DaemonInfo, Home, setup};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) use disk::Disk;
pub(crate) use namespace::own_network;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` says so.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) struct Machine {
    /// What its home is on, if not on the disk of everything else. Unmounted before the folder goes.
    disk: Option<Disk>,
    dir: TempDir,
}

impl Machine {
    /// A machine that is set up, whose agents have no terminals. No daemon runs yet.
    pub(crate) fn new() -> Self {
        Self::with_runtime("process")
    }

    /// The same with agents in windows of a tmux server of its own.
    pub(crate) fn with_tmux() -> Self {
        Self::with_runtime("tmux")
    }

    /// A machine whose home is on a disk of its own with this many MiB; agents have no terminals.
    ///
    /// `None` for a process that may not mount one: it has run this very test in a child that may.
    #[track_caller]
    pub(crate) fn on_a_small_disk(mib: u64) -> Option<Self> {
        if !Disk::may_be_mounted() {
            return None;
        }
        let mut machine = Self::bare();
        machine.disk = Some(Disk::mount(machine.path("ccm"), mib));
        machine.set_up("process");
        Some(machine)
    }

    /// The disk of the home.
    #[track_caller]
    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the home is on a small disk")
    }

    fn with_runtime(runtime: &str) -> Self {
        let machine = Self::bare();
        machine.set_up(runtime);
        machine
    }

    fn set_up(&self, runtime: &str) {
        let answers = setup::Answers {
            hostname: Some("testbox".to_owned()),
            ..setup::Answers::default()
        };
        setup::set_up(&self.home(), &answers).unwrap();
        self.set("web_ui.port", "0");
        self.set("agents.runtime", runtime);
        self.set("agents.tmux_socket", "ccm-test");
    }

    /// A machine that nothing was done to.
    pub(crate) fn bare() -> Self {
        let dir = TempDir::with_prefix("ccm-").unwrap();
        for folder in ["home", "tmux", "tmp", "barriers", "work"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { disk: None, dir }
    }

    /// A path below the machine's folder.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(below)
    }

    /// The machine home.
    pub(crate) fn home(&self) -> Home {
        Home::at(self.path("ccm"))
    }

    /// Sets a key of the machine's config.
    pub(crate) fn set(&self, key: &str, value: &str) {
        ConfigFile::machine(&self.home()).set(key, value).unwrap();
    }

    /// An empty folder for a project.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.path("work").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A project whose agent runs `command` with each task's text on its standard input. Registered if a daemon runs.
    pub(crate) fn project(&self, name: &str, command: &[&str]) -> Project<'_> {
        let project = self.plain_project(name);
        let command = serde_json::to_string(command).unwrap();
        // In this order, because a driver without its program is refused.
        project.set("agent.command", &command);
        project.set("agent.driver", "command");
        project
    }

    /// A project as `ccm init` makes it, whose agent is Claude Code. Registered if a daemon runs.
    pub(crate) fn plain_project(&self, name: &str) -> Project<'_> {
        let folder = self.folder(name);
        let running = self.info().is_some();
        let made = self.ccm_in(&folder, &["init"]);
        assert_eq!(made.code, if running { 0 } else { 3 }, "{made}");
        Project {
            machine: self,
            folder,
        }
    }

    /// `program` (one of the three) with these arguments, not yet started.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, program: &str, args: &[A]) -> Command {
        let program = match program {
            "ccm" => env!("CARGO_BIN_EXE_ccm"),
            "ccm-orchestrator" => env!("CARGO_BIN_EXE_ccm-orchestrator"),
            "ccm-daemon" => env!("CARGO_BIN_EXE_ccm-daemon"),
            other => panic!("{other} is no program of this package"),
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("CCM_HOME", self.path("ccm"))
            .env("CCM_BARRIERS", self.path("barriers"))
            .env("TMPDIR", self.path("tmp"))
            .env("TMUX_TMPDIR", self.path("tmux"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `ccm` to its end.
    pub(crate) fn ccm<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        Ran::of(&mut self.command("ccm", args))
    }

    /// Runs `ccm-orchestrator` to its end.
    pub(crate) fn orchestrator<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        Ran::of(&mut self.command("ccm-orchestrator", args))
    }

    /// Runs `ccm` in `folder` to its end.
    pub(crate) fn ccm_in<A: AsRef<OsStr>>(&self, folder: &Path, args: &[A]) -> Ran {
        Ran::of(self.command("ccm", args).current_dir(folder))
    }

    /// Runs `ccm` to its end with `input` on its standard input.
    pub(crate) fn ccm_with<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Ran {
        Ran::with_input(&mut self.command("ccm", args), input)
    }

    /// What the agents' tmux server says; nothing if there is none.
    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-N", "-L", "ccm-test"])
            .args(args)
            .env_remove("TMUX")
            .env("TMUX_TMPDIR", self.path("tmux"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts the daemon in the foreground, as a child of the test, and waits until it is ready.
    pub(crate) fn daemon(&self) -> Daemon<'_> {
        self.daemon_with(|command| command)
    }

    /// The same with a command that was changed first.
    pub(crate) fn daemon_with(
        &self,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Daemon<'_> {
        self.wait_until_ready(self.spawn_daemon(change))
    }

    fn wait_until_ready<'a>(&self, mut daemon: Daemon<'a>) -> Daemon<'a> {
        until("the daemon is ready", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended ({status}):\n{}", self.log());
            }
            self.is_ready()
        });
        daemon
    }

    /// The same, started by another program which is given its path as the last argument and becomes it.
    pub(crate) fn daemon_under(
        &self,
        launcher: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Daemon<'_> {
        let daemon = self.command::<&str>("ccm-daemon", &[]);
        let mut command = Command::new(launcher[0]);
        command.args(&launcher[1..]).arg(daemon.get_program());
        command.env_clear();
        for (name, value) in daemon.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).current_dir(self.path("work"));
        let child = change(&mut command).spawn().unwrap();
        self.wait_until_ready(Daemon {
            machine: self,
            child,
        })
    }

    /// Starts the daemon without waiting for anything: one that is held at a barrier is never ready.
    pub(crate) fn spawn_daemon(
        &self,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Daemon<'_> {
        let mut command = self.command::<&str>("ccm-daemon", &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = change(&mut command).spawn().unwrap();
        Daemon {
            machine: self,
            child,
        }
    }

    /// Whether a daemon can do its work.
    pub(crate) fn is_ready(&self) -> bool {
        self.info().is_some() && block_on(async { self.client().ready().await.is_ok() })
    }

    /// What the running daemon says about itself.
    pub(crate) fn info(&self) -> Option<DaemonInfo> {
        self.home().running_daemon()
    }

    /// The client of the daemon, which follows it through restarts. Panics if there is none.
    pub(crate) fn client(&self) -> Client {
        let home = self.home();
        let find = move || {
            let token = home.token().ok()?;
            let info = home.running_daemon()?;
            Some(Endpoint::new(info.local_url(), token.reveal()))
        };
        let endpoint = find().expect("a daemon runs");
        Client::with(&endpoint, "test", Some(Arc::new(find))).unwrap()
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("ccm/logs/daemon.log")).unwrap_or_default()
    }

    /// Holds every program of this machine that comes to the barrier `name` from now on.
    pub(crate) fn hold(&self, name: &str) {
        std::fs::write(self.barrier(name, "hold"), "").unwrap();
    }

    /// Waits until a program came to the barrier, and returns its process id.
    pub(crate) fn reached(&self, name: &str) -> u32 {
        let path = self.barrier(name, "reached");
        let mut pid = None;
        until(&format!("a program comes to the barrier {name}"), || {
            pid = std::fs::read_to_string(&path)
                .ok()
                .and_then(|text| text.parse().ok());
            pid.is_some()
        });
        pid.unwrap()
    }

    /// Lets go on what is held at the barrier.
    pub(crate) fn release(&self, name: &str) {
        let _ = std::fs::remove_file(self.barrier(name, "reached"));
        std::fs::remove_file(self.barrier(name, "hold")).unwrap();
    }

    fn barrier(&self, name: &str, what: &str) -> PathBuf {
        self.path("barriers").join(format!("{name}.{what}"))
    }

    /// The processes of the agents' hosts.
    pub(crate) fn hosts(&self) -> Vec<u32> {
        let agents = std::fs::read_dir(self.path("ccm/agents"));
        let files = agents.into_iter().flatten().flatten();
        files
            .filter_map(|agent| {
                let text = std::fs::read(agent.path().join("host.json")).ok()?;
                let host: serde_json::Value = serde_json::from_slice(&text).ok()?;
                u32::try_from(host.pointer("/process/pid")?.as_u64()?).ok()
            })
            .filter(|pid| self.owns(*pid))
            .collect()
    }

    /// Every living process that was started for this machine, known by the home in its environment.
    pub(crate) fn processes(&self) -> Vec<u32> {
        if !cfg!(target_os = "linux") {
            return self.hosts();
        }
        let own = std::process::id();
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own && self.owns(*pid))
            .collect()
    }

    /// Waits until nothing of this machine is left running.
    #[track_caller]
    pub(crate) fn until_empty(&self) {
        let begun = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            let lines: Vec<_> = left
                .iter()
                .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
                .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
                .collect();
            assert!(
                begun.elapsed() < PATIENCE,
                "still there: {left:?} {lines:#?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn owns(&self, pid: u32) -> bool {
        if !cfg!(target_os = "linux") {
            return kill(as_pid(pid), None).is_ok();
        }
        let wanted = self.path("ccm");
        let wanted = format!("CCM_HOME={}", wanted.display());
        std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ
                .split(|b| *b == 0)
                .any(|line| line == wanted.as_bytes())
        })
    }

    /// Runs `check` with snapshots in which everything that differs from run to run has a name instead.
    pub(crate) fn snapshots(&self, check: impl FnOnce()) {
        let mut settings = insta::Settings::clone_current();
        let hex = "[0-9a-f]";
        let uuid = format!("{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}");
        for (pattern, name) in [
            (&*regex_escape(&self.path("").to_string_lossy()), "[DIR]/"),
            (&uuid, "[ID]"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
            (r"after \d+\.\d s", "after [PERIOD]"),
            (r"pid(:\s+| )\d+", "pid [PID]"),
            (r"(pid|epoch)=\d+", "$1=[N]"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:[PORT]"),
            (r"(port |:)\d{4,5}\b", "${1}[PORT]"),
            (r"code=[0-9a-f]{32}", "code=[CODE]"),
            (r"(\bID)? {2,}PROJECT", "$1  PROJECT"),
            // A column is as wide with one digit as with two.
            (r"\b\d\ds( {2,})", "[AGE] $1"),
            (r"\b\d+s( {2,}|\b)", "[AGE]$1"),
            (r"\b\d+ [KM]iB( {2,}|\b)", "[SIZE]$1"),
            (r"\b\d+(\.\d)? ?%", "[CPU]"),
            (r"ccm-\d{8}T\d{6}Z", "ccm-[STAMP]"),
            // How much room the disk of the tests has is nobody's concern here.
            (r"warning: [^\n]* free on the disk [^\n]*\n", ""),
            (r"health: +[^\n]*", "health:    [HEALTH]"),
        ] {
            settings.add_filter(pattern, name);
        }
        settings.bind(check);
    }
}

fn regex_escape(text: &str) -> String {
    text.replace('.', r"\.")
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The daemon first, or it would mend what is being taken down.
        if let Some(info) = self.info() {
            end(info.pid);
        }
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(end);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn end(pid: u32) {
    let _ = kill(as_pid(pid), Signal::SIGKILL);
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}

/// A project of a machine.
pub(crate) struct Project<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) folder: PathBuf,
}

impl<'a> Project<'a> {
    /// The project that was made in the folder of this name before.
    pub(crate) fn at(machine: &'a Machine, name: &str) -> Self {
        Self {
            machine,
            folder: machine.folder(name),
        }
    }
}

impl Project<'_> {
    /// Runs `ccm` in the project's folder to its end.
    pub(crate) fn ccm<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        self.machine.ccm_in(&self.folder, args)
    }

    /// The same with `input` on its standard input.
    pub(crate) fn ccm_with<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Ran {
        let mut command = self.machine.command("ccm", args);
        Ran::with_input(command.current_dir(&self.folder), input)
    }

    /// Sets a key of the project's config, and trusts it.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.ccm(&["config", "set", "--project", key, value]).ok();
    }

    /// Puts a task in the queue and returns its id.
    pub(crate) fn task(&self, text: &str) -> String {
        self.ccm_with(&["task", "create"], text.as_bytes()).ok()
    }
}

/// A daemon in the foreground; killed when it is dropped.
pub(crate) struct Daemon<'a> {
    machine: &'a Machine,
    child: Child,
}

impl Daemon<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(as_pid(self.pid()), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A program that ran to its end.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A program that refuses the rest closes its end.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output.into()
    }

    /// What it printed, without the last newline. Panics unless it exited with 0.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.text()
    }

    /// What it said on standard error. Panics unless it exited with `code`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr.clone()
    }

    /// What it printed as JSON. Panics unless it exited with 0.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.stdout);
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.code)?;
        if !self.stdout.is_empty() {
            write!(f, "\n-- stdout\n{}", String::from_utf8_lossy(&self.stdout))?;
        }
        if !self.stderr.is_empty() {
            write!(f, "\n-- stderr\n{}", self.stderr)?;
        }
        Ok(())
    }
}

/// Runs `work` to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
