//! Waiting for tasks to end, through restarts of the daemon.

use std::collections::BTreeSet;

use ccm_core::api::{EventKind, Task};
use ccm_core::id::TaskId;

use crate::client::{Client, EventFilter, Notice};
use crate::context::Context;
use crate::exit::Failure;

/// Looks at these tasks at once and whenever something happened to them that a person wants to know, until all have
/// ended. Those that have leave `open`.
pub(super) async fn until_ended(
    context: &Context,
    client: &Client,
    open: &mut BTreeSet<TaskId>,
    mut look: impl FnMut(&Task) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let filter = EventFilter {
        task_id: open.first().copied().filter(|_| open.len() == 1),
        kinds: vec![
            EventKind::TaskSucceeded,
            EventKind::TaskFailed,
            EventKind::TaskCancelled,
            // What another machine says of a task that it runs.
            EventKind::DocumentChanged,
            EventKind::AskCreated,
        ],
        ..EventFilter::default()
    };
    let mut events = client.events(None, &filter);
    let mut lost = false;
    while !open.is_empty() {
        let affected: Vec<TaskId> = match events.next().await? {
            // What happened before the stream was open is in the tasks.
            Notice::Open => {
                if std::mem::take(&mut lost) {
                    context.printer.note("The daemon is back.");
                }
                open.iter().copied().collect()
            }
            Notice::Event { event, .. } => event.task_id.into_iter().collect(),
            Notice::Lost(error) => {
                if !std::mem::replace(&mut lost, true) {
                    context
                        .printer
                        .note(format!("{error}; still waiting until it is back."));
                }
                continue;
            }
            _ => continue,
        };
        for id in affected {
            if !open.contains(&id) {
                continue;
            }
            let task = match client.task(id).await {
                Ok(task) => task,
                // The stream tells when it is back.
                Err(error) if error.is_unreachable() => continue,
                Err(error) => return Err(error.into()),
            };
            if task.state.is_final() {
                open.remove(&id);
            }
            look(&task)?;
        }
    }
    Ok(())
}
