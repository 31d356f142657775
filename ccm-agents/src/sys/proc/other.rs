//! Processes by `ps`, where there is no `/proc`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::process::Command;
use std::time::Duration;

use ccm_core::runtime::Resources;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{Machine, Process, ProcessId};

/// Whether a later process has a larger start. They are hashes of a date.
pub(crate) const STARTS_ARE_ORDERED: bool = false;

pub(crate) fn machine() -> io::Result<Machine> {
    let output = Command::new("sysctl")
        .args(["-n", "kern.bootsessionuuid"])
        .output()?;
    Ok(Machine {
        boot: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        pid_namespace: String::new(),
    })
}

pub(crate) fn look(pid: u32) -> Option<Process> {
    ps(&["-p", &pid.to_string()]).ok()?.into_iter().next()
}

/// Every process that can be seen from here.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    ps(&["-ax"])
}

fn ps(which: &[&str]) -> io::Result<Vec<Process>> {
    let output = Command::new("ps")
        .args(which)
        .args(["-o", "pid=,ppid=,pgid=,stat=,rss=,lstart="])
        .env("LC_ALL", "C")
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(parse)
        .collect())
}

/// Lines that `ps` might print.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    String::from_utf8_lossy(bytes)
        .lines()
        .for_each(|line| drop(parse(line)));
}

fn parse(line: &str) -> Option<Process> {
    let mut fields = line.split_ascii_whitespace();
    let pid = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let gone = fields.next()?.starts_with('Z');
    let resident = fields.next()?.parse::<u64>().ok()?.saturating_mul(1024);
    let mut start = DefaultHasher::new();
    fields.for_each(|field| field.hash(&mut start));
    Some(Process {
        id: ProcessId {
            pid,
            start: start.finish(),
        },
        parent,
        session,
        gone,
        resident,
    })
}

/// Whether a process was started with `variable` (`NAME=VALUE`) in its environment.
pub(crate) fn carries(pid: u32, variable: &str) -> bool {
    Command::new("ps")
        .args(["-E", "-ww", "-o", "command=", "-p", &pid.to_string()])
        .output()
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .split_ascii_whitespace()
                .any(|word| word == variable)
        })
}

pub(super) fn signal(id: ProcessId, signal: Signal) -> io::Result<()> {
    if ProcessId::of(id.pid) != Some(id) {
        return Ok(());
    }
    match nix::sys::signal::kill(Pid::from_raw(id.pid as i32), signal) {
        Err(Errno::ESRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The memory of a process in bytes. What it shares with others is not told.
pub(crate) fn memory(id: ProcessId) -> Option<u64> {
    look(id.pid).map(|process| process.resident)
}

/// What these processes use together.
pub(crate) fn resources_of(processes: &[ProcessId]) -> Resources {
    let mut sum = Resources::default();
    for id in processes {
        let output = Command::new("ps")
            .args(["-o", "rss=,time=", "-p", &id.pid.to_string()])
            .output();
        let Ok(output) = output else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        let mut fields = text.split_ascii_whitespace();
        let Some(kib) = fields.next().and_then(|rss| rss.parse::<u64>().ok()) else {
            continue;
        };
        sum.processes += 1;
        sum.memory_bytes += kib * 1024;
        let seconds = fields
            .next()
            .unwrap_or("0")
            .split(':')
            .fold(0.0, |sum, part| {
                sum * 60.0 + part.parse::<f64>().unwrap_or(0.0)
            });
        sum.cpu_time += Duration::from_secs_f64(seconds);
    }
    sum
}
