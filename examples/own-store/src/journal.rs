//! The file: locking it, catching up with it, adding a line to it.

use std::fs::File;
use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use ccm_core::id::{Epoch, LogId, Seq};
use ccm_core::testing::memory::MemoryStore;
use ccm_core::{Error, ErrorKind, Result, Store};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::entry::Entry;

/// One handle on a journal, and what its lines come to.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How many bytes of the file `memory` has taken in.
    applied: u64,
    pub(crate) memory: MemoryStore,
    pub(crate) log: LogId,
    /// The epoch of the last `begin` in the file, and of the last one through this handle.
    epoch: Epoch,
    own: Option<Epoch>,
    told: watch::Sender<Seq>,
}

impl Journal {
    pub(crate) fn open(path: PathBuf, told: watch::Sender<Seq>) -> Result<Self> {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|error| failed("can't open", &path, error))?;
        let memory = MemoryStore::new();
        Ok(Self {
            path,
            file,
            applied: 0,
            memory,
            log: LogId::new(),
            epoch: Epoch(0),
            own: None,
            told,
        })
    }

    /// Takes in the lines that others added. To be called with the file locked: then a last line that is not whole was
    /// cut off by a crash. Its call was never answered, so it goes.
    fn catch_up(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        let place = SeekFrom::Start(self.applied);
        let read = self
            .file
            .seek(place)
            .and_then(|_| self.file.read_to_end(&mut bytes));
        read.map_err(|error| failed("can't read", &self.path, error))?;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) if line.ends_with(b"\n") => {
                    self.note(&entry);
                    // The line is there because it had an effect. Whatever it answered, it answers again.
                    let _ = Handle::current().block_on(entry.apply(&self.memory));
                    self.applied += line.len() as u64;
                }
                Err(error) if error.is_data() || lines.peek().is_some() => {
                    let message = format!("{}: byte {}", self.path.display(), self.applied);
                    return Err(Error::new(ErrorKind::Corrupt, message).with_source(error));
                }
                _ => self
                    .cut()
                    .map_err(|error| failed("can't mend", &self.path, error))?,
            }
        }
        if self.applied == 0 {
            self.append(&Entry::Log(self.log))?;
            let folder = self
                .path
                .parent()
                .filter(|path| !path.as_os_str().is_empty());
            let synced = File::open(folder.unwrap_or(".".as_ref())).and_then(|dir| dir.sync_all());
            synced.map_err(|error| failed("can't sync the folder of", &self.path, error))?;
        }
        self.tell();
        Ok(())
    }

    /// Adds a line for a call that `memory` has taken already, and returns when no power cut can take it back. If that
    /// fails, memory is forgotten and made anew from the file.
    fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(|error| {
            self.forget();
            Error::invalid("the call can't be written down").with_source(error)
        })?;
        line.push(b'\n');
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let undone = self.cut();
            self.forget();
            return Err(match undone {
                Ok(()) => failed("can't write", &self.path, error),
                Err(_) => Error::new(
                    ErrorKind::Unknown,
                    "the line may or may not be in the journal",
                )
                .with_source(error),
            });
        }
        self.applied += line.len() as u64;
        self.note(entry);
        if matches!(entry, Entry::Begin { .. }) {
            self.own = Some(self.epoch);
        }
        self.tell();
        Ok(())
    }

    /// Writes something and takes it back. A crash in between leaves a last line that is not whole, which says nothing.
    fn probe(&mut self) -> Result<()> {
        let written = self.file.write_all(b" ");
        let written = written.and_then(|()| self.file.sync_data());
        let undone = self.cut();
        let done = written.and(undone);
        done.map_err(|error| failed("can't write", &self.path, error))
    }

    /// Notes what `memory` does not keep.
    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Log(log) => self.log = *log,
            Entry::Begin { .. } => self.epoch.0 += 1,
            _ => {}
        }
    }

    /// Cuts off everything that was not taken in.
    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.applied)?;
        self.file.sync_data()
    }

    fn forget(&mut self) {
        self.memory = MemoryStore::new();
        self.applied = 0;
        self.epoch = Epoch(0);
    }

    fn tell(&self) {
        let head = self.head();
        self.told
            .send_if_modified(|told| std::mem::replace(told, head) != head);
    }

    fn head(&self) -> Seq {
        *self.memory.watch().borrow()
    }
}

