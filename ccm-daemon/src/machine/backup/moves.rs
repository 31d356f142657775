//! Putting several files in the place of others so that, whenever it is cut, it can be finished.
//!
//! What is to be moved is written down first, and that is the commit point: before it nothing has changed, and after it
//! whoever comes next finishes it. A daemon does so before it reads anything.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ccm_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::super::files;
use super::super::home::Home;
use super::super::running::DaemonLock;

/// Something that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    /// What is to be in the place. Beside it, and gone once it is there.
    pub(super) staged: PathBuf,
    /// The place.
    pub(super) target: PathBuf,
    /// Where goes what is there.
    pub(super) aside: PathBuf,
    /// What goes with it: a database's log.
    #[serde(default)]
    pub(super) along: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    moves: Vec<Move>,
}

/// Makes all these moves. After an error before the commit point nothing has moved.
///
/// The lock is whoever's is to start a daemon: none may start in between.
pub(super) fn make(home: &Home, _lock: &DaemonLock, moves: Vec<Move>) -> Result<()> {
    let path = journal(home);
    let text = serde_json::to_vec_pretty(&Journal {
        moves: moves.clone(),
    })
    .map_err(|error| failed(&path, error.into()))?;
    ccm_core::barrier!("restore_staged");
    files::replace(&path, files::SECRET, &text).map_err(|error| failed(&path, error))?;
    ccm_core::barrier!("restore_committed");
    finish(&path, &moves)
}

/// Finishes what was cut short of a set of moves, by anybody. Returns whether there was something.
///
/// # Errors
/// `Unavailable` with what can't be moved; it is tried again the next time.
pub fn finish_interrupted(home: &Home) -> Result<bool> {
    let path = journal(home);
    if !path.exists() {
        return Ok(false);
    }
    let _lock = home.lock_daemon()?;
    let Some(journal) = read(&path)? else {
        return Ok(false);
    };
    finish(&path, &journal.moves)?;
    Ok(true)
}

/// Whether something was cut short and waits to be finished.
pub(crate) fn is_interrupted(home: &Home) -> bool {
    journal(home).exists()
}

fn journal(home: &Home) -> PathBuf {
    home.run_dir().join("restore.json")
}

fn read(path: &Path) -> Result<Option<Journal>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| failed(path, error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, error)),
    }
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Journal>(bytes);
}

fn finish(path: &Path, moves: &[Move]) -> Result<()> {
    for one in moves {
        make_one(one).map_err(|error| failed(&one.target, error))?;
        ccm_core::barrier!("restore_moved");
    }
    fs::remove_file(path)
        .and_then(|()| super::sync_folder_of(path))
        .map_err(|error| failed(path, error))
}

/// Each step finds out from what is there whether it was made already.
fn make_one(one: &Move) -> io::Result<()> {
    if fs::symlink_metadata(&one.staged).is_err() {
        return Ok(());
    }
    for (from, aside) in &one.along {
        rename(from, aside)?;
    }
    rename(&one.target, &one.aside)?;
    fs::rename(&one.staged, &one.target)?;
    super::sync_folder_of(&one.target)
}

/// What is not there need not be moved.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!(
        "{} can't be put in its place; mend that, and the next start of the daemon goes on with it",
        path.display()
    ))
    .with_source(error)
}
