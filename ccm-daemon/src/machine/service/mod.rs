//! The service that keeps a home's daemon running: a unit of systemd, of the machine or of an account, or an agent of
//! launchd.
//!
//! A machine has one service of CCM's name of each kind. One that belongs to another home, or that somebody else wrote,
//! is used if it is this home's, and never changed.

pub mod launchd;
pub mod systemd;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Noun, Result};
use serde::Serialize;

use super::account::Account;
use super::files;
use super::home::Home;

/// The first line of what is written here.
const MARK: &str = "# Written by ccm-orchestrator, which writes it anew and removes it.";

/// Who keeps the daemon running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The machine's systemd: from the start of the machine.
    SystemdSystem,
    /// The systemd of an account: while that is logged in, or always with lingering.
    SystemdUser,
    /// The account's launchd: while it is logged in.
    Launchd,
}

impl Kind {
    /// What people call a service of this kind.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::SystemdSystem => "system unit",
            Self::SystemdUser => "user unit",
            Self::Launchd => "launchd agent",
        }
    }

    /// What the manager calls the service.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SystemdSystem | Self::SystemdUser => systemd::UNIT,
            Self::Launchd => launchd::LABEL,
        }
    }

    /// The command that shows what the manager kept of the daemon's words.
    pub const fn journal(self) -> Option<&'static str> {
        match self {
            Self::SystemdSystem => Some("journalctl -u ccm-orchestrator"),
            Self::SystemdUser => Some("journalctl --user -u ccm-orchestrator"),
            Self::Launchd => None,
        }
    }

    /// Where the service's file is, for the account that `home` is of.
    fn file(self, home: &Home) -> Option<PathBuf> {
        let account = || home.user_home().map(Path::to_owned);
        Some(match self {
            Self::SystemdSystem => Path::new(systemd::SYSTEM_UNITS).join(systemd::UNIT),
            Self::SystemdUser => std::env::var_os("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .filter(|dir| dir.is_absolute())
                .or_else(|| Some(account()?.join(".config")))?
                .join("systemd/user")
                .join(systemd::UNIT),
            Self::Launchd => account()?
                .join("Library/LaunchAgents")
                .join(format!("{}.plist", launchd::LABEL)),
        })
    }

    /// The kinds that there can be here, the one that counts first.
    fn possible() -> &'static [Self] {
        if cfg!(target_os = "macos") {
            &[Self::Launchd]
        } else {
            &[Self::SystemdSystem, Self::SystemdUser]
        }
    }

    fn parse(self, text: &str) -> (Option<PathBuf>, Option<PathBuf>) {
        match self {
            Self::SystemdSystem | Self::SystemdUser => systemd::parse(text),
            Self::Launchd => launchd::parse(text),
        }
    }
}

/// What a service is made of.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The daemon's program.
    pub program: &'a Path,
    /// The machine's config file.
    pub config: &'a Path,
    /// Where launchd keeps the daemon's streams.
    pub logs: &'a Path,
    /// The `PATH` on which agents' programs are found.
    pub path: &'a str,
    /// The account that the machine's manager runs it as. `None` for the service of an account's own manager.
    pub account: Option<&'a Account>,
}

/// A service file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Who keeps the daemon running.
    pub kind: Kind,
    /// The file.
    pub file: PathBuf,
    /// The config file that it names; with it the home that it is of.
    pub config: Option<PathBuf>,
    /// The program that it runs.
    pub program: Option<PathBuf>,
    /// Whether it was written here, and may be changed.
    pub ours: bool,
}

/// What the manager says of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it does.
    pub active: Active,
    /// Whether it is started by itself.
    pub enabled: bool,
    /// The daemon's process.
    pub pid: Option<u32>,
    /// How often the manager started it anew.
    pub restarts: u32,
    /// How it ended last, in the manager's words.
    pub result: String,
    /// The exit code with which it ended last.
    pub exit_code: Option<u32>,
    /// What the daemon said last to the manager.
    pub said: Option<String>,
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Active {
    /// Its daemon runs.
    Running,
    /// It is being started.
    Starting,
    /// It has ended and will be started again.
    Waiting,
    /// It is being stopped.
    Stopping,
    /// It has ended for a reason that starting again does not mend.
    Failed,
    /// It is not to run.
    Stopped,
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Waiting => "about to be started again",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        })
    }
}

/// What installing did to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was not there.
    Written,
    /// It said something else.
    Rewritten,
    /// It was there as it has to be.
    Unchanged,
}

/// The service files that this account's daemon could be meant by, the one that counts first.
pub fn all(home: &Home) -> Vec<Service> {
    let kinds = Kind::possible().iter();
    kinds.filter_map(|kind| read(*kind, home)).collect()
}

