//! Accounts of this machine, for root, who sets it up for somebody else.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Noun, Result};
use nix::unistd::{Gid, Group, Uid, User};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The name of its group.
    pub group: String,
    /// Its home folder.
    pub home: PathBuf,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// The account of this name.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Internal` if the machine's accounts can't be read.
    pub fn named(name: &str) -> Result<Self> {
        let user = User::from_name(name).map_err(unreadable)?;
        user.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("this machine has no account {name:?}"),
            )
        })
        .and_then(Self::of)
    }

    /// The account that this process runs as.
    ///
    /// # Errors
    /// As those of [`named`](Self::named).
    pub fn own() -> Result<Self> {
        Self::with_uid(nix::unistd::geteuid())
    }

    fn with_uid(uid: Uid) -> Result<Self> {
        let user = User::from_uid(uid).map_err(unreadable)?;
        user.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("the account {uid} has no name"),
            )
        })
        .and_then(Self::of)
    }

    /// The account that a file or folder belongs to.
    ///
    /// # Errors
    /// As those of [`named`](Self::named), and `Internal` when it can't be looked at.
    pub fn owning(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|error| {
            Error::internal(format!("{} can't be looked at", path.display())).with_source(error)
        })?;
        Self::with_uid(Uid::from_raw(meta.uid()))
    }

    /// The account that became root by `sudo`, if this process is root in that way.
    ///
    /// # Errors
    /// As those of [`named`](Self::named).
    pub fn behind_sudo() -> Result<Option<Self>> {
        let name = std::env::var_os("SUDO_USER").and_then(|name| name.into_string().ok());
        match name.filter(|name| nix::unistd::geteuid().is_root() && name != "root") {
            Some(name) => Self::named(&name).map(Some),
            None => Ok(None),
        }
    }

    fn of(user: User) -> Result<Self> {
        let group = Group::from_gid(user.gid).map_err(unreadable)?;
        let group = group.map_or_else(|| user.gid.to_string(), |group| group.name);
        Ok(Self {
            name: user.name,
            group,
            home: user.dir,
            uid: user.uid,
            gid: user.gid,
        })
    }

    /// Whether it is root.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    /// Acts as this account until the answer is dropped: what is made meanwhile belongs to it, and what it may not
    /// do fails. For root, in a program that has no other threads.
    ///
    /// # Errors
    /// `Internal` when the system refuses.
    pub fn assume(&self) -> Result<Assumed> {
        let own = Assumed {
            uid: nix::unistd::geteuid(),
            gid: nix::unistd::getegid(),
        };
        if own.uid == self.uid {
            return Ok(own);
        }
        let failed = |error: nix::Error| {
            Error::internal(format!("the account {} can't be taken on", self.name))
                .with_source(error)
        };
        take_groups(&self.name, self.gid).map_err(failed)?;
        nix::unistd::setegid(self.gid).map_err(failed)?;
        nix::unistd::seteuid(self.uid).map_err(failed)?;
        Ok(own)
    }

    /// Whether it can run this program: every folder on the way lets it through.
    pub fn can_run(&self, program: &Path) -> bool {
        self.is_root()
            || program.ancestors().all(|part| {
                std::fs::metadata(part).is_ok_and(|meta| {
                    let shift = match (meta.uid(), meta.gid()) {
                        (uid, _) if uid == self.uid.as_raw() => 6,
                        (_, gid) if gid == self.gid.as_raw() => 3,
                        _ => 0,
                    };
                    meta.mode() >> shift & 1 == 1
                })
            })
    }
}

/// The account that a process had; it has it again once this is dropped.
#[derive(Debug)]
pub struct Assumed {
    uid: Uid,
    gid: Gid,
}

impl Drop for Assumed {
    fn drop(&mut self) {
        if nix::unistd::geteuid() == self.uid {
            return;
        }
        let back = nix::unistd::seteuid(self.uid)
            .and_then(|()| nix::unistd::setegid(self.gid))
            .and_then(|()| take_groups("root", self.gid));
        if back.is_err() {
            // Nothing may go on as somebody that it is not.
            std::process::abort();
        }
    }
}

#[cfg(not(target_os = "macos"))]
fn take_groups(name: &str, gid: Gid) -> nix::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| nix::errno::Errno::EINVAL)?;
    nix::unistd::initgroups(&name, gid)
}

/// Root sets nothing up for others here: launchd's agents are each account's own.
#[cfg(target_os = "macos")]
fn take_groups(_name: &str, _gid: Gid) -> nix::Result<()> {
    Err(nix::errno::Errno::ENOTSUP)
}

fn unreadable(error: nix::Error) -> Error {
    Error::internal("the accounts of this machine can't be read").with_source(error)
}

/// The `PATH` for a service of `account`: the absolute folders of `path`, each once, and then the account's own folder
/// for programs, which root's `PATH` doesn't have.
pub fn service_path(path: Option<OsString>, account: Option<&Account>) -> String {
    let path = path.unwrap_or_default();
    let own = account.map(|account| account.home.join(".local/bin"));
    let own = own.filter(|folder| folder.is_dir());
    let mut folders: Vec<String> = Vec::new();
    for folder in std::env::split_paths(&path).chain(own) {
        let Some(text) = folder.to_str().filter(|_| folder.is_absolute()) else {
            continue;
        };
        if !folders.iter().any(|known| known == text) {
            folders.push(text.to_owned());
        }
    }
    if folders.is_empty() {
        return "/usr/local/bin:/usr/bin:/bin".to_owned();
    }
    folders.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_each_absolute_folder_once() {
        let path = |text: &str| service_path(Some(text.into()), None);
        assert_eq!(path("/a:/b:.:relative::/a:/c"), "/a:/b:/c");
        assert_eq!(path(""), "/usr/local/bin:/usr/bin:/bin");
    }

    #[test]
    fn an_account_is_let_through_or_not() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "").unwrap();
        let mode = |path: &Path, mode| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        let stranger = Account {
            name: "stranger".into(),
            group: "strangers".into(),
            home: "/".into(),
            uid: Uid::from_raw(54321),
            gid: Gid::from_raw(54321),
        };
        mode(dir.path(), 0o755);
        mode(&program, 0o755);
        assert!(stranger.can_run(&program));
        mode(&program, 0o750);
        assert!(!stranger.can_run(&program));
        mode(&program, 0o755);
        mode(dir.path(), 0o700);
        assert!(!stranger.can_run(&program));
        assert!(!stranger.can_run(Path::new("/no/such/program")));
    }

    #[test]
    fn an_account_that_is_not_there_is_named() {
        let error = Account::named("no such account").unwrap_err();
        assert!(error.to_string().contains("\"no such account\""), "{error}");
    }
}
