//! A machine: a home, a project, a daemon, all of it at the end of a line.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::http::{self, Answer, Unanswered};
use crate::network::Line;
use crate::wait::{Stop, until};

/// Where the clones come from. Nobody ever goes there.
const REPOSITORY: &str = "https://git.example.com/shop.git";

/// Where the programs under test are.
#[derive(Debug, Clone)]
pub(crate) struct Programs(pub(crate) PathBuf);

impl Programs {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// What a machine is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineIs<'a> {
    /// Whether people are to decide conflicts.
    pub(crate) manual: bool,
    /// Whether other machines have the repository of its project.
    pub(crate) clone: bool,
    /// The folder that its agent writes to.
    pub(crate) agents: &'a Path,
}

/// Somebody at a server.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) user: String,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) email: String,
    pub(crate) password: String,
}

#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) number: usize,
    pub(crate) line: Line<'a>,
    programs: &'a Programs,
    dir: PathBuf,
    daemon: Mutex<Option<Child>>,
    /// Its project, once it has one.
    pub(crate) project: String,
    /// Its own id.
    pub(crate) system: String,
}

impl<'a> Machine<'a> {
    /// A machine with a daemon and a project, connected to nothing.
    pub(crate) fn set_up(
        number: usize,
        line: Line<'a>,
        programs: &'a Programs,
        folder: &Path,
        is: MachineIs<'_>,
        stop: &Stop,
    ) -> Result<Self, String> {
        let dir = folder.join(format!("m{number}"));
        for name in ["user", "tmp", "work"] {
            std::fs::create_dir_all(dir.join(name)).map_err(|error| error.to_string())?;
        }
        let mut machine = Self {
            number,
            line,
            programs,
            dir,
            daemon: Mutex::new(None),
            project: String::new(),
            system: String::new(),
        };
        machine.run(
            "ccm-orchestrator",
            &["init", "--yes", "--no-service", "--no-start"],
        )?;
        let name = format!("m{number}");
        let rule = if is.manual {
            "manual"
        } else {
            "last_write_wins"
        };
        for (key, value) in [
            ("system.hostname", &*name),
            ("web_ui.port", "0"),
            ("web_ui.socket", "s"),
            ("agents.runtime", "process"),
            ("sync.interval_seconds", "1"),
            ("sync.conflict_resolution", rule),
            ("daemon.log_level", "debug"),
        ] {
            machine.run("ccm", &["config", "set", key, value])?;
        }
        machine.start(stop)?;
        machine.make_project(is)?;
        let status = machine.get("/api/v1/status")?;
        status["system"]["id"]
            .as_str()
            .ok_or("a daemon says no id of its machine")?
            .clone_into(&mut machine.system);
        Ok(machine)
    }

    fn make_project(&mut self, is: MachineIs<'_>) -> Result<(), String> {
        let name = format!("p{}", self.number);
        let folder = self.dir.join("work").join(&name);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        self.run_in(&folder, "git", &["init", "--quiet"])?;
        let remote = match is.clone {
            true => REPOSITORY.to_owned(),
            false => format!("https://git.example.com/{name}.git"),
        };
        self.run_in(&folder, "git", &["remote", "add", "origin", &remote])?;
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let own = own.to_string_lossy();
        let number = self.number.to_string();
        let agents = is.agents.to_string_lossy();
        let agent = ["--", &*own, "agent", &*agents, &*number];
        let id = self.run_in(
            &folder,
            "ccm",
            &[
                &["init", "--name", &*name, "--agent", "command"],
                &agent[..],
            ]
            .concat(),
        )?;
        id.trim().clone_into(&mut self.project);
        let allow = ["config", "set", "--project", "remote_tasks", "allow"];
        self.run_in(&folder, "ccm", &allow)?;
        Ok(())
    }

    /// One of the programs, or another one, on this machine, not yet started.
    pub(crate) fn command(&self, folder: &Path, program: &str, args: &[&str]) -> Command {
        let mut command = match program {
            "ccm" | "ccm-orchestrator" | "ccm-daemon" => Command::new(self.programs.path(program)),
            other => Command::new(other),
        };
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.join("user"))
            .env("TMPDIR", self.dir.join("tmp"))
            .env("CCM_HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        self.run_in(&self.dir.join("work"), program, args)
    }

    fn run_in(&self, folder: &Path, program: &str, args: &[&str]) -> Result<String, String> {
        self.line.place.output(self.command(folder, program, args))
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.join("ccm")
    }

    fn socket(&self) -> PathBuf {
        self.home().join("s")
    }

    /// Signs in, as a person does.
    pub(crate) fn connect(&self, account: &Account) -> Result<(), String> {
        let args = [
            "supabase",
            "connect",
            "--supabase-url",
            &account.url,
            "--supabase-key",
            &account.key,
            "--email",
            &account.email,
            "--password-stdin",
        ];
        let command = self.command(&self.dir.join("work"), "ccm-orchestrator", &args);
        let password = account.password.clone();
        self.line.place.output_of(command, password).map(drop)
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&self, stop: &Stop) -> Result<(), String> {
        self.spawn()?;
        until("a daemon is ready", PATIENCE, stop, || {
            let ready = http::ask(&self.socket(), "GET", "/ready", &[], None);
            Ok(ready.is_ok_and(|answer| answer.status == 200))
        })
    }

    /// Starts the daemon, and waits for nothing.
    pub(crate) fn spawn(&self) -> Result<(), String> {
        let mut command = self.command(&self.dir.join("work"), "ccm-daemon", &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let spawned = self.line.place.within(move || command.spawn());
        let child = spawned.map_err(|error| format!("a daemon can't be started: {error}"))?;
        *self.daemon() = Some(child);
        Ok(())
    }

    /// Kills the daemon. Its agents go on.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.daemon().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn daemon(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.daemon
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the daemon ended by itself, which it must not.
    pub(crate) fn has_died(&self) -> bool {
        let mut daemon = self.daemon();
        daemon
            .as_mut()
            .is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Unanswered> {
        http::ask(&self.socket(), method, path, headers, body)
    }

    /// What must be answered.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self
            .ask("GET", path, &[], None)
            .map_err(|error| format!("m{}: {path}: {error}", self.number))?;
        match answer.is_good() {
            true => Ok(answer.body),
            false => Err(format!(
                "m{}: {path}: {} {}",
                self.number, answer.status, answer.body
            )),
        }
    }

    /// All parts of a list.
    pub(crate) fn all(&self, path: &str) -> Result<Vec<Value>, String> {
        http::all(&self.socket(), path).map_err(|error| format!("m{}: {error}", self.number))
    }
}

/// The longest that anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.kill();
        // The agents, their hosts and what these started. Who starts others goes on doing so until it is gone itself.
        for _ in 0..100 {
            let left = self.line.place.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("m{}: processes are left that can't be killed", self.number);
    }
}
