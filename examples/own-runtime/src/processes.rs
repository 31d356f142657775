//! Processes as Linux shows them in `/proc`: which belong to a run, and ending those.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ccm_core::id::RunId;
use ccm_core::runtime::Resources;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long an interrupt may work before TERM follows, at most.
const INTERRUPT: Duration = Duration::from_secs(1);
/// How long KILL may take before what is left counts as unstoppable.
const KILL: Duration = Duration::from_secs(5);
/// How often a set that is being ended is looked at: no event tells of the end of a stranger's process.
const LOOK: Duration = Duration::from_millis(20);
/// Processor time in `/proc` is in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A process for as long as the machine is up. The number alone may be given to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    pub(crate) born: u64,
}

struct Process {
    id: ProcessId,
    parent: u32,
    ticks: u64,
    /// It has ended, and only its parent has not asked how.
    ended: bool,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in parentheses with anything in it; the third comes after the last of them.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        Some(Self {
            id: ProcessId {
                pid,
                born: number(22)?,
            },
            parent: u32::try_from(number(4)?).ok()?,
            ticks: number(14)? + number(15)?,
            ended: matches!(fields.first(), Some(&"Z" | &"X")),
        })
    }

    fn carries(&self, mark: &[u8]) -> bool {
        let environ = fs::read(format!("/proc/{}/environ", self.id.pid));
        environ.is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == mark))
    }

    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id.pid));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl ProcessId {
    pub(crate) fn is_alive(self) -> bool {
        Process::read(self.pid).is_some_and(|process| process.id == self && !process.ended)
    }

    /// Sends a signal if the process is still the same one. (Between the look and the signal it could end and its
    /// number be given away; a descriptor of the process, as `ccm-agents` uses, has no such moment.)
    pub(crate) fn signal(self, signal: Signal) {
        if let (true, Ok(pid)) = (self.is_alive(), i32::try_from(self.pid)) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Everything that belongs to a run: its program, every process that carries its mark, and what descends from these,
/// whichever session or group they are in.
pub(crate) struct StopSet {
    program: Option<ProcessId>,
    mark: String,
}

impl StopSet {
    pub(crate) fn new(run: RunId, program: Option<ProcessId>) -> Self {
        let mark = format!("CCM_RUN_ID={run}");
        Self { program, mark }
    }

    fn alive(&self) -> io::Result<Vec<Process>> {
        let names = fs::read_dir("/proc")?
            .flatten()
            .map(|entry| entry.file_name());
        let pids = names.filter_map(|name| name.to_str()?.parse().ok());
        let mut rest: Vec<Process> = pids.filter_map(Process::read).collect();
        let mut found: Vec<Process> = Vec::new();
        let mut family = HashSet::new();
        // Round by round: who belongs to it, then their children, then theirs.
        loop {
            let belongs = |process: &Process| match family.is_empty() {
                true => Some(process.id) == self.program || process.carries(self.mark.as_bytes()),
                false => family.contains(&process.parent),
            };
            let (more, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(belongs);
            rest = others;
            if more.is_empty() {
                break;
            }
            family = more.iter().map(|process| process.id.pid).collect();
            found.extend(more);
        }
        found.retain(|process| !process.ended && process.id.pid != std::process::id());
        Ok(found)
    }

    /// Interrupt, TERM, KILL, until it was seen empty twice. Returns what could not be ended.
    pub(crate) fn end(&self, grace: Duration) -> io::Result<Vec<u32>> {
        let mut seen_empty = 0;
        let mut left = Vec::new();
        for (signal, patience) in [
            (Signal::SIGINT, grace.min(INTERRUPT)),
            (Signal::SIGTERM, grace),
            (Signal::SIGKILL, KILL),
        ] {
            let deadline = Instant::now() + patience;
            let mut told = HashSet::new();
            loop {
                left = self.alive()?;
                seen_empty = if left.is_empty() { seen_empty + 1 } else { 0 };
                if seen_empty == 2 {
                    return Ok(Vec::new());
                }
                for process in &left {
                    if told.insert(process.id) {
                        process.id.signal(signal);
                    }
                }
                if Instant::now() >= deadline {
                    break;
                }
                sleep(LOOK);
            }
        }
        Ok(left.iter().map(|process| process.id.pid).collect())
    }

    pub(crate) fn resources(&self) -> io::Result<Resources> {
        let mut sum = Resources::default();
        for process in self.alive()? {
            sum.memory_bytes += process.memory();
            sum.cpu_time += TICK * u32::try_from(process.ticks).unwrap_or(u32::MAX);
            sum.processes += 1;
        }
        Ok(sum)
    }
}

/// A name for this machine since it was started, and for this view of its processes.
pub(crate) fn machine() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let view = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{}/{}", boot.trim(), view.display()))
}
