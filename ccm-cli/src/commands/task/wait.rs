use std::collections::BTreeSet;
use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{EventKind, Task, TaskStateName};
use ccm_core::id::TaskId;
use clap::Args;

use super::super::{Outcome, select, time};
use crate::client::{Client, EventFilter, Notice};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Wait until tasks have ended
///
/// Exits 0 if all succeeded, 1 if one failed or was cancelled, 7 if it took too long.
#[derive(Debug, Args)]
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
        let mut waits = Waits {
            context,
            open: BTreeSet::new(),
            code: Code::Done,
        };
        let mut seen = BTreeSet::new();
        for id in &args.ids {
            let task = select::task(&client, id).await?;
            if seen.insert(task.id) {
                waits.open.insert(task.id);
                waits.look_at(&task)?;
            }
        }
        let waiting = wait(waits, &client);
        let Some(limit) = args.timeout else {
            return waiting.await;
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::new(
                Code::TimedOut,
                format!("not all tasks ended within {}", time::period(limit)),
            )
            .hint("they go on; wait again, or call them off with `ccm task cancel`")),
        }
    })
}

/// The tasks that are waited for.
struct Waits<'a> {
    context: &'a Context,
    open: BTreeSet<TaskId>,
    /// How it ends if the rest succeeds.
    code: Code,
}

impl Waits<'_> {
    /// Tells of a task that has ended, and is done with it.
    fn look_at(&mut self, task: &Task) -> Result<(), Failure> {
        if !task.state.is_final() {
            return Ok(());
        }
        self.open.remove(&task.id);
        if task.state != TaskStateName::Succeeded {
            self.code = Code::Failed;
        }
        tell(self.context, task)
    }
}

async fn wait(mut waits: Waits<'_>, client: &Client) -> Outcome {
    let open = &waits.open;
    let filter = EventFilter {
        task_id: open.first().copied().filter(|_| open.len() == 1),
        kinds: vec![
            EventKind::TaskSucceeded,
            EventKind::TaskFailed,
            EventKind::TaskCancelled,
        ],
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    let mut lost = false;
    while !waits.open.is_empty() {
        let affected: Vec<TaskId> = match events.next().await? {
            // What happened before the stream was open is in the tasks.
            Notice::Open => {
                if std::mem::take(&mut lost) {
                    waits.context.printer.note("The daemon is back.");
                }
                waits.open.iter().copied().collect()
            }
            Notice::Event { event, .. } => event.task_id.into_iter().collect(),
            Notice::Lost(error) => {
                if !std::mem::replace(&mut lost, true) {
                    waits
                        .context
                        .printer
                        .note(format!("{error}; still waiting until it is back."));
                }
                continue;
            }
            _ => continue,
        };
        for id in affected {
            if !waits.open.contains(&id) {
                continue;
            }
            let task = match client.task(id).await {
                Ok(task) => task,
                // The stream tells when it is back.
                Err(error) if error.is_unreachable() => continue,
                Err(error) => return Err(error.into()),
            };
            waits.look_at(&task)?;
        }
    }
    Ok(waits.code)
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
