//! Where the key of the kept sign-in is: in the keyring of the person's desktop, or in a file beside it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ccm_core::{Error, Result};

use super::crypt::Key;
use super::file::replace;
#[cfg(target_os = "macos")]
use super::keychain as keyring;
#[cfg(not(target_os = "macos"))]
use super::secret_tool as keyring;

/// Where the key of a kept sign-in is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStorage {
    /// In the keyring of the operating system: the sign-in can be used by whoever can open that.
    Keyring,
    /// In a file beside it, readable by this user alone. That protects copies of the sign-in, such as one in a backup,
    /// and not the account on this machine.
    File,
}

impl KeyStorage {
    /// The name used in the file and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        [Self::Keyring, Self::File]
            .into_iter()
            .find(|storage| storage.as_str() == name)
    }
}

/// The places of one kept sign-in's key.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    file: PathBuf,
    keyring: Option<keyring::Keyring>,
}

impl Keys {
    /// Those of the sign-in that is kept in `auth_file`, with the keyring if this machine has one that answers.
    pub(super) fn beside(auth_file: &Path) -> Self {
        Self {
            file: auth_file.with_extension("key"),
            keyring: keyring::Keyring::find(auth_file),
        }
    }

    /// The file alone.
    pub(super) fn in_file(auth_file: &Path) -> Self {
        Self {
            file: auth_file.with_extension("key"),
            keyring: None,
        }
    }

    #[cfg(test)]
    pub(super) fn with_keyring(auth_file: &Path, keyring: keyring::Keyring) -> Self {
        Self {
            keyring: Some(keyring),
            ..Self::in_file(auth_file)
        }
    }

    /// The key that was kept there; `None` if there is none.
    ///
    /// # Errors
    /// `Unavailable` for a keyring that can't be asked now.
    pub(super) fn get(&self, storage: KeyStorage) -> Result<Option<Key>> {
        match storage {
            KeyStorage::File => self.in_key_file(),
            KeyStorage::Keyring => {
                let keyring = self.keyring.as_ref().ok_or_else(no_keyring)?;
                let text = keyring.get()?;
                Ok(text.and_then(|text| Key::read(&text)))
            }
        }
    }

    fn in_key_file(&self) -> Result<Option<Key>> {
        match fs::read_to_string(&self.file) {
            Ok(text) => Ok(Key::read(&zeroize::Zeroizing::new(text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::unavailable(format!(
                "the key in {} can't be read",
                self.file.display()
            ))
            .with_source(error)),
        }
    }

    /// The key that is there, else a new one: in the keyring if that takes it, else in the file.
    pub(super) fn find_or_make(&self) -> Result<(KeyStorage, Key)> {
        if let Some(keyring) = &self.keyring {
            match in_keyring(keyring) {
                Ok(Some(key)) => return Ok((KeyStorage::Keyring, key)),
                Ok(None) => tracing::debug!("the keyring does not keep what it is given"),
                Err(error) => tracing::debug!("the keyring can't be used: {error}"),
            }
        }
        if let Some(key) = self.in_key_file()? {
            return Ok((KeyStorage::File, key));
        }
        let key = Key::random()?;
        replace(&self.file, key.text().as_bytes())?;
        Ok((KeyStorage::File, key))
    }

    /// Forgets a key that nothing is encrypted with any more, now that `used` is where the current one is.
    pub(super) fn forget_others(&self, used: KeyStorage) {
        if used == KeyStorage::Keyring {
            let _ = fs::remove_file(&self.file);
        }
    }

    /// Forgets the key wherever it is, as far as that can be reached.
    pub(super) fn forget(&self) {
        let _ = fs::remove_file(&self.file);
        if let Some(keyring) = &self.keyring {
            keyring.clear();
        }
    }
}

/// The key of the keyring, put there if there was none; `None` if it does not stay there.
fn in_keyring(keyring: &keyring::Keyring) -> Result<Option<Key>> {
    if let Some(key) = keyring.get()?.and_then(|text| Key::read(&text)) {
        return Ok(Some(key));
    }
    let key = Key::random()?;
    keyring.set(&key.text())?;
    let kept = keyring.get()?.and_then(|text| Key::read(&text));
    Ok(kept.filter(|kept| *kept == key))
}

fn no_keyring() -> Error {
    Error::unavailable(
        "the key of the sign-in is in the keyring of the desktop, which can't be reached from here: sign in again with \
         `ccm supabase connect` where the daemon runs, or let it run in the desktop's session",
    )
}

/// What a program of the operating system is given on its standard input.
pub(super) fn feed(child: &mut std::process::Child, text: &str) -> std::io::Result<()> {
    match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()),
        None => Ok(()),
    }
}
