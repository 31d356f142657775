use super::super::{Outcome, select};
use super::Which;
use crate::context::Context;
use crate::exit::Code;

pub(super) fn run(which: &Which, context: &Context, pause: bool) -> Outcome {
    let client = context.client()?;
    let project = context.block_on(async {
        let project = select::project(context, &client, which.name.as_deref()).await?;
        Ok(if pause {
            client.pause_project(project.id).await?
        } else {
            client.resume_project(project.id).await?
        })
    })?;
    if context.printer.json {
        context.printer.object(&project)?;
        return Ok(Code::Done);
    }
    let name = &project.name;
    context.printer.note(match (pause, project.running) {
        (true, 0) => format!("{name} rests."),
        (true, n) => format!("{name} rests once what runs ({n}) has ended."),
        (false, _) => format!("{name} goes on."),
    });
    Ok(Code::Done)
}
