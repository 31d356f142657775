//! Putting a backup in the place of what is there.
//!
//! In this order: the backup is unpacked and checked beside the home, and until then nothing has changed. Whoever calls
//! then stops the daemon and takes its lock. What is there is backed up, and all files change places together.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ccm_core::id::{Epoch, RunId, SystemId};
use ccm_core::time::{Clock, SystemClock};
use ccm_core::{Error, ErrorKind, Noun, Result};
use ccm_store::{DatabaseFacts, DatabaseFile, Depth};
use serde::Serialize;

use super::super::config::{Config, Unknown};
use super::super::files;
use super::super::home::Home;
use super::super::running::DaemonLock;
use super::moves::{self, Move};
use super::{
    AUTH, CONFIG, DATABASE, Manifest, Progress, TOKEN, Target, UNFINISHED, archive, not_written,
    unreadable,
};

/// What of a backup is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// Everything that is in it.
    All,
    /// The database alone; config, token and trust stay as they are.
    Database,
}

/// A backup that was unpacked and found to be good.
#[derive(Debug)]
pub struct Candidate {
    /// What it says about itself; a database alone says nothing.
    pub manifest: Option<Manifest>,
    /// What is in its database.
    pub facts: DatabaseFacts,
    staging: Staging,
    /// The config that counts once it is restored.
    config: Option<Config>,
    parts: Parts,
}

/// The database that a backup would take the place of.
#[derive(Debug)]
pub enum Present {
    /// There is none.
    None,
    /// A good one.
    Sound(DatabaseFacts),
    /// One that can't be read.
    Unreadable(Error),
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The database that was restored.
    pub database: PathBuf,
    /// How many tasks it has.
    pub tasks: u64,
    /// How many of them wait, and are done once the daemon runs.
    pub queued: u64,
    /// The backup of what was there before, if that could be backed up.
    pub before: Option<PathBuf>,
    /// What was there before as it was, if it could not.
    pub replaced: Vec<PathBuf>,
    /// Whether its projects rest because its queue is shared: what other machines know to be done would be done again.
    pub rests: bool,
}

/// Unpacks and checks `file`: a backup, or a database of CCM such as the copy made before a change of schema.
///
/// # Errors
/// `Corrupt`, `TooNew` or `Invalid` for one that can't be restored, `Taken` for a database of another machine than the
/// config that stays. Nothing has changed then.
pub async fn open(
    home: &Home,
    file: &Path,
    parts: Parts,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Candidate> {
    let is_database = is_database(file)?;
    let staging = Staging::new(home)?;
    let database = DatabaseFile::at(staging.file(DATABASE));
    let manifest = if is_database {
        DatabaseFile::at(file).copy_to(database.path()).await?;
        None
    } else {
        Some(archive::unpack(file, staging.path(), progress)?)
    };
    let facts = database.check(Depth::Full).await?;
    let parts = if is_database { Parts::Database } else { parts };
    let config = config_after(home, &staging, parts)?;
    let own = config.as_ref().and_then(|config| config.system.id);
    if let (Some(own), Some(theirs)) = (own, facts.system)
        && own != theirs
    {
        return Err(another_machine(file, own, theirs, is_database));
    }
    Ok(Candidate {
        manifest,
        facts,
        staging,
        config,
        parts,
    })
}

fn another_machine(file: &Path, own: SystemId, theirs: SystemId, is_database: bool) -> Error {
    let way = if is_database {
        format!("if it is to become that one, run `ccm config set system.id {theirs}` first")
    } else {
        "restore all of it if this machine is to become that one".to_owned()
    };
    Error::new(
        ErrorKind::Taken(Noun::System),
        format!(
            "the database in {} belongs to the machine {theirs}, and this one is {own}; {way}",
            file.display()
        ),
    )
}

fn is_database(file: &Path) -> Result<bool> {
    let mut start = [0; 16];
    let mut open =
        files::open(file, files::Links::Followed).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("there is no {}", file.display()),
            ),
            _ => unreadable(file, error),
        })?;
    match open.read_exact(&mut start) {
        Ok(()) => Ok(&start == b"SQLite format 3\0"),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(unreadable(file, error)),
    }
}

