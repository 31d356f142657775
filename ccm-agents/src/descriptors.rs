//! How many files may be open: a daemon that serves many clients raises that for itself. What it starts gets the limit
//! that the daemon was given, because there are programs that can't count beyond the usual one, or count up to it.

use std::io;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// What the limit was before it was raised.
static GIVEN: OnceLock<rlim_t> = OnceLock::new();

/// Allows this process `wanted` open files, or as many as it may allow itself.
///
/// # Errors
/// When the limit can't be changed; it is as it was then.
pub fn raise(wanted: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(wanted as rlim_t);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        let _ = GIVEN.set(soft);
    }
    Ok(())
}

/// What a child's limit is to be, if it is not this process's.
pub(crate) fn given() -> Option<rlim_t> {
    GIVEN.get().copied()
}

/// Gives this process a lower limit. Makes async-signal-safe calls alone and allocates nothing.
pub(crate) fn lower(soft: rlim_t) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
}
