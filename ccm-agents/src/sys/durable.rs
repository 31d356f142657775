//! Files that survive a power cut, or are not there at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use ccm_core::{Error, ErrorKind};
use nix::libc;

/// Makes a folder (and those above it) that only this user can enter.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Makes what was done to a folder's entries durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes room for `bytes` bytes of a file that is empty, so that they can be written when the disk is full.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(bytes).unwrap_or(0);
    match nix::fcntl::posix_fallocate(file, 0, length) {
        // A file system that can't: then there is no such reserve.
        Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    file.write_all(&vec![b' '; usize::try_from(bytes).unwrap_or(0)])?;
    file.sync_all()
}

/// Puts a file in place with one step: readers see all of it or what was there before.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temp = temp_beside(path);
    let done = write_new(&temp, content).and_then(|()| std::fs::rename(&temp, path));
    if done.is_err() {
        let _ = std::fs::remove_file(&temp);
    }
    done?;
    sync_dir(parent(path))
}

/// Puts a file in place unless there is one. Exactly one of several callers gets `true`, and then it is durable.
pub(crate) fn create_once(path: &Path, content: &[u8]) -> io::Result<bool> {
    let temp = temp_beside(path);
    let done = write_new(&temp, content).and_then(|()| std::fs::hard_link(&temp, path));
    let _ = std::fs::remove_file(&temp);
    match done {
        Ok(()) => sync_dir(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A name that no other process and no other thread of this one uses.
fn temp_beside(path: &Path) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// An error of the file system in the words of the contracts.
pub(crate) fn error(what: &str, path: &Path, source: io::Error) -> Error {
    let kind = match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::DiskFull,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("could not {what} {}", path.display())).with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_creators_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate");
        let wins: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || create_once(path, format!("{n}").as_bytes()).unwrap())
                })
                .collect();
            tries
                .into_iter()
                .map(|handle| usize::from(handle.join().unwrap()))
                .sum()
        });
        assert_eq!(wins, 1);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn replacing_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("launch");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
