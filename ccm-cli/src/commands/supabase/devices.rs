use clap::Args;

use super::super::{Outcome, time};
use crate::context::Context;
use crate::exit::Code;

/// List the machines that share this account
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase devices
  ccm-orchestrator supabase devices --json")]
pub(in super::super) struct Devices {}

pub(super) fn run(context: &Context) -> Outcome {
    let printer = context.printer;
    let client = context.client()?;
    let mut devices = context.block_on(async { Ok(client.devices().all().await?) })?;
    devices.sort_by(|a, b| (!a.this, &a.hostname, a.id).cmp(&(!b.this, &b.hostname, b.id)));
    if printer.json {
        printer.object(&devices)?;
        return Ok(Code::Done);
    }
    let rows = devices.iter().map(|device| {
        let state = match (device.this, device.revoked_at) {
            (_, Some(_)) => "revoked",
            (true, None) => "this one",
            (false, None) => "-",
        };
        vec![
            device.hostname.clone(),
            state.to_owned(),
            time::age(device.last_seen),
            time::age(device.registered_at),
            printer.id(device.id),
        ]
    });
    let headings = ["NAME", "WHICH", "SEEN", "SINCE", "ID"];
    printer.table(&headings, Some(0), rows.collect())?;
    Ok(Code::Done)
}
