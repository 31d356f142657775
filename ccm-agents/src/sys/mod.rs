//! What the operating system must do for us and no safe library does: all unsafe code of the crate but what
//! the start of a tmux server needs.

pub(crate) mod durable;
pub(crate) mod proc;

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(u32),
}

/// Forks this process, which must have one thread only.
#[allow(unsafe_code)]
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: host and child run no second thread, so no lock can be held by a thread that the child doesn't have.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child.as_raw() as u32)),
    }
}

/// Forks this process, which must have one thread only, into the control group whose folder is open as `group`.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn fork_into(group: &std::fs::File) -> io::Result<Forked> {
    use std::os::fd::AsRawFd;
    // From linux/sched.h; libc's own is too narrow for it.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: all zeros are the arguments of a plain fork.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = group.as_raw_fd() as u64;
    // SAFETY: nothing is shared with the child, which goes on here with a copy of this stack. As with fork there is no
    // second thread whose lock it could lack. What the C library's own fork does besides is for threads and for
    // programs that go on; the child becomes another program or leaves.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const args,
            std::mem::size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid > 0 => Ok(Forked::Parent(pid as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn fork_into(_group: &std::fs::File) -> io::Result<Forked> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Ends this process without running anything of the program it was forked from.
#[allow(unsafe_code)]
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: it takes no pointers and doesn't return.
    unsafe { libc::_exit(code) }
}

static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_signal(number: libc::c_int) {
    write_signal(SIGNAL_PIPE.load(Ordering::Relaxed), number);
}

#[allow(unsafe_code)]
fn write_signal(pipe: RawFd, number: libc::c_int) {
    let byte = [number as u8];
    // SAFETY: write is async-signal-safe, and the buffer is one byte long. A full pipe already wakes the loop.
    unsafe { libc::write(pipe, byte.as_ptr().cast(), 1) };
}

/// Makes `signals` arrive as bytes with their numbers in the returned pipe, from now on and for good.
#[allow(unsafe_code)]
pub(crate) fn signal_pipe(signals: &[Signal]) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    set_nonblocking(&reader)?;
    set_nonblocking(&writer)?;
    SIGNAL_PIPE.store(writer.into_raw_fd(), Ordering::Relaxed);
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP,
        SigSet::empty(),
    );
    for signal in signals {
        // SAFETY: the handler only calls write, which is async-signal-safe.
        unsafe { nix::sys::signal::sigaction(*signal, &action) }?;
    }
    Ok(reader)
}

/// Ignores `signals`.
#[allow(unsafe_code)]
pub(crate) fn ignore(signals: &[Signal]) -> io::Result<()> {
    for signal in signals {
        // SAFETY: no handler of ours is installed by this.
        unsafe { nix::sys::signal::signal(*signal, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Gives a forked child the signals of a program that was just started: nothing caught, ignored or blocked.
#[allow(unsafe_code)]
pub(crate) fn default_signals() {
    for signal in Signal::iterator() {
        // SAFETY: no handler of ours is installed by this. KILL and STOP refuse, which is as it should be.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// A child that has ended (`pid`, or any), if there is one. It is not reaped, so nobody gets its number yet.
#[allow(unsafe_code)]
pub(crate) fn ended_child(pid: Option<u32>) -> io::Result<Option<Ended>> {
    let (kind, id) = match pid {
        Some(pid) => (libc::P_PID, pid as libc::id_t),
        None => (libc::P_ALL, 0),
    };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros is a siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: info is ours and large enough.
    if unsafe { libc::waitid(kind, id, &mut info, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid fills these in, or leaves the zeros when no child has ended.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exited = info.si_code == libc::CLD_EXITED;
    Ok(Some(Ended {
        pid: pid as u32,
        code: exited.then_some(status),
        signal: (!exited).then_some(status),
    }))
}

/// Forgets a child that has ended.
pub(crate) fn reap(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    let _ = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
}

/// Makes reads or writes of `fd` return at once.
pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Closes everything but standard input, output and error and `keep`.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let open: Vec<RawFd> = std::fs::read_dir("/dev/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && !keep.contains(fd))
        .collect();
    for fd in open {
        // The folder's own descriptor is in the list and already closed: an error says nothing.
        let _ = nix::unistd::close(fd);
    }
}

/// A hold on one process, which its number's next owner does not inherit.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

#[cfg(target_os = "linux")]
impl PidFd {
    /// Takes hold of the process that has the number `pid` now.
    #[allow(unsafe_code)]
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: pidfd_open takes two numbers and returns a new descriptor, which nobody else owns.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    /// Sends it a signal.
    #[allow(unsafe_code)]
    pub(crate) fn send(&self, signal: Signal) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        // SAFETY: a null siginfo is allowed and means "as kill would".
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
impl From<PidFd> for OwnedFd {
    fn from(held: PidFd) -> Self {
        held.0
    }
}

/// A descriptor that tells when it is readable. To be called in a tokio runtime.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn when_readable(fd: OwnedFd) -> Option<tokio::io::unix::AsyncFd<OwnedFd>> {
    use tokio::io::{Interest, unix::AsyncFd};
    // SAFETY: an OwnedFd is one descriptor, which stays open for as long as it is owned.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()
}
