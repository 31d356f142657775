use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "limits",
    looks_for: "low limits on open files, and on watched files",
    matters: "with many agents the daemon can't open files or notice changes at once",
    mends: "raise them: `ulimit -n 4096` where the daemon is started, `sysctl fs.inotify.max_user_instances=512`",
    look,
};

/// A connection, a spool and a lock for each of some hundred agents.
const FILES: u64 = 1024;
const WATCHERS: u64 = 64;

fn look(_: &Surroundings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok((soft, _)) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        && soft < FILES
    {
        findings.push(
            Finding::warning(format!("a program may have only {soft} files open"))
                .remedy("ulimit -n 4096, where the daemon is started"),
        );
    }
    let instances = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances");
    if let Ok(Ok(number)) = instances.map(|text| text.trim().parse::<u64>())
        && number < WATCHERS
    {
        findings.push(
            Finding::warning(format!("a user may watch files only {number} times"))
                .remedy("sudo sysctl fs.inotify.max_user_instances=512"),
        );
    }
    findings
}
