use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::surroundings::{Surroundings, find, run, variable};
use super::{Check, Finding};
use crate::machine::config::RuntimeName;

pub(super) const CHECK: Check = Check {
    name: "tmux",
    looks_for: "a tmux that is missing or too old, or has no folder for its socket",
    matters: "agents live in its windows",
    mends: "install tmux 3.2a or newer, or `ccm config set agents.runtime process` to do without windows",
    look,
};

const PATIENCE: Duration = Duration::from_secs(3);

fn look(machine: &Surroundings) -> Vec<Finding> {
    let runtime = machine.config().map(|config| config.agents.runtime);
    if runtime == Some(RuntimeName::Process) {
        return Vec::new();
    }
    let environment = machine.environment();
    let Some(tmux) = find("tmux", variable(&environment, "PATH")) else {
        return vec![
            Finding::problem("tmux is not installed, or not on the PATH of the daemon")
                .remedy(ccm_agents::tmux::how_to_install()),
        ];
    };
    let mut findings = Vec::new();
    match run(Command::new(&tmux).arg("-V"), PATIENCE) {
        Ok(Some(said)) if ccm_agents::tmux::is_too_old(&said.text) => findings.push(
            Finding::problem(format!("{} is too old", said.text.trim()))
                .at(&tmux)
                .remedy(ccm_agents::tmux::how_to_install()),
        ),
        Ok(Some(said)) if said.status.success() => {}
        Ok(Some(_)) | Err(_) => findings.push(
            Finding::problem("tmux can't be run")
                .at(&tmux)
                .remedy("see what `tmux -V` says, and install it anew"),
        ),
        Ok(None) => findings.push(
            Finding::warning("tmux does not answer")
                .at(&tmux)
                .remedy("see what `tmux -V` says"),
        ),
    }
    let folder =
        variable(&environment, "TMUX_TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    if !can_be_written(&folder) {
        findings.push(
            Finding::problem("the folder for tmux's sockets is not there or can't be written")
                .at(&folder)
                .remedy("make it, or unset TMUX_TMPDIR where the daemon is started"),
        );
    }
    findings
}

fn can_be_written(folder: &std::path::Path) -> bool {
    use nix::unistd::{AccessFlags, access};
    folder.is_dir() && access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
}
