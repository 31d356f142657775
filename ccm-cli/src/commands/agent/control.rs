//! Start, stop and restart; take over and hand back.

use ccm_agents::terminal;
use ccm_core::api::{Agent, AgentStateName, ProblemCode, Wanted};
use clap::Args;

use super::super::{Outcome, ask, select, time};
use crate::client::{self, Client};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Start agents
///
/// An agent that was stopped gets its host and its window again, and tasks. One that is up stays as it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent start                   # in a project's folder
  ccm agent start shop blog")]
pub(crate) struct Start {
    /// The agents or their projects [default: the one of the current folder's project]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Stop agents; they get no tasks until they are started again
///
/// Their hosts and windows go. Tasks are accepted all the same, and wait. What an agent has in hand is lost, so it is asked about; a task whose run is
/// lost is tried again only if it has retries left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent stop shop
  ccm agent stop shop --yes         # also in the middle of a task
  ccm agent start shop              # goes on with what waits")]
pub(crate) struct Stop {
    /// The agents or their projects [default: the one of the current folder's project]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Don't ask; what an agent has in hand is lost, and one that does not answer is killed
    #[arg(short, long)]
    yes: bool,
}

/// Restart agents: each gets a new host and window
///
/// Helps after an upgrade, and when an agent does not answer. What an agent has in hand is lost, so it is asked about.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent restart                 # in a project's folder
  ccm agent restart shop --yes")]
pub(crate) struct Restart {
    /// The agents or their projects [default: the one of the current folder's project]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Don't ask; what an agent has in hand is lost, and one that does not answer is killed
    #[arg(short, long)]
    yes: bool,
}

/// Take an agent over: sit in its terminal yourself
///
/// Its tasks wait from then on, and its window runs the coding CLI for you, in the agent's last conversation. Refused
/// while it has a task in hand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent take-over shop
  ccm agent attach shop             # sit down; leave with Ctrl-b d
  ccm agent hand-back shop          # the agent goes on with what waits")]
pub(crate) struct TakeOver {
    /// The agent or its project [default: the one of the current folder's project]
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Hand an agent back that was taken over
///
/// Ends the coding CLI in its window, with everything that it started; then the agent goes on with its tasks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm agent hand-back               # in a project's folder
  ccm agent hand-back shop")]
pub(crate) struct HandBack {
    /// The agent or its project [default: the one of the current folder's project]
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn take_over(args: &TakeOver, context: &Context) -> Outcome {
    let client = context.client()?;
    let agent = context.block_on(select::agent(context, &client, args.name.as_deref()))?;
    let agent = context.block_on(async { Ok(client.take_over_agent(agent.id).await?) })?;
    if context.printer.json {
        context.printer.object(&agent)?;
    }
    let name = terminal::line(&agent.name);
    context.printer.note(format!(
        "{name} is yours: `ccm agent attach {name}` opens its terminal. Its tasks wait until `ccm agent hand-back {name}`."
    ));
    Ok(Code::Done)
}

pub(super) fn hand_back(args: &HandBack, context: &Context) -> Outcome {
    let client = context.client()?;
    let agent = context.block_on(select::agent(context, &client, args.name.as_deref()))?;
    let agent = context.block_on(async { Ok(client.hand_back_agent(agent.id).await?) })?;
    up(context, &agent, "back")
}

pub(super) fn start(args: &Start, context: &Context) -> Outcome {
    let client = context.client()?;
    each(context, &client, &args.names, |agent| {
        let started = context.block_on(async { Ok(client.start_agent(agent.id).await?) })?;
        up(context, &started, "started")
    })
}

pub(super) fn stop(args: &Stop, context: &Context) -> Outcome {
    let client = context.client()?;
    each(context, &client, &args.names, |agent| {
        let Some(force) = agrees(context, &client, &agent, args.yes, "Stop")? else {
            return Ok(Code::Failed);
        };
        let stopped = context.block_on(async { Ok(client.stop_agent(agent.id, force).await) })?;
        let stopped = stopped.map_err(|error| refused(error, "stops"))?;
        if context.printer.json {
            context.printer.object(&stopped)?;
        }
        let name = terminal::line(&stopped.name);
        context.printer.note(format!(
            "{name} is stopped; `ccm agent start {name}` starts it again."
        ));
        Ok(Code::Done)
    })
}

pub(super) fn restart(args: &Restart, context: &Context) -> Outcome {
    let client = context.client()?;
    each(context, &client, &args.names, |agent| {
        let Some(force) = agrees(context, &client, &agent, args.yes, "Restart")? else {
            return Ok(Code::Failed);
        };
        let again = context.block_on(async { Ok(client.restart_agent(agent.id, force).await) })?;
        up(
            context,
            &again.map_err(|error| refused(error, "restarts"))?,
            "restarted",
        )
    })
}

/// Tells that an agent is up, or why it is not.
fn up(context: &Context, agent: &Agent, what: &str) -> Outcome {
    if context.printer.json {
        context.printer.object(agent)?;
    }
    let name = terminal::line(&agent.name);
    match agent.state {
        AgentStateName::Failed => {
            let why = agent.detail.as_deref().unwrap_or("see the daemon's log");
            return Err(Failure::new(
                Code::Failed,
                format!("the agent {name} can't be started: {why}"),
            )
            .hint(format!(
                "mend that; the daemon tries it again by itself, and `ccm agent start {name}` at once"
            )));
        }
        AgentStateName::Unresponsive => {
            return Err(
                Failure::new(Code::Failed, format!("the agent {name} does not answer")).hint(
                    format!("`ccm agent restart {name} --yes` ends it and starts another"),
                ),
            );
        }
        state => {
            let window = agent.window.as_ref();
            let window = window.map_or_else(String::new, |window| format!(", window {window}"));
            let state = state.as_str();
            context
                .printer
                .note(format!("{name} is {what} ({state}{window})."));
        }
    }
    Ok(Code::Done)
}

/// Does something with each of these agents, or with the one of the current folder's project. One that can't be done is
/// told, and the others are done all the same.
fn each(
    context: &Context,
    client: &Client,
    names: &[String],
    mut act: impl FnMut(Agent) -> Outcome,
) -> Outcome {
    let mut done = |name: Option<&str>| {
        let agent = context.block_on(select::agent(context, client, name))?;
        act(agent)
    };
    match names {
        [] => return done(None),
        [only] => return done(Some(only)),
        _ => {}
    }
    let mut code = Code::Done;
    for name in names {
        match done(Some(name)) {
            Ok(Code::Done) => {}
            Ok(other) => code = other,
            Err(failure) if failure.silent => return Err(failure),
            Err(failure) => {
                code = failure.code;
                context.printer.failure(&failure.of_one(name));
                if code == Code::Unreachable {
                    break;
                }
            }
        }
    }
    Ok(code)
}

/// Asks about what would be lost. `None` for no; else whether it is to be lost.
fn agrees(
    context: &Context,
    client: &Client,
    agent: &Agent,
    yes: bool,
    verb: &str,
) -> Result<Option<bool>, Failure> {
    let name = terminal::line(&agent.name);
    if agent.wanted == Wanted::Taken {
        let by = agent.wanted_by.as_deref().unwrap_or("somebody");
        let message = format!("{name} was taken over by {}", terminal::line(by));
        return Err(Failure::new(Code::Refused, message)
            .hint(format!("`ccm agent hand-back {name}` gives it back first")));
    }
    if yes {
        return Ok(Some(true));
    }
    let loss = match (agent.run_id, agent.state) {
        (Some(run), _) => {
            let (run, task) = context.block_on(async {
                let run = client.run(run).await?;
                let task = client.task(run.task_id).await?;
                Ok((run, task))
            })?;
            // It may have ended meanwhile, and then nothing is lost.
            if run.finished_at.is_some() {
                return Ok(Some(false));
            }
            let title = terminal::line(&task.title);
            let since = run
                .started_at
                .map_or_else(String::new, |at| format!(", for {} by now", time::age(at)));
            format!("{name} works on \"{title}\"{since}")
        }
        (None, AgentStateName::Unresponsive) => format!("{name} does not answer"),
        _ => return Ok(Some(false)),
    };
    if !context.printer.can_ask() {
        return Err(Failure::new(Code::Refused, loss).hint(format!(
            "--yes {}s it all the same: what it has in hand is lost",
            verb.to_lowercase()
        )));
    }
    // By itself, because a question that is longer than a line is hard to read.
    context
        .printer
        .note(format!("{loss}, and what it has in hand would be lost."));
    if ask::yes(context, &format!("{verb} it?"), false)? {
        return Ok(Some(true));
    }
    context.printer.note(format!("{name} goes on."));
    Ok(None)
}

/// The failure of an agent that began to work after it was looked at.
fn refused(error: client::Error, verb: &str) -> Failure {
    let is_busy = error.code() == Some(ProblemCode::WrongState);
    let failure = Failure::from(error);
    if is_busy {
        return failure.hint(format!(
            "--yes {verb} it all the same: what it has in hand is lost"
        ));
    }
    failure
}
