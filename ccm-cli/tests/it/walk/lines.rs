//! What each line of the document is expected to do.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::document::Step;
use super::world::World;
use super::{BOOTED, CHECK_WHEEL, Done, MACOS};
use crate::support::until;

/// The machine home, which the document calls by its older name when it speaks of files.
const HOME: &str = ".ccm-global";

impl World {
    /// Does what a line says, and looks at what came of it.
    #[track_caller]
    pub(super) fn take(&mut self, step: &Step) -> Done {
        let line = &*step.line;
        if CHECK_WHEEL.contains(&line) {
            return Done::CheckWheel;
        }
        if line.contains("systemctl ") {
            return Done::Elsewhere(BOOTED);
        }
        if line.starts_with("launchctl ") {
            return Done::Elsewhere(MACOS);
        }
        println!("[{}] {line}", step.section);
        match (&*step.section, line) {
            ("System Initialization (One-Time)", "ccm-orchestrator daemon init") => self.sets_up(),
            ("System Initialization (One-Time)", line) => self.has_the_option(line),
            (_, "cd /path/to/my-project") => {
                self.types("cd ~/my-project").ok();
            }
            (_, "ccm init") => {
                let ran = self.types(line);
                assert!(
                    ran.ok().len() == 36 && ran.stderr.contains("is registered and has an agent"),
                    "{ran}"
                );
            }
            ("Per-Project Initialization", "ccm-orchestrator project list") => {
                let told = self.types(line).ok();
                assert_eq!(step.output.len(), 3);
                for expected in &step.output {
                    let home = self.home();
                    let expected = expected.replace("/Users/user", home.to_str().unwrap());
                    assert!(
                        told.lines().any(|line| line == expected),
                        "{expected}: {told}"
                    );
                }
            }
            ("Per-Project Initialization", line) => {
                self.types(line).ok();
            }
            ("CLI Commands", "ccm-orchestrator init") => {
                // A second time: nothing to ask, nothing to change.
                let told = self.types(line);
                assert!(
                    told.ok().is_empty() && told.stderr.contains("nothing was changed"),
                    "{told}"
                );
            }
            ("CLI Commands", line) if line.starts_with("ccm-orchestrator init --") => {
                self.has_the_option(line);
            }
            (_, "ccm-orchestrator config show") => {
                let told = self.types(line).ok();
                assert!(told.contains("profile: full"), "{told}");
            }
            (section, "ccm-orchestrator config edit") => self.edits(section == "Troubleshooting"),
            (_, "ccm-orchestrator config validate") => {
                let told = self.types(line);
                assert_eq!(told.code, 0, "{told}");
            }
            (_, line)
                if line.starts_with("ccm-orchestrator supabase ")
                    || line.starts_with("ccm-orchestrator sync ") =>
            {
                self.is_honest_about_sync(line);
            }
            (_, "ccm-orchestrator project add ~/code/my-project") => {
                self.types(line).ok();
            }
            (_, "ccm-orchestrator project list") => {
                let told = self.types(line).ok();
                assert!(told.contains("- my-project-2 ("), "{told}");
            }
            (_, "ccm-orchestrator project remove my-project") => {
                let told = self.types(line);
                assert!(
                    told.ok().is_empty() && told.stderr.contains("my-project"),
                    "{told}"
                );
                assert!(self.home().join("my-project/.ccm/config.yaml").exists());
            }
            (_, "ccm-orchestrator daemon start" | "ccm-orchestrator daemon restart") => {
                let told = self.types(line);
                assert!(
                    told.code == 0 && told.stderr.contains("The daemon is running"),
                    "{told}"
                );
            }
            (section, "ccm-orchestrator daemon stop") => {
                let told = self.types(line);
                assert!(told.code == 0 && told.stderr.contains("stopped"), "{told}");
                if section == "Uninstallation" {
                    let told = self.types("ccm-orchestrator uninstall --yes");
                    assert_eq!(told.code, 0, "{told}");
                    assert!(!self.path("bin/ccm").exists(), "{told}");
                }
            }
            (_, "ccm-orchestrator daemon status") => {
                let told = self.types(line).ok();
                let expected = step.output.first().map_or("Running", String::as_str);
                assert_eq!(told.lines().next(), Some(expected), "{told}");
            }
            (_, "ccm-orchestrator daemon logs") => {
                let told = self.types(line).ok();
                assert!(told.contains(" up, at http://127.0.0.1:8765"), "{told}");
            }
            (_, "ccm-orchestrator info") => {
                let told = self.types(line).ok();
                assert!(told.contains("daemon:    running"), "{told}");
            }
            (_, "ccm-orchestrator version") => {
                let told = self.types(line).ok();
                assert_eq!(
                    told,
                    format!("ccm-orchestrator {}", env!("CARGO_PKG_VERSION"))
                );
            }
            ("Post-Installation Steps", line)
                if line.starts_with("ccm-orchestrator project add ") =>
            {
                self.types(line).ok();
            }
            (_, "rm -rf ~/.ccm") => {
                self.types(&format!("rm -rf ~/{HOME}")).ok();
                assert!(!self.home().join(HOME).exists());
                // What follows is for a machine that still has CCM.
                self.installs();
                let told = self.types("ccm-orchestrator init --yes --no-service");
                assert_eq!(told.code, 0, "{told}");
                self.types("cd ~/code/repo-1 && ccm init").ok();
            }
            (_, "tail -f ~/.ccm/logs/daemon.log") => {
                let told = self.types(&format!("timeout 1 tail -f ~/{HOME}/logs/daemon.log"));
                assert!(
                    String::from_utf8_lossy(&told.stdout).contains(" up, at "),
                    "{told}"
                );
            }
            (_, "ccm-orchestrator agent list") => {
                let told = self.types(line).ok();
                assert!(told.contains("repo-1"), "{told}");
            }
            (_, "ccm-orchestrator agent cleanup") => {
                let told = self.types(line);
                assert_eq!(told.code, 0, "{told}");
                let list = self.types("ccm agent list").ok();
                assert!(list.contains("stopped"), "{list}");
            }
            _ => panic!("the walk does not know what becomes of {step:?}"),
        }
        Done::Here
    }

