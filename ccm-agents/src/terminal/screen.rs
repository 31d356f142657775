use super::{Decoder, reorders};

/// No control sequence that a program means has more parameters than fit in here.
const MAX_CONTROL: usize = 256;
/// No screen has more columns or rows. A larger parameter is written as this one.
const MAX_PLACE: u32 = 9_999;
/// Nothing is done more often at once: some terminals really do it as often as they are told.
const MAX_REPEATS: u32 = 999;
/// How much is remembered of the colours in force.
const MAX_PEN: usize = 256;
/// What DECSET and DECRST may change: application cursor keys, origin, wrapping, the cursor's visibility, and the
/// alternate screen in its three forms.
const PRIVATE_MODES: [u32; 7] = [1, 6, 7, 25, 47, 1047, 1049];
/// What SM and RM may change: inserting.
const MODES: [u32; 1] = [4];

/// Lets through what draws a screen, and nothing that acts on the reader or makes a terminal answer.
///
/// What is let through is listed, and all of it is something that tmux acts upon as well, so that a reader's screen stays
/// the same as tmux's: text; BS, HT, LF, VT, FF, CR, SO and SI; cursor movement, erasing, inserting, deleting and
/// scrolling; scroll regions, tabs, colours and line drawing; saving the cursor, the alternate screen, wrapping, inserting,
/// the cursor's visibility, and what cursor and keypad keys send. Everything else is removed, whole: every string for the
/// terminal (OSC, DCS, APC, PM, SOS, titles), every query, window operations, bell, mouse and focus reports, bracketed
/// paste, key protocols, printing, C1 controls.
///
/// It doesn't matter how the input is cut into pieces: what is incomplete at the end of a piece is kept for the next one.
/// What it returns begins and ends outside of any sequence, and is returned unchanged when it is filtered again.
#[derive(Debug, Default)]
pub struct ScreenFilter {
    decoder: Decoder,
    state: State,
    pen: String,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC: the intermediate, and whether there were more of them.
    Escape(Option<char>, bool),
    /// After CSI: parameters and intermediates.
    Control(String),
    /// In a CSI sequence that is too long to be one.
    Overlong,
    /// In a string that the terminal would interpret; whether BEL ends it, too.
    String { bell: bool },
}

