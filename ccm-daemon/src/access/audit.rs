//! Who did what: one JSON object a line, in a file of its own that only its owner can read.
//!
//! A line is written before its request is answered. It survives the end of the daemon, though the system may lose the
//! last ones when the machine itself dies.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::api::AuditEntry;
use ccm_core::store::Page;
use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};

use super::blocking;
use crate::machine::files::{self, Links};
use crate::rotated::{self, Rotated};

/// The log of who did what.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    file: Option<Rotated>,
    last: Option<Timestamp>,
}

impl Audit {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            writing: Mutex::default(),
        }
    }

    /// Writes an entry down. Its time is moved on if need be, so that no two have the same. One that can't be written
    /// is in the daemon's log instead: a full disk must not keep anybody from stopping an agent.
    ///
    /// It is one short write into the system's memory, which costs less than another thread would.
    pub(crate) fn add(&self, mut entry: AuditEntry) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = writing.last.filter(|last| *last >= entry.time) {
            entry.time = last.after(Duration::from_micros(1));
        }
        writing.last = Some(entry.time);
        if let Err(error) = writing.write(&self.path, &entry) {
            tracing::error!(%error, ?entry, "not in the audit log");
        }
    }

    /// The newest entries before a time, newest first.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) async fn page(
        &self,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Page<AuditEntry>> {
        let path = self.path.clone();
        blocking(move || {
            newest(&path, before, limit as usize).map_err(|e| {
                Error::internal(format!("{} can't be read", path.display())).with_source(e)
            })
        })
        .await
    }
}

impl Writing {
    fn write(&mut self, path: &Path, entry: &AuditEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Rotated::open(path)?),
        };
        file.write(&line)
    }
}

fn newest(path: &Path, before: Option<Timestamp>, limit: usize) -> io::Result<Page<AuditEntry>> {
    let mut items = Vec::new();
    let older = (1..=rotated::KEPT).map(|n| rotated::older(path, n));
    for file in std::iter::once(path.to_owned()).chain(older) {
        let mut text = Vec::new();
        match files::open(&file, Links::Refused) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let lines = text.rsplit(|byte| *byte == b'\n');
        // A line that was cut by a full disk is passed over.
        let entries = lines.filter_map(|line| serde_json::from_slice::<AuditEntry>(line).ok());
        let wanted = entries.filter(|entry| before.is_none_or(|before| entry.time < before));
        items.extend(wanted.take(limit + 1 - items.len()));
        if items.len() > limit {
            break;
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(path: &str) -> AuditEntry {
        AuditEntry {
            time: Timestamp::UNIX_EPOCH,
            principal: "token".to_owned(),
            client: "cli".to_owned(),
            operation: "POST /api/v1/tasks".to_owned(),
            path: path.to_owned(),
            created: None,
            status: 201,
        }
    }

    #[tokio::test]
    async fn entries_are_read_newest_first_over_files_and_cut_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let audit = Audit::new(path.clone());
        assert!(audit.page(None, 3).await.unwrap().items.is_empty());
        for n in 0..3 {
            // The same time for all of them.
            audit.add(entry(&n.to_string()));
        }
        std::fs::rename(&path, rotated::older(&path, 1)).unwrap();
        audit.add(entry("forged\n{\"x\":1}"));
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(b"{\"time\":\"2026\n").unwrap();
        audit.add(entry("4"));

        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = audit.page(before, 2).await.unwrap();
            seen.extend(page.items.iter().map(|entry| entry.path.clone()));
            before = page.items.last().map(|entry| entry.time);
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, ["4", "forged\n{\"x\":1}", "2", "1", "0"]);
        // The next daemon goes on, later.
        let next = Audit::new(path);
        next.add(entry("5"));
        assert_eq!(next.page(None, 1).await.unwrap().items[0].path, "5");
    }

    #[tokio::test]
    async fn a_log_that_can_not_be_written_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let audit = Audit::new(dir.path().join("file/audit.log"));
        audit.add(entry("1"));
        audit.page(None, 1).await.unwrap_err();
    }
}
