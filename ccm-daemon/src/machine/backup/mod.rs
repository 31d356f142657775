//! Backups: one file that has everything a machine needs to go on, and putting one back.
//!
//! A backup is a plain tar archive. Its first member says what is in it, with a checksum each, so that it can be checked
//! before anything is touched. Data of runs are not in it: the database has what must be kept of them.

mod archive;
mod moves;
mod restore;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ccm_core::id::{Epoch, LogId, Seq, SystemId};
use ccm_core::time::{Clock, SystemClock, Timestamp};
use ccm_core::{Error, ErrorKind, Result};
use ccm_store::{DatabaseFacts, DatabaseFile};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::files;
use super::home::Home;

pub use moves::finish_interrupted;
pub(crate) use moves::is_interrupted;
pub use restore::{Candidate, Parts, Present, Restored, open, present};

/// The version of the archive's layout.
const FORMAT: u32 = 1;
/// The member that says what the others are. The first one.
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "ccm.db";
const CONFIG: &str = "config.yaml";
const TOKEN: &str = "token";
const AUTH: &str = "auth.json";
/// What the members of the trust store begin with.
const TRUST: &str = "trust/";

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    archive::fuzz(bytes);
    moves::fuzz(bytes);
}

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the archive's layout.
    pub format: u32,
    /// The version of the program that made it.
    pub version: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What the machine was called.
    pub hostname: String,
    /// Its machine home.
    pub home: String,
    /// The version of the database's schema.
    pub schema: u32,
    /// The machine's id, if a daemon ever ran.
    pub system_id: Option<SystemId>,
    /// Which event log the database has.
    pub log_id: LogId,
    /// The last event in it.
    pub seq: Seq,
    /// The time of that event.
    pub last_change: Option<Timestamp>,
    /// The last daemon start that the database knows of.
    pub epoch: Epoch,
    /// How many projects it has.
    pub projects: u64,
    /// How many tasks it has.
    pub tasks: u64,
    /// How many of them wait.
    pub queued: u64,
    /// The other members, in their order.
    pub files: Vec<Member>,
}

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its content, as hexadecimal digits.
    pub sha256: String,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// How far something that takes long has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is done at the moment.
    pub doing: &'static str,
    /// How many bytes it has done.
    pub done: u64,
    /// Of how many, if that is known.
    pub of: Option<u64>,
}

/// Where a backup is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// In the home's folder of backups, with the time in its name and perhaps a word behind it.
    Usual(Option<&'static str>),
    /// In this file, or under the usual name in it if it is a folder.
    At {
        /// The file or folder.
        path: PathBuf,
        /// Whether a file that is there is replaced.
        replace: bool,
    },
}

/// Makes a backup of `home`, whether a daemon runs there or not: it has the database as it is at one moment.
///
/// The archive appears whole, checked and on the disk, or not at all. It is for its owner alone: the API token is in it.
///
/// # Errors
/// `Invalid` for a folder that is not there, `NotFound` without a database, `Corrupt` for a damaged one, `DiskFull` without room, `Taken` for a file that is
/// there and must not be replaced.
pub async fn make(
    home: &Home,
    target: &Target,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Made> {
    let now = SystemClock.now();
    let (folder, name) = resolve(home, target, now)?;
    if !folder.is_dir() {
        return Err(Error::invalid(format!(
            "there is no folder {} to put it in",
            folder.display()
        )));
    }
    let path = folder.join(name);
    let replace = matches!(target, Target::At { replace: true, .. });
    if !replace && fs::symlink_metadata(&path).is_ok() {
        return Err(taken(&path));
    }
    let database = database(home);
    if !database.path().exists() {
        return Err(Error::new(
            ErrorKind::NotFound(ccm_core::Noun::System),
            format!(
                "there is no database {} to back up; the daemon makes it at its first start",
                database.path().display()
            ),
        ));
    }
    let copy = Temporary::beside(&path, "db")?;
    let facts = copied(&database, copy.path(), progress).await?;
    let mut parts = vec![(DATABASE.to_owned(), copy.path().to_owned())];
    // What is small comes first: then what the database must be put beside is known before it is unpacked.
    parts.splice(0..0, small_files(home)?);
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: now,
        hostname: hostname(home),
        home: home.dir().display().to_string(),
        schema: facts.schema,
        system_id: facts.system,
        log_id: facts.log,
        seq: facts.head,
        last_change: facts.last_change,
        epoch: facts.epoch,
        projects: facts.projects.len() as u64,
        tasks: facts.tasks,
        queued: facts.queued,
        files: parts
            .iter()
            .map(|(name, from)| archive::describe(name, from).map_err(|e| unreadable(from, e)))
            .collect::<Result<_>>()?,
    };
    let part = Temporary::beside(&path, "part")?;
    let size = archive::write(part.path(), &manifest, &parts, progress)
        .and_then(|size| part.take(&path, replace).map(|()| size))
        .map_err(|error| not_written(&path, error))?;
    Ok(Made {
        path,
        size,
        manifest,
    })
}

