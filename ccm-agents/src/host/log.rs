//! The readable log of an agent: what its terminal and `.ccm/agent.log` show.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ccm_core::run::Stream;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, fstatat};

use crate::terminal::{self, Filter};

/// How much a terminal that is opened later gets to see.
const REMEMBERED: usize = 32 * 1024;
/// The project's log, and what it is called once it was put aside: the newest first.
const NAME: &str = "agent.log";
const ASIDE: [&str; 3] = ["agent.log.1", "agent.log.2", "agent.log.3"];
/// How large the project's log gets before it is put aside.
const MOST: u64 = 10 * 1024 * 1024;

/// Collects what is to be shown, and copies it to the project's log.
#[derive(Debug)]
pub(crate) struct Log {
    recent: VecDeque<u8>,
    /// What the viewers have not been given yet.
    fresh: Vec<u8>,
    file: Option<File>,
    /// How much is in the file, and how large it may get.
    written: u64,
    most: u64,
    folder: PathBuf,
    filters: [Filter; 2],
    last: Option<Stream>,
    in_line: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            fresh: Vec::new(),
            file: None,
            written: 0,
            most: MOST,
            folder: PathBuf::new(),
            filters: Default::default(),
            last: None,
            in_line: false,
        }
    }
}

impl Log {
    /// Begins a run's part, whose project is in `folder`.
    pub(crate) fn begin(&mut self, folder: &Path) {
        self.folder = folder.to_path_buf();
        self.open();
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
            let within_line = std::mem::replace(&mut self.in_line, last != '\n');
            self.copy(&plain, within_line);
        }
    }

    fn open(&mut self) {
        self.file = open_log(&self.folder);
        let meta = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.written = meta.map_or(0, |meta| meta.len());
    }

    /// Appends to the project's log, if that is possible; a run goes on without it.
    fn copy(&mut self, text: &str, within_line: bool) {
        let deleted = |file: &File| file.metadata().is_ok_and(|meta| meta.nlink() == 0);
        if self.file.as_ref().is_some_and(deleted) {
            self.open();
        }
        // A line stays in one file, unless it has no end.
        let most = if within_line {
            self.most * 2
        } else {
            self.most
        };
        if self.written > 0 && self.written + text.len() as u64 > most {
            self.put_aside();
        }
        let Some(file) = &mut self.file else { return };
        match file.write_all(text.as_bytes()) {
            Ok(()) => self.written += text.len() as u64,
            Err(_) => self.file = None,
        }
    }

    /// Begins another file. If that can't be done the one that is there goes on: no line is lost.
    fn put_aside(&mut self) {
        let aside = self.file.as_ref().map(|file| put_aside(&self.folder, file));
        if matches!(aside, Some(Ok(()))) {
            let old = self.file.take();
            self.open();
            self.file = self.file.take().or(old);
        }
        if self.written >= self.most {
            // Not to be tried at every line.
            self.written = 0;
        }
    }
}

/// The project's log, if it is a plain file of its own: an agent could have put a link in its place.
fn open_log(folder: &Path) -> Option<File> {
    let ccm = open_folder(folder).ok()?;
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        // A pipe in its place must not hold us up.
        | OFlag::O_NONBLOCK;
    let file = File::from(openat(&ccm, NAME, flags, Mode::from_bits_truncate(0o600)).ok()?);
    let meta = file.metadata().ok()?;
    (meta.is_file() && meta.nlink() == 1).then_some(file)
}

/// The folder with the project's log. It may be no link either.
fn open_folder(folder: &Path) -> nix::Result<OwnedFd> {
    let dir = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = open(folder, dir, Mode::empty())?;
    openat(&folder, ".ccm", dir | OFlag::O_NOFOLLOW, Mode::empty())
}

