//! Opening a database: what it is, whether it may be opened, and bringing its schema up to date.

mod backup;

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind as IoKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Result};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
};
use sea_orm_migration::MigratorTraitSelf;

use crate::config::SqliteOptions;
use crate::error::{corrupt_file, from_open};
use crate::file::{private, refuse_newer_than};
use crate::migration::APPLICATION_ID;

/// A schema that this program can bring a database to.
pub(crate) struct Schema<M> {
    /// Its number.
    pub(crate) version: u32,
    /// What leads to it.
    pub(crate) migrations: M,
}

/// What was done to a database of an older schema when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The schema that it had.
    pub from: u32,
    /// The schema that it has now.
    pub to: u32,
    /// Where it is as it was before.
    pub backup: PathBuf,
}

/// Where a database is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a file.
    File(PathBuf),
    /// In memory, under a name that the connections of this process share.
    Memory(String),
}

/// Pages of cache for each connection, in KiB (negative for SQLite).
const CACHE: &str = "-1024";
/// What the write-ahead log is cut back to after it grew.
const KEPT_LOG: &str = "8388608";
/// SQLite's page size.
const PAGE: u64 = 4096;

/// The writing connection to a database that has the schema, after looking at it without touching it.
pub(crate) async fn writer<M: MigratorTraitSelf>(
    place: &Place,
    options: &SqliteOptions,
    schema: &Schema<M>,
) -> Result<(DatabaseConnection, Option<Migrated>)> {
    match place {
        Place::Memory(_) => {
            let db = connect(place, options, true).await.map_err(internal)?;
            migrate(&db, schema).await.map_err(internal)?;
            Ok((db, None))
        }
        Place::File(path) => {
            let found = look(path, options, schema.version).await?;
            if found.is_none() {
                create(path)?;
            }
            let db = connect(place, options, true)
                .await
                .map_err(|error| from_open(path, error))?;
            let prepared = prepare(&db, path, found, schema).await;
            if prepared.is_err() {
                // Nothing more can be done about a connection that is given up.
                let _ = db.close_by_ref().await;
            }
            prepared.map(|migrated| (db, migrated))
        }
    }
}

async fn prepare<M: MigratorTraitSelf>(
    db: &DatabaseConnection,
    path: &Path,
    found: Option<u32>,
    schema: &Schema<M>,
) -> Result<Option<Migrated>> {
    let found = found.unwrap_or(0);
    if found == schema.version {
        return Ok(None);
    }
    let backup = match found {
        0 => None,
        _ => Some(backup::make(db, path, found, schema.version).await?),
    };
    if let Some(backup) = &backup {
        tracing::info!(
            from = found, to = schema.version, backup = %backup.display(),
            "bringing the database to a newer schema"
        );
    }
    if let Err(error) = migrate(db, schema).await {
        if let (Some(backup), Ok(seen)) = (backup, inspect(db).await)
            && seen.version == found
        {
            // Nothing came of it, and a program that is started again and again must not fill the disk with copies.
            let _ = fs::remove_file(backup);
        }
        return Err(not_migrated(path, found, schema.version, error));
    }
    let Some(backup) = backup else {
        return Ok(None);
    };
    backup::forget_oldest(path, &backup);
    Ok(Some(Migrated {
        from: found,
        to: schema.version,
        backup,
    }))
}

fn not_migrated(path: &Path, from: u32, to: u32, error: DbErr) -> Error {
    let error = from_open(path, error);
    Error::new(
        error.kind(),
        format!(
            "the database {} could not be brought from schema {from} to {to} and is as it was",
            path.display()
        ),
    )
    .with_source(error)
}

async fn migrate<M: MigratorTraitSelf>(
    db: &DatabaseConnection,
    schema: &Schema<M>,
) -> Result<(), DbErr> {
    schema.migrations.up(db, None).await
}

/// The pool of connections that only read.
pub(crate) async fn readers(place: &Place, options: &SqliteOptions) -> Result<DatabaseConnection> {
    connect(place, options, false)
        .await
        .map_err(|error| match place {
            Place::File(path) => from_open(path, error),
            Place::Memory(_) => internal(error),
        })
}

fn internal(error: DbErr) -> Error {
    Error::internal("the database in memory can't be opened").with_source(error)
}

