//! The daemon's log: one line an event, on standard error and in a file that is rotated.

#[cfg(feature = "otlp")]
pub(crate) mod otlp;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ccm_agents::one_line;
use ccm_core::{Error, Result};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

/// The most bytes of the log file before it becomes `FILE.1`.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How many older files are kept.
const KEPT: u32 = 3;

/// Changes what is logged, once there is a log.
type SetLevel = Box<dyn Fn(&str) + Send + Sync>;
static SET_LEVEL: OnceLock<SetLevel> = OnceLock::new();

/// Sends the program's log to `file`, and to standard error unless launchd keeps that in a file beside. `RUST_LOG` beats
/// `level`.
///
/// # Errors
/// `Internal` when the file can't be written to, or when the program has a log already.
pub(crate) fn start(file: &Path, level: &str) -> Result<()> {
    let writer = Log::open(file, Errors::of_process()).map_err(|error| {
        Error::internal(format!("the log {} can't be written", file.display())).with_source(error)
    })?;
    // A filter of the lines alone: what is traced does not depend on what is logged.
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer)
        .with_filter(filter);
    let log = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    let log = log.with(otlp::layer()?);
    log.try_init()
        .map_err(|error| Error::internal(format!("the log can't be started: {error}")))?;
    let set_level = move |level: &str| {
        // The handle leads nowhere only when the log is gone.
        let _ = handle.reload(self::filter(level));
    };
    // There is one log, so this is the first time.
    let _ = SET_LEVEL.set(Box::new(set_level));
    Ok(())
}

/// Logs what is at `level` from now on, as [`start`] does. Where there is no log there is nothing to change.
pub(crate) fn set_level(level: &str) {
    if let Some(set) = SET_LEVEL.get() {
        set(level);
    }
}

/// Sends what waits to be sent to others. To be called last, and not on a runtime.
pub(crate) fn end() {
    #[cfg(feature = "otlp")]
    otlp::end();
}

fn filter(level: &str) -> EnvFilter {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let usual = format!("warn,ccm={level}");
    if wanted.is_empty() {
        return EnvFilter::new(usual);
    }
    EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(usual))
}

/// What standard error is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// Nobody reads it, or everything would be kept twice.
    Unused,
    /// Somebody looks on.
    Plain,
    /// systemd's journal, which knows the time itself and has its own word for the level.
    Journal,
}

impl Errors {
    fn of_process() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        if variable("XPC_SERVICE_NAME") == crate::machine::service::launchd::LABEL {
            return Self::Unused;
        }
        // The journal's stream is named by device and inode, because what inherits the variable may have another one.
        let stream = nix::sys::stat::fstat(io::stderr())
            .map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
        if stream.is_ok_and(|stream| stream == variable("JOURNAL_STREAM")) {
            return Self::Journal;
        }
        Self::Plain
    }

    fn write(self, line: &str) -> io::Result<()> {
        match self {
            Self::Unused => Ok(()),
            Self::Plain => io::stderr().write_all(line.as_bytes()),
            Self::Journal => io::stderr().write_all(for_journal(line).as_bytes()),
        }
    }
}

/// A line of the log as sd-daemon(3) wants it: the level in angle brackets, and no time.
fn for_journal(line: &str) -> String {
    let Some((level, rest)) = line
        .split_once(' ')
        .and_then(|(_time, rest)| rest.trim_start().split_once(' '))
    else {
        return line.to_owned();
    };
    let priority = match level {
        "ERROR" => 3,
        "WARN" => 4,
        "INFO" => 6,
        _ => 7,
    };
    format!("<{priority}>{rest}")
}

struct Log {
    errors: Errors,
    file: Mutex<Rotated>,
}

impl Log {
    fn open(path: &Path, errors: Errors) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            make_folder(dir)?;
        }
        Ok(Self {
            errors,
            file: Mutex::new(Rotated::open(path)?),
        })
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            log: self,
            bytes: Vec::new(),
        }
    }
}

/// One event on its way, however many writes it comes in.
struct Line<'a> {
    log: &'a Log,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let line = one_line(&self.bytes);
        // A log that can't be written has nobody to tell.
        let _ = self.log.errors.write(&line);
        let mut file = self.log.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write(line.as_bytes());
    }
}

struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether the last line was cut, by a full disk for example.
    cut: bool,
}

