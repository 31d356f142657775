//! What the daemon itself takes, under the names that Prometheus has for it. What a system does not tell is 0.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::table::{Kind, Table};

#[derive(Debug)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
    most_files: Gauge,
}

impl Process {
    pub(super) fn new(table: &mut Table) -> Self {
        Self {
            cpu: table.add(
                "process_cpu_seconds",
                Kind::Counter,
                &[],
                "Processor time that the daemon used",
                Counter::default(),
            ),
            resident: table.add(
                "process_resident_memory_bytes",
                Kind::Gauge,
                &[],
                "Memory of the daemon",
                Gauge::default(),
            ),
            open_files: table.add(
                "process_open_fds",
                Kind::Gauge,
                &[],
                "Files and connections that the daemon has open",
                Gauge::default(),
            ),
            most_files: table.add(
                "process_max_fds",
                Kind::Gauge,
                &[],
                "How many files and connections the daemon may have open",
                Gauge::default(),
            ),
        }
    }

    pub(super) fn look(&self) {
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let (user, system) = (usage.user_time(), usage.system_time());
            let seconds = (user.tv_sec() + system.tv_sec()) as f64
                + f64::from((user.tv_usec() + system.tv_usec()) as u32) / 1e6;
            // It is counted elsewhere, and does not go back.
            self.cpu.inner().store(seconds.to_bits(), Ordering::Relaxed);
        }
        let files = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"));
        if let Ok(files) = files {
            self.open_files.set(files.count() as i64);
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            self.most_files.set(i64::try_from(soft).unwrap_or(i64::MAX));
        }
        if let Some(bytes) = resident() {
            self.resident.set(bytes);
        }
    }
}

fn resident() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split_whitespace().nth(1)?.parse().ok()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * size)
}
