//! Makes text of unknown origin safe to show on a terminal: [`Filter`] lines of text, [`ScreenFilter`] what draws a whole
//! screen.

mod decoder;
mod screen;

use decoder::Decoder;
pub use screen::ScreenFilter;

/// No colour sequence, or any other control sequence, that a program means is longer.
const MAX_CONTROL: usize = 128;
/// No escape sequence has more bytes between ESC and its last one.
const MAX_INTERMEDIATE: usize = 4;
/// A string for the terminal that goes on for longer than this was none.
const MAX_STRING: usize = 64 * 1024;
/// Ends all colours.
const RESET: &str = "\u{1b}[0m";

/// Lets through text, newlines, tabs and colours, and nothing else that a terminal acts upon: no strings for it (OSC,
/// DCS, APC, PM, SOS), no queries, no cursor, mode, title or charset changes, no bell, nothing that reorders a line.
///
/// In what it returns, ESC only begins `ESC [ digits ; : m`. A carriage return in a line becomes a newline, so that
/// what was shown is not written over. It doesn't matter how the input is cut into pieces: what is incomplete at the
/// end of a piece is kept for the next one. What never becomes complete is given up at the end of its line or when it
/// is too long.
#[derive(Debug)]
pub struct Filter {
    colours: bool,
    /// Whether the last colour was one, not their end.
    coloured: bool,
    state: State,
    decoder: Decoder,
    /// Whether the line has no text yet.
    line_is_empty: bool,
    /// Whether the last line end was a carriage return, which a newline may belong to.
    returned: bool,
}

#[derive(Debug)]
enum State {
    Text,
    /// After ESC and so many intermediate bytes.
    Escape(usize),
    /// After CSI: the parameters.
    Control(String),
    /// In a string that the terminal would interpret.
    String {
        /// Whether BEL or a line's end also ends it, as in OSC.
        short: bool,
        length: usize,
        escape: bool,
    },
}

impl Default for Filter {
    /// One that lets colours through.
    fn default() -> Self {
        Self::new(true)
    }
}

impl Filter {
    /// A filter that also removes colours unless there are to be `colours`.
    pub fn new(colours: bool) -> Self {
        Self {
            colours,
            coloured: false,
            state: State::Text,
            decoder: Decoder::default(),
            line_is_empty: true,
            returned: false,
        }
    }

    /// What may be shown of `bytes` and of what was kept of earlier ones. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len());
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(bytes, |c| self.take(c, &mut out));
        self.decoder = decoder;
        out
    }

    /// What must follow the last piece so that its colours don't go on: a reset, or nothing.
    pub fn reset(&mut self) -> &'static str {
        if std::mem::take(&mut self.coloured) {
            RESET
        } else {
            ""
        }
    }

    fn take(&mut self, c: char, out: &mut String) {
        match &mut self.state {
            State::Text => self.text(c, out),
            State::Escape(count) => match c {
                _ if *count == 0 => self.escape(c, out),
                ' '..='/' if *count < MAX_INTERMEDIATE => *count += 1,
                '0'..='~' => self.state = State::Text,
                _ => self.restart(c, out),
            },
            State::Control(parameters) => match c {
                ' '..='?' if parameters.len() < MAX_CONTROL => parameters.push(c),
                '@'..='~' => {
                    let parameters = std::mem::take(parameters);
                    self.state = State::Text;
                    if c == 'm' {
                        self.colour(&parameters, out);
                    }
                }
                _ => self.restart(c, out),
            },
            State::String {
                short,
                length,
                escape,
            } => {
                *length += 1;
                match c {
                    '\\' if *escape => self.state = State::Text,
                    '\u{1b}' => *escape = true,
                    // ESC and anything but a backslash ends the string and begins something else.
                    _ if *escape => self.escape(c, out),
                    '\u{18}' | '\u{1a}' | '\u{9c}' => self.state = State::Text,
                    '\u{7}' | '\n' if *short => self.restart(c, out),
                    _ if *length > MAX_STRING => self.restart(c, out),
                    _ => {}
                }
            }
        }
    }

    /// What follows ESC.
    fn escape(&mut self, c: char, out: &mut String) {
        self.state = match c {
            '[' => State::Control(String::new()),
            // The second one is the title of screen and tmux: `ESC k TEXT ESC \`.
            ']' | 'k' => string(true),
            'P' | 'X' | '^' | '_' => string(false),
            ' '..='/' => State::Escape(1),
            '0'..='~' => State::Text,
            _ => return self.restart(c, out),
        };
    }

    /// Gives up the sequence that `c` can't be a part of.
    fn restart(&mut self, c: char, out: &mut String) {
        self.state = State::Text;
        self.text(c, out);
    }

    fn text(&mut self, c: char, out: &mut String) {
        match c {
            '\u{1b}' => self.state = State::Escape(0),
            '\u{9b}' => self.state = State::Control(String::new()),
            '\u{9d}' => self.state = string(true),
            '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => self.state = string(false),
            '\n' if self.returned => self.returned = false,
            '\n' => self.end_line(out),
            '\r' if self.line_is_empty => {}
            '\r' => {
                self.end_line(out);
                self.returned = true;
            }
            '\t' => self.show(c, out),
            _ if c.is_control() || reorders(c) => {}
            _ => self.show(c, out),
        }
    }

    fn show(&mut self, c: char, out: &mut String) {
        out.push(c);
        self.line_is_empty = false;
        self.returned = false;
    }

    fn end_line(&mut self, out: &mut String) {
        out.push('\n');
        self.line_is_empty = true;
    }

    fn colour(&mut self, parameters: &str, out: &mut String) {
        let is_colour = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
        if self.colours && parameters.chars().all(is_colour) {
            self.coloured = !parameters.chars().all(|c| matches!(c, '0' | ';'));
            out.push_str("\u{1b}[");
            out.push_str(parameters);
            out.push('m');
        }
    }
}

fn string(short: bool) -> State {
    State::String {
        short,
        length: 0,
        escape: false,
    }
}

/// Whether this is a bidi override, embedding or isolate. The marks, which only say where a word belongs, are none.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What may be shown of a whole text, without its colours.
pub fn plain(text: &str) -> String {
    Filter::new(false).push(text.as_bytes())
}

/// What may be shown of a whole text, in one line and without its colours.
pub fn line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests;
