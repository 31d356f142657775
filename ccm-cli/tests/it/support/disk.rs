//! A small disk of a test's own, in a mount namespace of its own: it goes with the last process that sees it, however
//! the test ends.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::namespace::Own;

const MOUNTS: Own = Own {
    mark: "CCM_TEST_MAY_MOUNT",
    what: "a small disk",
    namespaces: &["--mount"],
    prepare: "mount -t tmpfs tmpfs /mnt && umount /mnt",
};
const PAGE: u64 = 4096;

/// A tmpfs of a few MiB, and what fills it.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Whether this process may mount. If it may not, the test that runs now has been run by a child that may, and was
    /// good; there is nothing left to do.
    #[track_caller]
    pub(super) fn may_be_mounted() -> bool {
        MOUNTS.is_here()
    }

    pub(super) fn mount(at: PathBuf, mib: u64) -> Self {
        std::fs::create_dir(&at).unwrap();
        let disk = Self { at };
        disk.run(Command::new("mount").args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={mib}m,mode=700"),
            "tmpfs",
        ]));
        disk
    }

    #[track_caller]
    fn run(&self, command: &mut Command) {
        let ran = command.arg(&self.at).output().unwrap();
        assert!(
            ran.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }

    /// Lets nothing be written to it, or lets it again. Nobody may have a file of it open for writing.
    #[track_caller]
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let how = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        // Repeating the options that it has is refused in a namespace of users.
        self.run(Command::new("mount").args(["--options-mode", "ignore", "-o", how]));
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Fills it with something that is not ours, until `leave` bytes (in whole pages) are left.
    #[track_caller]
    pub(crate) fn fill(&self, leave: u64) {
        let mut file = append(&self.ballast());
        grow(&mut file);
        let length = file.metadata().unwrap().len();
        let length = length / PAGE * PAGE;
        assert!(length >= leave, "the disk is fuller than that already");
        file.set_len(length - leave / PAGE * PAGE).unwrap();
    }

    /// Takes away what fills it.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// Writes until there is no room.
#[track_caller]
fn grow(file: &mut File) {
    let zeros = [0; PAGE as usize];
    let full = loop {
        if let Err(error) = file.write_all(&zeros) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}
