//! What is shown while something takes its time.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// What is over sooner needs no word.
const AFTER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// The one that is on the screen now.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Something that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows `what` with the time it has taken, if that is a while; nothing without words.
    pub(crate) fn new(what: Option<String>, colours: bool) -> Self {
        Self(what.map(|what| {
            let (over, ended) = channel();
            let shower = std::thread::spawn(move || {
                if ended.recv_timeout(AFTER) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                let bar = bar(what, colours);
                *shown() = Some(bar.clone());
                let _ = ended.recv();
                *shown() = None;
                bar.finish_and_clear();
            });
            (over, shower)
        }))
    }

    /// Says how far it is.
    pub(crate) fn say(&self, what: String) {
        if let Some(bar) = &*shown() {
            bar.set_message(what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((over, shower)) = self.0.take() {
            drop(over);
            let _ = shower.join();
        }
    }
}

fn bar(what: String, colours: bool) -> ProgressBar {
    let template = if colours {
        "{spinner:.cyan} {msg} {elapsed:.dim}"
    } else {
        "{spinner} {msg} {elapsed}"
    };
    let bar = ProgressBar::new_spinner().with_elapsed(AFTER);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    bar
}

/// Writes something while the screen shows nothing else.
pub(crate) fn aside<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn shown() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