fn read(kind: Kind, home: &Home) -> Option<Service> {
    let file = kind.file(home)?;
    let meta = std::fs::symlink_metadata(&file).ok()?;
    // A link can be the user's own arrangement, or a unit that is masked: used if it says that it is this home's.
    let text = files::read_text(&file, files::Links::Followed).unwrap_or_default();
    let (program, config) = kind.parse(&text);
    Some(Service {
        kind,
        ours: meta.is_file() && text.contains(MARK.trim_start_matches("# ")),
        file,
        config,
        program,
    })
}

/// The service of this home that can be used here, if there is one.
pub fn of(home: &Home) -> Option<Service> {
    all(home)
        .into_iter()
        .find(|service| service.is_of(home) && service.kind.is_reachable())
}

/// The config file that the machine's own service is for.
pub fn of_the_machine() -> Option<PathBuf> {
    let file = Path::new(systemd::SYSTEM_UNITS).join(systemd::UNIT);
    let text = files::read_text(&file, files::Links::Refused).ok()?;
    systemd::parse(&text).1.filter(|_| text.contains(MARK))
}

impl Kind {
    /// Whether its manager can be asked for something.
    pub fn is_reachable(self) -> bool {
        match self {
            Self::SystemdSystem => systemd::is_booted(),
            Self::SystemdUser => systemd::is_booted() && systemd::runtime_dir().is_some(),
            Self::Launchd => cfg!(target_os = "macos"),
        }
    }
}

/// The kind of service that could be installed for `home`: the machine's with an `account` to run it as, else the
/// account's own.
///
/// # Errors
/// `Unsupported` with the reason why none can be.
pub fn possible(home: &Home, account: Option<&Account>) -> Result<Kind> {
    let none = |why: &str| Err(Error::new(ErrorKind::Unsupported, why));
    if cfg!(target_os = "macos") {
        return match nix::unistd::geteuid().is_root() {
            true => none("launchd runs agents for people, so root has no service"),
            false => Ok(Kind::Launchd),
        };
    }
    if !systemd::is_booted() {
        return none("this machine is not run by systemd");
    }
    if account.is_some() {
        return Ok(Kind::SystemdSystem);
    }
    if nix::unistd::geteuid().is_root() {
        return none(
            "root has to say whose daemon the service runs: --user ACCOUNT (root only if that is named)",
        );
    }
    if systemd::runtime_dir().is_none() {
        return none(
            "systemd runs no manager for this account now; after a login, or `sudo loginctl enable-linger`, it does",
        );
    }
    let Some(file) = Kind::SystemdUser.file(home) else {
        return none("where this account keeps its units is not known: set HOME");
    };
    let folder = file.parent().unwrap_or(Path::new("/"));
    match systemd::looks_in(Kind::SystemdUser, folder) {
        Ok(true) => Ok(Kind::SystemdUser),
        Ok(false) => none(&format!(
            "the account's systemd does not look into {}; it has another home folder than this program",
            folder.display()
        )),
        Err(error) => none(&error.to_string()),
    }
}

/// Writes the service of `home` and has the manager start it with the machine or the account. It is not started now.
///
/// # Errors
/// `Taken` when there is one of another home, or one that was not written here; else why it can't be installed. Then
/// a file that was not there is not there.
pub fn install(home: &Home, kind: Kind, plan: &Plan<'_>) -> Result<(Service, Change)> {
    let text = match kind {
        Kind::SystemdSystem | Kind::SystemdUser => systemd::render(plan)?,
        Kind::Launchd => launchd::render(plan)?,
    };
    if let Some(account) = plan.account
        && !account.can_run(plan.program)
    {
        return Err(Error::invalid(format!(
            "the account {} may not run {}; install the programs where every account can, such as /usr/local/bin",
            account.name,
            plan.program.display()
        )));
    }
    let file = kind
        .file(home)
        .ok_or_else(|| Error::invalid("where the service's file belongs is not known: set HOME"))?;
    let there = read(kind, home);
    if let Some(there) = &there {
        there.check_ours(home)?;
    }
    let other = all(home).into_iter().find(|other| other.kind != kind);
    if let Some(other) = other.filter(|other| other.is_of(home)) {
        return Err(Error::new(
            ErrorKind::Taken(Noun::System),
            format!(
                "this home has a service already, the {} {}; remove that one first",
                other.kind.noun(),
                other.file.display()
            ),
        ));
    }
    let change = put(&file, &text, there.is_some())?;
    let manage = || -> Result<()> {
        if kind == Kind::Launchd {
            return Ok(());
        }
        if change != Change::Unchanged {
            systemd::systemctl(kind, &["daemon-reload"])?;
        }
        systemd::systemctl(kind, &["--quiet", "enable", systemd::UNIT]).map(drop)
    };
    if let Err(error) = manage() {
        if change == Change::Written {
            // What can't be had is not left behind. The error that counts is the first one.
            let _ = std::fs::remove_file(&file);
        }
        return Err(error);
    }
    let service = read(kind, home)
        .ok_or_else(|| Error::internal(format!("{} is gone again", file.display())))?;
    Ok((service, change))
}

