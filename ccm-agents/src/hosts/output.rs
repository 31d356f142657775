//! Reading what a run wrote, and deleting it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ccm_core::id::RunId;
use ccm_core::run::{Checkpoint, Stream};
use ccm_core::runtime::{Batch, Chunk, RunEnd};
use ccm_core::{Error, Result};

use super::launch::alive;
use super::settle::may_be_alive;
use super::{Hosts, blocking};
use crate::driver::{Driver, Spool};
use crate::record::{ExitRecord, RunDir};
use crate::sys::durable;

/// How often it is looked whether a host has let go of a run that is over, and the time between two looks.
const LETTING_GO: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// The most that one call returns.
const MAX_CHUNK: u64 = 8 * 1024 * 1024;

impl Hosts {
    /// See [`AgentRuntime::read`](ccm_core::AgentRuntime::read).
    pub async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        let dir = self.run(run);
        let (from, at_end) = (from.clone(), end.cloned());
        let batch = blocking(move || {
            // Without a launch nothing was written, and no driver is needed to say so.
            let driver = match dir.launch()? {
                Some(launch) => Driver::named(&launch.order.profile.driver).ok(),
                None => None,
            };
            let Some(driver) = driver else {
                return Ok(Batch {
                    checkpoint: from,
                    complete: true,
                    ..Batch::default()
                });
            };
            driver.read(&spool(&dir, at_end.as_ref())?, &from, at_end.as_ref())
        })
        .await?;
        if end.is_some() && batch.complete {
            self.changes.forget(run);
        }
        Ok(batch)
    }

    /// See [`AgentRuntime::output`](ccm_core::AgentRuntime::output).
    pub async fn output(
        &self,
        run: RunId,
        stream: Stream,
        offset: u64,
        limit: u64,
    ) -> Result<Chunk> {
        let dir = self.run(run);
        blocking(move || {
            if !dir.exists() {
                return Err(Error::no_run(run));
            }
            let Some(file) = open(&dir, stream)? else {
                return Ok(Chunk {
                    bytes: Vec::new(),
                    size: 0,
                });
            };
            let failed = |error| durable::error("read", &dir.spool(stream), error);
            let mut size = file.metadata().map_err(failed)?.len();
            if let Some(ExitRecord::Exited { exit, .. }) = dir.exit()? {
                size = size.min(of(stream, exit.out_bytes, exit.err_bytes));
            }
            let length = size.saturating_sub(offset).min(limit).min(MAX_CHUNK);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut bytes, offset).map_err(failed)?;
            Ok(Chunk { bytes, size })
        })
        .await
    }

    /// See [`AgentRuntime::changed`](ccm_core::AgentRuntime::changed).
    pub async fn changed(&self, run: RunId) -> Result<()> {
        self.changes.wait(&self.run(run)).await;
        Ok(())
    }

    /// See [`AgentRuntime::discard`](ccm_core::AgentRuntime::discard).
    pub async fn discard(&self, run: RunId) -> Result<()> {
        let dir = self.run(run);
        let mut looks = 0;
        while may_be_alive(&dir).await? {
            // The host lets go of a run just after it has written down its end.
            let is_over = dir.exit()?.is_some();
            if !is_over || looks == LETTING_GO {
                return Err(alive(&dir));
            }
            looks += 1;
            tokio::time::sleep(PAUSE).await;
        }
        self.changes.forget(run);
        blocking(move || match std::fs::remove_dir_all(dir.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(durable::error("delete", dir.path(), error))
            }
            _ => Ok(()),
        })
        .await
    }
}

/// A run's spool, up to its end if that is known.
pub(super) fn spool(dir: &RunDir, end: Option<&RunEnd>) -> Result<Spool> {
    let out = open(dir, Stream::Out)?;
    let err = open(dir, Stream::Err)?;
    let size = |stream, file: Option<&File>| {
        let size = match file.map(File::metadata).transpose() {
            Ok(meta) => meta.map_or(0, |meta| meta.len()),
            Err(error) => return Err(durable::error("look at", &dir.spool(stream), error)),
        };
        Ok(match end {
            Some(RunEnd::Exited(exit)) => size.min(of(stream, exit.out_bytes, exit.err_bytes)),
            _ => size,
        })
    };
    Ok(Spool {
        out_size: size(Stream::Out, out.as_ref())?,
        err_size: size(Stream::Err, err.as_ref())?,
        out,
        err,
    })
}

fn open(dir: &RunDir, stream: Stream) -> Result<Option<File>> {
    let path = dir.spool(stream);
    match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(durable::error("open", &path, error)),
    }
}

fn of(stream: Stream, out: u64, err: u64) -> u64 {
    match stream {
        Stream::Out => out,
        Stream::Err => err,
    }
}