async fn copied(
    database: &DatabaseFile,
    to: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<DatabaseFacts> {
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(200);
    let size = fs::metadata(database.path()).map(|meta| meta.len()).ok();
    let copying = database.copy_to(to);
    let mut copying = std::pin::pin!(copying);
    loop {
        tokio::select! {
            copied = copying.as_mut() => return copied,
            () = tokio::time::sleep(LOOK_EVERY) => {
                let done = fs::metadata(to).map_or(0, |meta| meta.len());
                progress(Progress { doing: "copying the database", done, of: size });
            }
        }
    }
}

/// The database that the config names; the usual one if the config can't be read.
pub(crate) fn database(home: &Home) -> DatabaseFile {
    DatabaseFile::at(Config::load(home).map_or_else(
        |_| home.dir().join(DATABASE),
        |loaded| loaded.config.database.sqlite_path,
    ))
}

fn hostname(home: &Home) -> String {
    Config::load(home).map_or_else(
        |_| super::setup::hostname(),
        |loaded| loaded.config.system.hostname,
    )
}

fn auth_file(home: &Home) -> PathBuf {
    Config::load(home).map_or_else(
        |_| home.dir().join(AUTH),
        |loaded| loaded.config.supabase.auth_file,
    )
}

/// Everything but the database, by its name in the archive.
fn small_files(home: &Home) -> Result<Vec<(String, PathBuf)>> {
    let mut parts = vec![
        (CONFIG.to_owned(), home.config_file().to_owned()),
        (TOKEN.to_owned(), home.token_file()),
        (AUTH.to_owned(), auth_file(home)),
    ];
    let trust = home.trust_dir();
    match fs::read_dir(&trust) {
        Ok(entries) => {
            let mut records: Vec<_> = entries
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| !name.starts_with('.'))
                .collect();
            records.sort();
            let named = records
                .into_iter()
                .map(|name| (format!("{TRUST}{name}"), trust.join(name)));
            parts.extend(named);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&trust, error)),
    }
    parts.retain(|(_, path)| path.exists());
    Ok(parts)
}

fn resolve(home: &Home, target: &Target, now: Timestamp) -> Result<(PathBuf, String)> {
    let (path, word) = match target {
        Target::Usual(word) => {
            let folder = home.backups_dir();
            files::create_private_dir(&folder).map_err(|e| not_written(&folder, e))?;
            (folder, *word)
        }
        Target::At { path, .. } => (path.clone(), None),
    };
    if !path.is_dir() {
        let name = path
            .file_name()
            .ok_or_else(|| Error::invalid(format!("{} can't be a backup", path.display())))?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = name.to_str().ok_or_else(|| {
            Error::invalid(format!("the name {} is no UTF-8 text", path.display()))
        })?;
        return Ok((folder, name.to_owned()));
    }
    let stamp = stamp(now);
    let word = word.map(|word| format!("-{word}")).unwrap_or_default();
    let first = format!("ccm-{stamp}{word}.tar");
    let others = (2_u32..).map(|n| format!("ccm-{stamp}{word}-{n}.tar"));
    let free = std::iter::once(first)
        .chain(others)
        .find(|name| fs::symlink_metadata(path.join(name)).is_err());
    Ok((path, free.unwrap_or_default()))
}

/// A moment as part of a file's name.
fn stamp(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

fn taken(path: &Path) -> Error {
    Error::new(
        ErrorKind::Taken(ccm_core::Noun::System),
        format!("{} is there already and was left as it is", path.display()),
    )
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("{} can't be read", path.display()),
    )
    .with_source(error)
}

fn not_written(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            ErrorKind::DiskFull,
            format!(
                "there is no room for {}; nothing of it was left there",
                path.display()
            ),
        )
        .with_source(error),
        io::ErrorKind::AlreadyExists => taken(path),
        _ => Error::new(
            ErrorKind::Unavailable,
            format!("{} can't be written", path.display()),
        )
        .with_source(error),
    }
}

/// What the names of our unfinished files begin with; what a program that was killed leaves of them is only litter.
pub(crate) const UNFINISHED: &str = ".ccm-unfinished-";

/// The name of a file that is not finished, in the folder it belongs in. Removed with this unless it was taken.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn beside(path: &Path, what: &str) -> Result<Self> {
        let random = files::random_hex(8).map_err(|e| not_written(path, e))?;
        Ok(Self(
            path.with_file_name(format!("{UNFINISHED}{random}.{what}")),
        ))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Gives the file its name, for good.
    fn take(&self, path: &Path, replace: bool) -> io::Result<()> {
        if replace {
            fs::rename(&self.0, path)?;
        } else if let Err(error) = fs::hard_link(&self.0, path) {
            // Some file systems have no links; then a look has to do.
            if error.kind() == io::ErrorKind::AlreadyExists || fs::symlink_metadata(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(&self.0, path)?;
        }
        sync_folder_of(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
