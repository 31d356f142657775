use std::collections::BTreeSet;
use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{OpenAsk, Task, TaskStateName};
use ccm_core::id::AskId;
use clap::Args;

use super::super::{Outcome, asks, select, time};
use super::ends::until_ended;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Wait until tasks have ended
///
/// Exits 0 if all succeeded, 1 if one failed or was cancelled, 7 if it took too long. Tells when one of them asks
/// something, and goes on waiting.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task wait 8e7416c160c5
  ccm task wait --timeout 10m 8e7416c160c5 04a981a6648f")]
pub(crate) struct Wait {
    /// The tasks' ids, or at least their last 4 characters
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Give up after this: 90s, 5m, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,
}

pub(super) fn run(args: &Wait, context: &Context) -> Outcome {
    let client = context.client()?;
    context.block_on(async {
        // What has ended by now is told however little time is given.
        let mut looks = Looks {
            context,
            code: Code::Done,
            told: BTreeSet::new(),
        };
        let mut open = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for id in &args.ids {
            let task = select::task(&client, id).await?;
            if seen.insert(task.id) {
                if !task.state.is_final() {
                    open.insert(task.id);
                }
                looks.look_at(&task)?;
            }
        }
        let what = match open.len() {
            0 | 1 => "Waiting".to_owned(),
            n => format!("Waiting for {n} tasks"),
        };
        let _progress = context.printer.progress(what);
        let waiting = until_ended(context, &client, &mut open, |task| looks.look_at(task));
        match args.timeout {
            None => waiting.await?,
            Some(limit) => match tokio::time::timeout(limit, waiting).await {
                Ok(waited) => waited?,
                Err(_) => {
                    return Err(Failure::new(
                        Code::TimedOut,
                        format!("not all tasks ended within {}", time::period(limit)),
                    )
                    .hint("they go on; wait again, or call them off with `ccm task cancel`"));
                }
            },
        }
        Ok(looks.code)
    })
}

/// What is said of the tasks that are waited for.
struct Looks<'a> {
    context: &'a Context,
    /// How it ends if the rest succeeds.
    code: Code,
    told: BTreeSet<AskId>,
}

impl Looks<'_> {
    fn look_at(&mut self, task: &Task) -> Result<(), Failure> {
        let new = |ask: &&OpenAsk| self.told.insert(ask.id);
        let asked: Vec<OpenAsk> = task.open_asks.iter().filter(new).cloned().collect();
        asks::tell(self.context, &task.id.to_string(), &asked);
        if !task.state.is_final() {
            return Ok(());
        }
        if task.state != TaskStateName::Succeeded {
            self.code = Code::Failed;
        }
        tell(self.context, task)
    }
}

fn tell(context: &Context, task: &Task) -> Result<(), Failure> {
    if context.printer.json {
        return context.printer.object(task);
    }
    context
        .printer
        .line(format!("{} {}", task.id, task.state))?;
    if let Some(reason) = task.reason {
        let detail = task.detail.as_deref().unwrap_or("no more is known");
        context
            .printer
            .note(format!("{}: {reason}: {}", task.id, terminal::line(detail)));
    }
    Ok(())
}