fn put(file: &Path, text: &str, there: bool) -> Result<Change> {
    let failed = |error: std::io::Error| {
        Error::internal(format!("{} can't be written", file.display())).with_source(error)
    };
    if there && std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        return Ok(Change::Unchanged);
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    files::replace(file, files::SHARED, text.as_bytes()).map_err(failed)?;
    // Managers read it as who they are.
    std::fs::set_permissions(file, PermissionsExt::from_mode(files::SHARED)).map_err(failed)?;
    Ok(if there {
        Change::Rewritten
    } else {
        Change::Written
    })
}

impl Service {
    /// Whether it runs the daemon of `home`.
    pub fn is_of(&self, home: &Home) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let config = self.config.as_deref();
        config.is_some_and(|config| real(config) == real(home.config_file()))
    }

    fn check_ours(&self, home: &Home) -> Result<()> {
        let file = self.file.display();
        let message = match &self.config {
            _ if !self.ours => format!(
                "{file} was not written by ccm-orchestrator and stays as it is; move it away to have one written"
            ),
            Some(config) if !self.is_of(home) => format!(
                "{file} is the service of {} and stays as it is; `ccm-orchestrator --config {} uninstall` removes it",
                config.display(),
                config.display()
            ),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Taken(Noun::System), message))
    }

    /// Has the manager start the daemon.
    ///
    /// # Errors
    /// When the manager refuses. That the daemon comes up is not waited for.
    pub fn start(&self) -> Result<()> {
        match self.kind {
            Kind::Launchd => launchd::start(&self.file),
            kind => {
                self.reset(kind);
                systemd::systemctl(kind, &["start", systemd::UNIT]).map(drop)
            }
        }
    }

    /// Has the manager stop the daemon for good, and waits until it has.
    ///
    /// # Errors
    /// When the manager refuses.
    pub fn stop(&self) -> Result<()> {
        match self.kind {
            Kind::Launchd => launchd::stop(),
            kind => systemd::systemctl(kind, &["stop", systemd::UNIT]).map(drop),
        }
    }

    /// Has the manager stop the daemon, wait until it has, and start it.
    ///
    /// # Errors
    /// When the manager refuses.
    pub fn restart(&self) -> Result<()> {
        match self.kind {
            Kind::Launchd => launchd::stop().and_then(|()| launchd::start(&self.file)),
            kind => {
                self.reset(kind);
                systemd::systemctl(kind, &["restart", systemd::UNIT]).map(drop)
            }
        }
    }

    /// A person who starts it often is no loop; and what a person changed in its files counts.
    fn reset(&self, kind: Kind) {
        // Not loaded, or nothing to forget.
        let _ = systemd::systemctl(kind, &["reset-failed", systemd::UNIT]);
        if systemd::systemctl(
            kind,
            &[
                "show",
                "--property=NeedDaemonReload",
                "--value",
                systemd::UNIT,
            ],
        )
        .is_ok_and(|said| said.trim() == "yes")
        {
            let _ = systemd::systemctl(kind, &["daemon-reload"]);
        }
    }

    /// What the manager says of it.
    ///
    /// # Errors
    /// When the manager can't be asked.
    pub fn state(&self) -> Result<State> {
        match self.kind {
            Kind::Launchd => Ok(launchd::state(&self.file)),
            kind => systemd::state(kind),
        }
    }

    /// Stops the daemon and takes the service out of the manager's hands and off the disk. What a person put beside
    /// it stays.
    ///
    /// # Errors
    /// `Taken` when it is another home's or was not written here; else what can't be done.
    pub fn remove(&self, home: &Home) -> Result<()> {
        self.check_ours(home)?;
        let reachable = self.kind.is_reachable();
        if reachable {
            match self.kind {
                Kind::Launchd => launchd::stop()?,
                kind => {
                    systemd::systemctl(kind, &["--quiet", "disable", "--now", systemd::UNIT])?;
                }
            }
        } else if self.kind != Kind::Launchd {
            // What `enable` made, where no manager runs that could take it away.
            for target in ["multi-user.target.wants", "default.target.wants"] {
                let link = self.file.with_file_name(target).join(systemd::UNIT);
                let _ = std::fs::remove_file(link);
            }
        }
        std::fs::remove_file(&self.file).map_err(|error| {
            Error::internal(format!("{} can't be removed", self.file.display())).with_source(error)
        })?;
        if reachable && self.kind != Kind::Launchd {
            systemd::systemctl(self.kind, &["daemon-reload"])?;
            // It may have failed before, or not; systemd then has nothing to forget.
            let _ = systemd::systemctl(self.kind, &["reset-failed", systemd::UNIT]);
        }
        Ok(())
    }
}

/// Whether systemd keeps the services of this account running while it is logged out. `None` for an account without a
/// name.
pub fn lingers() -> Option<bool> {
    let account = Account::own().ok()?;
    // Where logind keeps what `loginctl enable-linger` says; there is no folder before the first time.
    let marks = Path::new("/var/lib/systemd/linger");
    Some(marks.join(account.name).exists())
}

#[cfg(test)]
mod tests;
