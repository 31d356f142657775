//! The end of a log file, and what is added to it, over its rotation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ccm_agents::terminal::Filter;

use crate::context::Context;
use crate::exit::{Code, Failure};

/// No event tells of a file's growth everywhere, and only a person who looks on pays for this.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Where a file's last lines are looked for.
const TAIL: u64 = 4 * 1024 * 1024;

/// Prints the last `lines` lines of the file, then what is added for as long as `follow` says. `None` if there is no
/// such file.
pub(super) fn show(
    context: &Context,
    path: &Path,
    lines: usize,
    follow: bool,
) -> Result<Option<Code>, Failure> {
    let mut log = Log {
        filter: context
            .printer
            .is_terminal()
            .then(|| Filter::new(context.printer.shows_colours())),
        context,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(path, &e)),
    };
    let tail = tail(&mut file, lines).map_err(|e| unreadable(path, &e))?;
    log.print(&tail)?;
    if !follow {
        return Ok(Some(Code::Done));
    }
    loop {
        let mut new = Vec::new();
        file.read_to_end(&mut new)
            .map_err(|e| unreadable(path, &e))?;
        log.print(&new)?;
        // Only an end that was read to may be left behind for the file that took its place.
        if new.is_empty() {
            if let Some(next) = rotated(path, &file) {
                file = next;
                continue;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The file that took the place of `file`, or `file` from its beginning if it was emptied.
fn rotated(path: &Path, file: &File) -> Option<File> {
    let old = file.metadata().ok()?;
    let new = std::fs::metadata(path).ok()?;
    let mut same = file;
    let shrank = same.stream_position().ok()? > old.len();
    (shrank || (old.dev(), old.ino()) != (new.dev(), new.ino()))
        .then(|| File::open(path).ok())
        .flatten()
}

/// The last `count` lines; the file is at its end then.
fn tail(file: &mut File, count: usize) -> io::Result<Vec<u8>> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let ends = bytes.iter().enumerate().rev();
    let ends = ends.filter(|(n, byte)| **byte == b'\n' && n + 1 < bytes.len());
    let start = match count.checked_sub(1) {
        Some(before) => ends.map(|(n, _)| n + 1).nth(before).unwrap_or(0),
        None => bytes.len(),
    };
    Ok(bytes.split_off(start))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        format!("{} can't be read: {error}", path.display()),
    )
}

struct Log<'a> {
    context: &'a Context,
    filter: Option<Filter>,
}

impl Log<'_> {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.filter {
            Some(filter) => {
                let text = filter.push(bytes);
                self.context.printer.raw(text.as_bytes())
            }
            None => self.context.printer.raw(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_found() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"1\n2\n3\n").unwrap();
        let mut last = |count| String::from_utf8(tail(&mut file, count).unwrap()).unwrap();
        assert_eq!(last(2), "2\n3\n");
        assert_eq!(last(3), "1\n2\n3\n");
        assert_eq!(last(9), "1\n2\n3\n");
        assert_eq!(last(0), "");
    }
}
