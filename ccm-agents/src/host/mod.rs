//! The agent host: one small single-threaded program per agent that owns the agent's runs.
//!
//! It outlives the daemon, needs no terminal, and sleeps while it has nothing to do. What it does with a run is in
//! `run.rs`; whom it talks to in `server.rs`.
// They panic when nothing can be written, and a run must not end because the disk is full.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub(crate) mod child;
mod client;
mod exit;
mod log;
mod memory;
mod run;
mod server;
mod stdin;
mod tail;
pub(crate) mod watch;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use ccm_core::{Error, Result};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::cgroup::Groups;
use crate::descriptors;
use crate::record::{self, AgentDir, Folder, HostFile};
use crate::sys::proc::{Machine, ProcessId};
use crate::sys::{self, Forked, durable};
use crate::{trace, wire};
use run::Identity;
use server::Server;

/// The exit code of a starter that found the agent's host alive.
pub(crate) const ALREADY_THERE: u8 = 3;

/// Is an agent's host until it is told to quit. `args` are those after [`HOST_ARGUMENT`](crate::HOST_ARGUMENT).
///
/// The calling process returns as soon as the host listens, which lives on detached from it: exit code 0 if it was
/// started, 3 if there was one already, 1 with the reason on standard error if it can't be.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), open_files, None) = (args.next(), args.next(), args.next()) else {
        complain("usage: __host AGENT_DIR [OPEN_FILES]");
        return ExitCode::from(2);
    };
    // The daemon has raised it for itself; a program is to be started with the usual one.
    if let Some(limit) = open_files.and_then(|text| text.to_str()?.parse().ok()) {
        let _ = descriptors::lower(limit);
    }
    sys::close_all_but(&[]);
    match start(&AgentDir::at(dir)) {
        Ok(code) => code,
        Err(error) => {
            complain(ccm_core::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Forks twice, so that the host belongs to nobody, and waits until it listens.
fn start(dir: &AgentDir) -> Result<ExitCode> {
    let failed = |error: io::Error| Error::unavailable("could not detach").with_source(error);
    let (mut ready, mut says) = io::pipe().map_err(failed)?;
    match sys::fork().map_err(failed)? {
        Forked::Parent(middle) => {
            drop(says);
            let mut word = Vec::new();
            ready.read_to_end(&mut word).map_err(failed)?;
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(middle as i32), None);
            match word.split_first() {
                Some((0, _)) => Ok(ExitCode::SUCCESS),
                Some((&ALREADY_THERE, _)) => Ok(ExitCode::from(ALREADY_THERE)),
                Some((_, message)) => Err(Error::unavailable(
                    String::from_utf8_lossy(message).into_owned(),
                )),
                None => Err(Error::unavailable("the host ended before it listened")),
            }
        }
        Forked::Child => {
            drop(ready);
            if nix::unistd::setsid().is_err() {
                sys::leave(1);
            }
            match sys::fork() {
                Ok(Forked::Child) => {}
                _ => sys::leave(0),
            }
            match set_up(dir) {
                Ok(Some(server)) => {
                    let _ = says.write_all(&[0]);
                    drop(says);
                    server.serve();
                    Ok(ExitCode::SUCCESS)
                }
                Ok(None) => {
                    let _ = says.write_all(&[ALREADY_THERE]);
                    sys::leave(0)
                }
                Err(error) => {
                    let _ = says.write_all(format!("\u{1}{}", ccm_core::chain(&error)).as_bytes());
                    sys::leave(1)
                }
            }
        }
    }
}

/// Makes this process the host of an agent, unless there is one.
fn set_up(dir: &AgentDir) -> Result<Option<Server>> {
    let failed =
        |error: io::Error| Error::unavailable("could not set up a host").with_source(error);
    let umask = nix::sys::stat::umask(Mode::from_bits_truncate(0o077));
    let lock_path = dir.host_lock();
    let Some(lock) =
        record::take_lock(&lock_path).map_err(|error| durable::error("lock", &lock_path, error))?
    else {
        return Ok(None);
    };
    let place = dir
        .place()?
        .ok_or_else(|| Error::unavailable(format!("{} has no place.json", dir.path().display())))?;
    let _ = std::env::set_current_dir("/");
    detach_streams(&dir.host_log()).map_err(failed)?;
    trace::start();
    sys::ignore(&[
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
    ])
    .map_err(failed)?;
    let signals =
        sys::signal_pipe(&[Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1]).map_err(failed)?;
    become_subreaper().map_err(failed)?;
    let process = ProcessId::of(std::process::id())
        .ok_or_else(|| Error::unavailable("this process is not to be seen"))?;
    let machine = Machine::here().map_err(failed)?;

    let listener = listen(&place.socket)?;
    let file = HostFile {
        process,
        machine: machine.clone(),
        version: wire::VERSION.to_owned(),
        socket: place.socket.clone(),
        folder: Folder::at(dir.path()).ok(),
    };
    let path = dir.host_file();
    durable::replace(&path, &record::json(&file)?)
        .map_err(|error| durable::error("write", &path, error))?;
    let identity = Identity {
        process,
        machine,
        umask,
        groups: Groups::here(dir.home()),
    };
    Ok(Some(Server::new(
        dir.clone(),
        place,
        identity,
        lock,
        listener,
        signals,
    )))
}

/// Says what went wrong to whoever starts the host.
fn complain(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

/// Nothing is read or shown from here; what goes wrong is in a log beside.
fn detach_streams(log: &Path) -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    // A log that is short and only of the last host: more than a few lines are expected only if RUST_LOG asks for them.
    let log = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(log)
        .or_else(|_| null.try_clone())?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&log)?;
    Ok(())
}

/// What a run's processes leave behind becomes the host's, so that it is found.
#[cfg(target_os = "linux")]
fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

#[cfg(not(target_os = "linux"))]
fn become_subreaper() -> io::Result<()> {
    Ok(())
}

/// Listens where only this user can knock.
fn listen(socket: &Path) -> Result<UnixListener> {
    let failed = |error| durable::error("listen at", socket, error);
    durable::make_dir(socket.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    record::check_socket_dir(socket)?;
    // The host lock is ours, so whoever listened here is gone.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}
