//! Waiting for a run to change without looking at it all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ccm_core::id::RunId;

use crate::record::RunDir;

/// How long to wait where the system tells of changes. Then a look is due anyway.
const SLOW: Duration = Duration::from_secs(10);
/// How long to wait where it does not, or where it says the same for ever.
const FALLBACK: Duration = Duration::from_secs(1);

/// What is watched. Between two waits of a caller nothing is missed, because a watch stays.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<HashMap<RunId, Arc<os::Watch>>>);

impl Changes {
    /// Returns when something of the run may have changed since the last call for it; the first one returns at once.
    pub(super) async fn wait(&self, dir: &RunDir) {
        let known = self.lock().get(&dir.run).cloned();
        if let Some(watch) = known {
            watch.wait().await;
            return;
        }
        match os::Watch::new(dir) {
            Some(watch) => {
                self.lock().insert(dir.run, Arc::new(watch));
            }
            None => tokio::time::sleep(FALLBACK).await,
        }
    }

    /// Watches a run no longer.
    pub(super) fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<os::Watch>>> {
        // A map is whole after every step, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(target_os = "linux")]
mod os {
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use tokio::io::unix::AsyncFd;

    use super::*;
    use crate::record::Gate;
    use crate::sys::proc::ProcessId;
    use crate::sys::{PidFd, when_readable};

    /// A run's folder and its host's life.
    #[derive(Debug)]
    pub(super) struct Watch {
        files: AsyncFd<OwnedFd>,
        host: Option<AsyncFd<OwnedFd>>,
        host_gone: AtomicBool,
    }

    impl Watch {
        pub(super) fn new(dir: &RunDir) -> Option<Self> {
            let files = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            let flags = AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE_SELF;
            files.add_watch(dir.path(), flags).ok()?;
            Some(Self {
                files: when_readable(files.as_fd().try_clone_to_owned().ok()?)?,
                host: host_of(dir),
                host_gone: AtomicBool::new(false),
            })
        }

        pub(super) async fn wait(&self) {
            // The end of a host is told for ever after; once is enough.
            let host_gone = self.host_gone.load(Ordering::Relaxed);
            let limit = match host_gone {
                true => FALLBACK,
                false => SLOW,
            };
            tokio::select! {
                Ok(mut ready) = self.files.readable() => {
                    let mut events = [0; 4096];
                    // Which of the files it was is of no interest.
                    while nix::unistd::read(ready.get_inner(), &mut events).is_ok_and(|count| count > 0) {}
                    ready.clear_ready();
                }
                () = ended(self.host.as_ref()), if !host_gone => {
                    self.host_gone.store(true, Ordering::Relaxed);
                }
                () = tokio::time::sleep(limit) => {}
            }
        }
    }

    fn host_of(dir: &RunDir) -> Option<AsyncFd<OwnedFd>> {
        let Gate::Passed(passage) = dir.gate().ok()?? else {
            return None;
        };
        let held = PidFd::open(passage.host.pid).ok()?;
        // Held first, looked at then: the number may have changed hands.
        if ProcessId::of(passage.host.pid) != Some(passage.host) {
            return None;
        }
        when_readable(held.into())
    }

    async fn ended(host: Option<&AsyncFd<OwnedFd>>) {
        let ended = match host {
            Some(host) => host.readable().await.is_ok(),
            None => false,
        };
        if !ended {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use super::*;

    #[derive(Debug)]
    pub(super) struct Watch;

    impl Watch {
        pub(super) fn new(_dir: &RunDir) -> Option<Self> {
            Some(Self)
        }

        pub(super) async fn wait(&self) {
            tokio::time::sleep(FALLBACK).await;
        }
    }
}
