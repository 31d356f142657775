use std::ffi::OsStr;

use ccm_store::ProjectPlace;

use super::super::project_config::ProjectConfig;
use super::super::trust::TrustStore;
use super::surroundings::{Environment, Surroundings, variable};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "projects",
    looks_for: "projects whose folder is gone, whose settings are broken, or that are not trusted",
    matters: "their tasks wait",
    mends: "put the folder back or `ccm project remove NAME`; `ccm config validate --project`; `ccm project trust NAME`",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let Some(facts) = machine.facts() else {
        return Vec::new();
    };
    facts
        .projects
        .iter()
        .filter_map(|project| trouble(machine, project))
        .collect()
}

fn trouble(machine: &Surroundings, project: &ProjectPlace) -> Option<Finding> {
    let name = &project.name;
    if !project.path.is_dir() {
        return Some(
            Finding::problem(format!("the folder of {name} is not there"))
                .at(&project.path)
                .remedy(format!(
                    "put it back, run `ccm init` in its new place, or run `ccm project remove {name}`"
                )),
        );
    }
    let file = ProjectConfig::path(&project.path);
    let loaded = match ProjectConfig::load(&project.path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let first = errors.to_string();
            let first = first.lines().next().unwrap_or_default();
            return Some(
                Finding::problem(format!("the settings of {name} can't be used: {first}"))
                    .at(&file)
                    .remedy("ccm config validate --project, in that folder"),
            );
        }
    };
    let trust = TrustStore::new(&machine.home).look(project.id, &loaded.config);
    let is_trusted = trust.is_ok_and(|trust| trust.trusted);
    (!is_trusted).then(|| {
        Finding::problem(format!(
            "settings of {name} that can run code are not trusted on this machine"
        ))
        .at(&file)
        .remedy(format!("ccm project trust {name}"))
    })
}

/// What a project's agent is run with.
pub(super) struct Agent<'a> {
    pub(super) project: &'a ProjectPlace,
    driver: String,
    command: Vec<String>,
    pub(super) environment: Environment,
}

impl Agent<'_> {
    pub(super) fn is_claude(&self) -> bool {
        self.driver == "claude"
    }

    pub(super) fn program(&self) -> &str {
        self.command.first().map_or(&self.driver, |program| program)
    }

    pub(super) fn first_arguments(&self) -> &[String] {
        self.command.get(1..).unwrap_or_default()
    }

    pub(super) fn path(&self) -> Option<&OsStr> {
        variable(&self.environment, "PATH")
    }
}

/// The agents of all projects whose settings may count.
pub(super) fn agents_of(machine: &Surroundings) -> Vec<Agent<'_>> {
    let (Some(facts), Some(config)) = (machine.facts(), machine.config()) else {
        return Vec::new();
    };
    let environment = machine.environment();
    let sound = facts
        .projects
        .iter()
        .filter(|project| trouble(machine, project).is_none());
    sound
        .filter_map(|project| {
            let loaded = ProjectConfig::load(&project.path).ok()?;
            let profile = loaded.config.profile(config).agent;
            let mut environment = environment.clone();
            let own = profile.env.into_iter();
            environment.extend(own.map(|(name, value)| (name.into(), value.into())));
            Some(Agent {
                project,
                driver: profile.driver,
                command: profile.command,
                environment,
            })
        })
        .collect()
}