impl Rotated {
    fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            cut: false,
        })
    }

    /// Adds a line, to a new file if this one is full or was taken away. Whatever goes wrong, the next line is tried.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.look();
        if self.size > 0 && self.size + line.len() as u64 > MAX_BYTES {
            // Where it can't be moved, it grows.
            let _ = self.rotate();
        }
        if std::mem::take(&mut self.cut) {
            self.put(b"\n")?;
        }
        self.put(line)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        match &written {
            Ok(()) => self.size += bytes.len() as u64,
            Err(_) => self.cut = true,
        }
        written
    }

    /// Notices what others did to the file: log rotation by the system moves, empties or removes it.
    fn look(&mut self) {
        let Ok(own) = self.file.metadata() else {
            return;
        };
        let there = std::fs::metadata(&self.path).ok();
        let is_same =
            there.is_some_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if is_same {
            self.size = own.len();
            return;
        }
        if let Some(dir) = self.path.parent() {
            // If it fails, so does what follows, and the old file is as good as any.
            let _ = make_folder(dir);
        }
        if let Ok(new) = Self::open(&self.path) {
            *self = new;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for n in (1..KEPT).rev() {
            // One that is not there yet is nothing to move.
            let _ = std::fs::rename(older(&self.path, n), older(&self.path, n + 1));
        }
        std::fs::rename(&self.path, older(&self.path, 1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn older(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_levels_and_no_times() {
        let line = "2026-01-01T00:00:00.5Z  INFO ccm_daemon::run: up, at x\n";
        assert_eq!(for_journal(line), "<6>ccm_daemon::run: up, at x\n");
        let line = "2026-01-01T00:00:00.5Z ERROR a: b\n";
        assert_eq!(for_journal(line), "<3>a: b\n");
        assert_eq!(for_journal("odd\n"), "odd\n");
    }

    #[test]
    fn values_of_fields_can_not_forge_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/daemon.log");
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Log::open(&path, Errors::Unused).unwrap())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::info!(name = %"a\nb", "first\nsecond");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r"first\nsecond"), "{text}");
    }

    fn read(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    /// Makes the file as large as it may get, without the time that takes.
    fn fill(path: &Path) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(MAX_BYTES).unwrap();
    }

    #[test]
    fn a_full_file_makes_room_and_only_a_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        for n in 0..6u8 {
            fill(&path);
            log.write(&[b'0' + n, b'\n']).unwrap();
        }
        assert_eq!(read(&path).as_deref(), Some("5\n"));
        let last = |n| read(&older(&path, n)).map(|text| text.trim_end_matches('\0').to_owned());
        assert!(last(1).unwrap().starts_with("4\n"));
        assert!(last(3).unwrap().starts_with("2\n"));
        assert_eq!(last(4), None);
        for n in 1..=3 {
            let mode = std::fs::metadata(older(&path, n)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_moved_emptied_or_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/daemon.log");
        make_folder(path.parent().unwrap()).unwrap();
        let mut log = Rotated::open(&path).unwrap();
        log.write(b"1\n").unwrap();
        std::fs::rename(&path, older(&path, 9)).unwrap();
        log.write(b"2\n").unwrap();
        assert_eq!(read(&older(&path, 9)).as_deref(), Some("1\n"));
        assert_eq!(read(&path).as_deref(), Some("2\n"));
        std::fs::remove_file(&path).unwrap();
        log.write(b"3\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("3\n"));
        File::create(&path).unwrap();
        log.write(b"4\n").unwrap();
        assert_eq!((read(&path).as_deref(), log.size), (Some("4\n"), 2));
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        log.write(b"5\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("5\n"));
    }

    #[test]
    fn a_file_that_can_not_be_moved_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        fill(&path);
        // A folder that is not empty is in the way.
        std::fs::create_dir_all(older(&path, 1).join("x")).unwrap();
        std::fs::create_dir_all(older(&path, 2).join("x")).unwrap();
        std::fs::create_dir_all(older(&path, 3).join("x")).unwrap();
        log.write(b"still here\n").unwrap();
        assert!(read(&path).unwrap().ends_with("still here\n"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_loses_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotated::open(&path).unwrap();
        let good = std::mem::replace(&mut log.file, File::create("/dev/full").unwrap());
        log.put(b"lost\n").unwrap_err();
        log.file = good;
        log.write(b"found\n").unwrap();
        assert_eq!(read(&path).as_deref(), Some("\nfound\n"));
    }
}
