//! The tar archive of a backup.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ccm_core::{Error, ErrorKind, Result, chain};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::super::files;
use super::{
    AUTH, CONFIG, DATABASE, FORMAT, MANIFEST, Manifest, Member, Progress, TOKEN, TRUST, unreadable,
};

/// The largest manifest that is read.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
const CHUNK: usize = 256 * 1024;

/// What the manifest says of a file.
pub(super) fn describe(name: &str, from: &Path) -> io::Result<Member> {
    let mut digesting = Digesting::of(io::sink());
    let size = pour(&mut File::open(from)?, &mut digesting, |_| {})?;
    Ok(Member {
        name: name.to_owned(),
        size,
        sha256: digesting.digits(),
    })
}

/// Writes an archive that is on the disk when this returns, and returns its length.
pub(super) fn write(
    to: &Path,
    manifest: &Manifest,
    parts: &[(String, PathBuf)],
    progress: &(dyn Fn(Progress) + Sync),
) -> io::Result<u64> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(files::SECRET)
        .open(to)?;
    let mut archive = Builder::new(BufWriter::with_capacity(CHUNK, file));
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append(&header(MANIFEST, text.len() as u64, manifest)?, &*text)?;
    for ((name, from), member) in parts.iter().zip(&manifest.files) {
        let file = File::open(from)?;
        // What the manifest says is what is written, should the file grow meanwhile.
        let counted = Counted {
            inner: file.take(member.size),
            done: 0,
            of: member.size,
            progress,
            doing: "writing the backup",
        };
        archive.append(&header(name, member.size, manifest)?, counted)?;
    }
    let file = archive
        .into_inner()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn header(name: &str, size: u64, manifest: &Manifest) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(files::SECRET);
    header.set_size(size);
    let seconds = manifest.created_at.as_micros() / 1_000_000;
    header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    header.set_cksum();
    Ok(header)
}

/// Reads an archive into `folder`, which is empty and for its owner alone, and checks it against its manifest.
///
/// # Errors
/// `Corrupt` for one that is no backup, cut short or changed; `TooNew` for one of a newer program. What was unpacked by
/// then is the caller's to remove.
pub(super) fn unpack(
    from: &Path,
    folder: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Manifest> {
    let file =
        files::open(from, files::Links::Followed).map_err(|error| unreadable(from, error))?;
    let broken = |why: &str| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{} is no whole backup of CCM: {why}", from.display()),
        )
    };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            super::not_written(folder, error)
        }
        _ => broken(&format!("it can't be read to its end ({error})")),
    };
    let mut archive = Archive::new(BufReader::with_capacity(CHUNK, file));
    let mut entries = archive.entries().map_err(failed)?;
    let first = entries.next().ok_or_else(|| broken("it is empty"))?;
    let manifest = manifest(first.map_err(failed)?, from)?;
    let mut wanted = manifest.files.iter();
    let mut seen = BTreeSet::new();
    for entry in entries {
        let mut entry = entry.map_err(failed)?;
        let name = name_of(&entry);
        let Some(member) = wanted
            .next()
            .filter(|member| Some(&member.name) == name.as_ref())
        else {
            return Err(broken("its files are not those that its manifest names"));
        };
        if !is_known(&member.name) || !seen.insert(&member.name) {
            return Err(broken(&format!("{:?} does not belong in it", member.name)));
        }
        if entry.header().entry_type() != EntryType::Regular || entry.size() != member.size {
            return Err(broken(&format!("{} is not what it should be", member.name)));
        }
        let to = folder.join(&member.name);
        if let Some(below) = to.parent() {
            files::create_private_dir(below).map_err(failed)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(files::SECRET)
            .open(&to)
            .map_err(failed)?;
        let mut digesting = Digesting::of(&mut file);
        let size = pour(&mut entry, &mut digesting, |done| {
            progress(Progress {
                doing: "checking the backup",
                done,
                of: Some(member.size),
            });
        })
        .map_err(failed)?;
        let digits = digesting.digits();
        file.sync_all().map_err(failed)?;
        if size < member.size {
            return Err(broken("it was cut short"));
        }
        if digits != member.sha256 {
            return Err(broken(&format!(
                "{} is not as it was when the backup was made",
                member.name
            )));
        }
    }
    if wanted.next().is_some() {
        return Err(broken("it was cut short"));
    }
    if !seen.iter().any(|name| *name == DATABASE) {
        return Err(broken("it has no database"));
    }
    Ok(manifest)
}

