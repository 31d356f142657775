use super::surroundings::Surroundings;
use super::{Check, Finding};
use crate::machine::Problem;

pub(super) const CHECK: Check = Check {
    name: "config",
    looks_for: "a `config.yaml` that is missing, broken, or has keys that do nothing",
    matters: "the daemon does not start with a broken one",
    mends: "`ccm config edit`; `ccm config validate` shows every error with its line",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let file = machine.home.config_file();
    match &machine.config {
        Ok(loaded) => loaded
            .warnings
            .iter()
            .map(|problem| said(Finding::note, problem).at(file))
            .collect(),
        Err(errors) if errors.missing => {
            if !machine.home.dir().exists() {
                // Told once, as a machine that is not set up.
                return Vec::new();
            }
            vec![
                Finding::problem("there is no config.yaml")
                    .at(file)
                    .remedy("ccm-orchestrator init"),
            ]
        }
        Err(errors) => errors
            .problems
            .iter()
            .map(|problem| {
                said(Finding::problem, problem)
                    .at(file)
                    .remedy("ccm config edit")
            })
            .collect(),
    }
}

fn said(make: fn(String) -> Finding, problem: &Problem) -> Finding {
    make(problem.to_string())
}
