//! A database as a file: what is in it, a whole copy of it, and giving a copy its place. None of it needs a store.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::id::{AgentId, Epoch, LogId, ProjectId, RunId, Seq, SystemId};
use ccm_core::sync::Hlc;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Result};
use sea_orm::sqlx::sqlite::SqliteConnectOptions;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, QueryResult,
    Statement,
};
use uuid::Uuid;

use crate::error::{corrupt_file, from_open};
use crate::migration::{APPLICATION_ID, VERSION};
use crate::replica;
use crate::values::{Id, count};

/// How long to wait for another program that has the database locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database of CCM, as a file that another program may be using at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFile(PathBuf);

/// What is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// The version of its schema.
    pub schema: u32,
    /// The machine whose it is, if a daemon ever ran on it.
    pub system: Option<SystemId>,
    /// Which log it has.
    pub log: LogId,
    /// The number of the last event in it.
    pub head: Seq,
    /// The time of that event.
    pub last_change: Option<Timestamp>,
    /// The last daemon start that it knows of.
    pub epoch: Epoch,
    /// How many tasks it has, whatever became of them.
    pub tasks: u64,
    /// How many of them wait.
    pub queued: u64,
    /// The runs in it that have not ended.
    pub open_runs: Vec<RunId>,
    /// The projects in it.
    pub projects: Vec<ProjectPlace>,
    /// Their agents.
    pub agents: Vec<AgentId>,
    /// The incarnation that the server of a shared queue knows this machine by, as far as is known in it; `None` if it never
    /// shared.
    pub incarnation: Option<Uuid>,
}

/// Where a project is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectPlace {
    /// Its id.
    pub id: ProjectId,
    /// What it is called.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
}

/// How well a database is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its structure, page by page: cheap enough to be done now and then.
    Quick,
    /// Everything: the indexes against the tables, and every reference.
    Full,
}

