//! Makes a program's output safe to show on a terminal.

/// No colour sequence that anybody means is longer.
const MAX_SGR: usize = 64;
/// A string for the terminal that goes on for longer than this was none.
const MAX_STRING: usize = 64 * 1024;

/// Lets through text, line ends, tabs, carriage returns and colours, and nothing else that a terminal acts upon: no
/// strings (OSC, DCS, APC, PM, SOS), no queries, no cursor, mode, title or charset changes, no bell.
///
/// Its output is UTF-8 in which ESC only begins `ESC [ digits ; : m`. It doesn't matter how the input is cut into
/// pieces. What is incomplete at the end of a piece is kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    state: State,
    /// Bytes of a character that is not complete yet.
    partial: Vec<u8>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: one final byte ends it.
    Intermediate,
    /// After `ESC [`: the parameters, or nothing if it can't be a colour.
    Control(Option<Vec<u8>>),
    /// In a string that the terminal would interpret.
    String {
        /// Whether BEL or a line's end also ends it, as in OSC.
        short: bool,
        length: usize,
        escape: bool,
    },
}

impl Filter {
    /// The part of `input` (and of what was kept of earlier input) that may be shown, appended to `output`.
    pub(crate) fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for byte in input {
            self.byte(*byte, output);
        }
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        match &mut self.state {
            State::Text => self.text(byte, output),
            State::Escape => self.escape(byte, output),
            State::Intermediate => match byte {
                0x20..=0x2f => {}
                0x30..=0x7e => self.state = State::Text,
                _ => self.restart(byte, output),
            },
            State::Control(parameters) => match byte {
                b'0'..=b'9' | b';' | b':' => {
                    if let Some(bytes) = parameters {
                        bytes.push(byte);
                        if bytes.len() > MAX_SGR {
                            *parameters = None;
                        }
                    }
                }
                0x20..=0x3f => *parameters = None,
                0x40..=0x7e => {
                    if let (b'm', Some(bytes)) = (byte, parameters) {
                        output.extend_from_slice(b"\x1b[");
                        output.extend_from_slice(bytes);
                        output.push(b'm');
                    }
                    self.state = State::Text;
                }
                // A terminal acts on these in the middle of a sequence and goes on with it.
                b'\n' | b'\r' | b'\t' => output.push(byte),
                0x00..=0x17 | 0x19 | 0x1c..=0x1f | 0x7f => {}
                _ => self.restart(byte, output),
            },
            State::String {
                short,
                length,
                escape,
            } => {
                *length += 1;
                let ends = match byte {
                    b'\\' if *escape => true,
                    0x07 | b'\n' if *short => true,
                    0x18 | 0x1a => true,
                    _ => *length > MAX_STRING,
                };
                if ends {
                    self.state = State::Text;
                    if byte == b'\n' {
                        output.push(byte);
                    }
                } else if *escape && byte != 0x1b {
                    // ESC and anything but a backslash ends the string and begins something else.
                    self.state = State::Escape;
                    self.escape(byte, output);
                } else {
                    *escape = byte == 0x1b;
                }
            }
        }
    }

    fn escape(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.state = match byte {
            b'[' => State::Control(Some(Vec::new())),
            b']' => string(true),
            b'P' | b'_' | b'^' | b'X' => string(false),
            // The title of screen and tmux: `ESC k TEXT ESC \`.
            b'k' => string(true),
            0x20..=0x2f => State::Intermediate,
            0x30..=0x7e => State::Text,
            0x1b => State::Escape,
            _ => return self.restart(byte, output),
        };
    }

    /// Gives up the sequence that `byte` can't be a part of.
    fn restart(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.state = State::Text;
        self.text(byte, output);
    }

    fn text(&mut self, byte: u8, output: &mut Vec<u8>) {
        if !self.partial.is_empty() || byte >= 0x80 {
            return self.character(byte, output);
        }
        match byte {
            0x1b => self.state = State::Escape,
            b'\n' | b'\r' | b'\t' | 0x20..=0x7e => output.push(byte),
            _ => {}
        }
    }

    /// A byte of a character with more than one.
    fn character(&mut self, byte: u8, output: &mut Vec<u8>) {
        self.partial.push(byte);
        match std::str::from_utf8(&self.partial) {
            Ok(text) => {
                // U+0080 to U+009F are control characters, one of them as good as ESC [.
                if !text.chars().any(char::is_control) {
                    output.extend_from_slice(text.as_bytes());
                }
                self.partial.clear();
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                output.extend_from_slice("\u{fffd}".as_bytes());
                let first = self.partial.len() == 1;
                self.partial.clear();
                // What broke the character may begin something of its own.
                if !first {
                    self.text(byte, output);
                }
            }
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

/// A short text of unknown origin in one line that is safe to show.
pub(crate) fn line(text: &str) -> String {
    let mut shown = Vec::new();
    Filter::default().push(text.as_bytes(), &mut shown);
    String::from_utf8_lossy(&shown).replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(input: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        Filter::default().push(input, &mut output);
        output
    }

    /// Whether ESC only begins colours and there is no other control character but line ends, returns and tabs.
    fn is_harmless(output: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(output) else {
            return false;
        };
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c == '\x1b' {
                if rest.next() != Some('[') {
                    return false;
                }
                if rest.find(|c| !matches!(c, '0'..='9' | ';' | ':')) != Some('m') {
                    return false;
                }
            } else if c.is_control() && !matches!(c, '\n' | '\r' | '\t') {
                return false;
            }
        }
        true
    }

    #[test]
    fn what_acts_on_a_terminal_is_gone() {
        for (input, expected) in [
            (&b"a\x1b]0;title\x07b"[..], &b"ab"[..]),
            (b"a\x1b]52;c;aGk=\x1b\\b", b"ab"),
            (b"a\x1b]8;;http://x\nb", b"a\nb"),
            (b"a\x1bP1$r0m\x1b\\b", b"ab"),
            (b"a\x1bP1\nq\x1b\\b", b"ab"),
            (b"a\x1b_Gf=100\x1b\\b", b"ab"),
            (b"a\x1bktitle\x1b\\b", b"ab"),
            (b"a\x1b[6nb\x1b[cb\x1b[>0q\x1b[?1049h", b"abb"),
            (b"a\x1b[2J\x1b[H\x1bcb\x1b(0", b"ab"),
            (b"a\x1b[>4;2mb", b"ab"),
            (b"a\x1b[0 mb", b"ab"),
            (b"a\x1b]x\x1b[31mred", b"a\x1b[31mred"),
            (b"a\x1b\x1b[31mb", b"a\x1b[31mb"),
            (b"a\x1b[3\x181mb", b"a1mb"),
            (b"a\x1b[3\n1mb", b"a\n\x1b[31mb"),
            (b"bell\x07 \x05enq \x0eso", b"bell enq so"),
            ("c1 \u{9b}31m \u{90}x".as_bytes(), b"c1 31m x"),
            (b"raw \x9b31m", "raw \u{fffd}31m".as_bytes()),
            (b"cut \xe2\x82\x1b[31m", "cut \u{fffd}\x1b[31m".as_bytes()),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&shown(input)),
                String::from_utf8_lossy(expected),
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }

    #[test]
    fn text_and_colours_stay() {
        let input = "ünï 漢字 🙂\r\n\t\x1b[1;38;2;1;2;3mx\x1b[m \x1b[4:3my";
        assert_eq!(shown(input.as_bytes()), input.as_bytes());
    }

    #[test]
    fn a_string_without_an_end_does_not_swallow_the_rest() {
        let mut input = b"\x1bP".to_vec();
        input.extend(std::iter::repeat_n(b'x', MAX_STRING + 10));
        input.extend_from_slice(b"\nend");
        assert!(shown(&input).ends_with(b"\nend"));
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(vec![
                &b"\x1b"[..],
                b"\x1b[",
                b"\x1b]0;",
                b"\x1bP",
                b"\x1b\\",
                b"\x07",
                b"m",
                b"31",
                b";",
                b"\xc2\x9b",
                b"\n",
                b"\x18",
                "é".as_bytes(),
                b"\xf0\x9f",
            ])
            .prop_map(<[u8]>::to_vec),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_harmful_comes_through(input in hostile()) {
            let output = shown(&input);
            prop_assert!(is_harmless(&output), "{:?}", output);
        }

        #[test]
        fn cuts_change_nothing(input in hostile(), cuts in prop::collection::vec(0usize..60, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.push(input.len());
            cuts.sort_unstable();
            let mut filter = Filter::default();
            let (mut output, mut from) = (Vec::new(), 0);
            for cut in cuts {
                filter.push(&input[from..cut], &mut output);
                from = cut;
            }
            prop_assert_eq!(output, shown(&input));
        }

        #[test]
        fn what_is_harmless_is_left_alone(input in hostile()) {
            let once = shown(&input);
            prop_assert_eq!(shown(&once), once);
        }

        #[test]
        fn plain_text_is_left_alone(input in "[^\\p{Cc}]*") {
            prop_assert_eq!(shown(input.as_bytes()), input.as_bytes());
        }
    }
}
