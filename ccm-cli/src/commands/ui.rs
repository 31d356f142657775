use clap::Args;

use super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Open the web UI in a browser and sign it in
#[derive(Debug, Args)]
#[command(after_help = "\
The address that it prints has a code: it signs one browser in, once, within ten minutes.
That browser stays signed in for 30 days.

Examples:
  ccm ui
  ccm ui --no-open")]
pub(super) struct Ui {
    /// Only print the address
    #[arg(long)]
    no_open: bool,
}

pub(super) fn run(args: &Ui, context: &Context) -> Outcome {
    let client = context.client()?;
    let status = context.block_on(async { Ok(client.status().await?) })?;
    if status.web_ui.is_none() {
        let failure = Failure::new(Code::Refused, "this daemon serves no web UI");
        return Err(failure.hint(if status.profile == "minimal" {
            "`ccm config set profile full` and `ccm-orchestrator daemon restart` bring it"
        } else {
            "it needs web_ui.enabled in the config, and programs that were built with it"
        }));
    }
    let code = context.block_on(async { Ok(client.sign_in_code().await?) })?;
    if context.printer.json {
        context.printer.object(&code)?;
    } else {
        context.printer.line(&code.url)?;
    }
    if !args.no_open && context.printer.is_terminal() && has_desktop() {
        // Whoever has no browser has the address.
        if let Err(error) = open::that_detached(&code.url) {
            context
                .printer
                .note(format!("No browser could be started: {error}"));
        }
    }
    Ok(Code::Done)
}

/// Whether a browser would have a screen to be on.
fn has_desktop() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}
