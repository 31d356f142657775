//! Word that a spool has grown, without looking at it all the time.

use std::os::fd::BorrowedFd;
use std::path::Path;

#[cfg(target_os = "linux")]
pub(crate) use linux::Watch;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Watch;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;

    use super::*;
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

    /// Readable when one of the watched files changed.
    #[derive(Debug)]
    pub(crate) struct Watch(Inotify);

    impl Watch {
        pub(crate) fn new() -> Option<Self> {
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
                .ok()
                .map(Self)
        }

        /// Watches a file that is written to.
        pub(crate) fn add_file(&self, path: &Path) -> bool {
            self.0.add_watch(path, AddWatchFlags::IN_MODIFY).is_ok()
        }

        /// Watches a folder in which files are put in place.
        pub(crate) fn add_dir(&self, path: &Path) -> bool {
            let flags = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CREATE;
            self.0.add_watch(path, flags).is_ok()
        }

        /// Watches a folder out of which things are taken. (The end of a folder itself is told only once nothing in
        /// it is open any more.)
        pub(crate) fn add_removals(&self, path: &Path) -> bool {
            let flags = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
            self.0.add_watch(path, flags).is_ok()
        }

        pub(crate) fn drain(&self) {
            while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
        }

        pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.0.as_fd())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::*;

    /// Without such a service whoever waits looks now and then.
    #[derive(Debug)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) fn new() -> Option<Self> {
            None
        }

        pub(crate) fn add_file(&self, _path: &Path) -> bool {
            false
        }

        pub(crate) fn add_dir(&self, _path: &Path) -> bool {
            false
        }

        pub(crate) fn add_removals(&self, _path: &Path) -> bool {
            false
        }

        pub(crate) fn drain(&self) {}

        pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }
}
