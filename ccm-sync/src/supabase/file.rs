//! `auth.json`: the kept sign-in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccm_core::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::KeyStorage;
use super::auth::SignedIn;
use super::crypt::{self, Key};
use super::failure::SIGN_IN;
use super::keys::Keys;
use super::session::{Session, SessionInfo};

/// Nothing that is kept is longer.
const MAX_BYTES: u64 = 1024 * 1024;
/// The longest that another program may hold the lock: a refresh with all its patience.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// The file that keeps a sign-in, encrypted, for its user alone.
#[derive(Debug, Clone)]
pub struct AuthFile {
    path: PathBuf,
    keys: Keys,
}

/// Which version of a file one has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// A sign-in as it was read, with what it is written again with.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) session: Session,
    pub(super) storage: KeyStorage,
    key: Key,
}

impl AuthFile {
    /// The sign-in at `path`. Its key is made in the keyring of the desktop where there is one that answers, else in a file
    /// beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            keys: Keys::beside(&path),
            path,
        }
    }

    /// The same without a keyring, for a daemon that does not run in the session of a desktop.
    pub fn without_keyring(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            keys: Keys::in_file(&path),
            path,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a sign-in in the place of what was there. Waits for the disk, and for whoever writes it at the moment.
    ///
    /// # Errors
    /// `Unavailable` when it can't be written; then what was there is still there.
    pub fn save(&self, signed_in: &SignedIn) -> Result<KeyStorage> {
        self.keep(&signed_in.session)
    }

    pub(super) fn keep(&self, session: &Session) -> Result<KeyStorage> {
        let _lock = self.lock()?;
        let (storage, key) = self.keys.find_or_make()?;
        self.write(session, storage, &key)?;
        self.keys.forget_others(storage);
        Ok(storage)
    }

    /// What can be told of the kept sign-in; `None` without one.
    ///
    /// # Errors
    /// `Unauthenticated` for a file that is damaged or of another machine; `TooNew`; `Unavailable` when the file or its key
    /// can't be read now.
    pub fn info(&self) -> Result<Option<SessionInfo>> {
        let loaded = self.load()?;
        Ok(loaded.map(|loaded| loaded.session.info(loaded.storage)))
    }

    /// Forgets the sign-in and its key. None there is fine.
    ///
    /// # Errors
    /// `Unavailable` when the file can't be removed.
    pub fn remove(&self) -> Result<()> {
        let _lock = self.lock()?;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("can't be removed", error));
            }
            _ => {}
        }
        self.keys.forget();
        Ok(())
    }

    /// Writes a sign-in anew, in the same place with the same key. The caller has the lock.
    pub(super) fn update(&self, old: &Loaded, session: Session) -> Result<Loaded> {
        self.write(&session, old.storage, &old.key)?;
        Ok(Loaded {
            session,
            ..old.clone()
        })
    }

    fn write(&self, session: &Session, storage: KeyStorage, key: &Key) -> Result<()> {
        let sealed = crypt::seal(key, storage.as_str(), &session.write()?)?;
        replace(&self.path, &sealed)
    }

    /// Reads the sign-in; `None` without one.
    pub(super) fn load(&self) -> Result<Option<Loaded>> {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("can't be read", error)),
        };
        self.unseal(&bytes)
            .map(Some)
            .map_err(|error| match error.kind() {
                ErrorKind::Corrupt => Error::new(
                    ErrorKind::Unauthenticated,
                    format!(
                        "the sign-in in {} is damaged or was made on another machine: {SIGN_IN}",
                        self.path.display()
                    ),
                ),
                _ => error,
            })
    }

    fn unseal(&self, bytes: &[u8]) -> Result<Loaded> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "the kept sign-in is damaged");
        let label = crypt::label(bytes)?;
        let storage = KeyStorage::read(&label.key).ok_or_else(corrupt)?;
        let key = self.keys.get(storage)?.ok_or_else(corrupt)?;
        let plain = crypt::open(&key, bytes)?;
        Ok(Loaded {
            session: Session::read(&plain).ok_or_else(corrupt)?,
            storage,
            key,
        })
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        if fs::metadata(&self.path)?.len() > MAX_BYTES {
            // Read as what it is: something else.
            return Ok(Vec::new());
        }
        fs::read(&self.path)
    }

    /// Which version is there; `None` for none.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let data = fs::metadata(&self.path).ok()?;
        Some(Stamp {
            inode: data.ino(),
            length: data.len(),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }

    /// Keeps everybody else from writing. Waits for whoever does; given back when it is dropped, or with the process.
    pub(super) fn lock(&self) -> Result<Flock<File>> {
        let path = self.path.with_extension("lock");
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let opened = open.and_then(|file| keep_owner(&path, &self.path).map(|()| file));
        let mut file = opened.map_err(|error| self.failed("can't be locked", error))?;
        let end = Instant::now() + LOCK_PATIENCE;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < end => {
                    file = back;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err((_, errno)) => return Err(self.failed("can't be locked", errno.into())),
            }
        }
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::unavailable(format!("{} {what}", self.path.display())).with_source(error)
    }

    #[cfg(test)]
    pub(super) fn with_keys(path: PathBuf, keys: Keys) -> Self {
        Self { path, keys }
    }
}

