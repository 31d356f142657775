//! Files of people and secrets: made with their final mode, replaced in one step, read with care.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use super::yaml::MAX_BYTES;

/// Mode of files that only their owner may read.
pub(crate) const SECRET: u32 = 0o600;
/// Mode of files in a project, which others may read if its folder allows it.
pub(crate) const SHARED: u32 = 0o644;

/// What is done about a symbolic link in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// It is followed: the user's own arrangement.
    Followed,
    /// It is refused: the folder may be somebody else's work.
    Refused,
}

/// Makes a folder, and those above it, for its owner alone. Returns whether it was made now; one that is there keeps
/// its mode.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(true)
}

/// Makes a file that was not there. Returns `false`, with nothing done, if it was.
///
/// The file appears whole or not at all.
pub(crate) fn create_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<bool> {
    let temp = write_beside(path, mode, bytes)?;
    // A hard link refuses an existing name, where a rename would replace it.
    let linked = std::fs::hard_link(&temp, path);
    std::fs::remove_file(&temp)?;
    match linked {
        Ok(()) => {
            sync_folder(path)?;
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// Puts `bytes` in the place of the file in one step, keeping the mode of one that is there.
pub(crate) fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let old = match std::fs::symlink_metadata(path) {
        Ok(old) if old.is_file() => Some(old),
        Ok(_) => {
            let message = format!("{} is no regular file", path.display());
            return Err(io::Error::other(message));
        }
        Err(_) => None,
    };
    let mode = old
        .as_ref()
        .map_or(mode, |old| old.permissions().mode() & 0o777);
    let temp = write_beside(path, mode, bytes)?;
    // Root may change somebody's file, who must still be able to read it then.
    let owned = match old.filter(|_| nix::unistd::geteuid().is_root()) {
        Some(old) => std::os::unix::fs::lchown(&temp, Some(old.uid()), Some(old.gid())),
        None => Ok(()),
    };
    if let Err(e) = owned.and_then(|()| std::fs::rename(&temp, path)) {
        // The error that counts is the first one.
        let _ = std::fs::remove_file(&temp);
        return Err(e);
    }
    sync_folder(path)
}

/// A synced file with a name that nobody else has, in the folder of `path`.
pub(crate) fn write_beside(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{name}.{}", random_hex(8)?));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temp)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(e) = written {
        let _ = std::fs::remove_file(&temp);
        return Err(e);
    }
    Ok(temp)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// `2 * bytes` random hexadecimal digits.
pub(crate) fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Opens a regular file for reading. Never waits: a named pipe is refused.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<File> {
    let mut flags = libc::O_NONBLOCK;
    if links == Links::Refused {
        flags |= libc::O_NOFOLLOW;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|e| match e.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link"),
            _ => e,
        })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// Whether another process has a lock on the file. Takes and drops the lock if not, so that whoever wants it at this very
/// moment may not get it.
pub(crate) fn is_locked(path: &Path) -> bool {
    use nix::fcntl::{Flock, FlockArg};
    open(path, Links::Refused).is_ok_and(|file| {
        let lock = Flock::lock(file, FlockArg::LockSharedNonblock);
        matches!(lock, Err((_, nix::errno::Errno::EWOULDBLOCK)))
    })
}

/// The text of a file of at most 1 MiB.
pub(crate) fn read_text(path: &Path, links: Links) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path, links)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is not UTF-8 text (line {line})"),
        )
    })
}

/// What tells a file from what it was: device, inode, size and time of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    id: (u64, u64),
    size: u64,
    changed: (i64, i64, i64, i64),
}

impl Stamp {
    /// The stamp of what is at `path`, not following links. `None` if there is nothing.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::symlink_metadata(path).ok()?;
        Some(Self {
            id: (meta.dev(), meta.ino()),
            size: meta.size(),
            changed: (
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            ),
        })
    }

    /// Whether the file's clock has moved on since its last change, so that another change would show.
    pub(crate) fn is_settled(self) -> bool {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let (_, _, seconds, nanos) = self.changed;
        let changed = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        now.as_nanos().cast_signed() - changed > 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_made_once_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(create_new(&path, SECRET, b"one").unwrap());
        assert!(!create_new(&path, SECRET, b"two").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o600);

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        replace(&path, SECRET, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "text").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_text(&link, Links::Followed).unwrap(), "text");
        let e = read_text(&link, Links::Refused).unwrap_err();
        assert_eq!(e.to_string(), "it is a symbolic link");

        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let e = read_text(&pipe, Links::Followed).unwrap_err();
        assert_eq!(e.to_string(), "it is no regular file");

        std::fs::write(&file, b"a\nb\n\xff\n").unwrap();
        let e = read_text(&file, Links::Followed).unwrap_err();
        assert_eq!(e.to_string(), "it is not UTF-8 text (line 3)");
    }

    #[test]
    fn a_replaced_file_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(Stamp::of(&path), None);
        create_new(&path, SHARED, b"one").unwrap();
        let before = Stamp::of(&path);
        assert_eq!(before, Stamp::of(&path));
        replace(&path, SHARED, b"two").unwrap();
        assert_ne!(before, Stamp::of(&path));
    }
}
