mod edit;
mod show;

use ccm_daemon::machine::schema::{Applied, MACHINE, PROJECT};
use ccm_daemon::machine::{ConfigErrors, ConfigFile, Edited, ProjectDir};
use clap::{Args, Subcommand};

use super::{Outcome, project};
use crate::context::Context;
use crate::exit::{Code, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Show(show::Show),
    Edit(edit::Edit),
    Validate(Validate),
    Get(Get),
    Set(Set),
    Unset(Unset),
    Path(Where),
    Schema(SchemaOf),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The config of the project that the current folder is in
    #[arg(long)]
    project: bool,
}

/// Check the config file, and tell everything that is wrong or odd in it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config validate
  ccm config validate --project
  ccm config validate --json | jq .errors")]
pub(super) struct Validate {
    #[command(flatten)]
    which: Which,
}

/// Show where the config file is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config path
  cp \"$(ccm config path)\" config.yaml.old")]
pub(super) struct Where {
    #[command(flatten)]
    which: Which,
}

/// Print the JSON Schema of the config file, for editors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config schema > config.schema.json
  ccm config schema --project > ~/.config/ccm-project.schema.json

The machine's config names the copy beside it in its first line, so editors with YAML support need nothing else.")]
pub(super) struct SchemaOf {
    /// The one of projects' .ccm/config.yaml
    #[arg(long)]
    project: bool,
}

/// Show what a key is set to, or its default
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config get agents.max_concurrent
  ccm config get --project agent.driver
  ccm config get resources               all keys of a section")]
pub(super) struct Get {
    #[command(flatten)]
    which: Which,
    /// Such as agents.max_concurrent; a section such as agents shows all its keys
    key: String,
}

/// Set a key; comments and everything else in the file stay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config set agents.max_concurrent 5
  ccm config set system.tags '[gpu, linux]'
  ccm config set --project agent.env.LANG C.UTF-8
  ccm config set --project agent.command '[sh, -c, \"cat\"]'")]
pub(super) struct Set {
    #[command(flatten)]
    which: Which,
    /// Such as agents.max_concurrent
    key: String,
    /// The new value, as YAML
    #[arg(allow_hyphen_values = true)]
    value: String,
}

/// Take away what a key is set to, so that its default counts; a line with a comment becomes a comment
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config unset agents.max_concurrent
  ccm config unset --project agent.env.LANG")]
pub(super) struct Unset {
    #[command(flatten)]
    which: Which,
    /// Such as agents.max_concurrent
    key: String,
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Show(args) => show::run(&args, context),
        Command::Edit(args) => edit::run(&args, context),
        Command::Validate(args) => validate(&args.which, context),
        Command::Get(args) => get(&args, context),
        Command::Set(args) => change(&args.which, &args.key, Some(&args.value), context),
        Command::Unset(args) => change(&args.which, &args.key, None, context),
        Command::Path(args) => path(&args.which, context),
        Command::Schema(args) => {
            let schema = if args.project { &PROJECT } else { &MACHINE };
            context.printer.raw(schema.json_text().as_bytes())?;
            Ok(Code::Done)
        }
    }
}

/// The config file that is meant, and its project.
fn file(which: &Which, context: &Context) -> Result<(ConfigFile, Option<ProjectDir>), Failure> {
    if !which.project {
        return Ok((ConfigFile::machine(context.home()?), None));
    }
    let dir = project::dir_of(context, ".".as_ref())?;
    Ok((ConfigFile::project(dir.folder()), Some(dir)))
}

fn path(which: &Which, context: &Context) -> Outcome {
    let path = file(which, context)?.0.path();
    if context.printer.json {
        let path = path.to_string_lossy();
        context
            .printer
            .object(&serde_json::json!({ "path": path }))?;
    } else {
        context.printer.line(path.display())?;
    }
    Ok(Code::Done)
}

