use ccm_agents::terminal;
use ccm_core::api::Task;
use clap::Args;

use super::super::{Outcome, select, time};
use super::list::colour;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Printer;

/// Show a task
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The task's id, or at least its last 4 characters
    id: String,
}

pub(super) fn run(args: &Show, context: &Context) -> Outcome {
    let client = context.client()?;
    let task = context.block_on(select::task(&client, &args.id))?;
    if context.printer.json {
        context.printer.object(&task)?;
    } else {
        print(context.printer, &task)?;
    }
    Ok(Code::Done)
}

fn print(printer: Printer, task: &Task) -> Result<(), Failure> {
    let field = |name: &str, value: &str| {
        if value.is_empty() {
            return Ok(());
        }
        let name = format!("{:<12}", format!("{name}:"));
        printer.line(format!("{name}{}", terminal::line(value)))
    };
    let number = |n: i64| if n == 0 { String::new() } else { n.to_string() };
    let optional = |value: Option<String>| value.unwrap_or_default();
    field("id", &task.id.to_string())?;
    field("title", &task.title)?;
    field("project", &task.project)?;
    printer.line(format!(
        "{:<12}{}",
        "state:",
        printer.paint_out(colour(task.state), task.state.as_str())
    ))?;
    let reason = match (task.reason, &task.detail) {
        (Some(reason), Some(detail)) => Some(format!("{reason}: {detail}")),
        (Some(reason), None) => Some(reason.to_string()),
        (None, detail) => detail.clone(),
    };
    field("reason", &optional(reason))?;
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
    block(printer, "text", &task.text)?;
    block(
        printer,
        "result",
        task.result.as_deref().unwrap_or_default(),
    )
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