/// Gives the project's log, open as `file`, the name of the newest one that was put aside, and those before it the next.
/// Names are moved and nothing is opened, so whatever has them now is not touched itself.
fn put_aside(folder: &Path, file: &File) -> io::Result<()> {
    let ccm = open_folder(folder)?;
    let (ours, named) = (
        file.metadata()?,
        fstatat(&ccm, NAME, AtFlags::AT_SYMLINK_NOFOLLOW)?,
    );
    // Numbers of devices have other types elsewhere.
    #[allow(clippy::unnecessary_cast)]
    let same = (ours.dev(), ours.ino()) == (named.st_dev as u64, named.st_ino as u64);
    if !same {
        return Err(io::Error::other("another file has the log's name"));
    }
    for pair in ASIDE.windows(2).rev() {
        match renameat(&ccm, pair[0], &ccm, pair[1]) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(renameat(&ccm, NAME, &ccm, ASIDE[0])?)
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

    /// Everything that is in the log and in those that were put aside, the oldest first.
    fn all_of(dir: &Path) -> String {
        let names = ASIDE.iter().rev().chain([&NAME]);
        let texts = names.map(|name| std::fs::read_to_string(dir.join(".ccm").join(name)));
        texts.filter_map(Result::ok).collect()
    }

    fn small(dir: &Path) -> Log {
        let mut log = Log {
            most: 100,
            ..Log::default()
        };
        log.begin(dir);
        log
    }

    #[test]
    fn a_large_log_is_put_aside_between_two_lines() {
        let dir = project();
        let mut log = small(dir.path());
        let line = |n: usize| format!("line {n:03} of nine");
        let mut written = String::new();
        for n in 0..20 {
            log.line(&line(n));
            written += &format!("{}\n", line(n));
            assert_eq!(all_of(dir.path()), written, "no line is lost");
        }
        for name in ASIDE.iter().chain([&NAME]) {
            let text = std::fs::read_to_string(dir.path().join(".ccm").join(name)).unwrap();
            assert!(text.len() <= 100 && text.ends_with('\n'), "{name}: {text}");
        }
        // Those before the oldest go, and the next host goes on where this one was.
        let mut log = small(dir.path());
        for n in 20..40 {
            log.line(&line(n));
        }
        let all = all_of(dir.path());
        assert!(
            all.ends_with(&format!("{}\n", line(39))) && all.len() <= 400,
            "{all}"
        );
        assert!(!all.contains(&line(10)));
        let files = std::fs::read_dir(dir.path().join(".ccm")).unwrap();
        assert_eq!(files.count(), 1 + ASIDE.len());
    }

    #[test]
    fn a_line_is_not_cut_in_two_unless_it_has_no_end() {
        let dir = project();
        let mut log = small(dir.path());
        log.line("first");
        log.output(Stream::Out, &[b'x'; 60]);
        log.output(Stream::Out, &[b'y'; 60]);
        log.output(Stream::Out, b"\n");
        let whole = format!("first\n{}{}\n", "x".repeat(60), "y".repeat(60));
        assert_eq!(log_of(dir.path()), whole);
        for _ in 0..10 {
            log.output(Stream::Out, &[b'z'; 60]);
        }
        assert!(log_of(dir.path()).len() <= 200);
    }

    #[test]
    fn what_is_in_the_way_of_a_rotation_is_left_alone() {
        let dir = project();
        let ccm = dir.path().join(".ccm");
        let target = dir.path().join("target");
        std::fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, ccm.join("agent.log.1")).unwrap();
        let mut log = small(dir.path());
        for n in 0..10 {
            log.line(&format!("line {n:03} of nine"));
        }
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
        assert!(
            ccm.join("agent.log.1")
                .symlink_metadata()
                .unwrap()
                .is_file()
        );
        // A folder in a name that is needed: the log grows on, with every line.
        let dir = project();
        let mut log = small(dir.path());
        std::fs::create_dir_all(dir.path().join(".ccm/agent.log.3/full")).unwrap();
        std::fs::write(dir.path().join(".ccm/agent.log.2"), "older").unwrap();
        for n in 0..20 {
            log.line(&format!("line {n:03} of nine"));
        }
        assert_eq!(log_of(dir.path()).lines().count(), 20);
        // Another file with the log's name is somebody's.
        let dir = project();
        let mut log = small(dir.path());
        log.line("kept");
        let ccm = dir.path().join(".ccm");
        std::fs::rename(ccm.join(NAME), ccm.join("elsewhere")).unwrap();
        std::fs::write(ccm.join(NAME), "theirs").unwrap();
        for n in 0..20 {
            log.line(&format!("line {n:03} of nine"));
        }
        assert_eq!(log_of(dir.path()), "theirs");
        assert_eq!(
            std::fs::read_to_string(ccm.join("elsewhere"))
                .unwrap()
                .lines()
                .count(),
            21
        );
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