/// Puts `bytes` in the place of a file for its owner alone, in one step and for good.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    put(path, bytes).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("{} can't be written", path.display())).with_source(error)
    })
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temp = path.with_file_name(name);
    // What a crash left. Whoever writes has the lock.
    match fs::remove_file(&temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temp)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let owned = written.and_then(|()| keep_owner(&temp, path));
    if let Err(error) = owned.and_then(|()| fs::rename(&temp, path)) {
        // The error that counts is the first one.
        let _ = fs::remove_file(&temp);
        return Err(error);
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Root may write for the user whose daemon it is, who must still be able to read it then.
fn keep_owner(temp: &Path, path: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let like = fs::symlink_metadata(path)
        .or_else(|_| fs::metadata(folder.unwrap_or_else(|| Path::new("."))))?;
    std::os::unix::fs::lchown(temp, Some(like.uid()), Some(like.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::session::tests::session;
    use super::*;

    fn place() -> (tempfile::TempDir, AuthFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = AuthFile::without_keyring(folder.path().join("auth.json"));
        (folder, file)
    }

    fn kept(file: &AuthFile) -> Option<Session> {
        file.load().unwrap().map(|loaded| loaded.session)
    }

    #[test]
    fn a_sign_in_is_kept_for_its_user_alone_and_forgotten() {
        let (folder, file) = place();
        assert_eq!(file.info().unwrap(), None);
        assert_eq!(file.stamp(), None);
        let session = session("hunter2");
        assert_eq!(file.keep(&session).unwrap(), KeyStorage::File);
        assert_eq!(kept(&file), Some(session.clone()));
        let info = file.info().unwrap().unwrap();
        assert_eq!(
            (info.email.as_str(), info.key),
            ("me@example.org", KeyStorage::File)
        );
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("hunter2"), "{}", path.display());
        }
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(kept(&file), None);
        assert!(!folder.path().join("auth.key").exists());
    }

    #[test]
    fn an_update_keeps_the_key_and_is_seen() {
        let (folder, file) = place();
        file.keep(&session("1")).unwrap();
        let key = fs::read(folder.path().join("auth.key")).unwrap();
        let before = file.stamp();
        let loaded = file.load().unwrap().unwrap();
        // As after a crash in the middle.
        fs::write(folder.path().join("auth.json.new"), b"half").unwrap();
        file.update(&loaded, session("2")).unwrap();
        assert_ne!(file.stamp(), before);
        assert_eq!(kept(&file), Some(session("2")));
        assert_eq!(fs::read(folder.path().join("auth.key")).unwrap(), key);
        file.keep(&session("3")).unwrap();
        assert_eq!(kept(&file), Some(session("3")));
        assert_eq!(fs::read(folder.path().join("auth.key")).unwrap(), key);
    }

    #[test]
    fn what_can_t_be_written_leaves_what_was_there() {
        let (folder, file) = place();
        file.keep(&session("1")).unwrap();
        // In the way of what is written first; it can't be removed as a file.
        fs::create_dir(folder.path().join("auth.json.new")).unwrap();
        let error = file.keep(&session("2")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(kept(&file), Some(session("1")));
    }

    #[test]
    fn what_is_damaged_or_of_another_machine_asks_for_a_new_sign_in() {
        let (folder, file) = place();
        let path = file.path().to_owned();
        file.keep(&session("1")).unwrap();
        let good = fs::read(&path).unwrap();
        let (_elsewhere, other) = place();
        other.keep(&session("2")).unwrap();
        let foreign = fs::read(other.path()).unwrap();
        let cut = &good[..good.len() / 2];
        for bad in [b"".as_slice(), b"{}", cut, &foreign] {
            fs::write(&path, bad).unwrap();
            let error = file.info().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
            assert!(
                error.to_string().contains("ccm supabase connect"),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), bad, "nothing is touched");
        }
        fs::write(&path, &good).unwrap();
        fs::remove_file(folder.path().join("auth.key")).unwrap();
        assert_eq!(file.info().unwrap_err().kind(), ErrorKind::Unauthenticated);
        file.keep(&session("3")).unwrap();
        assert_eq!(kept(&file), Some(session("3")));
    }

    #[test]
    fn a_lock_is_waited_for() {
        let (_folder, file) = place();
        let lock = file.lock().unwrap();
        let waiting = {
            let file = file.clone();
            std::thread::spawn(move || file.keep(&session("1")))
        };
        assert!(!waiting.is_finished());
        assert_eq!(kept(&file), None);
        drop(lock);
        waiting.join().unwrap().unwrap();
        assert_eq!(kept(&file), Some(session("1")));
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn a_keyring_that_works_has_the_key_and_one_that_does_not_leaves_it_to_the_file() {
        use super::super::secret_tool::Keyring;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        let program = folder.path().join("secret-tool");
        let script = |text: &str| {
            fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        };
        let keyring = Keyring::of(program.clone(), &path);
        let file = AuthFile::with_keys(path.clone(), Keys::with_keyring(&path, keyring));
        let key_file = folder.path().join("auth.key");
        script("exit 1");
        assert_eq!(file.keep(&session("1")).unwrap(), KeyStorage::File);
        assert!(key_file.exists());
        script(
            "k=\"$0.kept\"; case $1 in store) cat > \"$k\";; lookup) cat \"$k\" 2>/dev/null;; clear) rm \"$k\";; esac",
        );
        assert_eq!(file.keep(&session("2")).unwrap(), KeyStorage::Keyring);
        assert!(!key_file.exists());
        assert_eq!(kept(&file), Some(session("2")));
        // Where there is no keyring, it is there that somebody has to sign in again, or come back later.
        let elsewhere = AuthFile::without_keyring(&path);
        assert_eq!(elsewhere.info().unwrap_err().kind(), ErrorKind::Unavailable);
        file.remove().unwrap();
        assert!(!folder.path().join("secret-tool.kept").exists());
    }
}
