use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{ConflictRule, KeyStorage, SyncCondition, SyncState};
use ccm_daemon::machine::supabase;
use clap::Args;

use super::super::{Outcome, time};
use super::now::counted;
use crate::context::Context;
use crate::exit::{Code, Failure, START};
use crate::printer::Colour;

/// Show how the queue is shared: last contact, what waits, what is stuck and why, what to do
///
/// It exits with 0 when sharing works or is off, 1 when the server can't be reached, 3 when the daemon doesn't run, 5
/// when this machine was shut out, is too old or is taken for another, and 6 when somebody has to sign in again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync status
  ccm-orchestrator sync status --json | jq .pending")]
pub(in super::super) struct Status {}

pub(super) fn run(context: &Context) -> Outcome {
    let (state, code) = state(context)?;
    if context.printer.json {
        context.printer.object(&state)?;
        return Ok(code);
    }
    head(context, &state)?;
    if state.condition != SyncCondition::Off {
        let rule = match state.rule {
            ConflictRule::LastWriteWins => "the later of two edits counts",
            ConflictRule::Manual => "you decide between two edits",
        };
        let looks = match state.live {
            true => "at once, when another machine changes something".to_owned(),
            false => format!("every {}s", state.interval_s),
        };
        fields(
            context,
            &[
                waiting(&state),
                vec![("rule", rule.to_owned()), ("looks", looks)],
            ]
            .concat(),
        )?;
    }
    tell(context, &state);
    Ok(code)
}

/// How sharing is, by the daemon if there is one, and the exit code for it.
pub(in super::super) fn state(context: &Context) -> Result<(SyncState, Code), Failure> {
    if !context.is_elsewhere() && context.daemon()?.is_none() {
        let mut state = supabase::state(context.home()?);
        if !state.enabled {
            return Ok((state, Code::Done));
        }
        if state.to_do.is_none() {
            state.to_do = Some(START.to_owned());
        }
        return Ok((state, Code::Unreachable));
    }
    let client = context.client()?;
    let state = context.block_on(async { Ok(client.sync_state().await?) })?;
    let code = ends(state.condition);
    Ok((state, code))
}

/// How a question for a condition ends.
const fn ends(condition: SyncCondition) -> Code {
    match condition {
        SyncCondition::Off
        | SyncCondition::Starting
        | SyncCondition::Ready
        | SyncCondition::Other => Code::Done,
        SyncCondition::Offline | SyncCondition::Stuck => Code::Failed,
        SyncCondition::Revoked | SyncCondition::Outdated | SyncCondition::Twin => Code::Refused,
        SyncCondition::SignedOut => Code::Unauthorized,
    }
}

/// Prints how it is, in a word and a sentence.
pub(in super::super) fn head(context: &Context, state: &SyncState) -> Result<(), Failure> {
    let (word, colour) = match state.condition {
        SyncCondition::Off => ("Off", Colour::Dim),
        SyncCondition::Starting => ("Starting", Colour::Cyan),
        SyncCondition::Ready => ("Connected", Colour::Green),
        SyncCondition::Offline => ("Offline", Colour::Yellow),
        SyncCondition::Stuck => ("Stuck", Colour::Red),
        SyncCondition::SignedOut => ("Signed out", Colour::Red),
        SyncCondition::Revoked => ("Shut out", Colour::Red),
        SyncCondition::Outdated => ("Too old", Colour::Red),
        SyncCondition::Twin => ("Mistaken", Colour::Red),
        SyncCondition::Other => ("Unknown", Colour::Yellow),
    };
    let word = context.printer.paint_out(colour, word);
    context
        .printer
        .line(format!("{word}: {}", terminal::line(&state.detail)))
}

/// Prints facts below each other.
pub(in super::super) fn fields(
    context: &Context,
    fields: &[(&'static str, String)],
) -> Result<(), Failure> {
    fields.iter().try_for_each(|(name, value)| {
        let name = format!("{name}:");
        let line = format!("{name:<13} {}", terminal::line(value));
        context.printer.line(line)
    })
}

/// What waits, and since when.
pub(in super::super) fn waiting(state: &SyncState) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    if let Some(at) = state.last_contact {
        fields.push(("last contact", format!("{} ago", time::age(at))));
    } else {
        fields.push(("last contact", "none yet".to_owned()));
    }
    fields.push((
        "to send",
        match state.pending {
            0 => "nothing".to_owned(),
            waits => counted(waits, "change"),
        },
    ));
    if state.unsettled > 0 {
        fields.push(("to take in", counted(state.unsettled, "change")));
    }
    if let Some(error) = &state.last_error {
        let tries = match state.failures {
            0 | 1 => String::new(),
            tries => format!(" ({tries} tries in a row)"),
        };
        fields.push(("trouble", format!("{error}{tries}")));
    }
    if let Some(at) = state.next_try_at {
        let left = at.since(time::now());
        let when = match left < Duration::from_secs(1) {
            true => "now".to_owned(),
            false => format!("in {}", time::period(left)),
        };
        fields.push(("next try", when));
    }
    if state.conflicts > 0 {
        fields.push((
            "conflicts",
            format!(
                "{} to decide; `ccm sync conflicts` shows them",
                state.conflicts
            ),
        ));
    }
    if state.set_aside > 0 {
        fields.push((
            "set aside",
            format!(
                "{} that can never be taken; `ccm sync set-aside` says why",
                counted(state.set_aside, "change")
            ),
        ));
    }
    fields
}

/// What keeps the sign-in from being read.
pub(in super::super) const fn protection(storage: KeyStorage) -> &'static str {
    match storage {
        KeyStorage::Keyring => "encrypted, with a key in this system's keyring",
        KeyStorage::File => {
            "encrypted, with a key in a file of this home: good for copies of auth.json, not against who can read this account's files"
        }
    }
}

/// Says what a person has to do.
pub(in super::super) fn tell(context: &Context, state: &SyncState) {
    if let Some(to_do) = &state.to_do {
        context.printer.hint(terminal::line(to_do));
    }
}
