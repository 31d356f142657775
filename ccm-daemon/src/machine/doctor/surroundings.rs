//! What several checks look at, found out once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ccm_core::Result;
use ccm_store::{DatabaseFacts, DatabaseFile};

use super::super::backup;
use super::super::config::{Config, Loaded};
use super::super::home::Home;
use super::super::running::DaemonInfo;
use super::super::values::ConfigErrors;

/// Variables by their names.
pub(super) type Environment = BTreeMap<OsString, OsString>;

pub(super) struct Surroundings {
    pub(super) home: Home,
    pub(super) config: Result<Loaded, ConfigErrors>,
    /// The daemon that runs.
    pub(super) daemon: Option<DaemonInfo>,
    facts: OnceLock<Option<DatabaseFacts>>,
}

impl Surroundings {
    pub(super) fn new(home: Home) -> Self {
        Self {
            config: Config::load(&home),
            daemon: home.running_daemon(),
            home,
            facts: OnceLock::new(),
        }
    }

    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref().ok().map(|loaded| &loaded.config)
    }

    pub(super) fn database(&self) -> DatabaseFile {
        backup::database(&self.home)
    }

    /// What is in the database, if it can be read.
    pub(super) fn facts(&self) -> Option<&DatabaseFacts> {
        let look = || {
            let database = self.database();
            if !database.path().exists() {
                return None;
            }
            block_on(async { database.facts().await })?.ok()
        };
        self.facts.get_or_init(look).as_ref()
    }

    /// The environment that agents get: the daemon's where there is one and this can be known, else this program's.
    pub(super) fn environment(&self) -> Environment {
        let daemon = self.daemon.as_ref();
        daemon
            .and_then(|daemon| environment_of(daemon.pid))
            .unwrap_or_else(|| std::env::vars_os().collect())
    }
}

#[cfg(target_os = "linux")]
fn environment_of(pid: u32) -> Option<Environment> {
    use std::os::unix::ffi::OsStringExt;
    let text = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = text.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let part = |bytes: &[u8]| OsString::from_vec(bytes.to_owned());
        Some((part(&pair[..at]), part(&pair[at + 1..])))
    });
    Some(pairs.collect())
}

#[cfg(not(target_os = "linux"))]
fn environment_of(_pid: u32) -> Option<Environment> {
    None
}

/// A variable that is set and not empty.
pub(super) fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a OsStr> {
    let value = environment.get(OsStr::new(name)).map(OsString::as_os_str);
    value.filter(|value| !value.is_empty())
}

/// Runs `work` on this thread, which belongs to a check.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Some(runtime.ok()?.block_on(work))
}

/// Where a program is, looked for in `path` if its name has no slash.
pub(super) fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return is_program(program.as_ref()).then(|| program.into());
    }
    all(program, path).into_iter().next()
}

/// Every place in `path` where there is a program of this name.
pub(super) fn all(program: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    let folders = std::env::split_paths(path.unwrap_or_default());
    let candidates = folders.map(|folder| folder.join(program));
    candidates
        .filter(|candidate| candidate.is_absolute() && is_program(candidate))
        .collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What a program said and how it ended.
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) text: String,
}

/// Runs a program for no longer than `limit`; one that takes longer is ended.
///
/// # Errors
/// When it can't be started. `None` when it was not done in time.
pub(super) fn run(command: &mut Command, limit: Duration) -> std::io::Result<Option<Said>> {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = child.stdout.take();
    // What it started may hold its output open for longer than it lives, so nobody waits for this.
    let (sender, said) = std::sync::mpsc::channel();
    let reading = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        if let Some(out) = out {
            let _ = out.take(1 << 20).read_to_end(&mut text);
        }
        sender.send(String::from_utf8_lossy(&text).into_owned())
    });
    reading?;
    while begun.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            let text = said.recv_timeout(Duration::from_millis(200));
            return Ok(Some(Said {
                status,
                text: text.unwrap_or_default(),
            }));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
