//! Makes what a program printed harmless for a terminal.

/// Lets text, newlines, tabs and colours through. Everything else that a terminal would obey is removed: what agents
/// print is not to move the cursor, set titles, write the clipboard or ask the terminal questions.
///
/// Bytes may come in any pieces.
#[derive(Debug)]
pub(crate) struct Filter {
    colours: bool,
    coloured: bool,
    held: Vec<u8>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// Parameters of a control sequence so far.
    Control(String),
    /// In a string that only its terminator ends.
    String,
    StringEscape,
}

impl Filter {
    pub(crate) fn new(colours: bool) -> Self {
        Self {
            colours,
            coloured: false,
            held: Vec::new(),
            state: State::Text,
        }
    }

    /// What is left of the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(held.len());
        let mut rest = &held[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    text.chars().for_each(|c| self.take(c, &mut out));
                    return out;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    let good = std::str::from_utf8(good).unwrap_or_default();
                    good.chars().for_each(|c| self.take(c, &mut out));
                    let Some(length) = error.error_len() else {
                        // A character that goes on in the next piece.
                        self.held = bad.to_vec();
                        return out;
                    };
                    self.take(char::REPLACEMENT_CHARACTER, &mut out);
                    rest = &bad[length..];
                }
            }
        }
    }

    /// What must follow the last piece.
    pub(crate) fn end(&mut self) -> &'static str {
        if std::mem::take(&mut self.coloured) {
            "\u{1b}[0m"
        } else {
            ""
        }
    }

    fn take(&mut self, c: char, out: &mut String) {
        let state = std::mem::replace(&mut self.state, State::Text);
        self.state = match (state, c) {
            (State::String, '\u{1b}') => State::StringEscape,
            (State::StringEscape, '\\') => State::Text,
            (State::StringEscape, '\u{1b}') => State::StringEscape,
            (State::String | State::StringEscape, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => {
                State::Text
            }
            // An unended string must not swallow the rest of a log.
            (State::String | State::StringEscape, '\n') => {
                out.push(c);
                State::Text
            }
            (State::String | State::StringEscape, _) => State::String,
            (_, '\u{1b}') => State::Escape,
            (_, '\u{9b}') => State::Control(String::new()),
            (_, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::String,
            (State::Escape, '[') => State::Control(String::new()),
            (State::Escape, 'P' | 'X' | ']' | '^' | '_') => State::String,
            (State::Escape, '\u{20}'..='\u{2f}') => State::Escape,
            (State::Escape, '\u{30}'..='\u{7e}') => State::Text,
            (State::Control(_), '\u{40}'..='\u{7e}') if c != 'm' => State::Text,
            (State::Control(parameters), 'm') => {
                self.colour(&parameters, out);
                State::Text
            }
            (State::Control(mut parameters), '\u{20}'..='\u{3f}') => {
                if parameters.len() < 64 {
                    parameters.push(c);
                }
                State::Control(parameters)
            }
            (_, '\n' | '\t') => {
                out.push(c);
                State::Text
            }
            (_, c) if c.is_control() || is_hidden(c) => State::Text,
            (_, c) => {
                out.push(c);
                State::Text
            }
        };
    }

    fn colour(&mut self, parameters: &str, out: &mut String) {
        let plain = parameters
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
        if self.colours && plain && parameters.len() < 64 {
            self.coloured = true;
            out.push_str("\u{1b}[");
            out.push_str(parameters);
            out.push('m');
        }
    }
}

/// Characters that reorder the line around them.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// `text` as one harmless line.
pub(crate) fn line(text: &str) -> String {
    let text = Filter::new(false).push(text.as_bytes());
    text.replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[1;31mred\u{1b}[0m\r\n\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\c\u{1b}[2J\u{1b}[6n\
                           d\u{1b}P1$r\u{1b}\\e\u{9b}31mf\u{9d}52;c;x\u{9c}g\u{1b}(0h\u{1b}[?1049hi\u{8}\tö\u{202e}j\u{1b}]cut\nk";
    const HARMLESS: &str = "a\u{1b}[1;31mred\u{1b}[0m\nbcde\u{1b}[31mfghi\töj\nk";

    #[test]
    fn only_text_and_colours_are_left_wherever_the_pieces_are_cut() {
        let bytes = HOSTILE.as_bytes();
        for cut in 0..=bytes.len() {
            let mut filter = Filter::new(true);
            let mut out = filter.push(&bytes[..cut]);
            out.push_str(&filter.push(&bytes[cut..]));
            assert_eq!(out, HARMLESS, "cut at {cut}");
            assert_eq!(filter.end(), "\u{1b}[0m");
        }
    }

    #[test]
    fn colours_can_go_too() {
        let mut filter = Filter::new(false);
        assert!(!filter.push(HOSTILE.as_bytes()).contains('\u{1b}'));
        assert_eq!(filter.end(), "");
        assert_eq!(line("a\nb\u{1b}[31mc"), "a bc");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let mut filter = Filter::new(true);
        assert_eq!(filter.push(b"a\xffb\x9b31mc"), "a\u{fffd}b\u{fffd}31mc");
    }
}
