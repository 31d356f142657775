use ccm_agents::{HostCommand, Hosts, RuntimeConfig};
use ccm_core::id::{AgentId, Epoch};
use ccm_core::{Result, chain};

use super::super::home::Home;
use super::surroundings::{Surroundings, block_on};
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "agents",
    looks_for: "agents that go on and belong to no project, and runs that the database does not know",
    matters: "they use memory, and what they do is taken in by nobody",
    mends: "`--fix` ends those that rest; one with a run in hand is waited for",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    // Without a database it is not known whose they are.
    let Some(facts) = machine.facts() else {
        return Vec::new();
    };
    let known = &facts.agents;
    let epoch = facts.epoch;
    let home = &machine.home;
    if !home.dir().join("agents").is_dir() {
        return Vec::new();
    }
    let Some(Ok(there)) = block_on(async { hosts(home, epoch)?.agents().await }) else {
        return Vec::new();
    };
    let strays = there.into_iter().filter(|agent| !known.contains(&agent.id));
    strays
        .map(|agent| {
            let folder = home.dir().join("agents").join(agent.id.to_string());
            let (home, id) = (home.clone(), agent.id);
            let end = move || block_on(end(&home, epoch, id)).unwrap_or_else(|| Ok(String::new()));
            match agent.run {
                Some(run) => {
                    Finding::warning(format!("an agent of no project goes on with run {run}"))
                        .at(&folder)
                        .remedy(
                            "wait until it has ended; then `ccm doctor --fix` takes the agent away",
                        )
                }
                None => Finding::warning("an agent of no project is there and waits")
                    .at(&folder)
                    .remedy("ccm doctor --fix")
                    .repaired_by(Repair::safe(end)),
            }
        })
        .collect()
}

fn hosts(home: &Home, epoch: Epoch) -> Result<Hosts> {
    // None is started here.
    let host = HostCommand {
        argv: vec!["ccm".into()],
    };
    Hosts::new(RuntimeConfig::new(home.dir(), epoch, host))
}

async fn end(home: &Home, epoch: Epoch, agent: AgentId) -> Result<String> {
    hosts(home, epoch)?
        .stop_agent(agent)
        .await
        .map_err(|error| {
            ccm_core::Error::unavailable(format!("agent {agent} stays: {}", chain(&error)))
        })?;
    Ok(format!("ended agent {agent}"))
}
