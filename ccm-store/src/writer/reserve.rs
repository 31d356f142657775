//! Room that is given up when the disk is full, so that what runs can still be ended and noted.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file of nothing beside the database.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    spent: bool,
}

impl Reserve {
    /// The reserve of the database at `database`. Until it is [filled](Self::fill) it counts as spent.
    pub(crate) fn beside(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(".reserve");
        Self {
            path: PathBuf::from(path),
            bytes,
            spent: true,
        }
    }

    /// Whether there is nothing left to give up.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Gives the room up. Says whether that made any.
    pub(crate) fn release(&mut self) -> bool {
        if self.spent {
            return false;
        }
        self.spent = true;
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!("the disk is full: only what ends runs and tasks is still written");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the reserve for a full disk can't be freed");
                false
            }
        }
    }

    /// Takes the room again, if there is any. Says whether the reserve is whole.
    pub(crate) async fn fill(&mut self) -> bool {
        let (path, bytes) = (self.path.clone(), self.bytes);
        let filled = tokio::task::spawn_blocking(move || fill(&path, bytes)).await;
        self.spent = !matches!(filled, Ok(Ok(())));
        !self.spent
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() == bytes) {
        return Ok(());
    }
    let filled = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        // Written and not only made long: a file with holes holds no room.
        .and_then(|mut file| io::copy(&mut io::repeat(0).take(bytes), &mut file));
    match filled {
        Ok(_) => Ok(()),
        Err(error) => {
            // A part of a reserve would take the last room away.
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}