fn manifest(mut entry: Entry<'_, impl Read>, from: &Path) -> Result<Manifest> {
    let broken = |why: String| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{} is no backup of CCM: {why}", from.display()),
        )
    };
    if name_of(&entry).as_deref() != Some(MANIFEST) || entry.size() > MAX_MANIFEST {
        return Err(broken(format!("it does not begin with {MANIFEST}")));
    }
    let mut text = Vec::new();
    entry
        .read_to_end(&mut text)
        .map_err(|error| broken(error.to_string()))?;
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
        #[serde(default)]
        version: String,
    }
    let version: Version = serde_json::from_slice(&text).map_err(|error| broken(chain(&error)))?;
    if version.format > FORMAT {
        return Err(Error::new(
            ErrorKind::TooNew,
            format!(
                "{} was made by a newer program ({}); install that, and nothing was changed",
                from.display(),
                version.version
            ),
        ));
    }
    serde_json::from_slice(&text).map_err(|error| broken(chain(&error)))
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    read_all(bytes);
    // The same as the manifest of an archive that is whole.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    if archive.append_data(&mut header, MANIFEST, bytes).is_ok()
        && let Ok(whole) = archive.into_inner()
    {
        read_all(&whole);
    }
}

#[cfg(feature = "fuzzing")]
fn read_all(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    let Ok(entries) = archive.entries() else {
        return;
    };
    for (at, entry) in entries.enumerate() {
        let Ok(entry) = entry else { return };
        if let Some(name) = name_of(&entry).filter(|name| is_known(name)) {
            let climbs = Path::new(&name)
                .components()
                .any(|part| !matches!(part, std::path::Component::Normal(_)));
            assert!(!climbs, "{name:?}");
        }
        if at == 0 && manifest(entry, Path::new("x")).is_err() {
            return;
        }
    }
}

fn name_of(entry: &Entry<'_, impl Read>) -> Option<String> {
    String::from_utf8(entry.path_bytes().into_owned()).ok()
}

/// Whether a backup may have a member of this name: nothing else is ever written anywhere.
fn is_known(name: &str) -> bool {
    match name.strip_prefix(TRUST) {
        Some(record) => {
            !record.is_empty() && !record.starts_with('.') && !record.contains(['/', '\\', '\0'])
        }
        None => [DATABASE, CONFIG, TOKEN, AUTH].contains(&name),
    }
}

/// Copies everything and says how far it is.
fn pour(from: &mut impl Read, to: &mut impl Write, mut at: impl FnMut(u64)) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(done),
            Ok(n) => {
                to.write_all(&chunk[..n])?;
                done += n as u64;
                at(done);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes on, and sums up what it wrote.
struct Digesting<W> {
    to: W,
    digest: Sha256,
}

impl<W> Digesting<W> {
    fn of(to: W) -> Self {
        Self {
            to,
            digest: Sha256::new(),
        }
    }

    fn digits(self) -> String {
        let digest = self.digest.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.digest.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Counted<'a, R> {
    inner: R,
    done: u64,
    of: u64,
    doing: &'static str,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        if n == 0 && self.done < self.of {
            return Err(io::Error::other("a file became shorter while it was read"));
        }
        self.done += n as u64;
        (self.progress)(Progress {
            doing: self.doing,
            done: self.done,
            of: Some(self.of),
        });
        Ok(n)
    }
}
