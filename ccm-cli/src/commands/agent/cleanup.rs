use ccm_agents::terminal;
use ccm_core::api::{AgentCleanup, CleanUpAgents, KeptAgent};
use clap::Args;

use super::super::{Outcome, select, time};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Put idle agents to sleep until their next task
///
/// They give their memory back; prints how much. Agents that work, wait for an answer, are parked or are looked at are left alone. Without
/// names, hosts and windows that belong to no project are taken away as well.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent cleanup
  ccm agent cleanup shop
  ccm config set agents.max_idle_time 60   # has it done after a minute, by itself")]
pub(crate) struct Cleanup {
    /// Only these agents, or those of these projects
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(super) fn run(args: &Cleanup, context: &Context) -> Outcome {
    let client = context.client()?;
    let cleanup = context.block_on(async {
        let mut wish = CleanUpAgents::default();
        for name in &args.names {
            let agent = select::agent(context, &client, Some(name)).await?;
            wish.agents.push(agent.id);
        }
        Ok(client.clean_up_agents(&wish).await?)
    })?;
    if context.printer.json {
        context.printer.object(&cleanup)?;
    } else {
        tell(context, &cleanup, args.names.is_empty())?;
    }
    if args.names.is_empty() || cleanup.kept.is_empty() {
        return Ok(Code::Done);
    }
    Err(Failure::new(Code::Refused, kept(&cleanup.kept))
        .hint("only idle agents are put to sleep; `ccm agent stop` stops others"))
}

/// Who was left alone, and why.
fn kept(agents: &[KeptAgent]) -> String {
    let agents = agents
        .iter()
        .map(|agent| format!("{} {}", terminal::line(&agent.name), agent.why));
    agents.collect::<Vec<_>>().join(", ")
}

fn tell(context: &Context, cleanup: &AgentCleanup, all: bool) -> Result<(), Failure> {
    let printer = context.printer;
    if !cleanup.asleep.is_empty() {
        let rows = cleanup.asleep.iter().map(|agent| {
            let freed = agent.freed_bytes.map(time::size);
            vec![agent.name.clone(), freed.unwrap_or_else(|| "-".to_owned())]
        });
        printer.table(&["NAME", "FREED"], None, rows.collect())?;
    }
    match cleanup.strays.len() {
        0 => {}
        1 => printer.note("A host or window that belonged to no project is gone."),
        n => printer.note(format!(
            "{n} hosts or windows that belonged to no project are gone."
        )),
    }
    match (&cleanup.asleep[..], &cleanup.kept[..]) {
        ([], []) => printer.note("Nothing to clean up: no agent is idle."),
        ([], left) if all => printer.note(format!(
            "Nothing to clean up: no agent is idle ({}).",
            kept(left)
        )),
        ([], _) => {}
        (asleep, _) => {
            let agents = match asleep.len() {
                1 => "1 agent sleeps".to_owned(),
                n => format!("{n} agents sleep"),
            };
            printer.note(format!(
                "{agents} until the next task; {} came back.",
                time::size(cleanup.freed_bytes)
            ));
        }
    }
    Ok(())
}
