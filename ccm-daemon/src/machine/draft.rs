//! A copy of a config file for an editor. The file itself is replaced in one step, and only by a text without errors, so
//! nobody ever reads half of a change.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Noun, Result};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::config_file::{ConfigFile, Place};
use super::files::{self, Links};
use super::home::Home;
use super::values::{ConfigErrors, Problem};

/// A copy of a config file that somebody works on. Nobody else does meanwhile.
#[derive(Debug)]
pub struct Draft {
    file: ConfigFile,
    path: PathBuf,
    /// What the file said when the copy was made. `None` if it changed since then.
    base: Option<String>,
    resumed: bool,
    _lock: Flock<File>,
}

/// What is to become of a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It says what the file says, which has these problems.
    Unchanged(Option<ConfigErrors>),
    /// It can't be used.
    Broken(ConfigErrors),
    /// The file was changed since the draft was begun.
    Overtaken,
    /// It can take the file's place. Warnings are worth telling.
    Good(Vec<Problem>),
}

impl ConfigFile {
    /// A draft of this file: the one that was left by an earlier edit, unless `fresh` throws it away, else a new one.
    /// Drafts of projects are in the machine's home: what lies in a project's folder may be somebody else's work.
    ///
    /// # Errors
    /// `WrongState(System)` while somebody else edits the file; `Internal` when the copy can't be written; those of
    /// [`text`](Self::text).
    pub fn draft(&self, home: &Home, fresh: bool) -> Result<Draft> {
        let text = self.text().map_err(Error::from)?;
        home.create()?;
        let hash = short_hash(&self.path());
        let lock = lock(&home.run_dir().join(format!("edit-{hash}.lock")))?;
        let path = match self.place() {
            Place::Machine(_) => self.path().with_file_name("config.draft.yaml"),
            Place::Project(_) => home.run_dir().join(format!("edit-{hash}.yaml")),
        };
        let unwritable = |e: io::Error| {
            Error::internal(format!("the copy {} can't be written", path.display())).with_source(e)
        };
        if fresh {
            remove(&path).map_err(unwritable)?;
        }
        let new = files::create_new(&path, files::SECRET, text.as_bytes()).map_err(unwritable)?;
        Ok(Draft {
            base: (new || !self.is_newer_than(&path)).then_some(text),
            file: self.clone(),
            path,
            resumed: !new,
            _lock: lock,
        })
    }

    fn is_newer_than(&self, draft: &Path) -> bool {
        let changed = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
        match (changed(&self.path()), changed(draft)) {
            (Ok(file), Ok(draft)) => file > draft,
            _ => false,
        }
    }
}

impl Draft {
    /// The copy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier edit left it.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// What can be done with it as it is now.
    ///
    /// # Errors
    /// `Invalid` when it can't be read.
    pub fn judge(&self) -> Result<Verdict> {
        let text = self.text()?;
        let now = self.file.text().ok();
        if now.as_ref() == Some(&text) {
            let broken = self.file.validate_text(&text).err();
            return Ok(Verdict::Unchanged(broken));
        }
        match self.file.validate_text(&text) {
            Err(errors) => Ok(Verdict::Broken(errors)),
            Ok(_) if now != self.base => Ok(Verdict::Overtaken),
            Ok(warnings) => Ok(Verdict::Good(warnings)),
        }
    }

    /// Puts it in the place of the file, if it has no errors. It is kept when that fails.
    ///
    /// # Errors
    /// Those of [`ConfigFile::replace`].
    pub fn install(self) -> Result<()> {
        self.file.replace(&self.text()?)?;
        self.discard()
    }

    /// Throws it away.
    ///
    /// # Errors
    /// `Internal` when it can't be removed.
    pub fn discard(self) -> Result<()> {
        remove(&self.path).map_err(|e| {
            Error::internal(format!("{} can't be removed", self.path.display())).with_source(e)
        })
    }

    fn text(&self) -> Result<String> {
        files::read_text(&self.path, Links::Refused).map_err(|e| {
            Error::invalid(format!("{} can't be read", self.path.display())).with_source(e)
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn lock(path: &Path) -> Result<Flock<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(files::SECRET)
        .open(path)
        .map_err(|e| Error::internal(format!("{} can't be made", path.display())).with_source(e))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Error::new(
            ErrorKind::WrongState(Noun::System),
            "this config file is being edited already; save or leave that editor first",
        )
    })
}

/// What tells the files of two projects apart.
fn short_hash(path: &Path) -> String {
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
