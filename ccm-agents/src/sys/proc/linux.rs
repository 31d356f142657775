//! Processes by `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use ccm_core::runtime::Resources;
use nix::libc;
use nix::sys::signal::Signal;

use super::{Machine, Process, ProcessId};
use crate::sys::PidFd;

/// Whether a later process has a larger start. They count ticks since the machine started.
pub(crate) const STARTS_ARE_ORDERED: bool = true;

pub(crate) fn machine() -> io::Result<Machine> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/self/ns/pid")?;
    Ok(Machine {
        boot: boot.trim().to_owned(),
        pid_namespace: namespace.to_string_lossy().into_owned(),
    })
}

/// The process with the number `pid`.
pub(crate) fn look(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Stat::parse(&stat).map(|stat| stat.process(pid))
}

/// Every process that can be seen from here.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(look)
        .collect())
}

/// Whether a process was started with `variable` (`NAME=VALUE`) in its environment.
pub(crate) fn carries(pid: u32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
        env.split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
    })
}

pub(super) fn signal(id: ProcessId, signal: Signal) -> io::Result<()> {
    let gone = |error: &io::Error| error.raw_os_error() == Some(libc::ESRCH);
    let held = match PidFd::open(id.pid) {
        Ok(held) => held,
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Held first, looked at then: if the number had changed hands before, the start time tells.
    if ProcessId::of(id.pid) != Some(id) {
        return Ok(());
    }
    match held.send(signal) {
        Err(error) if !gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The memory of a process with its part of what it shares with others, in bytes. Where that is not told, what it shares
/// is left out.
pub(crate) fn memory(id: ProcessId) -> Option<u64> {
    let parts = fs::read_to_string(format!("/proc/{}/smaps_rollup", id.pid)).ok();
    let part = parts.as_deref().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    part.map(|kib| kib * 1024).or_else(|| {
        let pages = fs::read_to_string(format!("/proc/{}/statm", id.pid)).ok()?;
        let mut pages = pages.split_ascii_whitespace().skip(1);
        let mut next = || pages.next()?.parse::<u64>().ok();
        let (resident, shared) = (next()?, next()?);
        Some(resident.saturating_sub(shared) * page_size())
    })
}

/// What these processes use together.
pub(crate) fn resources_of(processes: &[ProcessId]) -> Resources {
    let tick = ticks_per_second();
    let page = page_size();
    let mut sum = Resources::default();
    for id in processes {
        let Some(stat) = fs::read(format!("/proc/{}/stat", id.pid))
            .ok()
            .and_then(|stat| Stat::parse(&stat))
        else {
            continue;
        };
        sum.processes += 1;
        let resident = stat.resident_pages.saturating_mul(page);
        sum.memory_bytes += memory(*id).unwrap_or(resident);
        sum.cpu_time += Duration::from_millis(stat.ticks.saturating_mul(1000) / tick);
    }
    sum
}

fn ticks_per_second() -> u64 {
    sysconf(nix::unistd::SysconfVar::CLK_TCK, 100)
}

fn page_size() -> u64 {
    sysconf(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

fn sysconf(variable: nix::unistd::SysconfVar, usual: u64) -> u64 {
    nix::unistd::sysconf(variable)
        .ok()
        .flatten()
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .unwrap_or(usual)
}

/// What we need of `/proc/PID/stat` (proc(5) numbers its fields from 1).
struct Stat {
    state: u8,
    parent: u32,
    session: u32,
    ticks: u64,
    threads: u64,
    start: u64,
    resident_pages: u64,
}

/// A file that might be `/proc/PID/stat`.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(stat) = Stat::parse(bytes) {
        stat.process(1);
    }
}

impl Stat {
    fn parse(stat: &[u8]) -> Option<Self> {
        // The name may hold anything, also spaces and brackets; fields begin after its last bracket.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: u32::try_from(number(4)?).ok()?,
            session: u32::try_from(number(6)?).ok()?,
            // User and system time, with those of children that were waited for.
            ticks: (14..=17).try_fold(0, |sum: u64, field| {
                Some(sum.saturating_add(number(field)?))
            })?,
            threads: number(20)?,
            start: number(22)?,
            resident_pages: number(24)?,
        })
    }

    fn process(&self, pid: u32) -> Process {
        Process {
            id: ProcessId {
                pid,
                start: self.start,
            },
            parent: self.parent,
            session: self.session,
            // A first thread can end before the others: then the process is not over.
            gone: matches!(self.state, b'X' | b'x') || (self.state == b'Z' && self.threads <= 1),
            resident: self.resident_pages.saturating_mul(page_size()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_hides_nothing() {
        let stat = b"42 (a) b) (c) S 7 42 40 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 3 0 12345 999 17 1844\n";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.session, stat.start), (7, 40, 12345));
        assert_eq!(
            (stat.ticks, stat.threads, stat.resident_pages),
            (100, 3, 17)
        );
    }

    #[test]
    fn numbers_that_no_kernel_says_are_no_harm() {
        let most = u64::MAX;
        let stat = format!("1 (a) S 1 1 1 0 -1 0 1 2 3 4 {most} {most} 1 1 20 0 3 0 1 1 {most} 1");
        let stat = Stat::parse(stat.as_bytes()).unwrap();
        assert_eq!((stat.ticks, stat.process(1).resident), (most, most));
    }

    #[test]
    fn this_process_is_seen() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(all().unwrap().iter().any(|process| process.id == me));
        assert!(
            !ProcessId {
                start: me.start + 1,
                ..me
            }
            .is_alive()
        );
        assert!(resources_of(&[me]).memory_bytes > 0);
        let (part, whole) = (memory(me).unwrap(), look(me.pid).unwrap().resident);
        assert!(part > 0 && part < whole * 2, "{part} of {whole}");
    }
}
