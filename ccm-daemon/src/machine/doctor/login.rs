use std::process::Command;
use std::time::Duration;

use super::projects::{Agent, agents_of};
use super::surroundings::{Surroundings, find, run};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "login",
    looks_for: "a Claude Code that is not logged in",
    matters: "its tasks wait, and its agent is parked",
    mends: "run `claude` in a terminal and log in with /login, or set `ANTHROPIC_API_KEY` where the daemon is started",
    look,
};

/// It is a large program, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(6);

fn look(machine: &Surroundings) -> Vec<Finding> {
    let mut asked: Vec<Agent<'_>> = Vec::new();
    let mut findings = Vec::new();
    for agent in agents_of(machine) {
        let known = asked.iter().any(|other| {
            other.program() == agent.program() && other.environment == agent.environment
        });
        if !agent.is_claude() || known {
            continue;
        }
        findings.extend(ask(&agent));
        asked.push(agent);
    }
    findings
}

fn ask(agent: &Agent<'_>) -> Option<Finding> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        logged_in: bool,
    }
    let program = find(agent.program(), agent.path())?;
    let mut command = Command::new(program);
    command
        .args(agent.first_arguments())
        .args(["auth", "status"])
        .env_clear()
        .envs(&agent.environment)
        .current_dir("/");
    // What can't be started is another check's.
    let Some(said) = run(&mut command, PATIENCE).ok()? else {
        return Some(
            Finding::warning("Claude Code did not say in time whether it is logged in")
                .remedy("claude auth status"),
        );
    };
    let logged_in = serde_json::from_str::<Status>(&said.text)
        .map_or(said.status.success(), |status| status.logged_in);
    (!logged_in).then(|| {
        Finding::problem(format!(
            "Claude Code is not logged in for the agent of {}",
            agent.project.name
        ))
        .remedy(
            "run `claude` in a terminal and log in with /login, or set ANTHROPIC_API_KEY where the daemon is started",
        )
    })
}