impl DatabaseFile {
    /// The database at `path`, which need not be there.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The newest schema that this program knows.
    pub const fn newest_schema() -> u32 {
        VERSION
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its write-ahead log and the index of that, whether they are there or not.
    pub fn beside(&self) -> [PathBuf; 2] {
        ["-wal", "-shm"].map(|end| {
            let mut name = self.0.as_os_str().to_owned();
            name.push(end);
            name.into()
        })
    }

    /// What is in it. Changes nothing, also while a daemon uses it.
    ///
    /// # Errors
    /// `Corrupt` for a file that is damaged or none of CCM's, `TooNew` for one of a newer program, `Unavailable` for one
    /// that is not there or can't be read.
    pub async fn facts(&self) -> Result<DatabaseFacts> {
        self.read(async |db| facts(db).await).await
    }

    /// What is in it, after looking for damage.
    ///
    /// # Errors
    /// As those of [`facts`](Self::facts); `Corrupt` names the first damage that was found.
    pub async fn check(&self, depth: Depth) -> Result<DatabaseFacts> {
        let damage = self.read(async |db| damage(db, depth).await).await?;
        if let Some(damage) = damage {
            return Err(corrupt_file(&self.0).with_source(damage));
        }
        self.facts().await
    }

    /// Puts a whole and checked copy of it, as it is at one moment, at `to`, which must not exist. It is for its owner
    /// alone, and on the disk when this returns. The database may be in use.
    ///
    /// # Errors
    /// As those of [`check`](Self::check); `DiskFull` without room. Nothing is left at `to` then.
    pub async fn copy_to(&self, to: &Path) -> Result<DatabaseFacts> {
        // SQLite fills a file that is there as long as it is empty, and this one has its mode from the start.
        private()
            .create_new(true)
            .open(to)
            .map_err(|error| not_made(to, error))?;
        let copied = async {
            self.read(async |db| copy(db, to).await).await?;
            File::open(to)
                .and_then(|file| file.sync_all())
                .map_err(|error| not_made(to, error))?;
            Self::at(to).check(Depth::Full).await
        }
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::DiskFull => no_room(to, error),
            _ => error,
        });
        if copied.is_err() {
            // A part of a copy would only mislead.
            let _ = fs::remove_file(to);
        }
        copied
    }

    /// Makes a copy the database of a machine that has gone on since: its log gets a new id, so that whoever read the
    /// log beyond the copy's end begins anew, and the next daemon's epoch will be above `highest`. With `paused` nothing
    /// is started until projects are resumed.
    ///
    /// A queue that is shared gets a new incarnation, and takes the place of `known`, the one that the server knows, or of
    /// its own old one: everything is numbered, sent and fetched anew.
    ///
    /// # Errors
    /// As those of [`facts`](Self::facts).
    pub async fn begin_anew(
        &self,
        highest: Epoch,
        paused: bool,
        known: Option<Uuid>,
    ) -> Result<()> {
        self.known()?;
        let epoch = i64::try_from(highest.0)
            .map_err(|_| Error::invalid(format!("{highest} is no epoch")))?;
        let db = self.connect(false, false).await?;
        // Whoever reads the log begins anew, so that no event has to tell of these.
        let changed = async {
            if paused {
                db.execute_unprepared("UPDATE project SET paused = 1")
                    .await?;
            }
            live_anew(&db, known).await?;
            db.execute_raw(Statement::from_sql_and_values(
                DbBackend::Sqlite,
                "UPDATE meta SET log_id = ?, epoch = max(epoch, ?)",
                [LogId::new().bytes().into(), epoch.into()],
            ))
            .await
        }
        .await;
        let closed = db.close().await;
        changed
            .and(closed)
            .map_err(|error| from_open(&self.0, error))?;
        File::open(&self.0)
            .and_then(|file| file.sync_all())
            .map_err(|error| not_made(&self.0, error))
    }

    /// The schema that its header names, before SQLite is asked.
    fn known(&self) -> Result<()> {
        let mut header = [0; 100];
        let read = File::open(&self.0).and_then(|mut file| file.read_exact(&mut header));
        match read {
            Ok(()) => {}
            Err(error) if error.kind() == IoKind::UnexpectedEof => {
                return Err(corrupt_file(&self.0));
            }
            Err(error) => {
                return Err(Error::unavailable(format!(
                    "the database {} can't be read",
                    self.0.display()
                ))
                .with_source(error));
            }
        }
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(corrupt_file(&self.0));
        }
        let version = u32::from_be_bytes([header[60], header[61], header[62], header[63]]);
        refuse_newer(&self.0, version)
    }

    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, DbErr>,
    ) -> Result<T> {
        self.known()?;
        // With nobody at work and no log all of it is in the file, and SQLite need put nothing beside it to read it.
        let [log, index] = self.beside();
        let is_whole = !index.exists() && fs::metadata(log).map_or(true, |log| log.len() == 0);
        let db = self.connect(true, is_whole).await?;
        let done = async {
            let (schema, application) = marks(&db).await?;
            Ok::<_, DbErr>(match (schema, application) {
                (1..=VERSION, APPLICATION_ID) => Ok(work(&db).await?),
                (_, APPLICATION_ID) => {
                    refuse_newer(&self.0, schema).and_then(|()| Err(corrupt_file(&self.0)))
                }
                _ => Err(corrupt_file(&self.0)),
            })
        }
        .await;
        // It only read, so that closing it can't lose anything.
        let _ = db.close().await;
        done.map_err(|error| from_open(&self.0, error))?
    }

    async fn connect(&self, read_only: bool, immutable: bool) -> Result<DatabaseConnection> {
        let mut connect = ConnectOptions::new("sqlite://");
        let path = self.0.clone();
        connect
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(move |base: SqliteConnectOptions| {
                base.filename(&path)
                    .create_if_missing(false)
                    .read_only(read_only)
                    .immutable(immutable)
                    .foreign_keys(false)
                    .busy_timeout(PATIENCE)
            });
        Database::connect(connect)
            .await
            .map_err(|error| from_open(&self.0, error))
    }
}

