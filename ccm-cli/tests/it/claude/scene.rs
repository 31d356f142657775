//! A machine whose agents are the real Claude Code, and what its tests look at.

use std::process::Command;

use ccm_core::api::{Agent, Ask, Run, Task};
use ccm_core::id::TaskId;
use serde_json::Value;

use super::Claude;
use crate::support::{Daemon, Machine, Project, block_on, until};

/// Starts the daemon with Claude Code on its PATH.
pub(crate) fn daemon<'a>(machine: &'a Machine, claude: &Claude<'_>) -> Daemon<'a> {
    machine.daemon_with(|command| surroundings(command, claude))
}

/// What the daemon hands on to Claude Code, and the way to it.
pub(crate) fn surroundings<'c>(command: &'c mut Command, claude: &Claude<'_>) -> &'c mut Command {
    let program = Claude::program();
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.envs(claude.environment()).env("PATH", path)
}

pub(crate) fn task(machine: &Machine, id: &str) -> Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

/// A task's runs, the oldest first.
pub(crate) fn runs(machine: &Machine, id: &str) -> Vec<Run> {
    let id: TaskId = id.parse().unwrap();
    let mut runs = block_on(async { machine.client().runs(id).all().await.unwrap() });
    runs.reverse();
    runs
}

/// A task's only run.
#[track_caller]
pub(crate) fn run(machine: &Machine, id: &str) -> Run {
    let mut runs = runs(machine, id);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    runs.remove(0)
}

/// The only agent.
pub(crate) fn agent(machine: &Machine) -> Agent {
    let mut agents: Vec<Agent> =
        serde_json::from_value(machine.ccm(&["agent", "list", "--json"]).json()).unwrap();
    assert_eq!(agents.len(), 1);
    agents.remove(0)
}

/// Asks as `ccm asks` lists them.
pub(crate) fn asks(machine: &Machine, args: &[&str]) -> Vec<Ask> {
    let args = [&["asks", "--json"], args].concat();
    serde_json::from_value(machine.ccm(&args).json()).unwrap()
}

/// Waits until so many asks are open, and gives them, the oldest first.
pub(crate) fn open_asks(machine: &Machine, count: usize) -> Vec<Ask> {
    let mut found = Vec::new();
    until(&format!("{count} asks are open"), || {
        found = asks(machine, &[]);
        found.len() == count
    });
    found
}

/// What a task's run said and did: pairs of an entry's type and its text.
pub(crate) fn entries(project: &Project<'_>, id: &str) -> Vec<Value> {
    let lines = project.ccm(&["task", "logs", "--json", id]).ok();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn types(entries: &[Value]) -> Vec<&str> {
    let types = entries.iter().map(|entry| entry["type"].as_str().unwrap());
    types.collect()
}
