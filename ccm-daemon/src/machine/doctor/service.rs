use std::time::Duration;

use ccm_core::{Error, Result};

use super::super::service::{self, Active, Kind, Service};
use super::surroundings::{Surroundings, run};
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "service",
    looks_for: "a service that has failed, runs a program that is gone, or ends with its user's last session",
    matters: "the daemon does not come back by itself",
    mends: "`ccm-orchestrator daemon init` writes it anew; `loginctl enable-linger`, or `--fix`, for lingering",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let services = service::all(&machine.home);
    let own = services
        .iter()
        .filter(|service| service.is_of(&machine.home));
    let mut findings = Vec::new();
    for service in own {
        findings.extend(gone(service));
        if service.kind.is_reachable()
            && let Ok(state) = service.state()
            && state.active == Active::Failed
        {
            let said = state.said.unwrap_or(state.result);
            findings.push(
                Finding::problem(format!("the {} has failed: {said}", service.kind.noun()))
                    .at(&service.file)
                    .remedy("see `ccm-orchestrator daemon logs`, mend that, and run `ccm-orchestrator daemon start`"),
            );
        }
        // Without systemd the folder is not there, and nothing is known.
        let is_off = service.kind.is_reachable() && service::lingers() != Some(true);
        findings.extend(lingering(service, is_off));
    }
    findings
}

fn gone(service: &Service) -> Option<Finding> {
    let program = service
        .program
        .as_ref()
        .filter(|program| !program.exists())?;
    Some(
        Finding::problem(format!(
            "the {} runs {}, which is not there",
            service.kind.noun(),
            program.display()
        ))
        .at(&service.file)
        .remedy("ccm-orchestrator daemon init"),
    )
}

fn lingering(service: &Service, is_off: bool) -> Option<Finding> {
    if !is_off || service.kind != Kind::SystemdUser {
        return None;
    }
    Some(
        Finding::warning("lingering is off, so the daemon ends with your last session")
            .at(&service.file)
            .remedy("loginctl enable-linger")
            .repaired_by(Repair::safe(enable)),
    )
}

fn enable() -> Result<String> {
    let failed = || {
        Error::unavailable("lingering can't be turned on; run `sudo loginctl enable-linger USER`")
    };
    let mut loginctl = std::process::Command::new("loginctl");
    loginctl.args(["--no-ask-password", "enable-linger"]);
    match run(&mut loginctl, Duration::from_secs(3)) {
        Ok(Some(said)) if said.status.success() => Ok("turned lingering on".to_owned()),
        Ok(_) => Err(failed()),
        Err(error) => Err(failed().with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: Kind) -> Service {
        Service {
            kind,
            file: "/units/ccm-orchestrator.service".into(),
            config: None,
            program: Some("/nowhere/ccm-daemon".into()),
            ours: true,
        }
    }

    #[test]
    fn only_a_user_s_unit_needs_lingering() {
        let found = lingering(&service(Kind::SystemdUser), true).unwrap();
        assert_eq!(found.remedy.as_deref(), Some("loginctl enable-linger"));
        assert!(found.repair.is_some());
        assert!(lingering(&service(Kind::SystemdUser), false).is_none());
        assert!(lingering(&service(Kind::SystemdSystem), true).is_none());
    }

    #[test]
    fn a_program_that_is_gone_is_told() {
        let mut service = service(Kind::SystemdUser);
        assert!(gone(&service).unwrap().what.contains("/nowhere/ccm-daemon"));
        service.program = std::env::current_exe().ok();
        assert!(gone(&service).is_none());
    }
}