/// A handle's turn with the file: nobody else reads or writes it, and `memory` is what it says.
#[derive(Debug)]
pub(crate) struct Turn(OwnedMutexGuard<Journal>);

impl Turn {
    pub(crate) async fn take(journal: &Arc<Mutex<Journal>>) -> Result<Self> {
        let journal = Arc::clone(journal).lock_owned().await;
        blocking(move || {
            let locked = journal.file.lock();
            locked.map_err(|error| failed("can't lock", &journal.path, error))?;
            let mut turn = Self(journal);
            turn.0.catch_up()?;
            Ok(turn)
        })
        .await
    }

    /// Refuses a handle that has not begun, or after which another one has.
    pub(crate) fn fenced(self) -> Result<Self> {
        if self.own == Some(self.epoch) {
            return Ok(self);
        }
        let message = "another daemon has the store, or none has begun";
        Err(Error::new(ErrorKind::Superseded, message))
    }

    /// Ends the turn with a try whether the file can be written.
    pub(crate) async fn probe(mut self) -> Result<()> {
        blocking(move || self.0.probe()).await
    }

    /// Ends the turn with a call that `memory` has answered. What had an effect is kept; a refusal has none, unless it
    /// told the log something (an outcome that came too late is refused and noted).
    pub(crate) async fn keep<T>(mut self, entry: Entry, answer: Result<T>) -> Result<T> {
        if answer.is_ok() || self.head() != *self.told.borrow() {
            // Goes on to its end even if the caller no longer waits.
            blocking(move || self.0.append(&entry)).await?;
        }
        answer
    }
}

impl Deref for Turn {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // If this fails, so does the next call, which says why.
        let _ = self.0.file.unlock();
    }
}

/// Does work that waits for a disk where waiting harms nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("the journal's thread failed").with_source(error))?
}

fn failed(what: &str, path: &std::path::Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{what} {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use ccm_core::id::SystemId;
    use ccm_core::system::{System, SystemKind};
    use ccm_core::time::Timestamp;

    use super::*;

    fn begin() -> Entry {
        let system = System {
            id: SystemId::new(),
            hostname: "example".to_owned(),
            kind: SystemKind::Developer,
            tags: Vec::new(),
        };
        let now = Timestamp::from_micros(0);
        Entry::Begin { system, now }
    }

    #[tokio::test]
    async fn what_could_not_be_written_did_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::open(path.clone(), watch::Sender::new(Seq(0))).unwrap();
        let good = journal.file.try_clone().unwrap();
        let journal = Arc::new(Mutex::new(journal));

        let mut turn = Turn::take(&journal).await.unwrap();
        // A handle that can only read stands for a disk that fails.
        turn.0.file = File::open(&path).unwrap();
        let (entry, again) = (begin(), begin());
        let Entry::Begin { system, now } = &entry else {
            unreachable!()
        };
        let answer = turn.memory.begin(system, *now).await;
        let error = turn.keep(entry, answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");

        journal.lock().await.file = good;
        let turn = Turn::take(&journal).await.unwrap();
        assert_eq!(
            (turn.head(), turn.epoch, turn.own),
            (Seq(0), Epoch(0), None)
        );
        // Memory is as the file says: it belongs to no system, so another one may begin.
        let Entry::Begin { system, now } = &again else {
            unreachable!()
        };
        let answer = turn.memory.begin(system, *now).await;
        assert_eq!(turn.keep(again, answer).await.unwrap(), Epoch(1));
    }
}