/// The config that there will be: the backup's, or the one that stays. None if that can't be read.
fn config_after(home: &Home, staging: &Staging, parts: Parts) -> Result<Option<Config>> {
    let theirs = staging.file(CONFIG);
    if parts == Parts::Database || !theirs.exists() {
        return Ok(Config::load(home).ok().map(|loaded| loaded.config));
    }
    let text = files::read_text(&theirs, files::Links::Refused)
        .map_err(|error| unreadable(&theirs, error))?;
    match Config::from_text(home, &text, Unknown::Warned) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(errors) => Err(Error::invalid(format!(
            "the config in the backup can't be used by this program, so that only its database can be restored: \
             {errors}"
        ))),
    }
}

/// The database that is there.
pub async fn present(home: &Home) -> Present {
    let database = super::database(home);
    if !database.path().exists() {
        return Present::None;
    }
    match database.check(Depth::Full).await {
        Ok(facts) => Present::Sound(facts),
        Err(error) => Present::Unreadable(error),
    }
}

impl Present {
    /// Whether it has something that `backup` doesn't, and how many changes, if that can be counted.
    pub fn is_newer_than(&self, backup: &DatabaseFacts) -> Option<Option<u64>> {
        let Self::Sound(facts) = self else {
            return None;
        };
        if facts.log == backup.log {
            let newer = facts.head.0.checked_sub(backup.head.0)?;
            return (newer > 0).then_some(Some(newer));
        }
        (facts.last_change > backup.last_change).then_some(None)
    }
}

