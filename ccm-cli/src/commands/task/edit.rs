use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::api::{EditTask, ProblemCode, Task, TaskStateName};
use ccm_core::system::SystemKind;
use ccm_core::task::{Edit as Change, SessionMode};
use ccm_core::time::Timestamp;
use clap::{Args, ValueEnum};

use super::super::text::{checked, text};
use super::super::{Outcome, editor, select, time};
use super::create::{session, system_type};
use crate::client::{self, Client};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Change what a waiting task asks for
///
/// What has no option stays. Without any option an editor opens on the text.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task edit 8e7416c160c5
  ccm task edit 8e7416c160c5 --priority 5 --timeout 30m
  ccm task edit 8e7416c160c5 --text \"Fix the login test, not the logout test\"
  ccm task edit 8e7416c160c5 --after 04a981a6648f --unset not-before")]
pub(crate) struct Edit {
    /// The task's id, or at least its last 4 characters
    id: String,
    /// Open $VISUAL or $EDITOR on the text
    #[arg(long, conflicts_with = "text")]
    editor: bool,
    /// What the agent gets; - reads it from standard input
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<OsString>,
    /// One line for people
    #[arg(long)]
    title: Option<String>,
    /// Higher is sooner
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Don't start it before this: 2026-01-31T12:00:00Z, or +2h
    #[arg(long, value_name = "TIME", value_parser = time::moment)]
    not_before: Option<Timestamp>,
    /// Don't start it before this task succeeded, instead of those before (repeatable)
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,
    /// Try again after a failure, at most so often
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retries: Option<u32>,
    /// Stop an attempt that takes longer: 90s, 5m, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    timeout: Option<Duration>,
    /// Begin a conversation, or go on with the agent's last one
    #[arg(long, value_name = "MODE", value_parser = session())]
    session: Option<SessionMode>,
    /// Run it only on a machine with this tag, instead of those before (repeatable)
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Run it only on a machine of this type
    #[arg(long, value_name = "TYPE", value_parser = system_type())]
    system_type: Option<SystemKind>,
    /// Take this away: without a title it is made from the text (repeatable)
    #[arg(long, value_name = "WHAT")]
    unset: Vec<Unset>,
}

/// What a task can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unset {
    Title,
    NotBefore,
    After,
    Timeout,
    Tag,
    SystemType,
}

impl Edit {
    /// What becomes of something that can be unset.
    fn change<T>(&self, what: Unset, value: Option<T>) -> Result<Change<T>, Failure> {
        match (value, self.unset.contains(&what)) {
            (None, false) => Ok(Change::Keep),
            (None, true) => Ok(Change::Unset),
            (Some(value), false) => Ok(Change::Set(value)),
            (Some(_), true) => {
                let name = what.to_possible_value();
                let name = name.as_ref().map_or("it", |name| name.get_name());
                Err(Failure::usage(format!("{name} is both given and unset")))
            }
        }
    }

    /// The changes that need nobody to be asked.
    fn changes(&self, context: &Context) -> Result<EditTask, Failure> {
        let words = match &self.text {
            None => None,
            Some(words) if words == "-" => Some(Vec::new()),
            Some(words) => Some(vec![words.clone()]),
        };
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let tags = match self.change(Unset::Tag, list(&self.tag))? {
            Change::Keep => None,
            Change::Unset => Some(Vec::new()),
            Change::Set(tags) => Some(tags),
        };
        let after = self.change(Unset::After, list(&self.after))?;
        Ok(EditTask {
            text: words
                .map(|words| text(words, "task", context))
                .transpose()?,
            title: self.change(Unset::Title, self.title.clone())?,
            priority: self.priority,
            not_before: self.change(Unset::NotBefore, self.not_before)?,
            blocked_by: (after == Change::Unset).then(Vec::new),
            max_retries: self.retries,
            timeout_s: self.change(
                Unset::Timeout,
                self.timeout.map(|timeout| timeout.as_secs()),
            )?,
            session: self.session,
            tags,
            system_type: self.change(Unset::SystemType, self.system_type)?,
        })
    }
}

