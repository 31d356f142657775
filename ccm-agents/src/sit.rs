//! A person's own session in an agent's place: what its terminal runs while somebody has taken it over.
//!
//! ```text
//! lock, look whether it is still wanted ──▶ fork: the coding CLI ──▶ it ends ──▶ say so, wait for Enter ──┐
//!   ▲                                                                                                     │
//!   └─────────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The lock goes to the program too, and to all that it starts: whoever can take it knows that nobody goes on with the
//! conversation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use ccm_core::runtime::SittingOrder;
use ccm_core::{Error, Result, chain};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::sys::termios::{self, FlushArg, SetArg, Termios};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcsetpgrp};

use crate::driver::Driver;
use crate::host::child::{Program, sitting_environment};
use crate::record::{AgentDir, check_socket_dir};
use crate::sys::{self, Forked, durable};
use crate::wire::{Answer, Request};
use crate::{terminal, view};

/// How long a host may take to tell the environment.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a program may have left of its own habits: another screen, a hidden cursor, reports of mouse, paste and keys.
const RESET: &str =
    "\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[<u\x1b[m\r\n";

/// Lets a person sit in an agent's place for as long as they have taken it over. `args` are those after
/// [`SIT_ARGUMENT`](crate::SIT_ARGUMENT).
pub(crate) fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(path), None) = (args.next(), args.next()) else {
        eprintln!("usage: __sit AGENT_DIR");
        return ExitCode::from(2);
    };
    // They are for the program, while there is one.
    let _ = sys::ignore(&[
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGTTOU,
    ]);
    let dir = AgentDir::at(&path);
    let modes = termios::tcgetattr(io::stdin()).ok();
    loop {
        let ended = match sit(&dir) {
            Ok(Some(ended)) => ended,
            // It was handed back.
            Ok(None) => return view::main([path]),
            Err(error) => format!("the session could not be started: {}", chain(&error)),
        };
        restore(modes.as_ref());
        let name = dir.place().ok().flatten().map(|file| file.place.name);
        let name = terminal::line(name.as_deref().unwrap_or("NAME"));
        println!(
            "[{}]\r\n[Enter starts it again; `ccm agent hand-back {name}` lets the agent go on with its tasks]\r",
            terminal::line(&ended)
        );
        let mut line = String::new();
        if !matches!(io::stdin().read_line(&mut line), Ok(1..)) {
            return ExitCode::SUCCESS;
        }
    }
}

/// Runs the program to its end, and says how it ended. `None` when nobody sits here any more.
fn sit(dir: &AgentDir) -> Result<Option<String>> {
    let _lock = lock(dir)?;
    let Some(order) = dir.sitting()? else {
        return Ok(None);
    };
    let driver = Driver::named(&order.profile.driver)
        .map_err(|cause| Error::unavailable(cause.detail.unwrap_or_default()))?;
    let argv = driver.sit(&order.profile, order.session_id.as_deref())?;
    let env = environment(dir, &order);
    let failed = |error: io::Error| durable::error("start a session for", dir.path(), error);
    let program =
        Program::with(driver, &order.place.folder, env, &argv, own_umask()).map_err(failed)?;
    match sys::fork().map_err(failed)? {
        Forked::Child => {
            let failure = program.become_it();
            let why = program.setback(failure).detail.unwrap_or_default();
            eprintln!("{}\r", terminal::line(&why));
            sys::leave(127)
        }
        Forked::Parent(pid) => Ok(Some(wait(pid))),
    }
}

/// Taken once nothing of an earlier session is left; handed on to what is started.
fn lock(dir: &AgentDir) -> Result<File> {
    let path = dir.sitting_lock();
    let open = || {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        if file.try_lock().is_err() {
            println!("[waiting for the end of the session before]\r");
            file.lock()?;
        }
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(file)
    };
    open().map_err(|error: io::Error| durable::error("lock", &path, error))
}

/// What the agent's host gives its programs, and this terminal. Without a host that tells, what the terminal has.
fn environment(dir: &AgentDir, order: &SittingOrder) -> BTreeMap<OsString, OsString> {
    let own = || std::env::vars_os();
    let given = of_host(dir).map_or_else(
        || own().collect::<BTreeMap<_, _>>(),
        |variables| {
            let variables = variables.into_iter();
            variables
                .map(|(key, value)| (key.into(), value.into()))
                .collect()
        },
    );
    sitting_environment(given, own(), order, dir.home())
}

fn of_host(dir: &AgentDir) -> Option<BTreeMap<String, String>> {
    let host = dir.host().ok().flatten()?;
    check_socket_dir(&host.socket).ok()?;
    let mut stream = UnixStream::connect(&host.socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut line = serde_json::to_vec(&Request::Environment).ok()?;
    line.push(b'\n');
    stream.write_all(&line).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    match serde_json::from_str(&answer).ok()? {
        Answer::Environment { variables } => Some(variables),
        _ => None,
    }
}

fn own_umask() -> Mode {
    let mode = umask(Mode::empty());
    umask(mode);
    mode
}

fn wait(pid: u32) -> String {
    loop {
        match waitpid(Pid::from_raw(pid as i32), None) {
            Ok(WaitStatus::Exited(_, code)) => {
                return format!("the session has ended with exit code {code}");
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return format!("the session was ended by {signal}");
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return format!("the session is gone: {}", errno.desc()),
        }
    }
}

/// Makes the terminal again what it was before the program.
fn restore(modes: Option<&Termios>) {
    let stdin = io::stdin();
    let _ = tcsetpgrp(&stdin, getpgrp());
    if let Some(modes) = modes {
        let _ = termios::tcsetattr(&stdin, SetArg::TCSANOW, modes);
    }
    let _ = termios::tcflush(&stdin, FlushArg::TCIFLUSH);
    print!("{RESET}");
    let _ = io::stdout().flush();
}