impl ScreenFilter {
    /// One that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What of `bytes`, and of what was kept of earlier ones, may be shown. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len());
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(bytes, |c| self.take(c, &mut out));
        self.decoder = decoder;
        out
    }

    /// The colours in force, as far as they were seen: what to write after a reset to have them again.
    pub fn pen(&self) -> &str {
        &self.pen
    }

    fn take(&mut self, c: char, out: &mut String) {
        match (&mut self.state, c) {
            // These two, and ESC, end whatever it is that they come in.
            (_, '\u{18}' | '\u{1a}') => self.state = State::Text,
            (_, '\u{1b}') => self.state = State::Escape(None, false),
            (State::Text, _) => self.text(c, out),
            (State::String { bell: true }, '\u{7}') => self.state = State::Text,
            (State::String { .. }, _) | (_, '\u{7f}') => {}
            // A control within a sequence is carried out at once, and the sequence goes on.
            (_, '\0'..='\u{1f}') => self.text(c, out),
            // No sequence has these in it.
            (_, '\u{80}'..) => {
                self.state = State::Text;
                self.text(c, out);
            }
            (State::Escape(intermediate @ None, _), ' '..='/') => *intermediate = Some(c),
            (State::Escape(Some(_), more), ' '..='/') => *more = true,
            (State::Escape(None, _), _) => self.escape(c, out),
            (State::Escape(Some(intermediate), more), _) => {
                if let ('(' | ')', '0' | 'B', false) | ('#', '8', false) = (*intermediate, c, *more)
                {
                    out.extend(['\u{1b}', *intermediate, c]);
                }
                self.state = State::Text;
            }
            (State::Control(parameters), ' '..='?') if parameters.len() < MAX_CONTROL => {
                parameters.push(c);
            }
            (State::Control(_) | State::Overlong, ' '..='?') => self.state = State::Overlong,
            (State::Control(parameters), _) => {
                let parameters = std::mem::take(parameters);
                self.state = State::Text;
                self.control(&parameters, c, out);
            }
            (State::Overlong, _) => self.state = State::Text,
        }
    }

    fn text(&self, c: char, out: &mut String) {
        let shown = match c {
            '\u{8}'..='\u{f}' => true,
            _ => !c.is_control() && !reorders(c),
        };
        if shown {
            out.push(c);
        }
    }

    /// What follows ESC.
    fn escape(&mut self, c: char, out: &mut String) {
        self.state = match c {
            '[' => State::Control(String::new()),
            ']' => State::String { bell: true },
            // The first one is the title of screen and tmux: `ESC k TEXT ESC \`.
            'k' | 'P' | 'X' | '^' | '_' => State::String { bell: false },
            _ => State::Text,
        };
        // Cursor saved and restored, keypad, index, next line, tab set, reverse index, reset.
        if let '7' | '8' | '=' | '>' | 'D' | 'E' | 'H' | 'M' | 'c' = c {
            out.extend(['\u{1b}', c]);
        }
        if c == 'c' {
            self.pen.clear();
        }
    }

    fn control(&mut self, parameters: &str, last: char, out: &mut String) {
        let (most, largest) = match last {
            // Characters and lines inserted, deleted, erased and repeated, scrolling, tabs back.
            '@' | 'L' | 'M' | 'P' | 'S' | 'T' | 'X' | 'Z' | 'b' => (1, MAX_REPEATS),
            // Cursor movement; erasing of display and line; tabs cleared.
            'A'..='G' | '`' | 'd' | 'J' | 'K' | 'g' => (1, MAX_PLACE),
            // Cursor position, scroll region.
            'H' | 'f' | 'r' => (2, MAX_PLACE),
            // Cursor saved and restored. With parameters they are something else.
            's' | 'u' if parameters.is_empty() => (1, MAX_PLACE),
            'm' => return self.colour(parameters, out),
            'h' | 'l' => return modes(parameters, last, out),
            _ => return,
        };
        let known = |c: char| c.is_ascii_digit() || c == ';';
        if parameters.chars().all(known) && parameters.split(';').count() <= most {
            write(parameters, last, largest, out);
        }
    }

    fn colour(&mut self, parameters: &str, out: &mut String) {
        let known = |c: char| c.is_ascii_digit() || matches!(c, ';' | ':');
        if !parameters.chars().all(known) {
            return;
        }
        let from = out.len();
        write(parameters, 'm', MAX_PLACE, out);
        if matches!(parameters.split(';').next(), Some("" | "0")) {
            self.pen.clear();
        }
        if self.pen.len() + out.len() - from > MAX_PEN {
            self.pen.clear();
        }
        self.pen.push_str(&out[from..]);
    }
}

/// Modes set or reset, those of them that may be.
fn modes(parameters: &str, last: char, out: &mut String) {
    let (private, numbers, allowed) = match parameters.strip_prefix('?') {
        Some(numbers) => ("?", numbers, &PRIVATE_MODES[..]),
        None => ("", parameters, &MODES[..]),
    };
    if !numbers.chars().all(|c| c.is_ascii_digit() || c == ';') {
        return;
    }
    let mut separator = private;
    for number in numbers.split(';') {
        let known = number.parse::<u32>().ok();
        if let Some(mode) = known.filter(|mode| allowed.contains(mode)) {
            let begin = if separator == ";" { "" } else { "\u{1b}[" };
            out.push_str(&format!("{begin}{separator}{mode}"));
            separator = ";";
        }
    }
    if separator == ";" {
        out.push(last);
    }
}

/// A whole CSI sequence, with no number in it above `largest`.
fn write(parameters: &str, last: char, largest: u32, out: &mut String) {
    out.push_str("\u{1b}[");
    for part in parameters.split_inclusive([';', ':']) {
        let number = part.trim_end_matches([';', ':']);
        let fits = number.is_empty() || number.parse().is_ok_and(|number: u32| number <= largest);
        if fits {
            out.push_str(part);
        } else {
            out.push_str(&format!("{largest}{}", &part[number.len()..]));
        }
    }
    out.push(last);
}

#[cfg(test)]
mod tests;