impl Candidate {
    /// Puts the backup in the place of what is there, with every project `paused` if that is wished. No daemon runs, and none can start: `lock` is its lock.
    ///
    /// # Errors
    /// `WrongState(Run)` while runs go on, and what [`make`](super::make) says when there is no room for a backup of
    /// what is there. Nothing has changed then. `Unavailable` when a file could not be moved; the daemon's next start
    /// goes on with it.
    pub async fn restore(
        self,
        home: &Home,
        lock: &DaemonLock,
        present: &Present,
        paused: bool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Restored> {
        let alive = runs_alive(home)?;
        if !alive.is_empty() {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Run),
                format!(
                    "runs go on without a daemon ({}); start it and end them with `ccm-orchestrator daemon stop --agents`",
                    alive.len()
                ),
            ));
        }
        let before = match present {
            Present::Sound(_) => {
                let target = Target::Usual(Some("before-restore"));
                Some(super::make(home, &target, progress).await?.path)
            }
            Present::None | Present::Unreadable(_) => None,
        };
        home.create()?;
        let epoch = highest_epoch(home, &self.facts, present);
        let known = match present {
            Present::Sound(facts) => facts.incarnation,
            Present::None | Present::Unreadable(_) => None,
        };
        let rests = known.is_some() || self.facts.incarnation.is_some();
        DatabaseFile::at(self.staging.file(DATABASE))
            .begin_anew(epoch, paused || rests, known)
            .await?;
        let moves = self.moves(home)?;
        let database = moves[0].target.clone();
        let asides: Vec<PathBuf> = moves
            .iter()
            .flat_map(|one| {
                let along = one.along.iter().map(|(_, aside)| aside.clone());
                along.chain([one.aside.clone()])
            })
            .collect();
        moves::make(home, lock, moves)?;
        let mut replaced: Vec<PathBuf> = asides.into_iter().filter(|path| path.exists()).collect();
        // An empty folder has nothing to keep.
        replaced.retain(|path| fs::remove_dir(path).is_err());
        if before.is_some() {
            // All of it is in the backup; what can't be removed is shown.
            replaced.retain(|path| remove(path).is_err());
        }
        Ok(Restored {
            database,
            tasks: self.facts.tasks,
            queued: self.facts.queued,
            before,
            replaced,
            rests,
        })
    }

    /// What goes where; the database first.
    fn moves(&self, home: &Home) -> Result<Vec<Move>> {
        let config = self.config.as_ref();
        let database = config.map_or_else(
            || home.dir().join(DATABASE),
            |config| config.database.sqlite_path.clone(),
        );
        let auth = config.map_or_else(
            || home.dir().join(AUTH),
            |config| config.supabase.auth_file.clone(),
        );
        let mut places = vec![(DATABASE, database)];
        if self.parts == Parts::All {
            places.extend([
                (CONFIG, home.config_file().to_owned()),
                (TOKEN, home.token_file()),
                (AUTH, auth),
                ("trust", home.trust_dir()),
            ]);
        }
        let end = format!(".replaced-{}", super::stamp(SystemClock.now()));
        let mut moves = Vec::new();
        for (name, target) in places {
            let from = self.staging.file(name);
            if !from.exists() {
                continue;
            }
            // A link is the user's own arrangement, and what it leads to is what is replaced.
            let target = fs::canonicalize(&target).unwrap_or(target);
            let aside = with_end(&target, &end);
            let along = match name {
                DATABASE => DatabaseFile::at(&target)
                    .beside()
                    .map(|from| {
                        let aside = with_end(&from, &end);
                        (from, aside)
                    })
                    .to_vec(),
                _ => Vec::new(),
            };
            moves.push(Move {
                staged: beside(&from, &target)?,
                target,
                aside,
                along,
            });
        }
        Ok(moves)
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Moves something to where it can take the place of `target` in one step.
fn beside(from: &Path, target: &Path) -> Result<PathBuf> {
    let failed = |error| not_written(target, error);
    if let Some(folder) = target.parent() {
        files::create_private_dir(folder).map_err(failed)?;
    }
    let random = files::random_hex(8).map_err(failed)?;
    let staged = target.with_file_name(format!("{UNFINISHED}{random}.restore"));
    match fs::rename(from, &staged) {
        // On another disk.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copied = fs::copy(from, &staged).and_then(|_| File::open(&staged)?.sync_all());
            if copied.is_err() {
                let _ = fs::remove_file(&staged);
            }
            copied.map_err(failed)?;
        }
        renamed => renamed.map_err(failed)?,
    }
    Ok(staged)
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// The highest daemon start that anybody on this machine may have heard of: hosts refuse lower ones.
fn highest_epoch(home: &Home, backup: &DatabaseFacts, present: &Present) -> Epoch {
    #[derive(serde::Deserialize)]
    struct Told {
        epoch: Epoch,
    }
    let told = |path: PathBuf| {
        let text = fs::read(path).ok()?;
        Some(serde_json::from_slice::<Told>(&text).ok()?.epoch)
    };
    let each = |folder: PathBuf, name: &'static str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(move |entry| told(entry.path().join(name)))
    };
    let mut highest = backup.epoch;
    if let Present::Sound(facts) = present {
        highest = highest.max(facts.epoch);
    }
    each(home.dir().join("agents"), "place.json")
        .chain(each(home.runs_dir(), "launch"))
        .chain(told(home.run_dir().join("daemon.json")))
        .fold(highest, Ord::max)
}

/// The runs whose host has them in hand at this moment. Only for whoever keeps new ones from starting.
fn runs_alive(home: &Home) -> Result<Vec<RunId>> {
    let entries = match fs::read_dir(home.runs_dir()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&home.runs_dir(), error)),
    };
    Ok(entries
        .flatten()
        .filter(|entry| files::is_locked(&entry.path().join("lock")))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// A folder in the home that is gone with this.
#[derive(Debug)]
struct Staging {
    dir: PathBuf,
    /// A home that was made for it alone.
    home: Option<PathBuf>,
}

impl Staging {
    fn new(home: &Home) -> Result<Self> {
        let failed = |error| not_written(home.dir(), error);
        let is_new = files::create_private_dir(home.dir()).map_err(failed)?;
        let random = files::random_hex(8).map_err(failed)?;
        let staging = Self {
            dir: home.dir().join(format!("{UNFINISHED}{random}.restore")),
            home: is_new.then(|| home.dir().to_owned()),
        };
        files::create_private_dir(&staging.dir).map_err(failed)?;
        Ok(staging)
    }

    fn path(&self) -> &Path {
        &self.dir
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
        if let Some(home) = &self.home {
            // Stays if something is in it by now.
            let _ = fs::remove_dir(home);
        }
    }
}
