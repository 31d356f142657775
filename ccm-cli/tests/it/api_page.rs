//! `docs/api.md`: what it says can be typed is typed, and what it shows is what comes.

use std::process::{Command, Stdio};

use crate::support::Machine;

const PAGE: &str = include_str!("../../../docs/api.md");

/// A line that is typed, with what the page shows of its output.
struct Line {
    typed: String,
    shown: Vec<String>,
}

fn lines() -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(typed) if inside => lines.push(Line {
                typed: typed.to_owned(),
                shown: Vec::new(),
            }),
            None if inside => lines.last_mut().unwrap().shown.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_line_of_the_page_about_the_api_does_what_it_shows() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    // Where the page says that the machine's home is.
    std::os::unix::fs::symlink(machine.path("ccm"), machine.path("home/.ccm-global")).unwrap();
    let lines = lines();
    assert!(lines.len() > 12, "the page has {} lines", lines.len());
    let address = machine.info().unwrap().address;
    let mut script = "set -euo pipefail\n".to_owned();
    for (at, line) in lines.iter().enumerate() {
        let typed = line.typed.replace("127.0.0.1:8765", &address.to_string());
        script.push_str(&format!("echo; echo '## {at}'\n{typed}\n"));
    }
    // The stream does not end by itself, which counts as an error of curl's.
    let script = script.replace(
        " | grep '^event: task'",
        " | grep '^event: task' || [ $? = 28 ]",
    );
    let output = Command::new("bash")
        .env_clear()
        .env("PATH", path())
        .env("HOME", machine.path("home"))
        .env("CCM_HOME", machine.path("ccm"))
        .env("TMPDIR", machine.path("tmp"))
        .args(["-c", &script])
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{failed}");
    for (at, line) in lines.iter().enumerate() {
        let (_, rest) = said.split_once(&format!("## {at}\n")).unwrap();
        let came: Vec<&str> = rest
            .lines()
            .take_while(|line| !line.starts_with("## "))
            .filter(|line| !line.is_empty())
            .collect();
        if !line.shown.is_empty() {
            assert_eq!(came, line.shown, "{}", line.typed);
        }
    }
}

/// With the `ccm` of these tests first.
fn path() -> std::ffi::OsString {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_ccm"))
        .parent()
        .unwrap();
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path
}
