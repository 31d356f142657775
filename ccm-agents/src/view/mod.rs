//! The viewer: what an agent's terminal shows.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::termios::{self, InputFlags, LocalFlags, SetArg};

use crate::host::watch::Watch;
use crate::record::{AgentDir, check_socket_dir};
use crate::{sys, terminal};

/// How long to sleep where the system tells of a new host.
const SLOW: Duration = Duration::from_secs(30);
/// How long to sleep where it does not.
const FALLBACK: Duration = Duration::from_secs(1);

/// Shows an agent's readable log for as long as there is a terminal. `args` are those after
/// [`VIEW_ARGUMENT`](crate::VIEW_ARGUMENT).
///
/// It waits for the agent's host and finds the next one when that is gone. Keys do nothing, so nobody can end a run, or
/// hold one up, from here.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), None) = (args.next(), args.next()) else {
        eprintln!("usage: __view AGENT_DIR");
        return ExitCode::from(2);
    };
    let _ = sys::ignore(&[
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGTTOU,
    ]);
    quiet_terminal();
    match show(&AgentDir::at(dir)) {
        // The terminal is gone, which is the only good end.
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Keys are neither shown nor have a meaning; Ctrl-S does not stop the output.
fn quiet_terminal() {
    let stdin = io::stdin();
    let Ok(mut modes) = termios::tcgetattr(&stdin) else {
        return;
    };
    modes.local_flags &=
        !(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::IEXTEN);
    modes.input_flags &= !(InputFlags::IXON | InputFlags::IXOFF);
    let _ = termios::tcsetattr(&stdin, SetArg::TCSANOW, &modes);
}

/// Shows one host after the other. Returns when there is nobody to show anything to.
fn show(dir: &AgentDir) -> io::Result<()> {
    let mut screen = Screen::new();
    let mut waiting = false;
    loop {
        // Watched before it is looked for, so that a host that comes in between is not missed.
        let watch = Watch::new().filter(|watch| watch.add_dir(dir.path()));
        if let Some(stream) = connect(dir) {
            waiting = false;
            if !screen.follow(stream)? {
                return Ok(());
            }
            continue;
        }
        if !waiting {
            waiting = true;
            let name = dir
                .place()
                .ok()
                .flatten()
                .map(|file| terminal::line(&file.place.name));
            let name = name.unwrap_or_else(|| "agent".to_owned());
            if !screen
                .print(format!("\x1b[m\n[{name} is not running; waiting for it]\n").as_bytes())
            {
                return Ok(());
            }
        }
        if !screen.sleep(watch.as_ref())? {
            return Ok(());
        }
    }
}

fn connect(dir: &AgentDir) -> Option<UnixStream> {
    let host = dir.host().ok().flatten()?;
    check_socket_dir(&host.socket).ok()?;
    let mut stream = UnixStream::connect(Path::new(&host.socket)).ok()?;
    stream.write_all(b"{\"op\":\"view\"}\n").ok()?;
    Some(stream)
}

/// The terminal, or what stands in for it.
struct Screen {
    output: io::Stdout,
    keys: Option<io::Stdin>,
}

impl Screen {
    fn new() -> Self {
        let keys = io::stdin();
        Self {
            output: io::stdout(),
            keys: keys.is_terminal().then_some(keys),
        }
    }

    /// Shows what a host sends. False when the screen is gone, true when the host is.
    fn follow(&mut self, mut stream: UnixStream) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let (host_ready, keys_ready) = self.wait(stream.as_fd(), PollTimeout::NONE)?;
            if keys_ready && !self.take_keys() {
                return Ok(false);
            }
            if !host_ready {
                continue;
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    if !self.print(&buffer[..count]) {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(true),
            }
        }
    }

    /// Sleeps until there may be a new host. False when the screen is gone.
    fn sleep(&mut self, watch: Option<&Watch>) -> io::Result<bool> {
        let Some(fd) = watch.and_then(Watch::fd) else {
            std::thread::sleep(FALLBACK);
            return Ok(true);
        };
        let timeout = PollTimeout::try_from(SLOW).unwrap_or(PollTimeout::MAX);
        let (_, keys_ready) = self.wait(fd, timeout)?;
        Ok(!keys_ready || self.take_keys())
    }

    fn wait(
        &self,
        fd: std::os::fd::BorrowedFd<'_>,
        timeout: PollTimeout,
    ) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(fd, PollFlags::POLLIN)];
        if let Some(keys) = &self.keys {
            fds.push(PollFd::new(keys.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| fds.get(at).and_then(PollFd::any).unwrap_or(false);
        Ok((ready(0), ready(1)))
    }

    /// Throws keys away. False when the terminal is gone.
    fn take_keys(&mut self) -> bool {
        let mut buffer = [0; 256];
        match self.keys.as_mut().map(|keys| keys.read(&mut buffer)) {
            Some(Ok(0)) => false,
            Some(Err(error)) => error.kind() == io::ErrorKind::Interrupted,
            _ => true,
        }
    }

    /// Writes to the screen. False when it is gone.
    fn print(&mut self, bytes: &[u8]) -> bool {
        self.output
            .write_all(bytes)
            .and_then(|()| self.output.flush())
            .is_ok()
    }
}
