mod cleanup;
mod control;
mod interrupt;
mod logs;
mod send;
mod show;

use std::os::unix::process::CommandExt;

use ccm_agents::terminal;
use ccm_core::api::{Agent, AgentStateName, AttachCommand, Wanted};
use clap::{Args, Subcommand};

use super::project::hold;
use super::{Outcome, asks, select, time};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(List),
    Show(show::Show),
    Start(control::Start),
    Stop(control::Stop),
    Restart(control::Restart),
    Send(send::Send),
    Interrupt(interrupt::Interrupt),
    Attach(Attach),
    TakeOver(control::TakeOver),
    HandBack(control::HandBack),
    Logs(logs::Logs),
    Cleanup(cleanup::Cleanup),
}

/// List agents, with what they do and use
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent list
  ccm agent list --project shop --json")]
pub(super) struct List {
    /// Only those of this project
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
}

/// Open an agent's terminal; closing it never ends a run
///
/// An agent that sleeps is woken for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent attach                  # in a project's folder; leave with Ctrl-b d
  ccm agent attach shop")]
pub(super) struct Attach {
    /// The agent or its project [default: the one of the current folder's project]
    name: Option<String>,
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::List(args) => list(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Start(args) => control::start(&args, context),
        Command::Stop(args) => control::stop(&args, context),
        Command::Restart(args) => control::restart(&args, context),
        Command::Send(args) => send::run(args, context),
        Command::Interrupt(args) => interrupt::run(args, context),
        Command::Attach(args) => attach(&args, context),
        Command::TakeOver(args) => control::take_over(&args, context),
        Command::HandBack(args) => control::hand_back(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Cleanup(args) => cleanup::run(&args, context),
    }
}

fn list(args: &List, context: &Context) -> Outcome {
    let client = context.client()?;
    let (agents, projects) = context.block_on(async {
        let projects = match &args.project {
            Some(name) => vec![select::project(context, &client, Some(name)).await?],
            None => client.projects().all().await?,
        };
        let only = projects.first().filter(|_| args.project.is_some());
        let agents = client.agents(only.map(|project| project.id)).all().await?;
        Ok((agents, projects))
    })?;
    if context.printer.json {
        context.printer.object(&agents)?;
    } else if agents.is_empty() {
        context
            .printer
            .note("No agents: `ccm init` in a project's folder makes one.");
    } else {
        let rows = agents.iter().map(|agent| row(context, agent)).collect();
        let headings = ["NAME", "STATE", "SINCE", "RUN", "WINDOW", "MEMORY", "CPU"];
        // What is left out where there is no room for all: `ccm agent list --json` and wider terminals have it.
        let spare = ["WINDOW", "RUN", "SINCE"];
        context.printer.table_without(&headings, &spare, rows)?;
        for agent in &agents {
            asks::tell(context, &agent.name, &agent.open_asks);
            // Why one is stopped is told with its project.
            if let Some(detail) = &agent.detail
                && agent.state != AgentStateName::Stopped
            {
                context
                    .printer
                    .warning(format!("{}: {}", agent.name, terminal::line(detail)));
            }
        }
        // An agent whose project's queue is held looks as idle as one that has nothing to do.
        for project in &projects {
            if let Some(hold) = hold(project) {
                let name = terminal::line(&project.name);
                context.printer.warning(format!("{name}: {hold}"));
            }
        }
    }
    Ok(Code::Done)
}

fn row(context: &Context, agent: &Agent) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        agent.name.clone(),
        state(agent),
        time::age(agent.since),
        or_dash(agent.run_id.map(|run| context.printer.id(run))),
        or_dash(agent.window.clone()),
        or_dash(agent.memory_bytes.map(time::size)),
        or_dash(agent.cpu_percent.map(|percent| format!("{percent:.0}%"))),
    ]
}

fn state(agent: &Agent) -> String {
    let state = agent.state.as_str();
    match agent.until {
        Some(until) if agent.state == AgentStateName::Parked => {
            format!("{state} (until {})", time::clock(until))
        }
        _ if agent.state == AgentStateName::Stopped && agent.wanted == Wanted::Asleep => {
            format!("{state} (asleep)")
        }
        _ if agent.wanted == Wanted::Taken => format!("{state} (taken over)"),
        _ => state.to_owned(),
    }
}

/// A state's colour.
const fn colour(state: AgentStateName) -> Colour {
    match state {
        AgentStateName::Working | AgentStateName::Starting => Colour::Cyan,
        AgentStateName::Idle => Colour::Green,
        AgentStateName::Waiting | AgentStateName::Parked => Colour::Yellow,
        AgentStateName::Unresponsive | AgentStateName::Failed => Colour::Red,
        AgentStateName::Stopped | AgentStateName::Stopping => Colour::Dim,
    }
}

fn attach(args: &Attach, context: &Context) -> Outcome {
    if context.is_elsewhere() {
        return Err(Failure::new(
            Code::Refused,
            "the agent's terminal is on the machine of its daemon",
        )
        .hint("run this there"));
    }
    let client = context.client()?;
    let command = context.block_on(async {
        let agent = select::agent(context, &client, args.name.as_deref()).await?;
        Ok(client.attach_command(agent.id).await?)
    })?;
    if context.printer.json {
        context.printer.object(&command)?;
        return Ok(Code::Done);
    }
    if !context.printer.is_terminal() {
        return Err(Failure::usage("standard output is not a terminal")
            .hint("`ccm task logs -f ID` shows a run's output without one"));
    }
    let AttachCommand { argv, env, inside } = command;
    let (argv, env, nested) = match inside {
        Some(inside) if sits_in(&inside.socket) => (inside.argv, Default::default(), true),
        _ => (argv, env, false),
    };
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Failure::new(
            Code::Failed,
            "the daemon names no program for this",
        ));
    };
    let mut command = std::process::Command::new(program);
    command.args(arguments).envs(env);
    if !nested {
        // A person's own tmux is another server than the agents', but tmux looks only for this variable.
        command.env_remove("TMUX");
    }
    let error = command.exec();
    Err(Failure::new(
        Code::Failed,
        format!("{program} can't be started: {error}"),
    ))
}

/// Whether this terminal belongs to the terminal server at `socket`.
fn sits_in(socket: &str) -> bool {
    std::env::var("TMUX").is_ok_and(|tmux| tmux.split(',').next() == Some(socket))
}
