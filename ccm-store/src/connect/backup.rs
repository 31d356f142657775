//! The copy of a database that is made before its schema changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ccm_core::{Error, ErrorKind, Result, chain};
use sea_orm::DatabaseConnection;

use crate::error::{corrupt_file, from_db, from_open};
use crate::file::{self, Depth, private};

/// How many copies are kept beside a database.
const KEPT: usize = 3;
const END: &str = ".backup";

/// Puts a checked copy of the database beside it, under a name that is not taken.
///
/// It has its name only once it is whole and on the disk, so that one that was cut short is never taken for a backup.
pub(super) async fn make(
    db: &DatabaseConnection,
    path: &Path,
    version: u32,
    next: u32,
) -> Result<PathBuf> {
    let part = beside(path, &format!(".schema-{version}{END}.part"));
    // Of a start that was cut short.
    let _ = fs::remove_file(&part);
    let done = fill(db, path, &part).await.and_then(|()| {
        let name = free_name(path, version);
        fs::rename(&part, &name)
            .and_then(|()| File::open(folder(path))?.sync_all())
            .map(|()| name)
            .map_err(|error| Error::unavailable("it can't get its name").with_source(error))
    });
    done.map_err(|error| {
        let _ = fs::remove_file(&part);
        let kind = error.kind();
        let advice = match kind {
            ErrorKind::DiskFull => "make room for a second copy of it and start again",
            ErrorKind::Corrupt => "put a backup in its place",
            _ => "mend that and start again",
        };
        Error::new(
            kind,
            format!(
                "the database {} was left as it is, at schema {version}: it has to be backed up before it can be \
                 brought to schema {next}, and that failed; {advice}",
                path.display()
            ),
        )
        .with_source(chain(&error))
    })
}

async fn fill(db: &DatabaseConnection, path: &Path, part: &Path) -> Result<()> {
    let damage = file::damage(db, Depth::Full)
        .await
        .map_err(|error| from_open(path, error))?;
    if let Some(damage) = damage {
        return Err(corrupt_file(path).with_source(damage));
    }
    private()
        .create_new(true)
        .open(part)
        .map_err(|error| super::unavailable(part, "can't be made as a backup", error))?;
    file::copy(db, part).await.map_err(from_db)?;
    File::open(part)
        .and_then(|file| file.sync_all())
        .map_err(|error| super::unavailable(part, "can't be synced as a backup", error))?;
    file::DatabaseFile::at(part)
        .check(Depth::Full)
        .await
        .map(drop)
}

/// Removes all but the newest copies; `newest` stays whatever the clock says.
pub(super) fn forget_oldest(path: &Path, newest: &Path) {
    let start = format!("{}.schema-", file_name(path));
    let entries = fs::read_dir(folder(path)).into_iter().flatten().flatten();
    let mut others: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(&start) && name.ends_with(END)
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .filter(|(_, path)| path.file_name() != newest.file_name())
        .collect();
    others.sort();
    for (_, old) in others.iter().rev().skip(KEPT - 1) {
        match fs::remove_file(old) {
            Ok(()) => tracing::info!(backup = %old.display(), "removed an old backup"),
            Err(error) => tracing::warn!(backup = %old.display(), %error, "an old backup stays"),
        }
    }
}

fn free_name(path: &Path, version: u32) -> PathBuf {
    let first = beside(path, &format!(".schema-{version}{END}"));
    let others = (2_u32..).map(|number| beside(path, &format!(".schema-{version}-{number}{END}")));
    std::iter::once(first)
        .chain(others)
        .find(|name| fs::symlink_metadata(name).is_err())
        .unwrap_or_default()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    path.with_file_name(file_name(path) + end)
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
