use std::ffi::OsString;
use std::io::{IsTerminal, Read, stdin};
use std::time::Duration;

use ccm_core::api::CreateTask;
use ccm_core::system::SystemKind;
use ccm_core::task::{MAX_TEXT_BYTES, TaskText, Title, is_tag};
use ccm_core::time::Timestamp;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::{Outcome, select, time};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Put a task in the queue; prints its id
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What the agent gets; read from standard input if left out
    text: Vec<OsString>,
    /// The project whose agent does it [default: the one the current folder is in]
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// One line for people [default: made from the text]
    #[arg(long)]
    title: Option<String>,
    /// Higher is sooner [default: the project's, else 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Don't start it before this: 2026-01-31T12:00:00Z, or +2h
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    not_before: Option<Timestamp>,
    /// Don't start it before this task succeeded (repeatable)
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,
    /// Try again after a failure, at most so often [default: the project's, else 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retries: Option<u32>,
    /// Stop an attempt that takes longer: 90s, 5m, 1h30m [default: the project's, else none]
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,
    /// Run it only on a machine with this tag (repeatable)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Run it only on a machine of this type
    #[arg(long, value_name = "TYPE", value_parser = system_type())]
    system_type: Option<SystemKind>,
}

fn system_type() -> impl TypedValueParser<Value = SystemKind> {
    PossibleValuesParser::new(["developer", "devops", "business"])
        .try_map(|name| name.parse::<SystemKind>())
}

pub(super) fn run(args: Create, context: &Context) -> Outcome {
    // What is wrong with the input is told without asking anybody.
    let text = text(args.text, context)?;
    if let Some(title) = &args.title {
        Title::new(title.as_str())?;
    }
    if let Some(tag) = args.tag.iter().find(|tag| !is_tag(tag)) {
        return Err(Failure::usage(format!(
            "{tag:?} is not a tag: 1 to 64 letters, digits, '-', '_', '.', ':' or '/'"
        )));
    }
    if args.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Failure::usage("the timeout is 0 seconds"));
    }
    let client = context.client()?;
    context.block_on(async {
        let project = select::project(context, &client, args.project.as_deref()).await?;
        let mut blocked_by = Vec::with_capacity(args.after.len());
        for id in &args.after {
            blocked_by.push(select::task_id(&client, id).await?);
        }
        let wish = CreateTask {
            title: args.title,
            priority: args.priority,
            not_before: args.not_before,
            blocked_by,
            max_retries: args.retries,
            timeout_s: args.timeout.map(|timeout| timeout.as_secs()),
            tags: args.tag,
            system_type: args.system_type,
            ..CreateTask::new(project.id, text)
        };
        let task = client.create_task(&wish).await?;
        if context.printer.json {
            context.printer.object(&task)?;
        } else {
            context.printer.line(task.id)?;
        }
        Ok(Code::Done)
    })
}

fn text(words: Vec<OsString>, context: &Context) -> Result<String, Failure> {
    let bytes = if words.is_empty() {
        read(context)?
    } else {
        let joined = words.join(std::ffi::OsStr::new(" "));
        std::os::unix::ffi::OsStringExt::into_vec(joined)
    };
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::usage(format!(
            "the task text is not UTF-8: byte {at} begins no character"
        ))
    })?;
    let text = TaskText::new(text).map_err(|e| {
        let failure = Failure::from(e);
        Failure::usage(failure.message)
    })?;
    Ok(text.into())
}

fn read(context: &Context) -> Result<Vec<u8>, Failure> {
    if stdin().is_terminal() {
        context
            .printer
            .note("Type the task, then Ctrl-D on an empty line.");
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know.
    stdin()
        .lock()
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new(Code::Failed, format!("standard input can't be read: {e}")))?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(Failure::usage(format!(
            "the task text has more than {MAX_TEXT_BYTES} bytes (1 MiB)"
        ))
        .hint("put it in a file in the project and let the task name that file"));
    }
    Ok(bytes)
}