/// Whether the database is of a schema that can share.
async fn can_share(db: &DatabaseConnection) -> Result<bool, DbErr> {
    let sql = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'sharing'";
    Ok(number(db, sql).await? > 0)
}

/// Gives a queue that is shared another incarnation.
async fn live_anew(db: &DatabaseConnection, known: Option<Uuid>) -> Result<(), DbErr> {
    if !can_share(db).await? {
        return Ok(());
    }
    if let Some(known) = known {
        // The copy may be from before the machine began to share; the server knows it all the same.
        let sql = "INSERT OR IGNORE INTO sharing (id, system_id, incarnation, acknowledged, sealed, cursor, complete, generation, \
             last_place, left_marks) SELECT 1, id, ?, 0, 0, 0, 0, 0, 0, x'' FROM system LIMIT 1";
        db.execute_raw(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            sql,
            [known.bytes().into()],
        ))
        .await?;
    }
    let kept = rows(
        db,
        "SELECT COALESCE(sharing.previous, sharing.incarnation), meta.sharing, meta.hlc_time, meta.hlc_count \
         FROM sharing CROSS JOIN meta",
    )
    .await?;
    let Some(kept) = kept.first() else {
        return Ok(());
    };
    let before = match known {
        Some(known) => known,
        None => id(kept, 0)?,
    };
    let (time, count): (i64, i64) = (kept.try_get_by_index(2)?, kept.try_get_by_index(3)?);
    let clock = Hlc {
        time: time.saturating_add(1),
        count: u32::try_from(count).unwrap_or_default(),
    };
    for (sql, values) in replica::live_anew(before, kept.try_get_by_index(1)?, clock) {
        db.execute_raw(Statement::from_sql_and_values(
            DbBackend::Sqlite,
            sql,
            values,
        ))
        .await?;
    }
    Ok(())
}

/// A new file for its owner alone.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Has SQLite write what the connection sees into the empty file at `to`.
pub(crate) async fn copy(db: &DatabaseConnection, to: &Path) -> Result<(), DbErr> {
    let name = to.to_str().ok_or_else(|| {
        DbErr::Custom(format!(
            "the path {} is no UTF-8, so no copy can be made there",
            to.display()
        ))
    })?;
    db.query_all_raw(Statement::from_sql_and_values(
        DbBackend::Sqlite,
        "VACUUM INTO ?",
        [name.into()],
    ))
    .await
    .map(drop)
}

pub(crate) fn refuse_newer(path: &Path, version: u32) -> Result<()> {
    refuse_newer_than(path, version, VERSION)
}

pub(crate) fn refuse_newer_than(path: &Path, version: u32, newest: u32) -> Result<()> {
    if version <= newest {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooNew,
        format!(
            "{} has schema {version}, and this program knows schemas up to {newest}; it was left as it is: install the \
             newer program again, or put back the backup that lies beside it",
            path.display()
        ),
    ))
}

fn not_made(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        IoKind::StorageFull | IoKind::QuotaExceeded => return no_room(path, error),
        IoKind::AlreadyExists => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("{} can't be written", path.display())).with_source(error)
}

fn no_room(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        ErrorKind::DiskFull,
        format!(
            "there is no room for a copy of the database at {}; make some and try again",
            path.display()
        ),
    )
    .with_source(error)
}

async fn rows(db: &DatabaseConnection, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql))
        .await
}

async fn row(db: &DatabaseConnection, sql: &str) -> Result<QueryResult, DbErr> {
    rows(db, sql)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| DbErr::Type(format!("no answer to {sql}")))
}

async fn number(db: &DatabaseConnection, sql: &str) -> Result<i64, DbErr> {
    row(db, sql).await?.try_get_by_index(0)
}

