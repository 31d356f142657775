use std::io::{IsTerminal, stdout};

use ccm_agents::terminal::{self, Filter};
use ccm_core::api::{Entry, EntryBody, EventKind, ProblemCode, Stream, Task};
use ccm_core::id::{RunId, TaskId};
use clap::Args;

use super::super::{Outcome, select};
use super::entries::Entries;
use super::list::elsewhere;
use crate::client::{Client, EventFilter, Notice};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Printer;

/// Show what a task's latest run said and did
///
/// A program of one's own is shown byte for byte, a coding CLI as what its agent said and which tools it used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task logs 8e7416c160c5
  ccm task logs -f 8e7416c160c5")]
pub(crate) struct Logs {
    /// The task's id, or at least its last 4 characters
    id: String,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
    /// The bytes of the program's output as they are
    #[arg(long)]
    raw: bool,
    /// The bytes of standard error instead
    #[arg(long)]
    stderr: bool,
}

/// The driver of programs of one's own.
const COMMAND: &str = "command";
/// How many entries tell what kind of run it is.
const FEW: u32 = 20;
/// How much is asked for at once.
const PIECE: u64 = 1024 * 1024;

pub(super) fn run(args: &Logs, context: &Context) -> Outcome {
    let client = context.client()?;
    let stream = if args.stderr {
        Stream::Err
    } else {
        Stream::Out
    };
    context.block_on(async {
        let task = select::task(&client, &args.id).await?;
        let (task, run) = match task.run_id {
            Some(run) => (task, run),
            None if args.follow => first_run(context, &client, task.id).await?,
            None => {
                let failure = never_started(&task);
                return Err(if task.state.is_final() {
                    failure
                } else {
                    failure.hint("-f waits for its first run")
                });
            }
        };
        let bytes = args.raw || args.stderr;
        if let Some(machine) = elsewhere(&task) {
            let host = terminal::line(&machine.hostname);
            if bytes {
                return Err(Failure::new(
                    Code::Refused,
                    format!("what the program wrote is kept on {host} alone"),
                )
                .hint("look at it there; without --raw and --stderr the transcript is shown"));
            }
            let mut entries = Entries::new(context.printer, client.clone(), run);
            if args.follow {
                follow_elsewhere(&client, run, &mut entries).await?;
            } else {
                entries.read().await?;
            }
            if !entries.has_printed() {
                context
                    .printer
                    .note(format!("{host} has told nothing of it yet."));
            }
            return Ok(Code::Done);
        }
        let mut reader = if !bytes && (context.printer.json || has_entries(&client, run).await?) {
            Reader::Entries(Entries::new(context.printer, client.clone(), run))
        } else {
            Reader::Bytes(Log::new(context.printer, client.clone(), run, stream))
        };
        if args.follow {
            follow(&client, run, &mut reader).await?;
        } else {
            reader.read().await?;
        }
        reader.end()?;
        Ok(Code::Done)
    })
}

