use super::surroundings::{Surroundings, variable};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "path",
    looks_for: "folders on this shell's PATH that the daemon does not have on its own",
    matters: "agents may not find programs that you have",
    mends: "`ccm-orchestrator daemon restart` from this shell, or `daemon init` for a service",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    if machine.daemon.is_none() {
        return Vec::new();
    }
    let environment = machine.environment();
    let theirs = variable(&environment, "PATH");
    let (Some(theirs), Some(own)) = (theirs, std::env::var_os("PATH")) else {
        return Vec::new();
    };
    let theirs: Vec<_> = std::env::split_paths(theirs).collect();
    let missing: Vec<String> = std::env::split_paths(&own)
        .filter(|folder| folder.is_absolute() && folder.is_dir() && !theirs.contains(folder))
        .map(|folder| folder.display().to_string())
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![
        Finding::note(format!(
            "not on the daemon's PATH, but on this shell's: {}",
            missing.join(", ")
        ))
        .remedy("ccm-orchestrator daemon restart, if agents need programs from there"),
    ]
}
