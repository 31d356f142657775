//! The program tmux: where it is, whether it is new enough, and in what surroundings it is run.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::process::Command as Program;

use super::quote::Command;

/// The oldest tmux that knows all we ask of it.
const OLDEST: Version = Version(3, 2, 'a');
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, char);

/// What a server that we start is told before its first session.
pub(super) fn server_options() -> Vec<Command> {
    let global = |scope: &str, option: &str, value: &str| {
        Command::new("set-option").args([scope, option, value])
    };
    vec![
        Command::new("start-server"),
        global("-sq", "default-terminal", "screen-256color"),
        global("-sq", "escape-time", "20"),
        global("-sq", "set-clipboard", "external"),
        // One look at the windows is enough until they change: no clock, no repaint.
        global("-gq", "status-interval", "0"),
        global("-gq", "status-left", "#{session_name} "),
        global("-gq", "status-left-length", "32"),
        global("-gq", "status-right", ""),
        global("-gq", "status-style", "default"),
        global("-gq", "history-limit", "5000"),
        global("-gq", "default-size", "120x40"),
        global("-gq", "set-titles", "off"),
        global("-gq", "bell-action", "none"),
        global("-gwq", "window-size", "latest"),
        global("-gwq", "automatic-rename", "off"),
        global("-gwq", "allow-rename", "off"),
        global("-gwq", "allow-passthrough", "off"),
        global("-gwq", "remain-on-exit", "off"),
        global("-gwq", "monitor-activity", "off"),
    ]
}

/// `program` with only those variables that everything needs: a server hands its environment to every pane, and ours
/// may hold secrets.
pub(super) fn clean(program: &Path) -> Program {
    const KEPT: [&str; 14] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "TZ",
        "TMPDIR",
        "TMUX_TMPDIR",
        "XDG_RUNTIME_DIR",
        "TERMINFO",
        "TERMINFO_DIRS",
        "CCM_HOME",
        "CCM_CONFIG",
    ];
    let mut command = Program::new(program);
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        let kept = name
            .to_str()
            .is_some_and(|name| KEPT.contains(&name) || name.starts_with("LC_"));
        if kept {
            command.env(name, value);
        }
    }
    command
}

/// Marks everything but the standard streams to be closed by the coming exec.
pub(super) fn close_inherited() -> std::io::Result<()> {
    const MOST: i32 = 4096;
    for fd in 3..MOST {
        #[allow(unsafe_code, reason = "a descriptor known by number only")]
        // SAFETY: setting a flag of a number that is no descriptor fails and does nothing.
        unsafe {
            nix::libc::fcntl(fd, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Has the coming program end with its parent, if that is still `parent`.
///
/// A control-mode client whose reader is killed with output on its way never ends by itself, nor does its server as long
/// as there is such a client.
#[cfg(target_os = "linux")]
pub(super) fn end_with(parent: nix::unistd::Pid) -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    if nix::unistd::getppid() == parent {
        Ok(())
    } else {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

/// There is no such thing here.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_with(_parent: nix::unistd::Pid) -> std::io::Result<()> {
    Ok(())
}

/// What a person does who has no tmux, or one that is too old.
pub fn how_to_install() -> &'static str {
    if cfg!(target_os = "macos") {
        "install tmux 3.2a or newer with `brew install tmux`, or set agents.runtime: process in config.yaml"
    } else {
        "install tmux 3.2a or newer with the system's package manager (`apt install tmux`, `dnf install tmux`), or set \
         agents.runtime: process in config.yaml"
    }
}

pub(super) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return is_program(program).then(|| program.to_owned());
    }
    let path: OsString = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate))
}

pub(super) fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The version in what `tmux -V` says: `tmux 3.3a`, `tmux next-3.6`. `None` if it names none, as a build from a
/// repository or an operating system's own does: those are new.
fn parse_version(said: &str) -> Option<Version> {
    let text = said.trim().strip_prefix("tmux ")?;
    let text = text.strip_prefix("next-").unwrap_or(text);
    let (major, rest) = text.split_once('.')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (minor, suffix) = rest.split_at(digits);
    let suffix = suffix.chars().next().filter(char::is_ascii_lowercase);
    Some(Version(
        major.parse().ok()?,
        minor.parse().ok()?,
        suffix.unwrap_or(' '),
    ))
}

/// Whether what `tmux -V` says names a version that can't do what we ask of it.
pub fn is_too_old(said: &str) -> bool {
    parse_version(said).is_some_and(|version| version < OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_with_their_letter() {
        for said in [
            "tmux 3.2a\n",
            "tmux 3.3",
            "tmux 3.10",
            "tmux 4.0",
            "tmux next-3.6",
            "tmux master",
        ] {
            assert!(!is_too_old(said), "{said}");
        }
        for said in [
            "tmux 3.2",
            "tmux 3.2-rc4",
            "tmux 3.1c",
            "tmux 2.9a",
            "tmux 1.8",
        ] {
            assert!(is_too_old(said), "{said}");
        }
    }
}
