use super::projects::agents_of;
use super::surroundings::{Surroundings, find};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "program",
    looks_for: "a project's coding CLI that is missing on the PATH that agents have",
    matters: "tasks of the project wait until its program is there",
    mends: "install it; for a service, write its PATH anew with `ccm-orchestrator daemon init`, or name the program in \
            `agent.command`",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let mut seen = Vec::new();
    let mut findings = Vec::new();
    for agent in agents_of(machine) {
        let program = agent.program();
        if find(program, agent.path()).is_some() {
            continue;
        }
        if seen.contains(&program.to_owned()) {
            continue;
        }
        seen.push(program.to_owned());
        let own = std::env::var_os("PATH");
        let elsewhere = find(program, own.as_deref());
        let finding = Finding::problem(format!(
            "{program}, which does the work of {}, is not there",
            agent.project.name
        ))
        .at(&agent.project.path);
        findings.push(match elsewhere {
            Some(path) => finding.remedy(format!(
                "it is at {}, which is not on the daemon's PATH: start the daemon from this shell with \
                 `ccm-orchestrator daemon restart`, or write its service anew with `ccm-orchestrator daemon init`",
                path.display()
            )),
            None if agent.is_claude() => {
                finding.remedy("install Claude Code: npm install -g @anthropic-ai/claude-code")
            }
            None => finding.remedy(
                "install it, or name another one with `ccm config set --project agent.command`",
            ),
        });
    }
    findings
}
