mod list;
mod pause;
mod remove;
mod show;
pub(super) mod trust;

use std::path::Path;

use ccm_core::id::ProjectId;
use ccm_daemon::machine::{Edited, ProjectDir, TrustStore};
use clap::{Args, Subcommand};

use super::{Outcome, init, time};
use crate::context::Context;
use crate::exit::{Code, Failure};

pub(super) use list::hold;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Init(init::Project),
    Add(init::Added),
    List(list::List),
    Show(show::Show),
    Remove(remove::Remove),
    Trust(trust::Trust),
    /// Let a project's queue rest; what runs goes on
    #[command(after_help = "Examples:\n  ccm project pause\n  ccm project pause shop")]
    Pause(Which),
    /// Let a project's queue move again
    #[command(after_help = "Examples:\n  ccm project resume\n  ccm project resume shop")]
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
        Command::Add(args) => init::run(&args.into(), context),
        Command::List(args) => list::run(&args, context),
        Command::Show(args) => show::run(&args, context),
        Command::Remove(args) => remove::run(&args, context),
        Command::Trust(args) => trust::run(&args, context),
        Command::Pause(which) => pause::run(&which, context, true),
        Command::Resume(which) => pause::run(&which, context, false),
    }
}

/// The project that `path` is in, if it is in one.
pub(super) fn find(context: &Context, path: &Path) -> Result<Option<ProjectDir>, Failure> {
    Ok(ProjectDir::find(path, context.home()?)?)
}

/// The project that `path` is in.
pub(super) fn dir_of(context: &Context, path: &Path) -> Result<ProjectDir, Failure> {
    find(context, path)?.ok_or_else(|| {
        let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Failure::new(
            Code::NotFound,
            format!("{} is in no project", shown.display()),
        )
        .hint("set it up with `ccm init`")
    })
}

/// The project's id on this machine.
fn id_of(dir: &ProjectDir) -> Result<ProjectId, Failure> {
    dir.id()?.ok_or_else(|| {
        Failure::new(
            Code::Refused,
            format!("{} is not set up on this machine", dir.folder().display()),
        )
        .hint("`ccm init` there sets it up")
    })
}

/// Sets a key of a project or, with no value, takes it away, and trusts the change if all else is trusted.
pub(super) fn change(
    context: &Context,
    dir: &ProjectDir,
    key: &str,
    value: Option<&str>,
) -> Result<Edited, Failure> {
    let store = TrustStore::new(context.home()?);
    let (id, folder) = (id_of(dir)?, dir.folder());
    let (edited, trusted) = match value {
        Some(value) => store.set_in_project(id, folder, key, value, time::now())?,
        None => store.unset_in_project(id, folder, key, time::now())?,
    };
    if !trusted {
        context.printer.warning(
            "other settings of this project are not trusted, so its queue waits; `ccm project trust` shows them",
        );
    }
    Ok(edited)
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
