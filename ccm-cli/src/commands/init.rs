use std::path::PathBuf;

use ccm_core::agent::Wanted;
use ccm_core::api::{CreateProject, RegisteredProject};
use ccm_core::id::ProjectId;
use ccm_daemon::machine::{ConfigFile, InitOptions, Initialised, ProjectDir, TrustStore, yaml_of};
use clap::Args;

use super::project::trust;
use super::{Outcome, ask, daemon, time};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

const EXAMPLES: &str = "\
Examples:
  ccm init                                     the current folder, with Claude Code
  ccm init ~/code/shop --name shop
  ccm init --agent command -- sh -c 'cat'      any program that reads its task on standard input
  ccm init --no-agent                          registered only; tasks wait

Running it again is harmless: what is there stays as it is.";
const ADDED: &str = "\
Examples:
  ccm-orchestrator project add ~/code/my-project
  ccm-orchestrator project add ~/code/repo-1 --name repo-1";

/// Set a folder up as a project: write its .ccm/, register it and give it an agent
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Project {
    /// The folder
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    how: How,
}

/// Set a folder up as a project, as `init` does
#[derive(Debug, Args)]
#[command(after_help = ADDED)]
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
    /// What its agent is: claude (Claude Code), or command with a program of your own behind --
    #[arg(long, value_name = "DRIVER", value_parser = ["claude", "command"])]
    agent: Option<String>,
    /// Register the folder without starting its agent: tasks wait until `ccm agent start`
    #[arg(long, conflicts_with = "agent")]
    no_agent: bool,
    /// The agent's program and its first arguments, behind --; with --agent claude instead of the one on the PATH
    #[arg(last = true, requires = "agent", value_name = "PROGRAM")]
    program: Vec<String>,
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
    let agent = agent_settings(&args.how)?;
    let options = InitOptions {
        name: args.how.name.clone(),
        nested: args.how.nested,
        // What is a default anyway need not be in a new file.
        settings: agent
            .iter()
            .filter(|(_, value)| value != "[]")
            .cloned()
            .collect(),
    };
    home.create()?;
    let made = ProjectDir::init(&args.path, home, &options)?;
    for path in &made.created {
        context.printer.note(format!("Wrote {}", path.display()));
    }
    let changed = !made.config_created && change_agent(context, &made, &agent)?;
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
    let mut registered = register(context, &client, &made, args.how.name.clone())?;
    if args.how.no_agent {
        rest(context, &client, &mut registered)?;
    }
    if context.printer.json {
        context.printer.object(&registered)?;
    } else {
        context.printer.line(registered.project.id)?;
    }
    if trusted {
        context.printer.note("The project's settings are trusted.");
    }
    tell(context, &made, &registered, trusted || changed);
    let name = &registered.project.name;
    if let Some(wanted) = args.how.name.as_ref().filter(|wanted| *wanted != name) {
        context.printer.warning(format!(
            "the project is called {name:?} already and was not renamed to {wanted:?}"
        ));
    }
    Ok(Code::Done)
}

/// What `--agent` says, as settings in an order in which each of them is allowed.
fn agent_settings(how: &How) -> Result<Vec<(String, String)>, Failure> {
    let Some(driver) = &how.agent else {
        return Ok(Vec::new());
    };
    if driver == "command" && how.program.is_empty() {
        return Err(Failure::usage("the driver command needs a program")
            .hint("name it behind --, as in `ccm init --agent command -- sh -c 'cat'`"));
    }
    let program = serde_json::Value::from(how.program.clone());
    let driver = ("agent.driver".to_owned(), driver.clone());
    let program = ("agent.command".to_owned(), yaml_of(&program));
    // A driver without its program is refused, and so is the other order for one that has a default.
    Ok(if driver.1 == "command" {
        vec![program, driver]
    } else {
        vec![driver, program]
    })
}

/// Changes the agent in a config file that was there. Returns whether something changed.
fn change_agent(
    context: &Context,
    made: &Initialised,
    settings: &[(String, String)],
) -> Result<bool, Failure> {
    let file = ConfigFile::project(made.dir.folder());
    let trust = TrustStore::new(context.home()?);
    let mut changed = false;
    for (key, value) in settings {
        if yaml_of(&file.get(key)?.value) == *value {
            continue;
        }
        trust.set_in_project(made.id, made.dir.folder(), key, value, time::now())?;
        context.printer.note(format!("Set {key} to {value}"));
        changed = true;
    }
    Ok(changed)
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

/// Lets the agent of a project that is new do nothing until somebody wants it to.
fn rest(
    context: &Context,
    client: &Client,
    registered: &mut RegisteredProject,
) -> Result<(), Failure> {
    if registered.agent.wanted == Wanted::Down {
        return Ok(());
    }
    if !registered.created {
        context.printer.warning(format!(
            "{0} was registered before and is left as it is; `ccm agent stop {0}` stops its agent",
            registered.project.name
        ));
        return Ok(());
    }
    let id = registered.agent.id;
    // Nothing can have been given to it yet, so nothing is lost by stopping it.
    registered.agent = context.block_on(async { Ok(client.stop_agent(id, false).await?) })?;
    Ok(())
}

fn tell(context: &Context, made: &Initialised, registered: &RegisteredProject, changed: bool) {
    let printer = context.printer;
    let project = &registered.project;
    let (name, path) = (&project.name, &project.path);
    let rests = registered.created && registered.agent.wanted == Wanted::Down;
    if rests {
        printer.note(format!(
            "{name} ({path}) is registered; its agent is not started until `ccm agent start {name}`."
        ));
    } else if registered.created {
        printer.note(format!("{name} ({path}) is registered and has an agent."));
    } else if registered.moved {
        printer.note(format!(
            "{name} is now at {path}; its tasks and runs came along."
        ));
    } else if made.created.is_empty() && !changed {
        printer.note(format!(
            "{name} ({path}) is set up and registered already; nothing was changed."
        ));
    } else {
        printer.note(format!("{name} ({path}) was registered already."));
    }
    if registered.created && !rests {
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
