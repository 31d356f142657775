use super::Outcome;
use crate::context::Context;
use crate::exit::Code;

pub(super) fn run(context: &Context) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if context.printer.json {
        context
            .printer
            .object(&serde_json::json!({ "version": version }))?;
    } else {
        context
            .printer
            .line(format!("{} {version}", context.program))?;
    }
    Ok(Code::Done)
}
