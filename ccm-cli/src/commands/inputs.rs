//! What running agents are given: on its way, and there.

use std::time::Duration;

use ccm_core::api::{EventKind, Input, InputState};
use ccm_core::id::TaskId;

use super::Outcome;
use crate::client::{self, Client, EventFilter, Notice};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// How long an input is watched on its way.
const PATIENCE: Duration = Duration::from_secs(3);

/// The input once more became of it than that it was accepted, or as it is if that takes long. It is durable, whatever
/// comes in between.
pub(super) async fn watched(client: &Client, input: Input) -> Input {
    let watched = tokio::time::timeout(PATIENCE, watch(client, &input)).await;
    watched.ok().and_then(Result::ok).unwrap_or(input)
}

async fn watch(client: &Client, input: &Input) -> client::Result<Input> {
    if input.state != InputState::Accepted {
        return Ok(input.clone());
    }
    let filter = EventFilter {
        run_id: Some(input.run_id),
        kinds: vec![EventKind::InputUpdated],
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    loop {
        match events.next().await? {
            Notice::Open | Notice::Event { .. } => {}
            _ => continue,
        }
        let inputs = client.inputs(input.run_id).all().await?;
        let is_it = |found: &Input| found.id == input.id && found.state != InputState::Accepted;
        if let Some(found) = inputs.into_iter().find(is_it) {
            return Ok(found);
        }
    }
}

/// Interrupts the agent that works on a task, and tells what came of it.
pub(super) fn interrupt(
    context: &Context,
    client: &Client,
    task: TaskId,
    text: Option<&str>,
) -> Outcome {
    let done = context.block_on(async {
        let mut done = client.interrupt_task(task, text).await?;
        done.interrupt = watched(client, done.interrupt).await;
        if let Some(message) = done.message.take() {
            done.message = Some(watched(client, message).await);
        }
        Ok(done)
    })?;
    if context.printer.json {
        context.printer.object(&done)?;
    } else {
        let given = [Some(&done.interrupt), done.message.as_ref()];
        for input in given.into_iter().flatten() {
            let state = input.state.as_str();
            context.printer.line(format!("{} {state}", input.id))?;
        }
    }
    if done.interrupt.state == InputState::TooLate {
        return Err(Failure::new(
            Code::Refused,
            "the agent had come to its end before it could be interrupted",
        ));
    }
    if done.message.is_none() {
        context.printer.note(
            "It waits for what you say next: `ccm agent send`, or `ccm task cancel` to end it.",
        );
    }
    Ok(Code::Done)
}
