//! The unit of systemd: its text, and `systemctl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ccm_core::{Error, ErrorKind, Noun, Result};

use super::{Active, Kind, MARK, Plan, State};
use crate::run::Exit;

/// The unit's name.
pub const UNIT: &str = "ccm-orchestrator.service";
/// Where root's units are.
pub(super) const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// Powers over the kernel itself, which nothing that an agent does with `sudo` for a project needs.
const KERNEL_POWERS: &str = "CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_SYS_BOOT CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_TIME \
                             CAP_WAKE_ALARM";

/// The unit's text. It names an account exactly if it is one of the machine's manager.
///
/// # Errors
/// `Invalid` when a path can't be said in a unit.
pub fn render(plan: &Plan<'_>) -> Result<String> {
    let mut unit = format!(
        "{MARK}\n\
         # What is to stay as you want it belongs into a file beside: systemctl {}edit ccm-orchestrator\n\
         [Unit]\n\
         Description=CCM Orchestrator Daemon\n\
         After=network-online.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=simple\n",
        if plan.account.is_some() {
            ""
        } else {
            "--user "
        }
    );
    let mut line = |text: &str| {
        unit.push_str(text);
        unit.push('\n');
    };
    if let Some(account) = plan.account {
        line(&format!("User={}", account.name));
        line(&format!("Group={}", account.group));
    }
    line(&format!("ExecStart={}", program(plan.program)?));
    line("Restart=always");
    line("RestartSec=10");
    let config = text_of(plan.config)?;
    line(&format!(
        "Environment={}",
        quoted(&format!("CCM_CONFIG={config}"))?
    ));
    line(&format!(
        "Environment={}",
        quoted(&format!("PATH={}", plan.path))?
    ));
    line("");
    line("# Resource limits");
    line("MemoryMax=4G");
    line("CPUQuota=200%");
    line("");
    line(
        "# Starting again mends neither a wrong config or database nor that another daemon has this home.",
    );
    line(&format!(
        "RestartPreventExitStatus={} {}",
        Exit::Config as u8,
        Exit::Other as u8
    ));
    line("# A daemon that hangs is ended and started again.");
    line("NotifyAccess=main");
    line("WatchdogSec=60");
    line(
        "# Agents outlive the daemon: they have scopes of their own, and are spared where they can't have them.",
    );
    line("KillMode=process");
    line("Delegate=yes");
    line("OOMPolicy=continue");
    if plan.account.is_some() {
        line(
            "# Agents may need sudo, docker and all files of the account, but no power over the kernel.",
        );
        line(&format!("CapabilityBoundingSet=~{KERNEL_POWERS}"));
    }
    line("");
    line("[Install]");
    line(if plan.account.is_some() {
        "WantedBy=multi-user.target"
    } else {
        "WantedBy=default.target"
    });
    Ok(unit)
}

/// What a unit file says: the program that it runs, and the config file that it names.
pub(super) fn parse(unit: &str) -> (Option<PathBuf>, Option<PathBuf>) {
    let mut program = None;
    let mut config = None;
    for line in unit.lines() {
        match line.trim().split_once('=') {
            Some(("ExecStart", value)) => program = words(value).into_iter().next(),
            Some(("Environment", value)) => {
                // The last one counts.
                for word in words(value) {
                    if let Some(named) = word.strip_prefix("CCM_CONFIG=") {
                        config = Some(named.to_owned());
                    }
                }
            }
            _ => {}
        }
    }
    (program.map(PathBuf::from), config.map(PathBuf::from))
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "{} is not UTF-8, and a unit of systemd can't name it",
            path.display()
        ))
    })
}

/// The program as `ExecStart=` takes it, which is narrower than what other settings take.
fn program(path: &Path) -> Result<String> {
    let text = text_of(path)?;
    if text.contains(['"', '\'', '\\', '\n', '\t']) {
        return Err(Error::invalid(format!(
            "{} has a character in it that systemd allows in no program's path; install ccm-daemon elsewhere",
            path.display()
        )));
    }
    quoted(text)
}

