//! Noticing that a run has something new.

use std::collections::HashMap;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::id::RunId;

/// After this long a follower looks again even if nobody called.
const NOW_AND_THEN: Duration = Duration::from_secs(1);

/// What there is of a run: the sizes of its output, and whether it has passed its gate and its end.
type Seen = [Option<u64>; 4];

fn look(run: &Path) -> Seen {
    let size = |name| run.join(name).metadata().ok().map(|file| file.len());
    [size("out"), size("err"), size("gate"), size("exit")]
}

/// What callers were told of each run.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<HashMap<RunId, Seen>>);

impl Told {
    /// Returns whether that is news.
    fn tell(&self, run: RunId, seen: Seen) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(run, seen) != Some(seen)
    }

    pub(crate) fn forget(&self, run: RunId) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.remove(&run);
    }

    /// Returns when there is something that no caller was told of, and now and then without reason.
    pub(crate) async fn changed(&self, id: RunId, run: &Path) {
        // The watch begins before the look, so that nothing can happen in between.
        let stirred = Stirred::watch(run);
        if !self.tell(id, look(run)) {
            let _ = tokio::time::timeout(NOW_AND_THEN, stirred.wait()).await;
            self.tell(id, look(run));
        }
    }
}

#[cfg(target_os = "linux")]
struct Stirred(Option<tokio::net::unix::pipe::Receiver>);

#[cfg(target_os = "linux")]
impl Stirred {
    fn watch(folder: &Path) -> Self {
        use inotify::{Inotify, WatchMask};
        use tokio::net::unix::pipe::Receiver;
        let begin = || {
            let watch = Inotify::init()?;
            let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO;
            watch.watches().add(folder, mask)?;
            // It is no pipe, but it becomes readable as one does.
            Receiver::from_owned_fd_unchecked(OwnedFd::from(watch))
        };
        Self(begin().ok())
    }

    async fn wait(&self) {
        match &self.0 {
            Some(watch) if watch.readable().await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }
}

/// Elsewhere the timer has to do.
#[cfg(not(target_os = "linux"))]
struct Stirred;

#[cfg(not(target_os = "linux"))]
impl Stirred {
    fn watch(_folder: &Path) -> Self {
        Self
    }

    async fn wait(&self) {
        std::future::pending().await
    }
}
