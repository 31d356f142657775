//! A fresh home, and a shell in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{Ran, own_network};
use crate::terminal::Terminal;

pub(super) struct World {
    dir: TempDir,
    /// Where the shell is now.
    cwd: PathBuf,
}

impl World {
    /// `None` for a process that can't have the document's port for itself: it has run this test in a child that can.
    #[track_caller]
    pub(super) fn new() -> Option<Self> {
        if !own_network() {
            return None;
        }
        let dir = TempDir::with_prefix("ccm-").unwrap();
        let world = Self {
            cwd: dir.path().canonicalize().unwrap().join("home"),
            dir,
        };
        for folder in [
            "home/code/my-project",
            "home/my-project",
            "tmux",
            "tmp",
            "bin",
        ] {
            std::fs::create_dir_all(world.path(folder)).unwrap();
        }
        for repo in ["repo-1", "repo-2", "repo-3"] {
            std::fs::create_dir(world.path("home/code").join(repo)).unwrap();
        }
        world.installs();
        Some(world)
    }

    /// Puts the programs on the PATH, as `pip install` does.
    pub(super) fn installs(&self) {
        for (name, program) in [
            ("ccm", env!("CARGO_BIN_EXE_ccm")),
            ("ccm-orchestrator", env!("CARGO_BIN_EXE_ccm-orchestrator")),
            ("ccm-daemon", env!("CARGO_BIN_EXE_ccm-daemon")),
        ] {
            let there = self.path("bin").join(name);
            std::fs::hard_link(program, &there)
                .or_else(|_| std::fs::copy(program, &there).map(drop))
                .unwrap();
        }
    }

    pub(super) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(below)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A shell with this line, where the one before it ended.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("bash");
        let script = format!("{line}\ncode=$?\npwd >\"$TMPDIR/cwd\"\nexit $code");
        let path = std::env::var("PATH").unwrap_or_default();
        shell
            .args(["--norc", "-c", &script])
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.home())
            .env("TMPDIR", self.path("tmp"))
            .env("TMUX_TMPDIR", self.path("tmux"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("EDITOR", self.path("bin/editor"))
            .current_dir(&self.cwd)
            .stdin(Stdio::null());
        shell
    }

    fn follow(&mut self) {
        if let Ok(cwd) = std::fs::read_to_string(self.path("tmp/cwd")) {
            self.cwd = PathBuf::from(cwd.trim_end());
        }
    }

    /// Types a line where nobody is asked anything.
    pub(super) fn types(&mut self, line: &str) -> Ran {
        let ran = Ran::of(&mut self.shell(line));
        self.follow();
        ran
    }

    /// Types a line at a terminal, and answers what is asked. Returns the exit code and the screen.
    pub(super) fn types_and_answers(
        &mut self,
        line: &str,
        answers: &[(&str, &str)],
    ) -> (i32, String) {
        let mut terminal = Terminal::new(self.shell(line));
        for (question, answer) in answers {
            terminal.answer(question, answer);
        }
        let ended = terminal.end();
        self.follow();
        ended
    }

    /// Writes the program that stands for the user's editor.
    pub(super) fn edits_with(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let editor = self.path("bin/editor");
        std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Processes whose home is this one.
    fn processes(&self) -> Vec<i32> {
        let own = std::process::id().cast_signed();
        let mark = format!("HOME={}", self.home().display());
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own)
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
                    all.split(|byte| *byte == 0)
                        .any(|one| one == mark.as_bytes())
                })
            })
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
