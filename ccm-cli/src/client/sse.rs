//! Server-Sent Events, as far as the event stream uses them.

use std::collections::VecDeque;

/// The most bytes that one frame may have.
const MAX_FRAME: usize = 8 * 1024 * 1024;

/// What was between two empty lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Frame {
    /// The place in the log, if the frame names one.
    pub(super) id: Option<String>,
    /// Its kind; `message` if it names none.
    pub(super) event: String,
    /// Its lines, joined by newlines; `None` for a frame that only tells a place.
    pub(super) data: Option<String>,
}

/// A frame that is longer than any that a daemon sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts frames together from chunks that may end anywhere, also within a character or between CR and LF.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    started: bool,
    after_cr: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    ready: VecDeque<Frame>,
}

impl Parser {
    /// Takes in the next chunk.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<(), TooLong> {
        for &byte in chunk {
            match byte {
                // The second half of a CRLF, perhaps of another chunk.
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    self.end_line();
                }
                _ => {
                    self.after_cr = false;
                    let held = self.data.as_ref().map_or(0, String::len);
                    if self.line.len() + held >= MAX_FRAME {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    /// The next whole frame.
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let mut line = &*String::from_utf8_lossy(&bytes);
        if !std::mem::replace(&mut self.started, true) {
            line = line.trim_start_matches('\u{feff}');
        }
        if line.is_empty() {
            self.end_frame();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // An empty field is a comment: the heartbeat.
            _ => {}
        }
    }

    fn end_frame(&mut self) {
        let event = std::mem::take(&mut self.event);
        let id = self.id.take();
        let data = self.data.take();
        if id.is_some() || data.is_some() {
            let event = if event.is_empty() {
                "message".to_owned()
            } else {
                event
            };
            self.ready.push_back(Frame { id, event, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: Option<&str>, event: &str, data: &str) -> Frame {
        Frame {
            id: id.map(str::to_owned),
            event: event.to_owned(),
            data: Some(data.to_owned()),
        }
    }

    fn drain(parser: &mut Parser) -> Vec<Frame> {
        std::iter::from_fn(|| parser.next()).collect()
    }

    const STREAM: &str = "\u{feff}: hello\n\nid: a:1\r\nevent: task.created\r\ndata: {\"x\":\"ö\"}\r\n\r\n\
                          data:one\rdata: two\rdata\r\rid: a:2\ndata:  three\nretry: 5\nodd\n\n: beat\nid: a:3\n\ndata: cut";

    fn wanted() -> Vec<Frame> {
        vec![
            frame(Some("a:1"), "task.created", "{\"x\":\"ö\"}"),
            frame(None, "message", "one\ntwo\n"),
            frame(Some("a:2"), "message", " three"),
            Frame {
                data: None,
                ..frame(Some("a:3"), "message", "")
            },
        ]
    }

    #[test]
    fn frames_are_the_same_wherever_the_chunks_are_cut() {
        let bytes = STREAM.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut parser = Parser::default();
                let mut frames = Vec::new();
                for chunk in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    parser.feed(chunk).unwrap();
                    frames.extend(drain(&mut parser));
                }
                assert_eq!(frames, wanted(), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_frame_without_an_end_is_given_up() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; MAX_FRAME + 1]), Err(TooLong));
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(1000));
        let all = line.repeat(MAX_FRAME / 1000 + 2);
        assert_eq!(parser.feed(all.as_bytes()), Err(TooLong));
    }
}
