//! What a control-mode client prints, taken apart.

use std::collections::VecDeque;

/// An answer, or a line, longer than this is none of ours.
const LONGEST: usize = 16 * 1024 * 1024;

/// Something that tmux said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A command ended: with what it printed, or with why it was refused.
    Answer {
        /// Whether the command came in by this connection, and not with the client's start or from a hook.
        ours: bool,
        result: Result<Vec<u8>, Vec<u8>>,
    },
    /// A pane printed something.
    Output {
        /// As `%1`.
        pane: String,
        bytes: Vec<u8>,
    },
    /// `%name about ...`
    Notification {
        name: String,
        /// What it is about, mostly an id: its first word.
        about: String,
    },
    /// The client is told to go, with a reason if there is one.
    Exit(String),
    /// More came than can be an answer.
    Overflow,
}

/// Takes bytes in as they come and gives events out.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    block: Option<Block>,
    events: VecDeque<Event>,
}

/// An answer that has begun. Only the same stamp ends it: what a command prints may look like an end.
#[derive(Debug)]
struct Block {
    stamp: Vec<u8>,
    text: Vec<u8>,
}

impl Parser {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            let line = std::mem::take(&mut self.line);
            self.take_line(&line);
            self.line = line;
            self.line.clear();
        }
        self.line.extend_from_slice(rest);
        let held = self.line.len() + self.block.as_ref().map_or(0, |block| block.text.len());
        if held > LONGEST {
            self.line.clear();
            self.block = None;
            self.events.push_back(Event::Overflow);
        }
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn take_line(&mut self, line: &[u8]) {
        if let Some(block) = &mut self.block {
            let ended = if line.strip_prefix(b"%end ") == Some(&block.stamp) {
                Some(true)
            } else if line.strip_prefix(b"%error ") == Some(&block.stamp) {
                Some(false)
            } else {
                None
            };
            let Some(fine) = ended else {
                block.text.extend_from_slice(line);
                block.text.push(b'\n');
                return;
            };
            let ours = block.stamp.ends_with(b" 1");
            let mut text = std::mem::take(&mut block.text);
            text.pop();
            self.block = None;
            self.events.push_back(Event::Answer {
                ours,
                result: if fine { Ok(text) } else { Err(text) },
            });
        } else if let Some(stamp) = line.strip_prefix(b"%begin ") {
            self.block = Some(Block {
                stamp: stamp.to_vec(),
                text: Vec::new(),
            });
        } else if let Some(reason) = line.strip_prefix(b"%exit") {
            let reason = String::from_utf8_lossy(reason).trim().to_owned();
            self.events.push_back(Event::Exit(reason));
        } else if let Some(notification) = line.strip_prefix(b"%") {
            self.events.push_back(notified(notification));
        }
    }
}

/// A notification without its `%`: `output PANE BYTES`, `extended-output PANE AGE ... : BYTES`, `NAME WORD ...`.
fn notified(line: &[u8]) -> Event {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (name, about, rest) = (word(), word(), word());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = match name {
        b"output" => Some(rest),
        b"extended-output" => rest
            .windows(3)
            .position(|three| three == b" : ")
            .map(|at| &rest[at + 3..]),
        _ => None,
    };
    match printed {
        Some(escaped) => Event::Output {
            pane: text(about),
            bytes: unescape(escaped),
        },
        None => Event::Notification {
            name: text(name),
            about: text(about),
        },
    }
}

/// The bytes that tmux wrote as `\ooo`: controls and the backslash itself.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &after[3..];
            }
            _ => bytes.push(first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&str]) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.feed(chunk.as_bytes());
            events.extend(std::iter::from_fn(|| parser.next()));
        }
        events
    }

    fn expected() -> Vec<Event> {
        vec![
            Event::Answer {
                ours: false,
                result: Ok(Vec::new()),
            },
            Event::Notification {
                name: "window-close".into(),
                about: "@3".into(),
            },
            Event::Answer {
                ours: true,
                result: Ok(b"a\n%end 7 9 1\n%window-close @4\nb".to_vec()),
            },
            Event::Answer {
                ours: true,
                result: Err(b"no such window".to_vec()),
            },
            Event::Exit("server exited".into()),
        ]
    }

    const TEXT: &str = "%begin 7 1 0\n%end 7 1 0\n%window-close @3\n%begin 7 2 1\na\n%end 7 9 1\n%window-close @4\nb\n\
                        %end 7 2 1\n%begin 7 3 1\nno such window\n%error 7 3 1\n%exit server exited\n";

    #[test]
    fn answers_and_notifications_are_told_apart() {
        assert_eq!(events(&[TEXT]), expected());
    }

    #[test]
    fn lines_may_come_in_any_pieces() {
        for at in 0..TEXT.len() {
            assert_eq!(
                events(&[&TEXT[..at], &TEXT[at..]]),
                expected(),
                "cut at {at}"
            );
        }
        let bytes: Vec<&str> = TEXT.split_inclusive(|_| true).collect();
        assert_eq!(events(&bytes), expected());
    }

    #[test]
    fn output_comes_with_its_bytes() {
        let output = |pane: &str, bytes: &[u8]| Event::Output {
            pane: pane.into(),
            bytes: bytes.to_vec(),
        };
        let text = "%output %1 a\\033[m\\134033 : \\015\\012\n%extended-output %2 17 : b : c\\3\\400\\\n\
                    %extended-output %3 1 x\n%output %4\n";
        let expected = [
            output("%1", b"a\x1b[m\\033 : \r\n"),
            output("%2", b"b : c\\3\\400\\"),
            Event::Notification {
                name: "extended-output".into(),
                about: "%3".into(),
            },
            output("%4", b""),
        ];
        assert_eq!(events(&[text]), expected);
    }

    #[test]
    fn an_endless_answer_is_given_up() {
        let mut parser = Parser::default();
        parser.feed(b"%begin 1 1 1\n");
        for _ in 0..=LONGEST / (1024 * 1024) {
            parser.feed(&vec![b'x'; 1024 * 1024]);
        }
        assert_eq!(parser.next(), Some(Event::Overflow));
    }
}
