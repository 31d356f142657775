//! How far something that takes long has come, for whoever looks on.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ccm_daemon::machine::backup::Progress;

use super::time;
use crate::printer::Printer;

/// What is done by then needs no word of it.
const QUIET: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);

/// One line on standard error that is written over, and gone at the end. Only on a terminal.
pub(super) struct Line {
    printer: Printer,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shown: Cell<Option<Instant>>,
    text: RefCell<String>,
}

impl Line {
    pub(super) fn new(printer: Printer) -> Self {
        Self {
            printer,
            begun: Instant::now(),
            state: Mutex::default(),
        }
    }

    pub(super) fn show(&self, progress: Progress) {
        if !self.printer.shows_progress() || self.begun.elapsed() < QUIET {
            return;
        }
        let Ok(state) = self.state.lock() else {
            return;
        };
        if state.shown.get().is_some_and(|then| then.elapsed() < EVERY) {
            return;
        }
        state.shown.set(Some(Instant::now()));
        let text = told(progress);
        if *state.text.borrow() != text {
            self.printer.question(format!("\r\u{1b}[K{text}"));
            state.text.replace(text);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let shown = self
            .state
            .get_mut()
            .is_ok_and(|state| state.shown.get().is_some());
        if shown {
            self.printer.question("\r\u{1b}[K");
        }
    }
}

fn told(progress: Progress) -> String {
    match progress.of.filter(|of| *of > 0) {
        Some(of) => {
            // A database that shrinks in the copy is done before its size is reached, never after.
            let percent = progress.done.min(of) * 100 / of;
            format!("{} {percent} % of {}", progress.doing, time::size(of))
        }
        None => format!("{} {}", progress.doing, time::size(progress.done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_says_more_than_all() {
        let doing = "copying";
        let at = |done, of| told(Progress { doing, done, of });
        assert_eq!(at(1024, Some(4096)), "copying 25 % of 4 KiB");
        assert_eq!(at(5000, Some(4096)), "copying 100 % of 4 KiB");
        assert_eq!(at(2048, None), "copying 2 KiB");
        assert_eq!(at(0, Some(0)), "copying 0 B");
    }
}