/// The version of the schema, and whose file it is.
async fn marks(db: &DatabaseConnection) -> Result<(u32, u32), DbErr> {
    let small = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok((
        small(number(db, "PRAGMA user_version").await?),
        small(number(db, "PRAGMA application_id").await?),
    ))
}

/// The first damage, in SQLite's words.
pub(crate) async fn damage(db: &DatabaseConnection, depth: Depth) -> Result<Option<String>, DbErr> {
    let look = match depth {
        Depth::Quick => "PRAGMA quick_check(1)",
        Depth::Full => "PRAGMA integrity_check(1)",
    };
    let said: String = row(db, look).await?.try_get_by_index(0)?;
    if said != "ok" {
        return Ok(Some(said));
    }
    if depth == Depth::Quick {
        return Ok(None);
    }
    let Some(broken) = rows(db, "PRAGMA foreign_key_check")
        .await?
        .into_iter()
        .next()
    else {
        return Ok(None);
    };
    let (table, parent): (String, String) =
        (broken.try_get_by_index(0)?, broken.try_get_by_index(2)?);
    Ok(Some(format!(
        "a row of {table} belongs to a {parent} that is not there"
    )))
}

async fn facts(db: &DatabaseConnection) -> Result<DatabaseFacts, DbErr> {
    let unreadable = |error: Error| DbErr::Type(error.to_string());
    let (schema, _) = marks(db).await?;
    let meta = row(db, "SELECT log_id, epoch, last_seq, queued FROM meta").await?;
    let log: Vec<u8> = meta.try_get_by_index(0)?;
    let whole =
        |at: usize| -> Result<u64, DbErr> { count(meta.try_get_by_index(at)?).map_err(unreadable) };
    let last = rows(db, "SELECT time FROM event ORDER BY seq DESC LIMIT 1").await?;
    let last: Option<i64> = last
        .first()
        .map(|row| row.try_get_by_index(0))
        .transpose()?;
    let system = rows(db, "SELECT id FROM system LIMIT 1").await?;
    let mut projects = Vec::new();
    for row in rows(
        db,
        "SELECT id, name, path FROM project WHERE removed_at IS NULL ORDER BY name",
    )
    .await?
    {
        let path: Vec<u8> = row.try_get_by_index(2)?;
        projects.push(ProjectPlace {
            id: id(&row, 0)?,
            name: row.try_get_by_index(1)?,
            path: <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(path).into(),
        });
    }
    let agents = rows(
        db,
        "SELECT agent.id FROM agent JOIN project ON project.id = agent.project_id WHERE project.removed_at IS NULL",
    )
    .await?;
    let open_runs = rows(db, crate::lists::OPEN_RUN_IDS).await?;
    let incarnation = match can_share(db).await? {
        true => rows(db, "SELECT COALESCE(previous, incarnation) FROM sharing").await?,
        false => Vec::new(),
    };
    Ok(DatabaseFacts {
        schema,
        system: system.first().map(|row| id(row, 0)).transpose()?,
        log: LogId::read(&log).map_err(unreadable)?,
        head: Seq(whole(2)?),
        last_change: last.map(Timestamp::from_micros),
        epoch: Epoch(whole(1)?),
        tasks: count(number(db, "SELECT COUNT(*) FROM task").await?).map_err(unreadable)?,
        queued: whole(3)?,
        open_runs: open_runs
            .iter()
            .map(|row| id(row, 0))
            .collect::<Result<_, _>>()?,
        projects,
        agents: agents
            .iter()
            .map(|row| id(row, 0))
            .collect::<Result<_, _>>()?,
        incarnation: incarnation.first().map(|row| id(row, 0)).transpose()?,
    })
}

fn id<T: Id>(row: &QueryResult, at: usize) -> Result<T, DbErr> {
    let bytes: Vec<u8> = row.try_get_by_index(at)?;
    T::read(&bytes).map_err(|error| DbErr::Type(error.to_string()))
}
