//! The daemon's log: one line an event, on standard error and in a file that is rotated.

#[cfg(feature = "otlp")]
pub(crate) mod otlp;

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ccm_agents::one_line;
use ccm_core::{Error, Result};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::rotated::Rotated;

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
}
