//! The exit record: how a run ended, written even when the disk is full.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use ccm_core::task::Setback;
use ccm_core::{Error, Reason, Result, chain};

use crate::clock;
use crate::record::{self, ExitRecord, RunDir};
use crate::sys::durable;

/// Room for the exit record that is taken while there is some.
const RESERVE: &str = "exit.reserve";
const RESERVE_BYTES: u64 = 4096;

/// Takes the room.
pub(super) fn reserve(dir: &RunDir) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(dir.file(RESERVE))?;
    durable::allocate(&file, RESERVE_BYTES)
}

/// Puts the exit record in place, in the room that was reserved for it.
pub(super) fn write(dir: &RunDir, record: &ExitRecord) -> Result<()> {
    let json = record::json(record)?;
    let (from, to) = (dir.file(RESERVE), dir.file("exit"));
    let put = || {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&from)?;
        file.write_all_at(&json, 0)?;
        file.set_len(json.len() as u64)?;
        file.sync_all()?;
        std::fs::rename(&from, &to)?;
        durable::sync_dir(dir.path())
    };
    put().map_err(|error| durable::error("write", &to, error))
}

/// Records that a run was not started although its gate may say so.
pub(super) fn unstarted(dir: &RunDir, error: &Error) -> Result<()> {
    let cause = Setback::new(
        Reason::NotStarted,
        format!("the run could not be committed: {}", chain(error)),
    );
    let record = ExitRecord::NotStarted {
        cause,
        errno: None,
        at: clock::now(),
    };
    write(dir, &record)
}
