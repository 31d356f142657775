//! The daemon that runs for a home: its lock, and where it can be reached.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ccm_core::id::Epoch;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::files;
use super::home::Home;

/// What a running daemon says about itself, in `run/daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Where its API listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    #[serde(default)]
    pub tls: bool,
    /// The unix socket at which it listens besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// Whether it serves the web UI there.
    #[serde(default)]
    pub web_ui: bool,
    /// Its process.
    pub pid: u32,
    /// Which start this is.
    pub epoch: Epoch,
    /// The program's version.
    pub version: String,
    /// The tmux server of its agents, as in `tmux -L`.
    pub tmux_socket: String,
    /// When it started.
    pub started_at: Timestamp,
    /// What it did to a database of an older schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrated: Option<Migrated>,
}

/// A database that was brought to a newer schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrated {
    /// The schema that it had.
    pub from: u32,
    /// The schema that it has.
    pub to: u32,
    /// Where it is as it was before.
    pub backup: PathBuf,
}

impl DaemonInfo {
    /// The address as the beginning of a URL, without a slash at the end.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where programs of this machine ask it: at its address, or, where TLS is for other machines' names, at its socket.
    pub fn local_url(&self) -> String {
        match &self.socket {
            Some(socket) if self.tls => format!("unix:{}", socket.display()),
            _ => self.url(),
        }
    }

    /// What a browser on this machine opens, if the web UI is served.
    pub fn web_ui_url(&self) -> Option<String> {
        let names = ["127.0.0.1", "::1"];
        let local = names.contains(&&*self.address.ip().to_string());
        match (self.web_ui, local && !self.tls) {
            (true, true) => Some(format!("http://localhost:{}", self.address.port())),
            (true, false) => Some(self.url()),
            (false, _) => None,
        }
    }
}

/// The right to be the one daemon of a home, for as long as it lives. Programs that this one starts don't inherit it.
#[derive(Debug)]
pub struct DaemonLock {
    run_dir: PathBuf,
    // Kept for the lock on it.
    _lock: Flock<File>,
    announced: Option<Flock<File>>,
}

impl Home {
    fn daemon_json(&self) -> PathBuf {
        self.run_dir().join("daemon.json")
    }

    /// Takes the right to be this home's daemon. The home must have been created.
    ///
    /// # Errors
    /// `WrongState(System)` when another daemon has it, naming it.
    pub fn lock_daemon(&self) -> Result<DaemonLock> {
        let path = self.run_dir().join("daemon.lock");
        let failed = |e: std::io::Error| {
            let hint = match e.kind() {
                std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                    "; make its file system writable for this user and try again"
                }
                _ => "",
            };
            Error::internal(format!("{} can't be locked{hint}", path.display())).with_source(e)
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(files::SECRET)
            .open(&path)
            .map_err(failed)?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::System),
                    format!(
                        "another daemon{} already runs for this home",
                        self.holder(&mut file)
                    ),
                ));
            }
            Err((_, e)) => return Err(failed(e.into())),
        };
        // For the message that a second daemon gives before this one can be reached.
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DaemonLock {
            run_dir: self.run_dir(),
            _lock: lock,
            announced: None,
        })
    }

    /// Who holds the lock, in brackets and with a space before them, or nothing.
    fn holder(&self, lock_file: &mut File) -> String {
        if let Some(info) = self.running_daemon() {
            return format!(" (pid {} at {})", info.pid, info.address);
        }
        let mut pid = String::new();
        let read = lock_file.read_to_string(&mut pid);
        match (read, pid.trim().parse::<u32>()) {
            (Ok(_), Ok(pid)) => format!(" (pid {pid}, still starting)"),
            _ => String::new(),
        }
    }

    /// The daemon that runs for this home now and can be reached, if there is one.
    pub fn running_daemon(&self) -> Option<DaemonInfo> {
        let mut file = files::open(&self.daemon_json(), files::Links::Refused).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        // Its writer keeps a lock on this very file for as long as it lives: one that can be had is a dead daemon's.
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => serde_json::from_str(&text).ok(),
            _ => None,
        }
    }
}

impl DaemonLock {
    /// Tells everybody where this daemon is, until the lock is dropped.
    ///
    /// # Errors
    /// `Internal` when the file can't be written.
    pub fn announce(&mut self, info: &DaemonInfo) -> Result<()> {
        let path = self.run_dir.join("daemon.json");
        let lock = self.write(&path, info).map_err(|e| {
            Error::internal(format!("{} can't be written", path.display())).with_source(e)
        })?;
        self.announced = Some(lock);
        Ok(())
    }

    fn write(&self, path: &Path, info: &DaemonInfo) -> std::io::Result<Flock<File>> {
        let text = serde_json::to_vec_pretty(info)?;
        let temp = files::write_beside(path, files::SECRET, &text)?;
        // Locked before it has its name: no reader ever sees it without the lock of a living daemon.
        let lock = File::open(&temp).and_then(|file| {
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e.into())
        });
        let renamed = lock.and_then(|lock| std::fs::rename(&temp, path).map(|()| lock));
        if renamed.is_err() {
            // The error that counts is the first one.
            let _ = std::fs::remove_file(&temp);
        }
        renamed
    }
}

impl Drop for DaemonLock {
    fn drop(&mut self) {
        if self.announced.is_some() {
            // A file that stays is known to be a dead daemon's by its lock.
            let _ = std::fs::remove_file(self.run_dir.join("daemon.json"));
        }
    }
}
