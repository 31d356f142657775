//! The keyring of a Linux desktop, by way of libsecret's own program.
//!
//! A library for it brings some fifty crates, with D-Bus and an async runtime of their own, for a key that is read once a
//! start.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ccm_core::{Error, Result};
use zeroize::Zeroizing;

use super::keys::feed;

/// The longest that a keyring may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest that a person may take to unlock it, when a key is put in.
const UNLOCKING: Duration = Duration::from_secs(60);

/// The keyring that keeps the key of one sign-in.
#[derive(Debug, Clone)]
pub(super) struct Keyring {
    program: PathBuf,
    /// Whose key it is.
    file: OsString,
}

impl Keyring {
    /// The one of this session; `None` without `secret-tool` or a session bus.
    pub(super) fn find(auth_file: &Path) -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let bus = set("DBUS_SESSION_BUS_ADDRESS").is_some()
            || set("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
        let path = set("PATH").filter(|_| bus)?;
        let program = std::env::split_paths(&path)
            .map(|dir| dir.join("secret-tool"))
            .find(|program| program.is_file())?;
        Some(Self::of(program, auth_file))
    }

    pub(super) fn of(program: PathBuf, auth_file: &Path) -> Self {
        let file = std::path::absolute(auth_file).unwrap_or_else(|_| auth_file.to_owned());
        Self {
            program,
            file: file.into(),
        }
    }

    /// What it keeps; `None` for nothing.
    pub(super) fn get(&self) -> Result<Option<Zeroizing<String>>> {
        let (success, text) = self.run("lookup", &[], "", PATIENCE)?;
        Ok(Some(text).filter(|text| success && !text.is_empty()))
    }

    pub(super) fn set(&self, secret: &str) -> Result<()> {
        // A service that does not answer at all is not waited for as a person is.
        self.get()?;
        let label = ["--label=CCM: key of the Supabase sign-in"];
        match self.run("store", &label, secret, UNLOCKING)? {
            (true, _) => Ok(()),
            (false, _) => Err(Error::unavailable("the keyring takes no key")),
        }
    }

    pub(super) fn clear(&self) {
        if let Err(error) = self.run("clear", &[], "", PATIENCE) {
            tracing::debug!("the keyring can't be cleared: {error}");
        }
    }

    /// Whether it succeeded, and what it said.
    fn run(
        &self,
        command: &str,
        options: &[&str],
        input: &str,
        patience: Duration,
    ) -> Result<(bool, Zeroizing<String>)> {
        let broken = |error| Error::unavailable("secret-tool can't be run").with_source(error);
        let mut child = Command::new(&self.program)
            .arg(command)
            .args(options)
            .args(["application", "ccm", "file"])
            .arg(&self.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(broken)?;
        // One that reads nothing has closed it, which is no error of its own.
        let _ = feed(&mut child, input);
        let success = wait(&mut child, patience)?;
        let mut text = Zeroizing::new(String::new());
        if let Some(stdout) = child.stdout.take() {
            // A key has 44 bytes: all of it is in the pipe.
            stdout
                .take(4096)
                .read_to_string(&mut text)
                .map_err(broken)?;
        }
        Ok((success, text))
    }
}

/// Waits for a program, and ends it when it takes too long.
fn wait(child: &mut Child, patience: Duration) -> Result<bool> {
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if Instant::now() < end => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::unavailable(
                    "the keyring does not answer; it may be locked",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program in the place of `secret-tool`.
    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("secret-tool");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[test]
    fn a_key_goes_in_over_standard_input_and_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let script = "d=$(dirname \"$0\"); echo \"$@\" >> \"$d/asked\"
            case $1 in
                store) cat > \"$d/kept\";;
                lookup) cat \"$d/kept\" 2>/dev/null;;
                clear) rm \"$d/kept\";;
            esac";
        let keyring = Keyring::of(
            program(folder.path(), script),
            Path::new("/home/me/auth.json"),
        );
        assert_eq!(keyring.get().unwrap(), None);
        keyring.set("hunter2").unwrap();
        assert_eq!(keyring.get().unwrap().unwrap().as_str(), "hunter2");
        keyring.clear();
        assert_eq!(keyring.get().unwrap(), None);
        let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
        assert!(
            asked.contains("lookup application ccm file /home/me/auth.json"),
            "{asked}"
        );
        assert!(!asked.contains("hunter2"), "no secret among the arguments");
    }

    #[test]
    fn one_that_does_not_answer_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "exec sleep 60");
        let mut child = Command::new(path).stdin(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        assert!(wait(&mut child, Duration::from_millis(50)).is_err());
        assert!(began.elapsed() < Duration::from_secs(30));
        assert!(child.try_wait().unwrap().is_some(), "it is gone");
    }
}
