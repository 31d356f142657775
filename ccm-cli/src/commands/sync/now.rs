use ccm_core::api::SyncRound;
use clap::Args;

use super::super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Exchange changes with your other machines now
///
/// Waits until everything is sent and taken in. It happens by itself, too: this is for not waiting.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync now
  ccm-orchestrator sync now --json | jq .sent")]
pub(in super::super) struct Now {}

pub(super) fn run(context: &Context) -> Outcome {
    let printer = context.printer;
    let client = context.client()?;
    let progress = printer.progress("Exchanging changes");
    let mut sum: Option<SyncRound> = None;
    loop {
        let round = context.block_on(async { Ok(client.sync_now().await?) })?;
        let (sent, received) = sum.map_or((0, 0), |sum| (sum.sent, sum.received));
        let round = SyncRound {
            sent: sent + round.sent,
            received: received + round.received,
            ..round
        };
        let moved = (round.sent, round.received) != (sent, received);
        let complete = round.complete;
        progress.say(format!(
            "Exchanging changes: {} sent, {} received, {} to go",
            round.sent, round.received, round.state.pending
        ));
        sum = Some(round);
        if complete || !moved {
            break;
        }
    }
    drop(progress);
    let Some(round) = sum else {
        return Err(Failure::new(Code::Failed, "nothing was exchanged"));
    };
    if printer.json {
        printer.object(&round)?;
    } else {
        printer.line(format!(
            "Sent {}, received {}",
            counted(round.sent, "change"),
            round.received
        ))?;
    }
    let state = &round.state;
    if state.conflicts > 0 {
        printer.hint(format!(
            "{} for a decision; `ccm sync conflicts` shows them",
            match state.conflicts {
                1 => "1 conflict waits".to_owned(),
                several => format!("{several} conflicts wait"),
            }
        ));
    }
    if state.set_aside > 0 {
        printer.hint(format!(
            "{} can never be taken; `ccm sync set-aside` says why",
            counted(state.set_aside, "change")
        ));
    }
    if !round.complete {
        return Err(Failure::new(
            Code::TimedOut,
            format!(
                "{} not sent yet; it goes on by itself",
                waits(state.pending)
            ),
        )
        .hint("`ccm sync status` says how it goes"));
    }
    Ok(Code::Done)
}

pub(super) fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn waits(number: u64) -> String {
    match number {
        1 => "1 change is".to_owned(),
        _ => format!("{number} changes are"),
    }
}
