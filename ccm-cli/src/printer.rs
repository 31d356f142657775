//! What is printed where: data on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use ccm_agents::terminal;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use crate::exit::Failure;
use crate::progress::{self, Progress};

/// A text's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Yellow,
    Green,
    Cyan,
    Dim,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Red => "1;31",
            Self::Yellow => "1;33",
            Self::Green => "32",
            Self::Cyan => "36",
            Self::Dim => "2",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    pub(crate) json: bool,
    out_is_terminal: bool,
    err_is_terminal: bool,
    colours: bool,
    dumb: bool,
}

impl Printer {
    pub(crate) fn new(json: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            json,
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
            colours: !unwanted && !dumb,
            dumb,
        }
    }

    /// Whether standard output is a person's.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.err_is_terminal && io::stdin().is_terminal()
    }

    /// Whether the terminal can only print.
    pub(crate) fn is_dumb(&self) -> bool {
        self.dumb
    }

    /// Whether the locale has more than ASCII, by the first of its variables that says something.
    pub(crate) fn is_unicode(&self) -> bool {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
        locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
    }

    /// Whether questions are asked in colours.
    pub(crate) fn asks_in_colours(&self) -> bool {
        self.err_is_terminal && self.colours
    }

    /// Whether standard output shows colours.
    pub(crate) fn shows_colours(&self) -> bool {
        self.out_is_terminal && self.colours
    }

    /// A line of data.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Data as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        };
        progress::aside(write).map_err(|e| Failure::of_output(&e))
    }

    /// An id: its end, which is enough to name it, where a person reads it, else all of it.
    pub(crate) fn id(&self, id: impl Display) -> String {
        let id = id.to_string();
        match id.rsplit_once('-') {
            Some((_, end)) if self.out_is_terminal => end.to_owned(),
            _ => id,
        }
    }

    /// An object of the API: for people to read on a terminal, else on one line.
    pub(crate) fn object(&self, object: &impl Serialize) -> Result<(), Failure> {
        let text = if self.out_is_terminal {
            serde_json::to_string_pretty(object)
        } else {
            serde_json::to_string(object)
        };
        let text = text.map_err(|e| Failure::of_output(&e.into()))?;
        self.line(text)
    }

    /// Rows below their headings, cut to the terminal's width in the column `wide`. States have their colours.
    pub(crate) fn table(
        &self,
        headings: &[&str],
        wide: Option<usize>,
        rows: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        let lines = self.table_lines(headings, wide, rows);
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// Such a table without as many of the columns `spare`, the first of them first, as it takes to fit the terminal.
    pub(crate) fn table_without(
        &self,
        headings: &[&str],
        spare: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        let width = self.width().map_or(usize::MAX, usize::from);
        for left_out in 0..=spare.len() {
            let is_kept = |column: &usize| !spare[..left_out].contains(&headings[*column]);
            let columns: Vec<usize> = (0..headings.len()).filter(is_kept).collect();
            let headings: Vec<&str> = columns.iter().map(|column| headings[*column]).collect();
            let cells = |row: &Vec<String>| columns.iter().map(|n| row[*n].clone()).collect();
            let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
            // With nothing more to leave out the first column is cut.
            let wide = (left_out == spare.len()).then_some(0);
            let lines = self.table_lines(&headings, wide, rows);
            if wide.is_some()
                || lines
                    .iter()
                    .all(|line| terminal::plain(line).chars().count() <= width)
            {
                return lines.iter().try_for_each(|line| self.line(line));
            }
        }
        Ok(())
    }

    /// The lines of such a table: the headings, then one for each row.
    pub(crate) fn table_lines(
        &self,
        headings: &[&str],
        wide: Option<usize>,
        rows: Vec<Vec<String>>,
    ) -> Vec<String> {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_header(headings.to_vec());
        table.set_truncation_indicator("…");
        match self.width() {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for row in rows {
            let cells: Vec<_> = row.iter().map(|cell| terminal::line(cell)).collect();
            let mut row = comfy_table::Row::from(cells);
            row.max_height(1);
            table.add_row(row);
        }
        for (n, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if Some(n) != wide {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let lines = table.lines();
        let mut lines: Vec<_> = lines.map(|line| line.trim_end().to_owned()).collect();
        if self.shows_colours() {
            self.colour(&mut lines);
        }
        lines
    }

    /// Paints the headings, and the column of states, which begins where its heading does.
    fn colour(&self, lines: &mut [String]) {
        let Some((head, rows)) = lines.split_first_mut() else {
            return;
        };
        if let Some(begin) = head.find(STATE) {
            for row in rows {
                if let Some((before, state, after)) = word_at(row, begin) {
                    *row = format!("{before}{}{after}", self.paint_state(state));
                }
            }
        }
        *head = self.paint_out(Colour::Dim, head);
    }

    /// The name of a state in its colour, on standard output.
    pub(crate) fn paint_state(&self, state: &str) -> String {
        match of_state(state) {
            Some(colour) => self.paint_out(colour, state),
            None => state.to_owned(),
        }
    }

    fn width(&self) -> Option<u16> {
        let (width, _) = self
            .out_is_terminal
            .then(|| terminal_size::terminal_size_of(io::stdout()))??;
        (width.0 >= 20).then_some(width.0)
    }

    /// A line for people that is no data.
    pub(crate) fn note(&self, text: impl Display) {
        // Nobody is left to be told that nobody can be told.
        let _ = progress::aside(|| writeln!(io::stderr(), "{text}"));
    }

    /// Shows a person that `what` goes on, once it takes a while, until the answer is dropped.
    pub(crate) fn progress(&self, what: impl Into<String>) -> Progress {
        Progress::new(self.err_is_terminal.then(|| what.into()), self.colours)
    }

    /// A question, without a newline.
    pub(crate) fn question(&self, text: impl Display) {
        let mut err = io::stderr();
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    pub(crate) fn warning(&self, text: impl Display) {
        self.note(format!("{}: {text}", self.paint(Colour::Yellow, "warning")));
    }

    pub(crate) fn hint(&self, text: impl Display) {
        self.note(format!("{}: {text}", self.paint(Colour::Cyan, "hint")));
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.silent {
            return;
        }
        let error = self.paint(Colour::Red, "error");
        self.note(format!("{error}: {}", harmless(&failure.message)));
        if let Some(hint) = &failure.hint {
            self.hint(hint);
        }
    }

    /// `text` in this colour where standard error shows colours.
    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        painted(self.err_is_terminal && self.colours, colour, text)
    }

    /// `text` in this colour where standard output shows colours.
    pub(crate) fn paint_out(&self, colour: Colour, text: &str) -> String {
        painted(self.shows_colours(), colour, text)
    }
}

/// The heading of the column that has states.
const STATE: &str = "STATE";

/// What a state's colour says: green is well, cyan is at work, yellow needs a person or patience, red needs help.
fn of_state(state: &str) -> Option<Colour> {
    Some(match state {
        "succeeded" | "idle" | "ok" => Colour::Green,
        "running" | "working" | "starting" => Colour::Cyan,
        "waiting" | "parked" | "cancelled" | "stopping" | "open" | "warning" => Colour::Yellow,
        "failed" | "unresponsive" | "problem" => Colour::Red,
        "queued" | "stopped" | "answered" | "void" | "expired" => Colour::Dim,
        _ => return None,
    })
}

/// The word of `line` that begins in this column of the screen, with what stands before and after it.
fn word_at(line: &str, column: usize) -> Option<(&str, &str, &str)> {
    let mut at = 0;
    let begin = line.char_indices().find_map(|(index, c)| {
        let here = (at == column).then_some(index);
        at += c.width().unwrap_or(0);
        here
    })?;
    let (before, rest) = line.split_at(begin);
    let (word, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    Some((before, word, after))
}

fn painted(on: bool, colour: Colour, text: &str) -> String {
    if on {
        format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code())
    } else {
        text.to_owned()
    }
}

/// The lines as a terminal may show them.
fn harmless(message: &str) -> String {
    let lines: Vec<_> = message.lines().map(terminal::line).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_what_the_screen_shows() {
        assert_eq!(word_at("ab  idle  x", 4), Some(("ab  ", "idle", "  x")));
        assert_eq!(word_at("日本  idle", 6), Some(("日本  ", "idle", "")));
        assert_eq!(word_at("ab", 4), None);
    }

    #[test]
    fn every_state_has_a_colour() {
        use ccm_core::api::{AgentStateName, TaskStateName};
        for state in TaskStateName::ALL {
            assert!(of_state(state.as_str()).is_some(), "{state}");
        }
        for state in [AgentStateName::Unresponsive, AgentStateName::Parked] {
            assert!(of_state(state.as_str()).is_some(), "{}", state.as_str());
        }
        assert_eq!(of_state("whatever"), None);
    }
}