    /// The flow of the document's diagram, at a terminal. The service is asked about only where there can be one, which is
    /// for no home but the account's own; `service/` has it.
    fn sets_up(&mut self) {
        let (code, screen) = self.types_and_answers(
            "ccm-orchestrator daemon init",
            &[
                ("Select profile?", "1\r"),
                ("Enable Supabase?", "n\r"),
                ("System hostname?", "\r"),
                ("Start daemon now?", "y\r"),
            ],
        );
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("✓ Setup complete"), "{screen}");
        assert!(screen.contains("Web UI: http://localhost:8765"), "{screen}");
        for file in ["config.yaml", "ccm.db"] {
            assert!(self.home().join(HOME).join(file).exists(), "{file}");
        }
    }

    /// A line of set-up with an option, each in a home of its own: this machine is set up already.
    fn has_the_option(&mut self, line: &str) {
        let other = self.path("other");
        let _ = std::fs::remove_dir_all(&other);
        let told = self.types(&format!(
            "CCM_HOME='{}' {line} --yes --no-service --no-start",
            other.display()
        ));
        assert_eq!(told.code, 0, "{told}");
        let profile = if line.contains("minimal") {
            "minimal"
        } else {
            "full"
        };
        let got = self.types(&format!(
            "CCM_HOME='{}' ccm config get profile",
            other.display()
        ));
        assert_eq!(got.ok(), profile, "{line}");
        if line.contains("--supabase") {
            assert!(told.stderr.contains("supabase connect"), "{told}");
        }
    }

    /// `config edit`, with an editor that changes what the document says to change.
    fn edits(&mut self, reduce: bool) {
        let limit = if reduce { 5 } else { 10 };
        self.edits_with(&format!(
            "sed -i 's/^  max_concurrent: .*/  max_concurrent: {limit}/' \"$1\""
        ));
        let told = self.types("ccm-orchestrator config edit");
        assert_eq!(told.code, 0, "{told}");
        let got = self
            .types("ccm-orchestrator config get agents.max_concurrent")
            .ok();
        assert_eq!(got, limit.to_string());
    }

    /// On a machine that shares nothing what needs Supabase asks for it, and what only shows tells that it is off.
    fn is_honest_about_sync(&mut self, line: &str) {
        let told = self.types(line);
        match line.rsplit(' ').next() {
            Some("status") => assert!(told.ok().to_lowercase().contains("off"), "{told}"),
            Some("disconnect") => {
                assert!(told.ok().is_empty(), "{told}");
                assert!(told.stderr.contains("not connected"), "{told}");
            }
            Some("connect") => {
                assert_eq!(told.code, 2, "{told}");
                assert!(told.stderr.contains("--supabase-url URL"), "{told}");
            }
            _ => {
                assert_eq!(told.code, 5, "{told}");
                assert!(told.stderr.contains("ccm supabase connect"), "{told}");
            }
        }
    }

    /// The picture of a project's folder.
    pub(super) fn shows_the_folder(&mut self, picture: &str) {
        let mut inside = false;
        let mut seen = 0;
        for line in picture.lines() {
            let name = line.trim_start_matches(['│', '├', '└', '─', ' ']);
            let name = name.split_whitespace().next().unwrap_or_default();
            if name == ".ccm/" {
                inside = true;
            } else if line.starts_with("├── ") {
                inside = false;
            } else if inside {
                let path = self
                    .home()
                    .join("my-project/.ccm")
                    .join(name.trim_end_matches('/'));
                assert_eq!(path.is_dir(), name.ends_with('/'), "{}", path.display());
                assert!(path.exists(), "{}", path.display());
                seen += 1;
            }
        }
        assert_eq!(seen, 4, "{picture}");
    }

    /// The web page's address, as a browser asks for it.
    pub(super) fn opens_the_page(&mut self, address: &str) {
        assert_eq!(address.trim(), "http://localhost:8765");
        let mut stream = TcpStream::connect("localhost:8765").unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost:8765\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.to_lowercase().contains("content-type: text/html"),
            "{answer}"
        );
    }

    /// The document's last step after the installation, in the middle of a sentence there.
    pub(super) fn takes_a_task_from_standard_input(&mut self) {
        let line = "echo \"Test task\" | ccm-orchestrator task create --project repo-1";
        assert!(super::DOCUMENT.contains(&format!("`{line}`")));
        self.types("cd ~/code/repo-1").ok();
        for (key, value) in [("agent.command", "[cat]"), ("agent.driver", "command")] {
            self.types(&format!("ccm config set --project {key} '{value}'"))
                .ok();
        }
        let id = self.types(line).ok();
        until("the task has succeeded", || {
            self.types(&format!("ccm task show {id} --json")).json()["state"] == "succeeded"
        });
        let told = self.types("ccm-orchestrator daemon stop --agents");
        assert_eq!(told.code, 0, "{told}");
    }
}
