use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use ccm_agents::terminal;
use ccm_core::api::{CreateTask, Task};
use ccm_core::system::SystemKind;
use ccm_core::task::{SessionMode, Title, is_tag};
use ccm_core::time::Timestamp;
use ccm_daemon::machine::Prompts;
use ccm_daemon::machine::prompts::is_variable;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::text::text;
use super::super::{Outcome, select, time};
use super::{file, template};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Put a task in the queue; prints its id
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo \"Fix the login test\" | ccm task create
  ccm task create --project shop --priority 5 --timeout 30m \"Update the docs\"
  ccm task create --project shop@server \"Restart the tests\"
  ccm task create --any-machine \"Run the benchmarks\"
  ccm task create --after 8e7416c160c5 --retries 2 \"Then release it\"
  ccm task create --template review --var file=src/parser.rs
  ccm task create --file tasks.jsonl --key nightly-2026-01-31
  jq -c '{text: .title}' issues.json | ccm task create --project shop --file -
  id=$(ccm task create \"Say hello\") && ccm task wait \"$id\"

A line of a file is a task as the API has it: {\"text\": \"Fix the login test\", \"priority\": 1}. It is for --project unless
it names one, as in {\"project\": \"shop\", \"text\": \"...\"}.")]
pub(crate) struct Create {
    /// What the agent gets; read from standard input if left out
    text: Vec<OsString>,
    /// Create a task for each line of this file, all of them or none; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "text", "template", "title", "priority", "not_before", "after", "retries", "timeout", "session", "tag",
        "system_type", "any_machine",
    ])]
    file: Option<PathBuf>,
    /// With --file: the same file under the same key is created once, however often this is repeated
    #[arg(long, value_name = "KEY", requires = "file")]
    key: Option<String>,
    /// Fill in .ccm/prompts/NAME.md and give that to the agent; `ccm task templates` lists them
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// What goes in the place {{NAME}} of the template (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, requires = "template")]
    var: Vec<(String, String)>,
    /// The project whose agent does it, NAME@HOST on another of your machines [default: the one the current folder is in]
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
    /// Begin a conversation, or go on with the agent's last one [default: the project's, else fresh]
    #[arg(long, value_name = "MODE", value_parser = session())]
    session: Option<SessionMode>,
    /// Run it only on a machine with this tag (repeatable)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Run it only on a machine of this type
    #[arg(long, value_name = "TYPE", value_parser = system_type())]
    system_type: Option<SystemKind>,
    /// Let whichever of your machines run it that has the same git repository and takes it first
    #[arg(long)]
    any_machine: bool,
}

pub(super) fn system_type() -> impl TypedValueParser<Value = SystemKind> {
    PossibleValuesParser::new(["developer", "devops", "business"])
        .try_map(|name| name.parse::<SystemKind>())
}

pub(super) fn session() -> impl TypedValueParser<Value = SessionMode> {
    PossibleValuesParser::new(["fresh", "continue"]).map(|name| match &*name {
        "continue" => SessionMode::Continue,
        _ => SessionMode::Fresh,
    })
}

/// What the agent is to get.
struct Wanted {
    template: Option<String>,
    var: Vec<(String, String)>,
    words: Vec<OsString>,
}

impl Wanted {
    fn text(
        self,
        prompts: impl FnOnce() -> Result<Prompts, Failure>,
        context: &Context,
    ) -> Result<String, Failure> {
        match self.template {
            None => text(self.words, "task", context),
            Some(name) => template::fill(&prompts()?, &name, self.var, self.words, context),
        }
    }
}

/// `NAME=VALUE`; the value may be anything.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if is_variable(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as file=src/main.rs".to_owned()),
    }
}

pub(super) fn run(args: Create, context: &Context) -> Outcome {
    if let Some(path) = &args.file {
        return file::run(path, args.project.as_deref(), args.key.as_deref(), context);
    }
    // What is wrong with the input is told without asking anybody.
    let wanted = Wanted {
        template: args.template,
        var: args.var,
        words: args.text,
    };
    let wanted = match &args.project {
        // Where that project is only the daemon knows.
        Some(_) if wanted.template.is_some() => Err(wanted),
        _ => Ok(wanted.text(|| template::here(context), context)?),
    };
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
        let text = match wanted {
            Ok(text) => text,
            Err(wanted) => wanted.text(|| template::of(&project, context), context)?,
        };
        let wish = CreateTask {
            title: args.title,
            priority: args.priority,
            not_before: args.not_before,
            blocked_by,
            max_retries: args.retries,
            timeout_s: args.timeout.map(|timeout| timeout.as_secs()),
            session: args.session,
            tags: args.tag,
            system_type: args.system_type,
            any_machine: args.any_machine,
            ..CreateTask::new(project.id, text)
        };
        let task = client.create_task(&wish).await?;
        if context.printer.json {
            context.printer.object(&task)?;
        } else {
            context.printer.line(task.id)?;
            tell_where(context, &task);
        }
        Ok(Code::Done)
    })
}

/// Says which machine a task goes to, if that is not this one.
fn tell_where(context: &Context, task: &Task) {
    let Some(sharing) = &task.sharing else {
        return;
    };
    match &sharing.runs_on {
        Some(machine) if machine.this => {}
        Some(machine) => context.printer.note(format!(
            "It goes to {}, and waits here until it is sent.",
            terminal::line(&machine.hostname)
        )),
        None => context
            .printer
            .note("It waits for a machine that has its repository and takes it."),
    }
}
