//! Waiting, until something is so, for no longer than that may take, and not when somebody wants the program to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

/// Whether the program has been told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From the first SIGTERM or SIGINT on. Has to be made before any other thread is.
    pub(crate) fn by_signal() -> Result<Self, String> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.add(Signal::SIGINT);
        // What is started gets none of this: `Command` lets all signals through again.
        signals.thread_block().map_err(|error| error.to_string())?;
        let stop = Self::default();
        let told = stop.clone();
        std::thread::spawn(move || {
            if signals.wait().is_ok() {
                eprintln!("ending what runs");
                told.0.store(true, Ordering::Relaxed);
            }
        });
        Ok(stop)
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error if so.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.is_told() {
            true => Err(STOPPED.to_owned()),
            false => Ok(()),
        }
    }

    /// Lets time pass, up to a moment.
    pub(crate) fn sleep_until(&self, moment: Instant) -> Result<(), String> {
        loop {
            self.check()?;
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// Why a run that was ended has failed.
pub(crate) const STOPPED: &str = "ended by a signal";

/// Looks again and again until it is so.
pub(crate) fn until(
    what: &str,
    patience: Duration,
    stop: &Stop,
    mut is_so: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let begun = Instant::now();
    while !is_so()? {
        stop.check()?;
        if begun.elapsed() > patience {
            return Err(format!("never: {what}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
