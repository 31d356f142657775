use std::path::Path;

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "home",
    looks_for: "a machine home that is not there or has lost a folder",
    matters: "nothing can be kept, and the daemon does not start",
    mends: "`ccm-orchestrator init`, or `--fix` for a folder",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let home = &machine.home;
    if !home.dir().exists() {
        return vec![
            Finding::problem("this machine is not set up")
                .at(home.dir())
                .remedy("ccm-orchestrator init"),
        ];
    }
    if !home.dir().is_dir() {
        return vec![
            Finding::problem("the machine home is no folder")
                .at(home.dir())
                .remedy("move it away and run `ccm-orchestrator init`"),
        ];
    }
    let folders = [
        home.run_dir(),
        home.runs_dir(),
        home.trust_dir(),
        home.logs_dir(),
    ];
    let missing = folders.iter().filter(|folder| !folder.is_dir());
    missing.map(|folder| lost(machine, folder)).collect()
}

fn lost(machine: &Surroundings, folder: &Path) -> Finding {
    let home = machine.home.clone();
    let name = folder.display().to_string();
    if std::fs::symlink_metadata(folder).is_ok() {
        return Finding::problem("something is in the place of a folder of the machine home")
            .at(folder)
            .remedy(format!("move it away: mv {name} {name}.old"));
    }
    Finding::problem("a folder of the machine home is missing")
        .at(folder)
        .remedy(format!("mkdir -m 700 {name}"))
        .repaired_by(Repair::safe(move || {
            home.create().map(|_| format!("made {name}"))
        }))
}
