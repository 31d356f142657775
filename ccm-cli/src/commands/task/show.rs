use ccm_agents::terminal;
use ccm_core::Reason;
use ccm_core::api::{ProblemCode, Run, Task};
use ccm_core::run::Usage;
use clap::Args;

use super::super::{Outcome, asks, machines, select, time};
use super::list::{colour, elsewhere};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Printer;

/// Show a task
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task show 8e7416c160c5
  ccm task show 8e7416c160c5 --json | jq -r .result")]
pub(crate) struct Show {
    /// The task's id, or at least its last 4 characters
    id: String,
}

pub(super) fn run(args: &Show, context: &Context) -> Outcome {
    let client = context.client()?;
    let (task, run) = context.block_on(async {
        let task = select::task(&client, &args.id).await?;
        let run = match task.run_id {
            Some(run) if !context.printer.json => match client.run(run).await {
                // What is known of another machine comes piece by piece.
                Err(error) if error.code() == Some(ProblemCode::RunNotFound) => None,
                run => Some(run?),
            },
            _ => None,
        };
        Ok((task, run))
    })?;
    if context.printer.json {
        context.printer.object(&task)?;
    } else {
        print(context.printer, &task, run.as_ref())?;
    }
    Ok(Code::Done)
}

fn print(printer: Printer, task: &Task, run: Option<&Run>) -> Result<(), Failure> {
    let field = |name: &str, value: &str| {
        if value.is_empty() {
            return Ok(());
        }
        let colon = if name.is_empty() { "" } else { ":" };
        let name = format!("{:<12}", format!("{name}{colon}"));
        printer.line(format!("{name}{}", terminal::line(value)))
    };
    let number = |n: i64| if n == 0 { String::new() } else { n.to_string() };
    let optional = |value: Option<String>| value.unwrap_or_default();
    field("id", &task.id.to_string())?;
    field("title", &task.title)?;
    field("project", &task.project)?;
    if let Some(sharing) = &task.sharing {
        match &sharing.runs_on {
            Some(machine) => field("runs on", &machines::with_age(machine))?,
            None => field("runs on", "any machine that has its repository")?,
        }
        if !sharing.created_on.this {
            field("came from", &sharing.created_on.hostname)?;
        }
    }
    printer.line(format!(
        "{:<12}{}",
        "state:",
        printer.paint_out(colour(task.state), task.state.as_str())
    ))?;
    // What lets a run wait is no concern of its task's state, but of whoever wonders about it.
    let held = run.filter(|run| run.finished_at.is_none() && task.reason.is_none());
    let (reason, detail) = match held {
        Some(run) => (run.reason, &run.detail),
        None => (task.reason, &task.detail),
    };
    let reason = match (reason, detail) {
        (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}")),
        (Some(reason), None) => Some(reason.to_string()),
        (None, detail) => detail.clone(),
    };
    let until = run.filter(|_| reason.is_some()).and_then(|run| run.until);
    field("reason", &optional(reason))?;
    field("until", &optional(until.map(|until| until.to_string())))?;
    for ask in &task.open_asks {
        field("asks", &ask.title)?;
        field("", &asks::how(ask.id, ask.kind))?;
    }
    field("priority", &number(i64::from(task.priority)))?;
    field(
        "not before",
        &optional(task.not_before.map(|at| at.to_string())),
    )?;
    let blockers: Vec<_> = task.blocked_by.iter().map(ToString::to_string).collect();
    field("after", &blockers.join(", "))?;
    let of = format!(
        "{} of at most {}",
        task.attempts,
        u64::from(task.max_retries) + 1
    );
    field("attempts", &of)?;
    let timeout = task.timeout_s.map(std::time::Duration::from_secs);
    field("timeout", &optional(timeout.map(time::period)))?;
    field("tags", &task.tags.join(", "))?;
    field("machine", task.system_type.map_or("", |kind| kind.as_str()))?;
    let created = format!(
        "{} by {}, {} ago",
        task.created_at,
        task.created_by,
        time::age(task.created_at)
    );
    field("created", &created)?;
    field(
        "finished",
        &optional(task.finished_at.map(|at| at.to_string())),
    )?;
    field("run", &optional(task.run_id.map(|run| run.to_string())))?;
    field(
        "cost",
        &optional(task.cost_usd.map(|cost| format!("{cost:.4} USD"))),
    )?;
    if let Some(run) = run {
        field("tokens", &tokens(&run.usage))?;
        field("session", run.session_id.as_deref().unwrap_or_default())?;
        let denied = match run.denied {
            0 => String::new(),
            1 => "1 permission".to_owned(),
            n => format!("{n} permissions"),
        };
        field("denied", &denied)?;
    }
    block(printer, "text", &task.text)?;
    block(
        printer,
        "result",
        task.result.as_deref().unwrap_or_default(),
    )?;
    if task.reason == Some(Reason::RemoteUnapproved) && elsewhere(task).is_none() {
        printer.hint(format!(
            "`ccm task approve {0}` lets it run, `ccm task cancel {0}` refuses it",
            task.id
        ));
    }
    Ok(())
}

/// What the latest run read and wrote.
fn tokens(usage: &Usage) -> String {
    let cached = usage.cache_read_tokens;
    let read = usage.input_tokens + usage.cache_write_tokens + cached;
    match (read, usage.output_tokens) {
        (0, 0) => String::new(),
        (read, wrote) if cached == 0 => format!("{read} in, {wrote} out"),
        (read, wrote) => format!("{read} in ({cached} from the cache), {wrote} out"),
    }
}

fn block(printer: Printer, name: &str, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    printer.line(format!("{name}:"))?;
    let text = terminal::plain(text);
    text.lines().try_for_each(|line| {
        let line = format!("  {line}");
        printer.line(line.trim_end())
    })
}
