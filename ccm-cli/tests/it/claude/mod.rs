//! The real Claude Code in a home of a test's own, with a stub for the API.
//!
//! ```ignore
//! let machine = Machine::new();
//! let stub = Stub::start();
//! let claude = Claude::new(&machine, &stub);
//! let _daemon = machine.daemon_with(|command| command.envs(claude.environment()));
//! ```

#![allow(dead_code, reason = "a harness has more than the tests of today need")]

mod asks;
mod deaths;
mod failures;
mod interrupts;
mod scene;
mod session;
mod stops;
mod stub_itself;
mod taken;
mod trouble;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

pub(crate) use session::Session;

use crate::stub::Stub;
use crate::support::Machine;

/// Claude Code asks nobody about a key whose last 20 characters its home approves of.
const KEY: &str = "sk-ant-dummy-00000000000000000000";

/// A home for Claude Code, in the machine's home, and what its processes have to be told.
pub(crate) struct Claude<'a> {
    machine: &'a Machine,
    environment: BTreeMap<&'static str, String>,
}

impl<'a> Claude<'a> {
    pub(crate) fn new(machine: &'a Machine, stub: &Stub) -> Self {
        let home = machine.path("home");
        let approved = &KEY[KEY.len() - 20..];
        let state = json!({
            "hasCompletedOnboarding": true,
            "customApiKeyResponses": {"approved": [approved], "rejected": []},
        });
        std::fs::write(home.join(".claude.json"), state.to_string()).unwrap();
        let text = |path: PathBuf| path.into_os_string().into_string().unwrap();
        let environment = BTreeMap::from([
            ("HOME", text(home)),
            // It keeps sockets and the output of background commands there.
            ("TMPDIR", text(machine.path("tmp"))),
            ("CLAUDE_CODE_TMPDIR", text(machine.path("tmp"))),
            ("ANTHROPIC_BASE_URL", stub.url()),
            ("ANTHROPIC_API_KEY", KEY.to_owned()),
            // It would try ten times, for three minutes.
            ("CLAUDE_CODE_MAX_RETRIES", "1".to_owned()),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
            ("DISABLE_TELEMETRY", "1".to_owned()),
            ("DISABLE_ERROR_REPORTING", "1".to_owned()),
        ]);
        Self {
            machine,
            environment,
        }
    }

    /// Changes a variable of what is started from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.insert(name, value.to_owned());
    }

    /// From now on it has a subscription instead of a key: only then does it look at limits of use.
    pub(crate) fn subscribe(&mut self) {
        self.environment.remove("ANTHROPIC_API_KEY");
        self.set("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-dummy");
    }

    /// The variables that a daemon, or a project's `agent.env`, hands on to Claude Code.
    pub(crate) fn environment(&self) -> &BTreeMap<&'static str, String> {
        &self.environment
    }

    /// The program itself.
    #[track_caller]
    pub(crate) fn program() -> PathBuf {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/claude-code");
        let program = package.join("node_modules/.bin/claude");
        assert!(
            program.exists(),
            "the Claude Code of the tests is not installed: run scripts/tools claude"
        );
        program
    }

    /// The program in the folder with these arguments, not yet started.
    #[track_caller]
    pub(crate) fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(Self::program());
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            // By which the machine knows what to end.
            .env("CCM_HOME", self.machine.path("ccm"))
            .envs(&self.environment)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What it has written down of a session so far.
    pub(crate) fn kept(&self, session: &str) -> String {
        let projects = std::fs::read_dir(self.machine.path("home/.claude/projects"));
        let mut files = projects
            .into_iter()
            .flatten()
            .flatten()
            .map(|project| project.path().join(format!("{session}.jsonl")));
        files
            .find_map(|file| std::fs::read_to_string(file).ok())
            .unwrap_or_default()
    }

    /// Starts it headless in the folder, as a new session.
    #[track_caller]
    pub(crate) fn start(&self, folder: &Path, mode: &str) -> Session {
        let id = uuid::Uuid::now_v7().to_string();
        self.headless(folder, mode, &["--session-id", &id])
    }

    /// Starts it headless in the folder, to go on with a session.
    #[track_caller]
    pub(crate) fn resume(&self, folder: &Path, mode: &str, session: &str) -> Session {
        self.headless(folder, mode, &["--resume", session])
    }

    #[track_caller]
    fn headless(&self, folder: &Path, mode: &str, session: &[&str]) -> Session {
        let mut args: Vec<&str> = "-p --input-format stream-json --output-format stream-json --verbose \
                                   --permission-prompt-tool stdio --replay-user-messages --permission-mode"
            .split_whitespace()
            .collect();
        args.push(mode);
        args.extend(session);
        Session::spawn(&mut self.command(folder, &args), session[1])
    }
}