pub(super) fn run(args: Edit, context: &Context) -> Outcome {
    // What is wrong with the input is told without asking anybody.
    let mut edit = args.changes(context)?;
    let nothing = edit == EditTask::default() && args.after.is_empty();
    if nothing && !args.editor && !context.printer.can_ask() {
        return Err(Failure::usage("there is nothing to change").hint(
            "give an option such as --text or --priority; `ccm task edit --help` shows all",
        ));
    }
    let name = (args.editor || nothing).then(editor::name).transpose()?;
    let client = context.client()?;
    let task = context.block_on(async {
        if !args.after.is_empty() {
            let mut blockers = Vec::with_capacity(args.after.len());
            for id in &args.after {
                blockers.push(select::task_id(&client, id).await?);
            }
            edit.blocked_by = Some(blockers);
        }
        select::task(&client, &args.id).await
    })?;
    let Some(editor) = name else {
        return finish(context, &client, &task, &edit);
    };
    if task.state != TaskStateName::Queued {
        return Err(Failure::new(
            Code::Refused,
            format!(
                "the task is {}; only one that waits can be edited",
                task.state
            ),
        ));
    }
    let draft = Draft::of(&task)?;
    editor::leave_interrupts_to_it(context)?;
    let ended = editor::edit(&editor, &draft.0)?;
    if !ended.success() {
        return Err(draft.kept(Failure::new(
            Code::Failed,
            format!("the editor {editor:?} failed ({ended}); the task was not changed"),
        )));
    }
    match draft.text(&task) {
        Ok(text) => edit.text = Some(text),
        Err(failure) => return Err(draft.kept(failure)),
    }
    let done = finish(context, &client, &task, &edit);
    match done {
        Err(failure) => Err(draft.kept(failure)),
        done => {
            draft.remove();
            done
        }
    }
}

fn finish(context: &Context, client: &Client, seen: &Task, edit: &EditTask) -> Outcome {
    let edited = context.block_on(async {
        let edited = client.edit_task(seen.id, seen.revision, edit).await;
        edited.map_err(|error| match &error {
            client::Error::Problem(problem) if problem.code == ProblemCode::StaleRevision => {
                Failure::from(error).hint(format!("`ccm task show {}` shows it as it is", seen.id))
            }
            _ => Failure::from(error),
        })
    })?;
    if context.printer.json {
        context.printer.object(&edited)?;
    } else if edited.revision == seen.revision {
        context.printer.note("Nothing was changed.");
    } else {
        context.printer.note(format!("{} is changed.", edited.id));
    }
    Ok(Code::Done)
}

/// A task's text in a file of its own.
struct Draft(PathBuf);

impl Draft {
    fn of(task: &Task) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("ccm-task-{}.md", uuid::Uuid::now_v7()));
        let write = |path: &Path| {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(task.text.as_bytes())
        };
        write(&path).map_err(|e| {
            Failure::new(
                Code::Failed,
                format!("{} can't be written: {e}", path.display()),
            )
        })?;
        Ok(Self(path))
    }

    /// What the editor left. Editors end the last line, which the text may not have had.
    fn text(&self, task: &Task) -> Result<String, Failure> {
        let mut text = fs::read_to_string(&self.0)
            .map_err(|e| Failure::usage(format!("the text can't be read: {e}")))?;
        if !task.text.ends_with('\n') && text.ends_with('\n') {
            text.pop();
        }
        checked(text)
    }

    fn remove(self) {
        // It holds nothing any more that is not in the task.
        let _ = fs::remove_file(&self.0);
    }

    /// The text is not lost.
    fn kept(self, failure: Failure) -> Failure {
        failure.hint(format!("your text is kept in {}", self.0.display()))
    }
}
