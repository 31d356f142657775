//! The agent of launchd: its property list, and `launchctl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ccm_core::{Error, Result};

use super::{Active, MARK, Plan, State};

/// What launchd calls the service.
pub const LABEL: &str = "com.ccm.orchestrator";

/// The property list's text.
///
/// The daemon writes its own log, so what launchd keeps of its streams is what it says before it has one.
///
/// # Errors
/// `Invalid` when a path can't be said in one.
pub fn render(plan: &Plan<'_>) -> Result<String> {
    let (out, err) = (
        plan.logs.join("daemon.log"),
        plan.logs.join("daemon-error.log"),
    );
    Ok(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN"
  "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- {} -->
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>{LABEL}</string>

    <key>ProgramArguments</key>
    <array>
        <string>{}</string>
    </array>

    <key>RunAtLoad</key>
    <true/>

    <key>KeepAlive</key>
    <true/>

    <key>StandardOutPath</key>
    <string>{}</string>

    <key>StandardErrorPath</key>
    <string>{}</string>

    <key>EnvironmentVariables</key>
    <dict>
        <key>CCM_CONFIG</key>
        <string>{}</string>
        <key>PATH</key>
        <string>{}</string>
    </dict>

    <key>AbandonProcessGroup</key>
    <true/>
</dict>
</plist>
"#,
        MARK.trim_start_matches("# "),
        path(plan.program)?,
        path(&out)?,
        path(&err)?,
        path(plan.config)?,
        escaped(plan.path)?,
    ))
}

/// What a property list says: the program that it runs, and the config file that it names.
pub(super) fn parse(list: &str) -> (Option<PathBuf>, Option<PathBuf>) {
    let string_after = |key: &str| {
        let (_, rest) = list.split_once(&format!("<key>{key}</key>"))?;
        let (_, rest) = rest.split_once("<string>")?;
        let (text, _) = rest.split_once("</string>")?;
        Some(PathBuf::from(unescaped(text)))
    };
    (string_after("ProgramArguments"), string_after("CCM_CONFIG"))
}

fn path(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "{} is not UTF-8, and a property list can't name it",
            path.display()
        ))
    })?;
    escaped(text)
}

fn escaped(text: &str) -> Result<String> {
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Err(Error::invalid(format!(
            "{text:?} has a control character in it, and a property list can't say that"
        )));
    }
    Ok(text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;"))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// The name of the account's services.
fn domain() -> String {
    format!("gui/{}", nix::unistd::geteuid())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

/// Runs `launchctl` and returns what it printed.
fn launchctl(arguments: &[&str]) -> Result<String> {
    let shown = format!("launchctl {}", arguments.join(" "));
    let output = Command::new("launchctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::unavailable(format!("`{shown}` can't be run")).with_source(error)
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.trim().lines().next().unwrap_or("it said nothing");
    Err(Error::unavailable(format!("`{shown}` failed: {first}")))
}

/// Whether launchd has the service in hand.
fn is_loaded() -> bool {
    launchctl(&["print", &target()]).is_ok()
}

/// Has launchd take the service in hand, which starts it; starts one that it has.
pub(super) fn start(file: &Path) -> Result<()> {
    if is_loaded() {
        return launchctl(&["kickstart", &target()]).map(drop);
    }
    // One that was disabled once would be refused.
    launchctl(&["enable", &target()])?;
    launchctl(&["bootstrap", &domain(), &file.to_string_lossy()]).map(drop)
}

/// Takes it out of launchd's hands, which stops it; a service that is to be kept alive can't be stopped otherwise. It
/// is there again after the next login.
pub(super) fn stop() -> Result<()> {
    if !is_loaded() {
        return Ok(());
    }
    launchctl(&["bootout", &target()]).map(drop)
}

/// What launchd says of it.
pub(super) fn state(file: &Path) -> State {
    let said = launchctl(&["print", &target()]).ok();
    parse_state(said.as_deref(), file.exists())
}

#[cfg(feature = "fuzzing")]
pub(in crate::machine) fn fuzz(text: &str) {
    let _ = parse(text);
    let _ = parse_state(Some(text), true);
}

fn parse_state(said: Option<&str>, there: bool) -> State {
    let value = |name: &str| {
        said.into_iter()
            .flat_map(str::lines)
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "))
    };
    let pid = value("pid").and_then(|pid| pid.parse().ok());
    State {
        active: match (said, pid) {
            (None, _) => Active::Stopped,
            (Some(_), Some(_)) => Active::Running,
            (Some(_), None) => Active::Waiting,
        },
        enabled: there,
        pid,
        restarts: value("runs")
            .and_then(|runs| runs.parse::<u32>().ok())
            .map_or(0, |runs| runs.saturating_sub(1)),
        result: String::new(),
        exit_code: value("last exit code").and_then(|code| code.parse().ok()),
        said: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_launchd_says_is_understood() {
        let said = "gui/501/com.ccm.orchestrator = {\n\tactive count = 1\n\tstate = running\n\n\truns = 3\n\t\
                    pid = 4711\n\tlast exit code = 1\n}\n";
        let state = parse_state(Some(said), true);
        assert_eq!((state.active, state.pid), (Active::Running, Some(4711)));
        assert_eq!((state.restarts, state.exit_code), (2, Some(1)));
        assert_eq!(parse_state(None, true).active, Active::Stopped);
    }
}
