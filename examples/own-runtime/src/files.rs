//! Files that are whole or not there, also after a power cut.

use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Write};
use std::path::{Path, PathBuf};

use ccm_core::id::RunId;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind};

pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => Ok(None),
        text => text.map(Some),
    }
}

/// The names in a folder that are ids.
pub(crate) fn names<T: std::str::FromStr>(folder: &Path) -> io::Result<Vec<T>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let names = entries.iter().map(fs::DirEntry::file_name);
    Ok(names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect())
}

/// Writes a file of this process, whole and safe from a power cut.
fn written(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(format!("{name}.{}", RunId::new()));
    let mut file = File::create_new(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(path)
}

/// Puts a file in the place of another, or of none.
pub(crate) fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::rename(written(folder, name, bytes)?, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// Puts a file where there is none yet. Of many who try, one succeeds, and the others leave it.
pub(crate) fn first(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = written(folder, name, bytes)?;
    let linked = fs::hard_link(&new, folder.join(name));
    fs::remove_file(new)?;
    match linked {
        Err(error) if error.kind() != Io::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

pub(crate) fn time(time: std::time::SystemTime) -> Timestamp {
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(0).after(since)
}

pub(crate) fn failed(error: io::Error) -> Error {
    let kind = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the runtime's home can't be used").with_source(error)
}
