use std::path::PathBuf;

use ccm_core::api::{CreateProject, RegisteredProject};
use ccm_core::id::ProjectId;
use ccm_daemon::machine::{InitOptions, Initialised, ProjectDir};
use clap::Args;

use super::project::trust;
use super::{Outcome, ask, daemon};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

/// Set a folder up as a project: write its .ccm/, register it and give it an agent
#[derive(Debug, Args)]
pub(super) struct Project {
    /// The folder
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    how: How,
}

/// Set a folder up as a project, as `init` does
#[derive(Debug, Args)]
pub(super) struct Added {
    /// The folder
    path: PathBuf,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// What it is called [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// Also inside another project
    #[arg(long)]
    nested: bool,
    /// Trust settings that are there already, and start the daemon if it doesn't run, without asking
    #[arg(short, long)]
    yes: bool,
}

impl From<Added> for Project {
    fn from(added: Added) -> Self {
        Self {
            path: added.path,
            how: added.how,
        }
    }
}

pub(super) fn run(args: &Project, context: &Context) -> Outcome {
    if context.is_elsewhere() {
        return Err(
            Failure::usage("a project is set up on the machine that its folder is on")
                .hint("run this without CCM_URL"),
        );
    }
    let home = context.home()?;
    let mut client = match context.daemon()? {
        Some(_) => Some(context.client()?),
        None => None,
    };
    if let (Some(client), Some(name)) = (&client, &args.how.name) {
        refuse_taken(context, client, name, args)?;
    }
    let options = InitOptions {
        name: args.how.name.clone(),
        nested: args.how.nested,
        ..InitOptions::default()
    };
    home.create()?;
    let made = ProjectDir::init(&args.path, home, &options)?;
    for path in &made.created {
        context.printer.note(format!("Wrote {}", path.display()));
    }
    if client.is_none() {
        client = offer_daemon(context, args.how.yes)?;
    }
    let id = match &client {
        Some(client) => own_id(context, client, &made)?,
        None => made.id,
    };
    let trusted = trust_settings(context, &made, id, args.how.yes)?;
    let Some(client) = client else {
        let stopped = context.stopped();
        let start = stopped.hint.unwrap_or_default();
        return Err(Failure::new(
            stopped.code,
            "the project is not registered: the daemon is not running",
        )
        .hint(format!("{start}, then run `ccm init` again to register it")));
    };
    let registered = register(context, &client, &made, args.how.name.clone())?;
    if context.printer.json {
        context.printer.object(&registered)?;
    } else {
        context.printer.line(registered.project.id)?;
    }
    tell(context, &made, &registered, trusted);
    let name = &registered.project.name;
    if let Some(wanted) = args.how.name.as_ref().filter(|wanted| *wanted != name) {
        context.printer.warning(format!(
            "the project is called {name:?} already and was not renamed to {wanted:?}"
        ));
    }
    Ok(Code::Done)
}

/// An explicit name that another folder has is refused before anything is written.
fn refuse_taken(
    context: &Context,
    client: &Client,
    name: &str,
    args: &Project,
) -> Result<(), Failure> {
    let taken = context.block_on(async { Ok(client.project_named(name).await?) })?;
    let here = std::fs::canonicalize(&args.path).ok();
    match taken {
        Some(other) if Some(other.path.as_ref()) != here.as_deref() => Err(Failure::new(
            Code::Refused,
            format!("the project in {} is called {name:?} already", other.path),
        )
        .hint("choose another name, or leave --name out")),
        _ => Ok(()),
    }
}

/// Starts the daemon if whoever is there wants that.
fn offer_daemon(context: &Context, yes: bool) -> Result<Option<Client>, Failure> {
    if !context.home()?.is_set_up() {
        return Ok(None);
    }
    let wanted = yes
        || (context.printer.can_ask()
            && ask::yes(context, "The daemon is not running. Start it now?", true)?);
    if !wanted {
        return Ok(None);
    }
    daemon::start(context)?;
    context.client().map(Some)
}

/// The folder's id. A copy of a registered project gets one of its own.
fn own_id(context: &Context, client: &Client, made: &Initialised) -> Result<ProjectId, Failure> {
    let projects = context.block_on(async { Ok(client.projects().all().await?) })?;
    let known = projects.iter().find(|project| project.id == made.id);
    match known {
        Some(known) if made.dir.is_copy_of(known.path.as_ref()) => {
            context.printer.note(format!(
                "This folder is a copy of the project {} in {}: it becomes a project of its own.",
                known.name, known.path
            ));
            Ok(made.dir.renew_id()?)
        }
        _ => Ok(made.id),
    }
}

/// Trusts what was written here; anything else is shown and asked about. Returns whether something else is trusted now.
fn trust_settings(
    context: &Context,
    made: &Initialised,
    id: ProjectId,
    yes: bool,
) -> Result<bool, Failure> {
    let settings = trust::look(context, &made.dir, id)?;
    if settings.trusted {
        return Ok(false);
    }
    if !made.config_created {
        trust::show(context, &settings);
        let wanted = yes
            || (context.printer.can_ask() && ask::yes(context, "Trust these settings?", false)?);
        if !wanted {
            context.printer.warning(
                "the settings are not trusted, so tasks will wait; `ccm project trust` shows them and asks",
            );
            return Ok(false);
        }
    }
    trust::accept(context, &made.dir, id, &settings)?;
    Ok(!made.config_created)
}

fn register(
    context: &Context,
    client: &Client,
    made: &Initialised,
    name: Option<String>,
) -> Result<RegisteredProject, Failure> {
    let path = made.dir.folder();
    let path = path.to_str().ok_or_else(|| {
        Failure::usage(format!("the path {} is not UTF-8", path.display()))
            .hint("rename the folder")
    })?;
    let wish = CreateProject {
        path: path.to_owned(),
        name,
    };
    context.block_on(async {
        let mut registered = client.create_project(&wish).await?;
        if !registered.created {
            // What was just trusted counts at once.
            registered.project = client.refresh_project(registered.project.id).await?;
        }
        Ok(registered)
    })
}

fn tell(context: &Context, made: &Initialised, registered: &RegisteredProject, trusted: bool) {
    let printer = context.printer;
    if trusted {
        printer.note("The project's settings are trusted.");
    }
    let project = &registered.project;
    let (name, path) = (&project.name, &project.path);
    if registered.created {
        printer.note(format!("{name} ({path}) is registered and has an agent."));
    } else if registered.moved {
        printer.note(format!(
            "{name} is now at {path}; its tasks and runs came along."
        ));
    } else if made.created.is_empty() && !trusted {
        printer.note(format!(
            "{name} ({path}) is set up and registered already; nothing was changed."
        ));
    } else {
        printer.note(format!("{name} ({path}) was registered already."));
    }
    if registered.created {
        printer.note(printer.paint(Colour::Dim, "Try next:"));
        printer.note("  echo \"Say hello\" | ccm task create    put a task in its queue");
        printer.note("  ccm task list                         see what becomes of it");
        printer.note("  ccm agent attach                      join its agent");
        if made.config_created {
            printer.note(
                "  ccm config set --project KEY VALUE    choose the agent, its model, limits",
            );
        }
    }
}
