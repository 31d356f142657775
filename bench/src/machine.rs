//! A machine of the measurement's own: home, tmux server, daemon; all of it ends with it.

use std::ffi::OsStr;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::http::Connection;

const PATIENCE: Duration = Duration::from_secs(120);
const TMUX_SOCKET: &str = "ccm-bench";
pub(crate) const PROGRAMS: [&str; 3] = ["ccm", "ccm-orchestrator", "ccm-daemon"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Full,
    Minimal,
}

impl Profile {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Minimal => "minimal",
        }
    }
}

/// The three programs, and the profile that they are for.
pub(crate) struct Build {
    dir: PathBuf,
    pub(crate) profile: Profile,
}

impl Build {
    pub(crate) fn at(dir: PathBuf, profile: Profile) -> Result<Self, String> {
        let dir = std::path::absolute(&dir).map_err(|error| error.to_string())?;
        let missing = PROGRAMS.into_iter().find(|name| !dir.join(name).is_file());
        match missing {
            Some(name) => Err(format!("{} is missing", dir.join(name).display())),
            None => Ok(Self { dir, profile }),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

pub(crate) struct Machine<'a> {
    build: &'a Build,
    dir: TempDir,
    daemon: Option<Child>,
}

impl<'a> Machine<'a> {
    /// A machine that is set up. No daemon runs yet.
    pub(crate) fn new(build: &'a Build, folder: &Path) -> Self {
        let dir = TempDir::with_prefix_in("ccm-bench-", folder).unwrap();
        let machine = Self {
            build,
            dir,
            daemon: None,
        };
        for folder in ["tmux", "home", "projects"] {
            std::fs::create_dir(machine.path(folder)).unwrap();
        }
        let profile = build.profile.as_str();
        machine.run(
            "ccm-orchestrator",
            &[
                "init",
                "--yes",
                "--no-service",
                "--no-start",
                "--profile",
                profile,
            ],
        );
        for (key, value) in [
            ("web_ui.port", "0"),
            ("agents.tmux_socket", TMUX_SOCKET),
            ("resources.max_queue_size", "100000000"),
        ] {
            machine.run("ccm", &["config", "set", key, value]);
        }
        machine
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn command<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: &[A],
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("CCM_HOME", self.path("ccm"))
            .env("TMUX_TMPDIR", self.path("tmux"))
            .env("LANG", "C.UTF-8")
            .current_dir(self.path("projects"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs one of the programs and returns what it printed.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        self.run_in(&self.path("projects"), program, args)
    }

    pub(crate) fn run_in(&self, folder: &Path, program: &str, args: &[&str]) -> String {
        let mut command = self.command(self.build.program(program), args);
        finished(command.current_dir(folder))
    }

    /// Runs a tmux command on the server of the agents.
    pub(crate) fn tmux(&self, args: &[&str]) -> Command {
        self.command("tmux", &[&["-L", TMUX_SOCKET], args].concat())
    }

    /// Starts the daemon and returns after how many seconds it was ready.
    pub(crate) fn start(&mut self) -> f64 {
        let daemon = self.build.program("ccm-daemon");
        let mut command = self.command::<&str>(daemon, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        self.daemon = Some(command.spawn().unwrap());
        let pid = self.pid();
        until("the daemon is ready", Duration::from_micros(100), || {
            // The file may be of the daemon before.
            let mut connection = self.connection_of(pid)?;
            let (status, _) = connection.get("/ready").ok()?;
            (status == 200).then_some(())
        });
        begun.elapsed().as_secs_f64()
    }

    /// Ends the daemon as service managers do; agents go on.
    pub(crate) fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            signal(daemon.id(), Signal::SIGTERM);
            let _ = daemon.wait();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    fn connection_of(&self, pid: u32) -> Option<Connection> {
        let info = std::fs::read(self.path("ccm/run/daemon.json")).ok()?;
        let info: Value = serde_json::from_slice(&info).ok()?;
        if info["pid"].as_u64() != Some(u64::from(pid)) {
            return None;
        }
        let address: SocketAddr = info["address"].as_str()?.parse().ok()?;
        let token = std::fs::read_to_string(self.path("ccm/token")).ok()?;
        Connection::open(address, token.trim()).ok()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.connection().address
    }

    pub(crate) fn connection(&self) -> Connection {
        self.connection_of(self.pid()).unwrap()
    }

    /// A project whose agent runs `command`; its id.
    pub(crate) fn project(&self, name: &str, command: &[&str]) -> String {
        let folder = self.path("projects").join(name);
        std::fs::create_dir(&folder).unwrap();
        let id = self.run_in(&folder, "ccm", &["init"]);
        let command = serde_json::to_string(command).unwrap();
        for (key, value) in [("agent.command", &*command), ("agent.driver", "command")] {
            self.run_in(&folder, "ccm", &["config", "set", "--project", key, value]);
        }
        id
    }

    /// Runs one of the programs with something on its standard input.
    pub(crate) fn run_with(&self, program: &str, args: &[&str], input: &str) -> String {
        let mut command = self.command(self.build.program(program), args);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The processes of the agents' hosts.
    pub(crate) fn hosts(&self) -> Vec<u32> {
        let agents = std::fs::read_dir(self.path("ccm/agents"));
        let files = agents.into_iter().flatten().flatten();
        let pid = |file: std::fs::DirEntry| {
            let text = std::fs::read(file.path().join("host.json")).ok()?;
            let host: Value = serde_json::from_slice(&text).ok()?;
            u32::try_from(host.pointer("/process/pid")?.as_u64()?).ok()
        };
        files.filter_map(pid).collect()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let stop = self.build.program("ccm-orchestrator");
            let _ = self.command(stop, &["daemon", "stop", "--agents"]).output();
        }
        self.stop();
        for host in self.hosts() {
            // One that ended by itself may have given its number away, so only what is known by its home.
            let environ = std::fs::read(format!("/proc/{host}/environ")).unwrap_or_default();
            let home = format!("CCM_HOME={}", self.path("ccm").display());
            if environ
                .split(|b| *b == 0)
                .any(|line| line == home.as_bytes())
            {
                signal(host, Signal::SIGKILL);
            }
        }
        let _ = self.tmux(&["kill-server"]).output();
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Runs a command to its good end and returns what it printed.
pub(crate) fn finished(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success() || output.status.code() == Some(3),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Looks again and again until there is something.
pub(crate) fn until<T>(what: &str, pause: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(pause);
    }
}