/// A word of a setting: in quotation marks where it needs them, with nothing in it that systemd would replace.
fn quoted(text: &str) -> Result<String> {
    let refused = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(refused) {
        return Err(Error::invalid(format!(
            "{text:?} has a control character in it, and a unit of systemd can't say that"
        )));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.chars().all(plain) {
        return Ok(text.replace('%', "%%"));
    }
    let mut word = String::from('"');
    for c in text.chars() {
        match c {
            '%' => word.push_str("%%"),
            '"' | '\\' => word.extend(['\\', c]),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            c => word.push(c),
        }
    }
    word.push('"');
    Ok(word)
}

/// The words of a setting, as far as what is written by [`quoted`] or by hand needs it.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' if quote.is_none() => words.extend(word.take()),
            '"' | '\'' if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(match chars.next() {
                Some('n') => Some('\n'),
                Some('t') => Some('\t'),
                other => other,
            }),
            '%' if chars.peek() == Some(&'%') => {
                chars.next();
                word.get_or_insert_default().push('%');
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether systemd runs this machine, as sd_booted(3) tells.
pub(super) fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The folder of the account's manager, if one runs.
pub(super) fn runtime_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(
            || PathBuf::from(format!("/run/user/{}", nix::unistd::geteuid())),
            PathBuf::from,
        );
    dir.join("systemd/private").exists().then_some(dir)
}

/// Runs `systemctl` and returns what it printed.
pub(super) fn systemctl(kind: Kind, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("systemctl");
    let mut shown = String::from("systemctl");
    if kind == Kind::SystemdUser {
        command.arg("--user");
        shown.push_str(" --user");
        if let Some(dir) = runtime_dir() {
            command.env("XDG_RUNTIME_DIR", dir);
        }
    }
    for argument in arguments {
        shown.push(' ');
        shown.push_str(argument);
    }
    let output = command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_PAGER", "")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::unavailable(format!("`{shown}` can't be run")).with_source(error)
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let denied = [
        "authentication required",
        "Access denied",
        "Permission denied",
    ];
    if kind == Kind::SystemdSystem && denied.iter().any(|words| said.contains(words)) {
        return Err(Error::new(
            ErrorKind::WrongState(Noun::System),
            format!("the service is the machine's, so this needs root: run `sudo {shown}`"),
        ));
    }
    let first = said.lines().next().unwrap_or("it said nothing");
    Err(Error::unavailable(format!("`{shown}` failed: {first}")))
}

/// Whether the manager looks for units in `folder`. One that was started for another home folder does not.
pub(super) fn looks_in(kind: Kind, folder: &Path) -> Result<bool> {
    let said = systemctl(kind, &["show", "--property=UnitPath", "--value"])?;
    let said = format!(" {} ", said.trim());
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    Ok([folder, &real]
        .iter()
        .any(|folder| said.contains(&format!(" {} ", folder.display()))))
}

/// What the manager says of the unit.
pub(super) fn state(kind: Kind) -> Result<State> {
    let properties = "--property=LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts,Result,\
                      ExecMainStatus,StatusText";
    let said = systemctl(kind, &["show", properties, UNIT])?;
    Ok(parse_state(&said))
}

#[cfg(feature = "fuzzing")]
pub(in crate::machine) fn fuzz(text: &str) {
    let _ = parse(text);
    let _ = parse_state(text);
}

fn parse_state(said: &str) -> State {
    let value = |name: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let number = |name: &str| value(name).parse::<u32>().ok();
    let active = match (value("ActiveState"), value("SubState")) {
        (_, "auto-restart") => Active::Waiting,
        ("active" | "reloading", _) => Active::Running,
        ("activating", _) => Active::Starting,
        ("deactivating", _) => Active::Stopping,
        ("failed", _) => Active::Failed,
        _ => Active::Stopped,
    };
    State {
        active,
        enabled: value("UnitFileState").starts_with("enabled"),
        pid: number("MainPID").filter(|pid| *pid != 0),
        restarts: number("NRestarts").unwrap_or_default(),
        result: value("Result").to_owned(),
        exit_code: number("ExecMainStatus"),
        said: Some(value("StatusText").to_owned()).filter(|text| !text.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_it_was_made_of() {
        for text in [
            "/usr/local/bin/ccm-daemon",
            "CCM_CONFIG=/home/a b/c.yaml",
            "PATH=/a%b:/c\"d:/e'f:/g\\h:/i\tj\nk:/$l:/;m",
            "ünïcode",
            " ",
        ] {
            assert_eq!(words(&quoted(text).unwrap()), [text], "{text:?}");
        }
        assert_eq!(quoted("A=/b%c").unwrap(), "A=/b%%c");
        assert!(quoted("a\u{1b}b").is_err());
    }

    #[test]
    fn what_was_written_by_hand_is_read() {
        let unit = "[Service]\nExecStart=/usr/local/bin/ccm-daemon --config x\n\
                    Environment=A=1 'CCM_CONFIG=/home/ccm/.ccm/config.yaml' B=2\n  Environment=\"C=3\"\n";
        let (program, config) = parse(unit);
        assert_eq!(program, Some("/usr/local/bin/ccm-daemon".into()));
        assert_eq!(config, Some("/home/ccm/.ccm/config.yaml".into()));
        assert_eq!(parse("[Unit]\nodd"), (None, None));
    }

    #[test]
    fn what_systemd_says_is_understood() {
        let state = parse_state(
            "MainPID=0\nNRestarts=3\nResult=exit-code\nExecMainStatus=1\nStatusText=error: port 1=2\n\
             ActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\n",
        );
        assert_eq!((state.active, state.pid), (Active::Waiting, None));
        assert_eq!((state.restarts, state.exit_code), (3, Some(1)));
        assert_eq!(state.said.as_deref(), Some("error: port 1=2"));
        assert!(state.enabled);
        let nothing = parse_state("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n");
        assert!(nothing.active == Active::Stopped && !nothing.enabled);
    }
}
