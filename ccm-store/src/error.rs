//! From the database's errors to the contract's.

use std::path::Path;

use ccm_core::{Error, ErrorKind};
use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr};

/// SQLite's primary result codes that a caller can act on.
mod code {
    pub(super) const BUSY: u32 = 5;
    pub(super) const LOCKED: u32 = 6;
    pub(super) const IO: u32 = 10;
    pub(super) const CORRUPT: u32 = 11;
    pub(super) const FULL: u32 = 13;
    pub(super) const CONSTRAINT: u32 = 19;
    pub(super) const NOT_A_DATABASE: u32 = 26;
}

/// A script that did not come to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: sqlx::Error,
    /// Whether it was the commit that failed, so that it is not known what the disk holds.
    pub(crate) committing: bool,
}

impl Failure {
    /// The contract's error. `Failure` answers everybody in a group, so it is described and not moved.
    pub(crate) fn describe(&self) -> Error {
        let kind = kind(&self.error);
        if self.committing && kind != ErrorKind::DiskFull {
            return Error::new(
                ErrorKind::Unknown,
                "the database did not answer whether the change was committed",
            )
            .with_source(self.error.to_string());
        }
        explain_code(kind, &self.error).with_source(self.error.to_string())
    }
}

/// The contract's error for a failed read.
pub(crate) fn from_db(error: DbErr) -> Error {
    let kind = match &error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => kind(inner),
        DbErr::ConnectionAcquire(_) => ErrorKind::Unavailable,
        DbErr::Type(_) | DbErr::TryIntoErr { .. } | DbErr::Json(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    };
    explain(kind).with_source(error)
}

/// The contract's error for a database that could not be opened.
pub(crate) fn from_open(path: &Path, error: DbErr) -> Error {
    let locked = match &error {
        DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))
        | DbErr::Conn(RuntimeErr::SqlxError(cause)) => is_locked(cause),
        _ => false,
    };
    let error = from_db(error);
    match error.kind() {
        _ if locked => Error::unavailable(format!(
            "the database {} is locked by another program; end that program (`fuser {0}` tells which) and try again",
            path.display()
        ))
        .with_source(error),
        ErrorKind::Corrupt => corrupt_file(path).with_source(error),
        kind => Error::new(
            kind,
            format!("the database {} can't be opened", path.display()),
        )
        .with_source(error),
    }
}

/// A file that is no readable database.
pub(crate) fn corrupt_file(path: &Path) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "{} is damaged or no database of CCM; it was left as it is: move it away, or put a backup in its place",
            path.display()
        ),
    )
}

/// A stored value that can't be what it should be.
pub(crate) fn corrupt(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the database holds an unreadable {what}; restore a backup"),
    )
}

/// Whether another program holds the database.
fn is_locked(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

fn explain_code(kind: ErrorKind, error: &sqlx::Error) -> Error {
    if is_locked(error) {
        return Error::new(
            kind,
            "the database can't be reached now: another program has it locked; end that program or wait for it",
        );
    }
    explain(kind)
}

fn explain(kind: ErrorKind) -> Error {
    Error::new(
        kind,
        match kind {
            ErrorKind::DiskFull => "there is no room left for the database",
            ErrorKind::Corrupt => "the database is damaged; restore a backup",
            ErrorKind::Unavailable => "the database can't be reached now",
            ErrorKind::Invalid => "the database refused a value that breaks its rules",
            _ => "the database refused",
        },
    )
}

fn kind(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(_) => match primary_code(error) {
            Some(code::FULL) => ErrorKind::DiskFull,
            Some(code::CORRUPT | code::NOT_A_DATABASE) => ErrorKind::Corrupt,
            Some(code::BUSY | code::LOCKED | code::IO) => ErrorKind::Unavailable,
            Some(code::CONSTRAINT) => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        },
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => ErrorKind::Unavailable,
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Internal,
    }
}

/// The extended code that sqlx reports has the primary one in its lowest byte.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
