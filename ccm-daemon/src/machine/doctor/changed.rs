use ccm_core::time::Timestamp;

use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "changed",
    looks_for: "a config that was changed after the daemon started",
    matters: "the daemon goes on with what it read then",
    mends: "`ccm-orchestrator daemon reload`, which names what needs a `daemon restart`; runs go on meanwhile",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let file = machine.home.config_file();
    let Some(daemon) = &machine.daemon else {
        return Vec::new();
    };
    let changed = std::fs::metadata(file).and_then(|meta| meta.modified());
    let Some(changed) = changed.ok().and_then(timestamp) else {
        return Vec::new();
    };
    if changed <= daemon.started_at {
        return Vec::new();
    }
    vec![
        Finding::note("the config was changed after the daemon started")
            .at(file)
            .remedy("ccm-orchestrator daemon reload, unless that was done since"),
    ]
}

fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(
        i64::try_from(since.as_micros()).ok()?,
    ))
}
