use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::Status;

use super::super::{Outcome, time};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::{Colour, Printer};

pub(super) fn run(context: &Context) -> Outcome {
    if !context.is_elsewhere() && context.daemon()?.is_none() {
        if context.printer.json {
            context
                .printer
                .object(&serde_json::json!({ "running": false }))?;
        } else {
            context
                .printer
                .line(context.printer.paint_out(Colour::Yellow, "Stopped"))?;
            if let Some(hint) = context.stopped().hint {
                context.printer.hint(hint);
            }
        }
        return Ok(Code::Unreachable);
    }
    let client = context.client()?;
    let status = context.block_on(async { Ok(client.status().await?) })?;
    if context.printer.json {
        context.printer.object(&status)?;
    } else {
        print(context, &status)?;
    }
    Ok(Code::Done)
}

fn print(context: &Context, status: &Status) -> Result<(), Failure> {
    let printer = context.printer;
    printer.line(printer.paint_out(Colour::Green, "Running"))?;
    let field = |name: &str, value: String| {
        let name = format!("{name}:");
        printer.line(format!("{name:<10} {}", terminal::line(&value)))
    };
    field("pid", status.pid.to_string())?;
    field("uptime", time::period(Duration::from_secs(status.uptime_s)))?;
    field("version", status.version.clone())?;
    field("profile", status.profile.clone())?;
    field("address", status.address.clone())?;
    if let Some(url) = &status.web_ui {
        field("web ui", url.clone())?;
    }
    field("machine", status.system.hostname.clone())?;
    let projects = if status.projects == 1 {
        "project"
    } else {
        "projects"
    };
    field(
        "agents",
        format!(
            "{} in {} {projects} ({})",
            status.agents, status.projects, status.runtime
        ),
    )?;
    let queue = status.queue;
    field(
        "queue",
        format!(
            "{} waiting (at most {}), {} running (at most {})",
            queue.queued, queue.max_queued, queue.running, queue.max_running
        ),
    )?;
    if status.open_asks > 0 {
        let open = format!("{} open; `ccm asks` shows them", status.open_asks);
        field("asks", open)?;
    }
    tell_problems(printer, status);
    Ok(())
}

/// What keeps the daemon from doing its work.
pub(super) fn tell_problems(printer: Printer, status: &Status) {
    for problem in &status.problems {
        printer.warning(terminal::line(problem));
    }
}
