//! What targets share: judges that know no filter of ours, and files that are read as if a run had written them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};

use vte::{Params, Parser, Perform};

/// Panics if there is anything in `text` but what draws a screen.
pub fn judge_screen(text: &str) {
    judge(text, true);
}

/// Panics if there is anything in `text` but text, newlines, tabs and colours.
pub fn judge_text(text: &str) {
    judge(text, false);
}

fn judge(text: &str, screen: bool) {
    let mut judge = Judge { screen };
    Parser::new().advance(&mut judge, text.as_bytes());
}

struct Judge {
    screen: bool,
}

impl Perform for Judge {
    fn print(&mut self, c: char) {
        let reorders =
            ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
        assert!(!c.is_control() && !reorders, "character {c:?}");
    }

    fn execute(&mut self, byte: u8) {
        let fine = match self.screen {
            true => (8..=15).contains(&byte),
            false => matches!(byte, b'\n' | b'\t'),
        };
        assert!(fine, "control {byte:#x}");
    }

    fn hook(&mut self, _: &Params, _: &[u8], _: bool, last: char) {
        panic!("DCS {last:?}");
    }

    fn osc_dispatch(&mut self, parts: &[&[u8]], _: bool) {
        panic!("OSC {parts:?}");
    }

    fn csi_dispatch(&mut self, params: &Params, marks: &[u8], _: bool, last: char) {
        let values: Vec<u16> = params.iter().flatten().copied().collect();
        let fine = match (marks, last) {
            (b"", 'm') => true,
            _ if !self.screen => false,
            (b"?", 'h' | 'l') => values
                .iter()
                .all(|mode| [1, 6, 7, 25, 47, 1047, 1049].contains(mode)),
            (b"", 'h' | 'l') => values.iter().all(|mode| *mode == 4),
            (b"", '@' | 'L' | 'M' | 'P' | 'S' | 'T' | 'X' | 'Z' | 'b') => {
                values.len() == 1 && values[0] < 1000
            }
            (b"", 'A'..='H' | 'J' | 'K' | '`' | 'd' | 'f' | 'g' | 'r' | 's' | 'u') => {
                values.len() <= 2 && values.iter().all(|value| *value < 10_000)
            }
            _ => false,
        };
        assert!(fine, "CSI {marks:?} {values:?} {last:?}");
    }

    fn esc_dispatch(&mut self, marks: &[u8], _: bool, last: u8) {
        let fine = match marks {
            b"" => b"78=>DEHMc".contains(&last),
            b"(" | b")" => b"0B".contains(&last),
            b"#" => last == b'8',
            _ => false,
        };
        assert!(fine && self.screen, "ESC {marks:?} {last:#x}");
    }
}

/// Standard output and standard error of a run, which a byte 0xff separates, and their sizes.
pub fn spool(bytes: &[u8]) -> (File, File, (u64, u64)) {
    thread_local! {
        static FILES: RefCell<Option<[File; 2]>> = const { RefCell::new(None) };
    }
    let mut halves = bytes.splitn(2, |byte| *byte == 0xff);
    let mut half = || halves.next().unwrap_or_default();
    let (out, err) = (half(), half());
    FILES.with_borrow_mut(|files| {
        // The same two each time: to make some is what would take longest.
        let make = || tempfile::tempfile().expect("a temporary file");
        let files = files.get_or_insert_with(|| [make(), make()]);
        let [out_file, err_file] = files;
        let fill = |file: &mut File, bytes: &[u8]| {
            file.set_len(0).expect("it can be emptied");
            file.rewind().expect("it can be rewound");
            file.write_all(bytes).expect("it can be written");
            file.try_clone().expect("a second handle")
        };
        let sizes = (out.len() as u64, err.len() as u64);
        (fill(out_file, out), fill(err_file, err), sizes)
    })
}

/// Values that are written as text: what is read is written so that it is read again.
pub fn values(text: &str) {
    use ccm_core::event::{Cursor, EventKind};
    use ccm_core::id::{AgentId, TaskId};
    use ccm_core::time::Timestamp;

    fn again<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) {
        if let Ok(value) = text.parse::<T>() {
            let written = value.to_string();
            assert!(
                written.parse::<T>().is_ok_and(|read| read == value),
                "{text:?} {written:?}"
            );
        }
    }
    again::<AgentId>(text);
    again::<TaskId>(text);
    again::<Cursor>(text);
    again::<Timestamp>(text);
    again::<EventKind>(text);
}