async fn connect(
    place: &Place,
    options: &SqliteOptions,
    write: bool,
) -> Result<DatabaseConnection, DbErr> {
    let mut connect = ConnectOptions::new("sqlite://");
    connect
        .max_connections(if write { 1 } else { options.pool_size.max(1) })
        .min_connections(u32::from(write))
        // Neither timers nor questions to a thread that can't go away.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false);
    let place = place.clone();
    let busy = options.busy_timeout;
    let pages = options.max_bytes.map(|bytes| (bytes / PAGE).max(1));
    connect.map_sqlx_sqlite_opts(move |base: SqliteConnectOptions| {
        let mut sqlite = base
            .create_if_missing(false)
            .busy_timeout(busy)
            .foreign_keys(true)
            .statement_cache_capacity(32)
            // The thread must not wait for the reader of its rows every few of them.
            .row_buffer_size(1024)
            .pragma("cache_size", CACHE)
            .thread_name(move |_| (if write { "ccm-db-write" } else { "ccm-db-read" }).to_owned());
        sqlite = match &place {
            Place::File(path) => sqlite.filename(path),
            Place::Memory(name) => sqlite.filename(name).vfs("memdb").create_if_missing(true),
        };
        if !write {
            return sqlite.pragma("query_only", "ON");
        }
        // On macOS only a full sync reaches the disk; elsewhere this changes nothing.
        sqlite = sqlite
            .synchronous(SqliteSynchronous::Full)
            .pragma("fullfsync", "ON");
        if let Place::File(_) = &place {
            sqlite = sqlite
                .journal_mode(SqliteJournalMode::Wal)
                .pragma("journal_size_limit", KEPT_LOG);
        }
        match pages {
            Some(pages) => sqlite.pragma("max_page_count", pages.to_string()),
            None => sqlite,
        }
    });
    Database::connect(connect).await
}

/// The schema of the database at `path`, or `None` if there is nothing in it. Changes nothing.
async fn look(path: &Path, options: &SqliteOptions, newest: u32) -> Result<Option<u32>> {
    // The header first: it is enough for most files that must not be opened, and SQLite is not even asked.
    let Some(header) = header(path)? else {
        return Ok(None);
    };
    if let Header::Database(version) = header {
        refuse_newer_than(path, version, newest)?;
    } else {
        return Err(corrupt_file(path));
    }
    // What the header does not have yet is in the write-ahead log.
    let file = path.to_owned();
    let mut connect = ConnectOptions::new("sqlite://");
    let busy = options.busy_timeout;
    // Without a log all of it is in the file, and SQLite need put nothing beside it to read it.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let is_whole = std::fs::metadata(log).map_or(true, |log| log.len() == 0);
    connect
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |base: SqliteConnectOptions| {
            base.filename(&file)
                .create_if_missing(false)
                .read_only(true)
                .immutable(is_whole)
                .busy_timeout(busy)
        });
    let db = Database::connect(connect)
        .await
        .map_err(|error| from_open(path, error))?;
    let seen = inspect(&db).await.map_err(|error| from_open(path, error));
    // It only read, so that closing it can't lose anything.
    let _ = db.close().await;
    let seen = seen?;
    refuse_newer_than(path, seen.version, newest)?;
    if seen.application == APPLICATION_ID && seen.version > 0 {
        return Ok(Some(seen.version));
    }
    if seen.objects > 0 {
        return Err(corrupt_file(path));
    }
    Ok(Some(0))
}

struct Seen {
    version: u32,
    application: u32,
    objects: i64,
}

async fn inspect(db: &DatabaseConnection) -> Result<Seen, DbErr> {
    let number = async |sql: &str| -> Result<i64, DbErr> {
        let rows = db
            .query_all_raw(Statement::from_string(DbBackend::Sqlite, sql))
            .await?;
        let row = rows
            .first()
            .ok_or_else(|| DbErr::Type(format!("no answer to {sql}")))?;
        row.try_get_by_index(0)
    };
    let small = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    let seen = Seen {
        version: small(number("PRAGMA user_version").await?),
        application: small(number("PRAGMA application_id").await?),
        objects: number("SELECT COUNT(*) FROM sqlite_schema").await?,
    };
    if seen.version > 0 && seen.application == APPLICATION_ID {
        number("SELECT COUNT(*) FROM meta").await?;
    }
    Ok(seen)
}

enum Header {
    Database(u32),
    Other,
}

fn header(path: &Path) -> Result<Option<Header>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable(path, "can't be read", error)),
    };
    let mut bytes = Vec::new();
    Read::by_ref(&mut file)
        .take(100)
        .read_to_end(&mut bytes)
        .map_err(|error| unavailable(path, "can't be read", error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() < 100 || !bytes.starts_with(b"SQLite format 3\0") {
        return Ok(Some(Header::Other));
    }
    let mut version = [0; 4];
    version.copy_from_slice(&bytes[60..64]);
    Ok(Some(Header::Database(u32::from_be_bytes(version))))
}

fn unavailable(path: &Path, what: &str, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        IoKind::StorageFull | IoKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("the database {} {what}", path.display())).with_source(error)
}

/// Makes the file, for its owner alone: SQLite gives the files beside it the same permissions.
fn create(path: &Path) -> Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| unavailable(path, "has no folder, and none can be made", error))?;
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    private()
        .create(true)
        .truncate(false)
        .open(path)
        // Else a power cut could take the file along with everything that was acknowledged.
        .and_then(|_| File::open(folder)?.sync_all())
        .map_err(|error| unavailable(path, "can't be made", error))
}

#[cfg(test)]
mod tests;