fn get(args: &Get, context: &Context) -> Outcome {
    let (file, _) = file(&args.which, context)?;
    present(&file)?;
    let got = file.get(&args.key)?;
    if context.printer.json || got.value.is_object() {
        context.printer.object(&got.value)?;
        return Ok(Code::Done);
    }
    let text = match got.value {
        serde_json::Value::String(text) => text,
        // Nothing is set, and there is no default.
        serde_json::Value::Null => return Ok(Code::Done),
        other => other.to_string(),
    };
    context.printer.line(text)?;
    Ok(Code::Done)
}

/// Sets a key, or with no value takes away what it is set to.
fn change(which: &Which, key: &str, value: Option<&str>, context: &Context) -> Outcome {
    let (file, dir) = file(which, context)?;
    present(&file)?;
    let edited = match (&dir, value) {
        (Some(dir), _) => project::change(context, dir, key, value)?,
        (None, Some(value)) => file.set(key, value)?,
        (None, None) => file.unset(key)?,
    };
    if context.printer.json {
        let value = file.get(key)?.value;
        context.printer.object(&value)?;
    }
    if !edited.changed {
        let so = if value.is_some() { "that" } else { "not set" };
        context.printer.note(format!("{key} is {so} already."));
        return Ok(Code::Done);
    }
    let done = if value.is_some() {
        format!("Set {key} in {}", file.path().display())
    } else {
        format!("{key} has its default again in {}", file.path().display())
    };
    let when = when(&edited, context)?;
    context.printer.note(format!("{done}; {when}."));
    if let Some(dir) = dir {
        project::refresh(context, dir.folder());
    }
    Ok(Code::Done)
}

/// When a change counts.
fn when(edited: &Edited, context: &Context) -> Result<&'static str, Failure> {
    let running = context.daemon()?.is_some();
    Ok(match edited.applied {
        Applied::Reload if running => "it counts after `ccm-orchestrator daemon reload`",
        Applied::Restart if running => "it counts after `ccm-orchestrator daemon restart`",
        Applied::Reload | Applied::Restart => "it counts from the daemon's next start",
        Applied::NextRun => "it counts from the next run",
        Applied::NextTask => "it counts for tasks that are created from now on",
        Applied::Registration => "it counts when the project is registered",
        Applied::NotYet => "this version keeps it and does nothing with it yet",
    })
}

fn validate(which: &Which, context: &Context) -> Outcome {
    let (file, _) = file(which, context)?;
    let path = file.path();
    let checked = present(&file).and_then(|()| file.validate().map_err(|errors| invalid(&errors)));
    let warnings = match &checked {
        Ok(warnings) => warnings.iter().map(ToString::to_string).collect(),
        Err(_) => Vec::new(),
    };
    for warning in &warnings {
        context.printer.warning(warning);
    }
    if context.printer.json {
        let errors = checked
            .as_ref()
            .err()
            .map(|failure| failure.message.lines());
        context.printer.object(&serde_json::json!({
            "path": path.to_string_lossy(),
            "valid": checked.is_ok(),
            "errors": errors.into_iter().flatten().collect::<Vec<_>>(),
            "warnings": warnings,
        }))?;
    } else if checked.is_ok() {
        context
            .printer
            .line(format!("{} is valid", path.display()))?;
    }
    checked.map(|_| Code::Done)
}

/// A machine that was not set up has no config to work on.
fn present(file: &ConfigFile) -> Result<(), Failure> {
    match file.text() {
        Err(errors) if errors.missing => Err(Failure::new(
            Code::NotFound,
            format!("there is no {}", errors.path.display()),
        )
        .hint("set this machine up with `ccm-orchestrator init`")),
        Err(errors) => Err(invalid(&errors)),
        Ok(_) => Ok(()),
    }
}

/// A config file that can't be used as it is.
pub(super) fn invalid(errors: &ConfigErrors) -> Failure {
    Failure::new(Code::Failed, errors.to_string()).hint(format!("mend {}", errors.path.display()))
}
