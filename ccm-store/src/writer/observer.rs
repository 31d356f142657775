//! What the writer tells about its work, for whoever measures.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One transaction that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// How many changes it was made of.
    pub changes: usize,
    /// How long it took, from reading what it needs to being on the disk.
    pub took: Duration,
}

type Observe = dyn Fn(Commit) + Send + Sync;

/// Whoever is told, if somebody is.
#[derive(Clone, Default)]
pub(crate) struct Observer(Arc<OnceLock<Box<Observe>>>);

impl Observer {
    pub(crate) fn set(&self, observe: Box<Observe>) {
        // The first one stays.
        let _ = self.0.set(observe);
    }

    pub(super) fn committed(&self, commit: Commit) {
        if let Some(observe) = self.0.get() {
            observe(commit);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer")
            .field(&self.0.get().is_some())
            .finish()
    }
}
