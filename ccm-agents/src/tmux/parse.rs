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
    /// `%name ...`
    Notification(String),
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
            let name = notification.split(|&byte| byte == b' ').next();
            let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
            self.events.push_back(Event::Notification(name));
        }
    }
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
            Event::Notification("window-close".into()),
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
    fn an_endless_answer_is_given_up() {
        let mut parser = Parser::default();
        parser.feed(b"%begin 1 1 1\n");
        for _ in 0..=LONGEST / (1024 * 1024) {
            parser.feed(&vec![b'x'; 1024 * 1024]);
        }
        assert_eq!(parser.next(), Some(Event::Overflow));
    }
}
