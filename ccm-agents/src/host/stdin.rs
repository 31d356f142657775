//! A program's standard input: the prompt, and whatever follows it, each at most once.
//!
//! What is to be given is written down (`inputs` in the run's folder, a line each, synced) before the program can see a
//! byte of it. So whoever comes later knows what it may have seen, and gives it nothing twice.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, PipeWriter, Write};

use ccm_core::input::PROMPT;
use ccm_core::{Result, barrier};

use crate::clock;
use crate::record::{InputNote, Noted, RunDir};
use crate::sys::durable;

/// What is given to a program, and what of it was.
#[derive(Debug)]
pub(super) struct Stdin {
    dir: RunDir,
    pipe: Option<PipeWriter>,
    queue: VecDeque<Pending>,
    /// Every number that ever came.
    known: BTreeSet<u32>,
    /// Whether end of file follows what is in the queue.
    closing: bool,
    /// What became of inputs since it was asked last.
    settled: Vec<(u32, Noted)>,
}

#[derive(Debug)]
struct Pending {
    /// An interrupt has none: it is nothing that anybody waits for.
    number: Option<u32>,
    bytes: Vec<u8>,
    written: usize,
}

/// What came of offering an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It will be written; [`Stdin::settled`] tells.
    Queued,
    /// It was written.
    Written,
    /// The program takes no more.
    TooLate,
}

impl Stdin {
    /// Begins with the prompt.
    pub(super) fn new(dir: RunDir, pipe: PipeWriter, prompt: Vec<u8>, then_close: bool) -> Self {
        let mut stdin = Self {
            dir,
            pipe: Some(pipe),
            queue: VecDeque::new(),
            known: BTreeSet::from([PROMPT]),
            closing: then_close,
            settled: Vec::new(),
        };
        // The launch itself, whose part the prompt is, is committed already.
        if let Err(error) = stdin.note(PROMPT, Noted::Begun) {
            Self::complain(&error);
        }
        stdin.queue.push_back(Pending {
            number: Some(PROMPT),
            bytes: prompt,
            written: 0,
        });
        stdin
    }

    /// The pipe, while there is something to write to it.
    pub(super) fn pipe(&self) -> Option<&PipeWriter> {
        self.pipe.as_ref().filter(|_| !self.queue.is_empty())
    }

    /// Takes an input to be written after those before it.
    pub(super) fn offer(
        &mut self,
        number: u32,
        bytes: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Offer> {
        if self.queue.iter().any(|one| one.number == Some(number)) {
            return Ok(Offer::Queued);
        }
        if self.known.contains(&number) {
            return Ok(Offer::Written);
        }
        if self.pipe.is_none() || self.closing {
            return Ok(Offer::TooLate);
        }
        let bytes = bytes()?;
        self.note(number, Noted::Begun)
            .map_err(|error| durable::error("write", &self.dir.inputs(), error))?;
        barrier!("input.noted");
        self.known.insert(number);
        self.queue.push_back(Pending {
            number: Some(number),
            bytes,
            written: 0,
        });
        self.write();
        Ok(match self.queue.is_empty() {
            true => Offer::Written,
            false => Offer::Queued,
        })
    }

    /// Lets end of file follow what is to be written.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.write();
    }

    /// Gives up what the program has seen nothing of, and writes this and end of file instead. False if the program can
    /// be given nothing any more.
    pub(super) fn interrupt(&mut self, words: Vec<u8>) -> bool {
        if self.pipe.is_none() {
            return false;
        }
        self.give_up(|one| one.written == 0);
        self.queue.push_back(Pending {
            number: None,
            bytes: words,
            written: 0,
        });
        self.close();
        true
    }

    /// Writes what the program takes without waiting for it.
    pub(super) fn write(&mut self) {
        while let (Some(pipe), Some(next)) = (&mut self.pipe, self.queue.front_mut()) {
            match pipe.write(&next.bytes[next.written..]) {
                Ok(count) => next.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    // It doesn't want the rest, which is its own affair.
                    self.end();
                    return;
                }
            }
            if next.written == next.bytes.len() {
                let number = next.number;
                self.queue.pop_front();
                if let Some(number) = number {
                    self.settle(number, Noted::Delivered);
                    barrier!("launch.6.prompted");
                }
            }
        }
        if self.closing && self.queue.is_empty() {
            self.pipe = None;
        }
    }

    /// The program takes no more.
    pub(super) fn end(&mut self) {
        self.pipe = None;
        self.give_up(|_| true);
    }

    /// What became of inputs since the last call.
    pub(super) fn settled(&mut self) -> Vec<(u32, Noted)> {
        std::mem::take(&mut self.settled)
    }

    fn give_up(&mut self, which: impl Fn(&Pending) -> bool) {
        let (given_up, kept): (VecDeque<Pending>, VecDeque<Pending>) =
            std::mem::take(&mut self.queue)
                .into_iter()
                .partition(|one| which(one));
        self.queue = kept;
        for one in given_up {
            // Of what was begun nobody knows what the program made of it; the note that it was begun stays.
            if let Some(number) = one.number.filter(|_| one.written == 0) {
                self.settle(number, Noted::TooLate);
            }
        }
    }

    fn settle(&mut self, number: u32, state: Noted) {
        if let Err(error) = self.note(number, state) {
            Self::complain(&error);
        }
        self.settled.push((number, state));
    }

    fn complain(error: &io::Error) {
        tracing::warn!(%error, "could not note an input");
    }

    fn note(&self, input: u32, state: Noted) -> io::Result<()> {
        self.dir.note_input(&InputNote {
            input,
            state,
            at: clock::now(),
        })
    }
}
