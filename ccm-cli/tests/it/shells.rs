//! What the programs print for shells and for `man`, held against real shells and a real formatter.
//!
//! `scripts/tools zsh fish groff` gets those that are missing.

use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::support::{Machine, Ran};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// Runs a tool of the tests with nothing of this machine's user.
fn tool(machine: &Machine, program: &str, args: &[&str]) -> Ran {
    let ran = Command::new(program)
        .args(args)
        .env("HOME", machine.path("home"))
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null())
        .output();
    let ran = ran.unwrap_or_else(|e| panic!("{program} ({e}): `scripts/tools {program}` gets it"));
    ran.into()
}

fn script(machine: &Machine, program: &str, shell: &str) -> std::path::PathBuf {
    let ran = Ran::of(&mut machine.command(program, &["completions", shell]));
    let path = machine.path("tmp").join(format!("{program}.{shell}"));
    std::fs::write(&path, ran.ok() + "\n").unwrap();
    path
}

/// What bash offers for `line`, whose last word is being typed.
fn bash_offers(machine: &Machine, script: &Path, line: &[&str]) -> Vec<String> {
    let asked = r#"
        source "$0" || exit
        read -ra registered <<<"$(complete -p "$1")"
        for ((n = 0; n < ${#registered[@]}; n++)); do
            [ "${registered[n]}" = -F ] && function=${registered[n + 1]}
        done
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let script = script.to_str().unwrap();
    let args = [&["--norc", "-c", asked, script], line].concat();
    let ran = tool(machine, "bash", &args);
    assert_eq!(ran.stderr, "", "{line:?}");
    ran.ok().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options_of_both_names() {
    let machine = Machine::bare();
    for program in ["ccm", "ccm-orchestrator"] {
        let script = script(&machine, program, "bash");
        let offers = |line: &[&str]| bash_offers(&machine, &script, &[&[program], line].concat());
        assert_eq!(offers(&["proj"]), ["project"]);
        assert_eq!(offers(&["task", "cre"]), ["create"]);
        assert_eq!(offers(&["daemon", "rest"]), ["restart"]);
        assert_eq!(offers(&["task", "create", "--prio"]), ["--priority"]);
        assert!(offers(&["daemon", "init", "--profile", ""]).contains(&"minimal".to_owned()));
        assert_eq!(offers(&["completions", "z"]), ["zsh"]);
    }
}

#[test]
fn zsh_and_fish_can_read_their_completions() {
    let machine = Machine::bare();
    for program in ["ccm", "ccm-orchestrator"] {
        let zsh = script(&machine, program, "zsh");
        tool(&machine, "zsh", &["-n", zsh.to_str().unwrap()]).ok();
        let fish = script(&machine, program, "fish");
        let fish = fish.to_str().unwrap();
        tool(&machine, "fish", &["--no-execute", fish]).ok();
        let asked = format!("source {fish}; complete --do-complete '{program} task cre'");
        let offered = tool(&machine, "fish", &["--no-config", "-c", &asked]).ok();
        assert!(offered.starts_with("create"), "{offered}");
    }
}

#[test]
fn zsh_knows_whose_completions_it_read() {
    let machine = Machine::bare();
    for program in ["ccm", "ccm-orchestrator"] {
        let script = script(&machine, program, "zsh");
        let asked = format!(
            "autoload -Uz compinit; compinit -D; source {}; print -r -- $_comps[{program}]",
            script.display()
        );
        let told = tool(&machine, "zsh", &["-f", "-c", &asked]).ok();
        assert_eq!(told, format!("_{program}"));
    }
}

#[test]
fn completions_are_for_a_shell_that_is_known() {
    let machine = Machine::bare();
    for shell in SHELLS {
        let object = machine.ccm(&["completions", shell, "--json"]).json();
        assert_eq!(object["program"], "ccm");
        assert_eq!(object["shell"], shell);
        assert!(
            object["script"].as_str().unwrap().contains("asks"),
            "{shell}"
        );
    }
    assert_snapshot!("help_completions", machine.ccm(&["completions", "--help"]));
    assert_snapshot!("completions_none", machine.ccm(&["completions"]));
    assert_snapshot!("completions_unknown", machine.ccm(&["completions", "tcsh"]));
}

#[test]
fn every_man_page_is_one_that_a_formatter_takes_without_a_word() {
    let machine = Machine::bare();
    let dir = machine.path("tmp/share/man");
    let told = machine.ccm(&["man", "--dir", dir.to_str().unwrap(), "--json"]);
    let files = told.json()["files"].as_array().unwrap().clone();
    assert!(files.len() > 60, "{}", files.len());
    let files: Vec<&str> = files.iter().map(|file| file.as_str().unwrap()).collect();
    let lint = [&["-man", "-ww", "-z", "-Tutf8"], &files[..]].concat();
    let said = tool(&machine, "groff", &lint);
    assert_eq!(
        (said.code, said.ok(), &*said.stderr),
        (0, String::new(), "")
    );
    let page = dir.join("man1/ccm-task-answer.1");
    let line = ["-man", "-Tascii", "-P-c", page.to_str().unwrap()];
    let shown = plain(&tool(&machine, "groff", &line).ok());
    for part in [
        "CCM-TASK-ANSWER(1)",
        "EXAMPLES",
        "ccm task answer 3f2a9c1b7d4e --allow",
        "EXIT CODES",
        "5  refused because of its state",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Without the way in which terminals are told what is bold and what underlined.
fn plain(page: &str) -> String {
    let mut text = String::new();
    for character in page.chars() {
        if character == '\u{8}' {
            text.pop();
        } else {
            text.push(character);
        }
    }
    text
}

#[test]
fn a_page_is_printed_by_the_words_of_its_command() {
    let machine = Machine::bare();
    let page = machine.ccm(&["man", "daemon", "restart"]).ok();
    assert!(page.contains(".TH CCM-DAEMON-RESTART 1"), "{page}");
    let page = Ran::of(&mut machine.command("ccm-orchestrator", &["man"])).ok();
    assert!(page.contains(".TH CCM-ORCHESTRATOR 1"), "{page}");
    assert!(page.contains("CCM_HOME"), "{page}");
    let object = machine.ccm(&["man", "asks", "--json"]).json();
    assert_eq!(object["name"], "ccm-asks");
    machine.snapshots(|| {
        assert_snapshot!("help_man", machine.ccm(&["man", "--help"]));
        assert_snapshot!("man_asks", machine.ccm(&["man", "asks"]));
        assert_snapshot!("man_unknown", machine.ccm(&["man", "task", "creat"]));
        std::fs::write(machine.path("work/taken"), "").unwrap();
        assert_snapshot!("man_no_folder", machine.ccm(&["man", "--dir", "taken"]));
        assert_snapshot!(
            "man_dir_and_command",
            machine.ccm(&["man", "task", "--dir", "x"])
        );
    });
}

#[test]
fn the_daemons_page_has_what_its_help_says() {
    let machine = Machine::bare();
    let ran = machine.ccm(&["man", "--dir", "pages"]);
    assert_eq!(ran.ok(), "");
    assert!(ran.stderr.ends_with(" man pages to pages.\n"), "{ran}");
    let page = std::fs::read_to_string(machine.path("work/pages/man8/ccm-daemon.8")).unwrap();
    let page = page
        .replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fR", "");
    let help = Ran::of(&mut machine.command("ccm-daemon", &["--help"])).ok();
    let mut options = 0;
    for word in help
        .split_whitespace()
        .map(|word| word.trim_end_matches(','))
    {
        if word.starts_with('-') {
            options += 1;
            assert!(page.contains(word), "{word}: {page}");
        }
    }
    assert!(options >= 5, "{help}");
    let codes = help
        .lines()
        .find_map(|line| line.strip_prefix("Exit codes: "));
    for code in codes.unwrap().split(", ") {
        let (number, meaning) = code.split_once(' ').unwrap();
        assert!(
            page.contains(&format!("{number}  {meaning}")),
            "{code}: {page}"
        );
    }
}
