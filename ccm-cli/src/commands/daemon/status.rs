use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{Check, CheckStatus, Status};
use serde::Serialize;

use super::super::{Outcome, time};
use super::service::Report;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::{Colour, Printer};

/// The daemon at a glance, and what runs it.
#[derive(Serialize)]
struct Shown<'a, T: Serialize> {
    #[serde(flatten)]
    status: &'a T,
    service: Option<Report>,
}

pub(super) fn run(context: &Context) -> Outcome {
    let daemon = match context.is_elsewhere() {
        true => None,
        false => context.daemon()?,
    };
    let service = match context.is_elsewhere() {
        true => None,
        false => Report::of_home(context.home()?, daemon.as_ref()),
    };
    if !context.is_elsewhere() && daemon.is_none() {
        if context.printer.json {
            context.printer.object(&Shown {
                status: &serde_json::json!({ "running": false }),
                service,
            })?;
        } else {
            context
                .printer
                .line(context.printer.paint_out(Colour::Yellow, "Stopped"))?;
            if let Some(service) = &service {
                let line = Report::line(Some(service), false);
                context.printer.line(format!("service:   {line}"))?;
                if let Some(problem) = service.problem() {
                    context.printer.warning(terminal::line(problem));
                }
            }
            if let Some(hint) = context.stopped().hint {
                context.printer.hint(hint);
            }
        }
        return Ok(Code::Unreachable);
    }
    let client = context.client()?;
    let status = context.block_on(async { Ok(client.status().await?) })?;
    if context.printer.json {
        context.printer.object(&Shown {
            status: &status,
            service,
        })?;
        return Ok(Code::Done);
    }
    let line = daemon.map(|_| Report::line(service.as_ref(), true));
    print(context, &status, line)?;
    Ok(Code::Done)
}

fn print(context: &Context, status: &Status, service: Option<String>) -> Result<(), Failure> {
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
    if let Some(service) = service {
        field("service", service)?;
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
    if !status.checks.is_empty() {
        printer.line(format!(
            "{:<10} {}",
            "health:",
            health(printer, &status.checks)
        ))?;
    }
    tell_problems(printer, status);
    Ok(())
}

/// What was looked at, in a line; what is wrong with it is among the problems.
fn health(printer: Printer, checks: &[Check]) -> String {
    let (well, ill): (Vec<_>, Vec<_>) = checks
        .iter()
        .partition(|check| check.status == CheckStatus::Ok);
    if ill.is_empty() {
        let names: Vec<_> = well
            .iter()
            .map(|check| terminal::line(&check.name))
            .collect();
        let text = format!("all well ({})", names.join(", "));
        return printer.paint_out(Colour::Green, &text);
    }
    let told = ill.iter().map(|check| {
        let (colour, word) = match check.status {
            CheckStatus::Failed => (Colour::Red, "failed"),
            _ => (Colour::Yellow, "needs a look"),
        };
        printer.paint_out(colour, &format!("{} {word}", terminal::line(&check.name)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What keeps the daemon from doing its work.
pub(super) fn tell_problems(printer: Printer, status: &Status) {
    for problem in &status.problems {
        printer.warning(terminal::line(problem));
    }
}
