use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "groups",
    looks_for: "an environment in which agents can't have control groups (cgroup v2)",
    matters: "without them memory is watched instead of limited, and a process that an agent hid may be missed",
    mends: "run the daemon as a service (`ccm-orchestrator daemon init`)",
    look,
};

#[cfg(target_os = "linux")]
fn look(machine: &Surroundings) -> Vec<Finding> {
    let pid = machine
        .daemon
        .as_ref()
        .map_or_else(|| "self".to_owned(), |daemon| daemon.pid.to_string());
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(group) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        return vec![Finding::note("this machine has no cgroup v2 hierarchy")];
    };
    let folder = std::path::Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    let may = nix::unistd::access(&folder, nix::unistd::AccessFlags::W_OK).is_ok();
    if may {
        return Vec::new();
    }
    vec![
        Finding::note("agents can't have control groups of their own here")
            .at(&folder)
            .remedy("run the daemon as a service: ccm-orchestrator daemon init"),
    ]
}

#[cfg(not(target_os = "linux"))]
fn look(_: &Surroundings) -> Vec<Finding> {
    Vec::new()
}
