use std::path::{Path, PathBuf};

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "service",
    looks_for: "a user's service without lingering",
    matters: "systemd ends it, and all agents, at the last logout, and does not start it at boot",
    mends: "`loginctl enable-linger`, or `--fix`",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    if !cfg!(target_os = "linux") || nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let Ok(Some(user)) = user else {
        return Vec::new();
    };
    let Some(unit) = unit(machine) else {
        return Vec::new();
    };
    lingering(&unit, Path::new("/var/lib/systemd/linger"), &user.name)
        .into_iter()
        .collect()
}

/// The unit that starts the daemon when its user logs in.
fn unit(machine: &Surroundings) -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(machine.home.user_home()?.join(".config")))?;
    let unit = config.join("systemd/user/ccm-orchestrator.service");
    unit.exists().then_some(unit)
}

fn lingering(unit: &Path, linger: &Path, user: &str) -> Option<Finding> {
    if linger.join(user).exists() {
        return None;
    }
    let command = format!("loginctl enable-linger {user}");
    let user = user.to_owned();
    Some(
        Finding::warning("lingering is off, so the daemon ends with your last session")
            .at(unit)
            .remedy(command)
            .repaired_by(Repair::safe(move || enable(&user))),
    )
}

fn enable(user: &str) -> ccm_core::Result<String> {
    let failed = || {
        ccm_core::Error::unavailable(format!(
            "lingering can't be turned on; run `sudo loginctl enable-linger {user}`"
        ))
    };
    let mut loginctl = std::process::Command::new("loginctl");
    loginctl.args(["--no-ask-password", "enable-linger", user]);
    let said = super::surroundings::run(&mut loginctl, std::time::Duration::from_secs(3));
    match said {
        Ok(Some(said)) if said.status.success() => Ok(format!("turned lingering on for {user}")),
        Ok(_) => Err(failed()),
        Err(error) => Err(failed().with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lingering_is_looked_for_where_systemd_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join("unit");
        let found = lingering(&unit, dir.path(), "ada").unwrap();
        assert_eq!(found.remedy.as_deref(), Some("loginctl enable-linger ada"));
        std::fs::write(dir.path().join("ada"), "").unwrap();
        assert!(lingering(&unit, dir.path(), "ada").is_none());
    }
}
