//! The daemon as a process of its own.

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ccm_daemon::machine::programs;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::context::Context;
use crate::exit::{Code, Failure};

/// The daemon's program with a path that means the same everywhere.
pub(super) fn absolute_program() -> Result<PathBuf, Failure> {
    let program = programs::beside("ccm-daemon");
    if program.is_absolute() {
        return Ok(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(missing)
}

fn missing() -> Failure {
    Failure::new(Code::Failed, "ccm-daemon is not there")
        .hint("install it beside this program or on the PATH")
}

/// Starts the daemon in a session of its own, so that no terminal can end it.
pub(super) fn spawn(context: &Context) -> Result<Child, Failure> {
    let program = programs::beside("ccm-daemon");
    let mut command = Command::new(&program);
    if let Some(config) = &context.config {
        let config = std::path::absolute(config).unwrap_or_else(|_| config.clone());
        command.arg("--config").arg(config);
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    own_session(&mut command);
    keep_descriptors();
    command.spawn().map_err(|e| {
        Failure::new(
            Code::Failed,
            format!("{} can't be started: {e}", program.display()),
        )
        .hint("install ccm-daemon beside this program or on the PATH")
    })
}

#[allow(
    unsafe_code,
    reason = "the standard library has no safe way to begin a session"
)]
fn own_session(command: &mut Command) {
    let begin = || nix::unistd::setsid().map(drop).map_err(Into::into);
    // SAFETY: between fork and exec only `setsid` is called, which is async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(begin);
    }
}

/// Keeps what this program was left open by its caller, such as the lock of a script, from being held by the daemon for
/// as long as it lives.
#[allow(
    unsafe_code,
    reason = "descriptors that were inherited have no owner here"
)]
fn keep_descriptors() {
    let Ok(open) = std::fs::read_dir("/dev/fd") else {
        return;
    };
    let numbers: Vec<i32> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: the number is used for this one call, which fails harmlessly for one that is no longer open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}
