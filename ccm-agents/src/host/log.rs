//! The readable log of an agent: what its terminal and `.ccm/agent.log` show.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ccm_core::run::Stream;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use crate::terminal::{self, Filter};

/// How much a terminal that is opened later gets to see.
const REMEMBERED: usize = 32 * 1024;

/// Collects what is to be shown, and copies it to the project's log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    recent: VecDeque<u8>,
    /// What the viewers have not been given yet.
    fresh: Vec<u8>,
    file: Option<File>,
    folder: PathBuf,
    filters: [Filter; 2],
    last: Option<Stream>,
    in_line: bool,
}

impl Log {
    /// Begins a run's part, whose project is in `folder`.
    pub(crate) fn begin(&mut self, folder: &Path) {
        self.folder = folder.to_path_buf();
        self.file = open_log(folder);
        self.filters = Default::default();
        self.last = None;
    }

    /// A line of our own.
    pub(crate) fn line(&mut self, text: &str) {
        self.end_line();
        self.emit(&format!("{text}\n"));
    }

    /// Output of the program.
    pub(crate) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if self.last.is_some_and(|last| last != stream) {
            self.end_line();
        }
        self.last = Some(stream);
        let shown = self.filters[stream as usize].push(bytes);
        self.emit(&shown);
    }

    /// Ends a line that the program left open, and its colour.
    fn end_line(&mut self) {
        if let Some(stream) = self.last.take() {
            let reset = self.filters[stream as usize].reset();
            self.emit(reset);
            if self.in_line {
                self.emit("\n");
            }
        }
    }

    /// What came since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.fresh)
    }

    /// What was shown last.
    pub(crate) fn recent(&self) -> Vec<u8> {
        let (a, b) = self.recent.as_slices();
        let bytes = [a, b].concat();
        // What was cut in the middle of a line would begin with half a character or half a colour.
        match (
            bytes.len() < REMEMBERED,
            bytes.iter().position(|byte| *byte == b'\n'),
        ) {
            (false, Some(end)) => bytes[end + 1..].to_vec(),
            _ => bytes,
        }
    }

    fn emit(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.fresh.extend_from_slice(bytes);
        let kept = &bytes[bytes.len().saturating_sub(REMEMBERED)..];
        let excess = (self.recent.len() + kept.len()).saturating_sub(REMEMBERED);
        self.recent.drain(..excess);
        self.recent.extend(kept);
        // What editors and `grep` are to find.
        let plain = terminal::plain(text);
        if let Some(last) = plain.chars().next_back() {
            self.in_line = last != '\n';
            self.copy(&plain);
        }
    }

    /// Appends to the project's log, if that is possible; a run goes on without it.
    fn copy(&mut self, text: &str) {
        let deleted = |file: &File| file.metadata().is_ok_and(|meta| meta.nlink() == 0);
        if self.file.as_ref().is_some_and(deleted) {
            self.file = open_log(&self.folder);
        }
        if let Some(file) = &mut self.file
            && file.write_all(text.as_bytes()).is_err()
        {
            self.file = None;
        }
    }
}

/// The project's log, if it is a plain file of its own: an agent could have put a link in its place.
fn open_log(folder: &Path) -> Option<File> {
    let dir = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = open(folder, dir, Mode::empty()).ok()?;
    let ccm = openat(&folder, ".ccm", dir | OFlag::O_NOFOLLOW, Mode::empty()).ok()?;
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        // A pipe in its place must not hold us up.
        | OFlag::O_NONBLOCK;
    let file = File::from(openat(&ccm, "agent.log", flags, Mode::from_bits_truncate(0o600)).ok()?);
    let meta = file.metadata().ok()?;
    (meta.is_file() && meta.nlink() == 1).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".ccm")).unwrap();
        dir
    }

    fn log_of(dir: &Path) -> String {
        std::fs::read_to_string(dir.join(".ccm/agent.log")).unwrap()
    }

    #[test]
    fn streams_do_not_mix_in_one_line() {
        let dir = project();
        let mut log = Log::default();
        log.begin(dir.path());
        log.output(Stream::Out, b"\x1b[31mhalf \x1b]0;title");
        log.output(Stream::Err, b"oops\n");
        log.output(Stream::Out, b"\x07 line\n");
        log.line("done");
        let expected = "\x1b[31mhalf \x1b[0m\noops\n line\ndone\n";
        assert_eq!(log_of(dir.path()), "half \noops\n line\ndone\n");
        assert_eq!(log.take_fresh(), expected.as_bytes());
        assert_eq!(log.take_fresh(), b"");
        assert_eq!(log.recent(), expected.as_bytes());
    }

    #[test]
    fn the_file_is_plain_text_and_terminals_get_colours() {
        let dir = project();
        let mut log = Log::default();
        log.begin(dir.path());
        log.line("\x1b[1mtitle\x1b[m");
        // However the program's writes cut a colour.
        for piece in [&b"\x1b[3"[..], b"1;4", b"mred\x1b", b"[0m mine\n"] {
            log.output(Stream::Out, piece);
        }
        assert_eq!(log_of(dir.path()), "title\nred mine\n");
        let shown = "\x1b[1mtitle\x1b[m\n\x1b[31;4mred\x1b[0m mine\n";
        assert_eq!(String::from_utf8(log.take_fresh()).unwrap(), shown);
    }

    #[test]
    fn links_and_pipes_are_refused() {
        let dir = project();
        let target = dir.path().join("target");
        let path = dir.path().join(".ccm/agent.log");
        std::fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(open_log(dir.path()).is_none());
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&target, &path).unwrap();
        assert!(open_log(dir.path()).is_none());
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert!(open_log(dir.path()).is_none());
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(dir.path().join(".ccm"), dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join(".ccm")).unwrap();
        assert!(open_log(dir.path()).is_none());
        assert_eq!(std::fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn a_log_that_was_deleted_is_begun_again() {
        let dir = project();
        let mut log = Log::default();
        log.begin(dir.path());
        log.line("one");
        std::fs::remove_file(dir.path().join(".ccm/agent.log")).unwrap();
        log.line("two");
        assert_eq!(log_of(dir.path()), "two\n");
        std::fs::remove_dir_all(dir.path().join(".ccm")).unwrap();
        log.line("three");
        assert!(!dir.path().join(".ccm").exists());
    }

    #[test]
    fn what_is_remembered_begins_with_a_line() {
        let mut log = Log::default();
        for n in 0..10_000 {
            log.line(&format!("line {n}"));
        }
        let recent = log.recent();
        assert!(recent.len() <= REMEMBERED);
        assert!(recent.starts_with(b"line "));
        assert!(recent.ends_with(b"line 9999\n"));
    }
}