/// Whether a run is told in more than its bare output. Before it has said anything, its agent's driver tells.
async fn has_entries(client: &Client, run: RunId) -> Result<bool, Failure> {
    let begin = client.transcript(run, 0, FEW).await?.entries;
    if !begin.is_empty() {
        let is_output = |entry: &Entry| matches!(entry.body, EntryBody::Output { .. });
        return Ok(!begin.iter().all(is_output));
    }
    let agent = client.run(run).await?.agent_id;
    match client.agent(agent).await {
        Ok(agent) => Ok(agent.driver.is_some_and(|driver| driver != COMMAND)),
        // Its project was removed.
        Err(error) if error.code() == Some(ProblemCode::AgentNotFound) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until a run takes the task.
async fn first_run(
    context: &Context,
    client: &Client,
    id: TaskId,
) -> Result<(Task, RunId), Failure> {
    context.printer.note("The task waits for its turn.");
    let filter = EventFilter {
        task_id: Some(id),
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    loop {
        match events.next().await? {
            Notice::Open | Notice::Event { .. } => {}
            _ => continue,
        }
        let task = match client.task(id).await {
            Ok(task) => task,
            Err(error) if error.is_unreachable() => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(run) = task.run_id {
            return Ok((task, run));
        }
        if task.state.is_final() {
            return Err(never_started(&task));
        }
    }
}

fn never_started(task: &Task) -> Failure {
    let state = task.state;
    Failure::new(
        Code::Refused,
        format!("the task is {state} and no run of it was started"),
    )
}

/// Prints what comes until the run has ended.
async fn follow(client: &Client, run: RunId, reader: &mut Reader) -> Result<(), Failure> {
    let filter = EventFilter {
        run_id: Some(run),
        kinds: reader.kinds(),
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    loop {
        let ended = match events.next().await? {
            Notice::Open => match client.run(run).await {
                Ok(run) => run.finished_at.is_some(),
                Err(error) if error.is_unreachable() => continue,
                Err(error) => return Err(error.into()),
            },
            Notice::Event { event, .. } => event.kind == EventKind::RunEnded,
            _ => continue,
        };
        match reader.read().await {
            Ok(()) if ended => return Ok(()),
            Ok(()) => {}
            // The stream tells when the daemon is back.
            Err(failure) if failure.code == Code::Unreachable => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// Prints what comes from the machine of a run, until that has told all of it.
async fn follow_elsewhere(
    client: &Client,
    run: RunId,
    entries: &mut Entries,
) -> Result<(), Failure> {
    let filter = EventFilter {
        run_id: Some(run),
        kinds: vec![EventKind::DocumentChanged],
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    loop {
        match events.next().await? {
            Notice::Open | Notice::Event { .. } => {}
            _ => continue,
        }
        let looked = async {
            // In this order: what is complete after the end is complete for good.
            let ended = client.run(run).await?.finished_at.is_some();
            Ok::<_, Failure>(entries.read().await? && ended)
        };
        match looked.await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The stream tells when the daemon is back.
            Err(failure) if failure.code == Code::Unreachable => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// What is read of a run.
enum Reader {
    Bytes(Log),
    Entries(Entries),
}

impl Reader {
    /// Prints what is there by now.
    async fn read(&mut self) -> Result<(), Failure> {
        match self {
            Self::Bytes(log) => log.read().await,
            Self::Entries(entries) => entries.read().await.map(drop),
        }
    }

    /// The events after which there may be more; empty for all.
    fn kinds(&self) -> Vec<EventKind> {
        match self {
            Self::Bytes(_) => vec![EventKind::RunOutput, EventKind::RunEnded],
            Self::Entries(_) => Vec::new(),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self {
            Self::Bytes(log) => log.end(),
            Self::Entries(_) => Ok(()),
        }
    }
}

struct Log {
    printer: Printer,
    client: Client,
    run: RunId,
    stream: Stream,
    offset: u64,
    filter: Option<Filter>,
}

impl Log {
    fn new(printer: Printer, client: Client, run: RunId, stream: Stream) -> Self {
        // A pipe gets the bytes as they are, a terminal only what can't hurt it.
        let filter = stdout()
            .is_terminal()
            .then(|| Filter::new(printer.shows_colours()));
        Self {
            printer,
            client,
            run,
            stream,
            offset: 0,
            filter,
        }
    }

    /// Prints what is there by now.
    async fn read(&mut self) -> Result<(), Failure> {
        loop {
            let part = self
                .client
                .read_log(self.run, self.stream, self.offset, PIECE)
                .await?;
            let end = part.offset + part.bytes.len() as u64;
            match &mut self.filter {
                Some(filter) => {
                    let text = filter.push(&part.bytes);
                    self.printer.raw(text.as_bytes())?;
                }
                None => self.printer.raw(&part.bytes)?,
            }
            self.offset = end;
            if part.bytes.is_empty() || end >= part.size {
                return Ok(());
            }
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match &mut self.filter {
            Some(filter) => self.printer.raw(filter.reset().as_bytes()),
            None => Ok(()),
        }
    }
}
