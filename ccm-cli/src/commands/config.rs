use ccm_daemon::machine::schema::Applied;
use ccm_daemon::machine::{ConfigErrors, ConfigFile, ProjectDir};
use clap::{Args, Subcommand};

use super::{Outcome, project};
use crate::context::Context;
use crate::exit::{Code, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show where the config file is
    Path(Which),
    /// Show what a key is set to, or its default
    Get(Get),
    /// Set a key; comments and everything else in the file stay
    Set(Set),
    /// Check the config file
    Validate(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The config of the project that the current folder is in
    #[arg(long)]
    project: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    which: Which,
    /// Such as agents.max_concurrent; a section such as agents shows all its keys
    key: String,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    which: Which,
    /// Such as agents.max_concurrent
    key: String,
    /// The new value, as YAML
    #[arg(allow_hyphen_values = true)]
    value: String,
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Path(which) => path(&which, context),
        Command::Get(args) => get(&args, context),
        Command::Set(args) => set(&args, context),
        Command::Validate(which) => validate(&which, context),
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

fn set(args: &Set, context: &Context) -> Outcome {
    let (file, dir) = file(&args.which, context)?;
    present(&file)?;
    let edited = match &dir {
        Some(dir) => project::set(context, dir, &args.key, &args.value)?,
        None => file.set(&args.key, &args.value)?,
    };
    if context.printer.json {
        let value = file.get(&args.key)?.value;
        context.printer.object(&value)?;
    }
    if !edited.changed {
        context
            .printer
            .note(format!("{} is that already.", args.key));
        return Ok(Code::Done);
    }
    let running = context.daemon()?.is_some();
    let when = match edited.applied {
        Applied::Restart if running => {
            "it counts after `ccm-orchestrator daemon restart`".to_owned()
        }
        Applied::Restart => "it counts from the daemon's next start".to_owned(),
        Applied::NextRun => "it counts from the next run".to_owned(),
        Applied::NextTask => "it counts for tasks that are created from now on".to_owned(),
        Applied::Registration => "it counts when the project is registered".to_owned(),
        Applied::NotYet => "this version keeps it and does nothing with it yet".to_owned(),
    };
    context.printer.note(format!(
        "Set {} in {}; {when}.",
        args.key,
        file.path().display()
    ));
    if let Some(dir) = dir {
        project::refresh(context, dir.folder());
    }
    Ok(Code::Done)
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
