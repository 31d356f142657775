//! A pane's whole screen, told so that another terminal can show it.

use super::parse::unescape;
use super::quote::Command;
use crate::terminal::ScreenFilter;

/// What a pane shows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// How wide the pane is.
    pub columns: u16,
    /// How high it is.
    pub rows: u16,
    /// Where the next character goes.
    pub cursor: Cursor,
    /// Whether a program has the alternate screen, as editors do.
    pub alternate: bool,
    /// What makes a terminal of that size show it, whatever it showed before: text and control sequences that
    /// [`ScreenFilter`] lets through.
    pub content: String,
}

/// A place on a screen. The first column and the first row are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Behind the last column when the next character begins a line.
    pub column: u16,
    /// From the top.
    pub row: u16,
    /// Whether it is shown.
    pub visible: bool,
}

/// What is asked of tmux about a pane, in the order of its fields here.
const STATE: [&str; 15] = [
    "pane_width",
    "pane_height",
    "cursor_x",
    "cursor_y",
    "cursor_flag",
    "alternate_on",
    "alternate_saved_x",
    "alternate_saved_y",
    "keypad_cursor_flag",
    "keypad_flag",
    "origin_flag",
    "wrap_flag",
    "insert_flag",
    "scroll_region_upper",
    "scroll_region_lower",
];
/// How many commands a look is.
pub(super) const COMMANDS: usize = 4;

/// The commands whose answers make a picture. They run with no output in between.
pub(super) fn commands(pane: &str) -> [Command; COMMANDS] {
    let state: Vec<String> = STATE.iter().map(|name| format!("#{{{name}}}")).collect();
    let capture = |what: &str| Command::new("capture-pane").args(["-p", what, "-t", pane]);
    [
        Command::new("display-message").args(["-p", "-t", pane, &state.join(" ")]),
        capture("-eN"),
        // What is behind the alternate screen. There is nothing without one.
        capture("-eNaq"),
        // The beginning of a sequence that is not complete yet.
        capture("-PC"),
    ]
}

/// A screen, and what came in of a sequence that was not complete.
pub(super) struct Picture {
    pub(super) screen: Screen,
    pub(super) pending: Vec<u8>,
}

impl Picture {
    /// What the answers to [`commands`] say; `None` if they are not what was asked for. `pen` is the colours in force.
    pub(super) fn develop(answers: &[Vec<u8>], pen: &str) -> Option<Self> {
        let [state, shown, behind, pending] = answers else {
            return None;
        };
        let state: Vec<u32> = std::str::from_utf8(state)
            .ok()?
            .trim_end()
            .split(' ')
            .map(|number| number.parse().unwrap_or(0))
            .collect();
        let [
            columns,
            rows,
            x,
            y,
            visible,
            alternate,
            behind_x,
            behind_y,
            rest @ ..,
        ] = &state[..]
        else {
            return None;
        };
        let &[cursor_keys, keypad, origin, wrap, insert, upper, lower] = rest else {
            return None;
        };
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let alternate = *alternate == 1;

        // Everything as after a reset, but for what a capture draws lines with.
        let mut content = "\u{1b}c\u{1b})0\u{1b}[?7l".to_owned();
        if alternate {
            paint(behind, &mut content);
            go(*behind_x, *behind_y, &mut content);
            content.push_str("\u{1b}[?1049h\u{1b}[H");
        }
        paint(shown, &mut content);
        content.push_str("\u{1b}[m");
        content.push_str(pen);
        if (upper, lower) != (0, rows.saturating_sub(1)) {
            content.push_str(&format!("\u{1b}[{};{}r", upper + 1, lower + 1));
        }
        for (set, sequence) in [
            (cursor_keys == 1, "\u{1b}[?1h"),
            (keypad == 1, "\u{1b}="),
            (origin == 1, "\u{1b}[?6h"),
            (wrap == 1, "\u{1b}[?7h"),
            (insert == 1, "\u{1b}[4h"),
            (*visible == 0, "\u{1b}[?25l"),
        ] {
            if set {
                content.push_str(sequence);
            }
        }
        go(
            *x,
            y.saturating_sub(if origin == 1 { upper } else { 0 }),
            &mut content,
        );
        Some(Self {
            screen: Screen {
                columns: small(*columns),
                rows: small(*rows),
                cursor: Cursor {
                    column: small(*x),
                    row: small(*y),
                    visible: *visible == 1,
                },
                alternate,
                // tmux may say more one day than it does now.
                content: ScreenFilter::new().push(content.as_bytes()),
            },
            pending: unescape(pending),
        })
    }
}

/// Writes captured lines, each in its row.
fn paint(captured: &[u8], content: &mut String) {
    let mut filter = ScreenFilter::new();
    for (row, line) in captured.split(|&byte| byte == b'\n').enumerate() {
        if !line.is_empty() {
            go(0, u32::try_from(row).unwrap_or(u32::MAX), content);
            content.push_str(&filter.push(line));
        }
    }
    // A line that ends in the midst of line drawing.
    content.push('\u{f}');
}

fn go(column: u32, row: u32, content: &mut String) {
    content.push_str(&format!(
        "\u{1b}[{};{}H",
        row.saturating_add(1),
        column.saturating_add(1)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn develop(state: &str, shown: &str, behind: &str) -> Option<Picture> {
        let answers = [state, shown, behind, "\\033[3"].map(|text| text.as_bytes().to_vec());
        Picture::develop(&answers, "\u{1b}[31m")
    }

    #[test]
    fn a_screen_is_drawn_with_what_is_in_force() {
        let picture = develop("80 24 3 5 0 0 0 0 1 1 1 1 1 2 9", "a\n\n\x1b[1mb", "").unwrap();
        let screen = picture.screen;
        assert_eq!(
            (screen.columns, screen.rows, screen.alternate),
            (80, 24, false)
        );
        assert_eq!(
            screen.content,
            "\x1bc\x1b)0\x1b[?7l\x1b[1;1Ha\x1b[3;1H\x1b[1mb\x0f\x1b[m\x1b[31m\x1b[3;10r\x1b[?1h\x1b=\x1b[?6h\x1b[?7h\
             \x1b[4h\x1b[?25l\x1b[4;4H"
        );
        let cursor = Cursor {
            column: 3,
            row: 5,
            visible: false,
        };
        assert_eq!(
            (screen.cursor, &picture.pending[..]),
            (cursor, &b"\x1b[3"[..])
        );
    }

    #[test]
    fn what_is_behind_an_alternate_screen_is_drawn_first() {
        let screen = develop("80 24 0 0 1 1 6 1 0 0 0 1 0 0 23", "front", "back")
            .unwrap()
            .screen;
        assert_eq!(
            screen.content,
            "\x1bc\x1b)0\x1b[?7l\x1b[1;1Hback\x0f\x1b[2;7H\x1b[?1049h\x1b[H\x1b[1;1Hfront\x0f\x1b[m\x1b[31m\x1b[?7h\
             \x1b[1;1H"
        );
        assert!(screen.alternate);
    }

    #[test]
    fn what_is_captured_is_filtered_and_nonsense_is_none() {
        let state = "80 24 0 0 1 0 0 0 0 0 0 1 0 0 23";
        let screen = develop(state, "a\x1b]8;;http://x\x1b\\b\x07\x1b[5n", "")
            .unwrap()
            .screen;
        assert!(
            screen.content.contains("\x1b[1;1Hab\x0f"),
            "{:?}",
            screen.content
        );
        assert!(develop("80 24", "", "").is_none());
        assert!(Picture::develop(&[], "").is_none());
    }
}
