use clap::Args;

use super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Open the web UI in a browser, and print where it is
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm ui
  ccm ui --no-open")]
pub(super) struct Ui {
    /// Only print where it is
    #[arg(long)]
    no_open: bool,
}

pub(super) fn run(args: &Ui, context: &Context) -> Outcome {
    let client = context.client()?;
    let status = context.block_on(async { Ok(client.status().await?) })?;
    let Some(url) = status.web_ui else {
        let failure = Failure::new(Code::Refused, "this daemon serves no web UI");
        return Err(failure.hint(if status.profile == "minimal" {
            "`ccm config set profile full` and `ccm-orchestrator daemon restart` bring it"
        } else {
            "it needs web_ui.enabled in the config, and programs that were built with it"
        }));
    };
    if context.printer.json {
        context.printer.object(&serde_json::json!({ "url": url }))?;
    } else {
        context.printer.line(&url)?;
    }
    if !args.no_open && context.printer.is_terminal() && has_desktop() {
        // Whoever has no browser has the address.
        if let Err(error) = open::that_detached(&url) {
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
