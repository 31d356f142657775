//! Files of lines that are kept small: a full one is moved aside, and only a few older ones are kept.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most bytes of a file before it becomes `FILE.1`.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How many older files are kept.
pub(crate) const KEPT: u32 = 3;

/// A file that lines are added to. Others may move, empty or remove it.
#[derive(Debug)]
pub(crate) struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether the last line was cut, by a full disk for example.
    cut: bool,
}

impl Rotated {
    /// The file at `path`, made with its folder for its owner alone if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            make_folder(dir)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            cut: false,
        })
    }

    /// Adds a line, to a new file if this one is full or was taken away. Whatever goes wrong, the next line is tried.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.look();
        if self.size > 0 && self.size + line.len() as u64 > MAX_BYTES {
            // Where it can't be moved, it grows.
            let _ = self.rotate();
        }
        if std::mem::take(&mut self.cut) {
            self.put(b"\n")?;
        }
        self.put(line)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        match &written {
            Ok(()) => self.size += bytes.len() as u64,
            Err(_) => self.cut = true,
        }
        written
    }

    /// Notices what others did to the file: log rotation by the system moves, empties or removes it.
    fn look(&mut self) {
        let Ok(own) = self.file.metadata() else {
            return;
        };
        let there = std::fs::metadata(&self.path).ok();
        let is_same =
            there.is_some_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if is_same {
            self.size = own.len();
            return;
        }
        // If it fails, the old file is as good as any.
        if let Ok(new) = Self::open(&self.path) {
            *self = new;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for n in (1..KEPT).rev() {
            // One that is not there yet is nothing to move.
            let _ = std::fs::rename(older(&self.path, n), older(&self.path, n + 1));
        }
        std::fs::rename(&self.path, older(&self.path, 1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The name of the file that was moved aside `n` times.
pub(crate) fn older(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    /// Makes the file as large as it may get, without the time that takes.
    fn fill(path: &Path) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(MAX_BYTES).unwrap();
    }

    #[test]
    fn a_full_file_makes_room_and_only_a_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        for n in 0..6u8 {
            fill(&path);
            log.write(&[b'0' + n, b'\n']).unwrap();
        }
        assert_eq!(read(&path).as_deref(), Some("5\n"));
        let last = |n| read(&older(&path, n)).map(|text| text.trim_end_matches('\0').to_owned());
        assert!(last(1).unwrap().starts_with("4\n"));
        assert!(last(3).unwrap().starts_with("2\n"));
        assert_eq!(last(4), None);
        for n in 1..=3 {
            let mode = std::fs::metadata(older(&path, n)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_moved_emptied_or_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/daemon.log");
        make_folder(path.parent().unwrap()).unwrap();
        let mut log = Rotated::open(&path).unwrap();
        log.write(b"1\n").unwrap();
        std::fs::rename(&path, older(&path, 9)).unwrap();
        log.write(b"2\n").unwrap();
        assert_eq!(read(&older(&path, 9)).as_deref(), Some("1\n"));
        assert_eq!(read(&path).as_deref(), Some("2\n"));
        std::fs::remove_file(&path).unwrap();
        log.write(b"3\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("3\n"));
        File::create(&path).unwrap();
        log.write(b"4\n").unwrap();
        assert_eq!((read(&path).as_deref(), log.size), (Some("4\n"), 2));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        log.write(b"5\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("5\n"));
    }

    #[test]
    fn a_file_that_can_not_be_moved_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        fill(&path);
        // A folder that is not empty is in the way.
        std::fs::create_dir_all(older(&path, 1).join("x")).unwrap();
        std::fs::create_dir_all(older(&path, 2).join("x")).unwrap();
        std::fs::create_dir_all(older(&path, 3).join("x")).unwrap();
        log.write(b"still here\n").unwrap();
        assert!(read(&path).unwrap().ends_with("still here\n"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_loses_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        let good = std::mem::replace(&mut log.file, File::create("/dev/full").unwrap());
        log.put(b"lost\n").unwrap_err();
        log.file = good;
        log.write(b"found\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("\nfound\n"));
    }
}
