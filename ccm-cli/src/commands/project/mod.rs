mod list;
mod pause;
mod remove;
mod show;

use std::path::{Path, PathBuf};

use ccm_daemon::machine::{ConfigFile, Edited};
use clap::{Args, Subcommand};

use super::{Outcome, init};
use crate::context::Context;
use crate::exit::{Code, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Project),
    List(list::List),
    Show(show::Show),
    Remove(remove::Remove),
    /// Let a project's queue rest; what runs goes on
    Pause(Which),
    /// Let a project's queue move again
    Resume(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The project [default: the one the current folder is in]
    name: Option<String>,
}

pub(super) fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::List(args) => list::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Remove(args) => remove::run(&args, context),
        Command::Pause(which) => pause::run(&which, context, true),
        Command::Resume(which) => pause::run(&which, context, false),
    }
}

/// The folder of the project that `path` is in, if it is in one.
pub(super) fn folder_of(_context: &Context, path: &Path) -> Result<Option<PathBuf>, Failure> {
    let real = std::fs::canonicalize(path)
        .map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    Ok(real
        .ancestors()
        .find(|folder| folder.join(".ccm").is_dir())
        .map(Path::to_owned))
}

/// The folder of the project that the current folder is in.
pub(super) fn current_folder(context: &Context) -> Result<PathBuf, Failure> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::usage(format!("the current folder can't be read: {e}")))?;
    folder_of(context, &here)?.ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            format!("{} is in no project", here.display()),
        )
        .hint("set this folder up with `ccm init`")
    })
}

/// Sets a key of the project in `folder`.
pub(super) fn set(
    _context: &Context,
    folder: &Path,
    key: &str,
    value: &str,
) -> Result<Edited, Failure> {
    Ok(ConfigFile::project(folder).set(key, value)?)
}

/// Tells the daemon, if it runs and knows the project, that its settings changed.
pub(super) fn refresh(context: &Context, folder: &Path) {
    let Ok(client) = context.client() else {
        return;
    };
    // It looks by itself before the next run; this only makes what lists show true at once.
    let _ = context.block_on(async {
        let projects = client.projects().all().await?;
        if let Some(project) = projects
            .iter()
            .find(|project| Path::new(&project.path) == folder)
        {
            client.refresh_project(project.id).await?;
        }
        Ok(())
    });
}
