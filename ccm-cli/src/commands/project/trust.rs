use ccm_agents::terminal;
use ccm_core::api::Trust as Settings;
use ccm_core::id::ProjectId;
use ccm_daemon::machine::{ProjectConfig, ProjectDir, TrustStore, trust};
use clap::Args;

use super::super::{Outcome, ask, config, select, time};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

/// Let a project's settings run code on this machine, after showing what they say
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm project trust
  ccm project trust shop --yes")]
pub(crate) struct Trust {
    /// The project, or its folder [default: the one the current folder is in]
    #[arg(value_name = "NAME|PATH")]
    project: Option<String>,
    /// Trust what they say now without asking
    #[arg(short, long)]
    yes: bool,
}

/// Whose settings are meant: those in a folder of this machine, or those that a daemon knows by name.
enum Subject {
    Folder(ProjectDir, ProjectId),
    Known(Client, ProjectId),
}

pub(super) fn run(args: &Trust, context: &Context) -> Outcome {
    context.not_for_agents("trust settings that it could have written itself")?;
    let subject = subject(args, context)?;
    let settings = subject.look(context)?;
    if settings.trusted {
        if context.printer.json {
            context.printer.object(&settings)?;
        }
        context.printer.note(if settings.settings.is_empty() {
            "Nothing in the project's settings can run code, so there is nothing to trust."
        } else {
            "The project's settings are trusted already."
        });
        return Ok(Code::Done);
    }
    show(context, &settings);
    if !args.yes {
        if !context.printer.can_ask() {
            return Err(
                Failure::usage("there is no terminal to ask whether to trust this")
                    .hint("--yes trusts it"),
            );
        }
        if !ask::yes(context, "Trust these settings?", false)? {
            context.printer.note("Nothing was trusted.");
            return Ok(Code::Failed);
        }
    }
    let settings = subject.trust(context, &settings)?;
    if context.printer.json {
        context.printer.object(&settings)?;
    }
    context.printer.note("The project's settings are trusted.");
    Ok(Code::Done)
}

fn subject(args: &Trust, context: &Context) -> Result<Subject, Failure> {
    let named = args.project.as_deref();
    let is_path = named.is_none_or(|name| name == "." || name == ".." || name.contains('/'));
    if context.is_elsewhere() || !is_path {
        let client = context.client()?;
        let project = context.block_on(select::project(context, &client, named))?;
        return Ok(Subject::Known(client, project.id));
    }
    let dir = super::dir_of(context, named.unwrap_or(".").as_ref())?;
    let id = super::id_of(&dir)?;
    Ok(Subject::Folder(dir, id))
}

impl Subject {
    fn look(&self, context: &Context) -> Result<Settings, Failure> {
        match self {
            Self::Folder(dir, id) => look(context, dir, *id),
            Self::Known(client, id) => context.block_on(async { Ok(client.trust(*id).await?) }),
        }
    }

    /// Trusts what was shown.
    fn trust(&self, context: &Context, shown: &Settings) -> Result<Settings, Failure> {
        match self {
            Self::Folder(dir, id) => {
                let trusted = accept(context, dir, *id, shown)?;
                super::refresh(context, dir.folder());
                Ok(trusted)
            }
            Self::Known(client, id) => {
                context.block_on(async { Ok(client.set_trust(*id, &shown.digest).await?) })
            }
        }
    }
}

/// What the settings in a folder say, and whether that is trusted.
pub(crate) fn look(
    context: &Context,
    dir: &ProjectDir,
    id: ProjectId,
) -> Result<Settings, Failure> {
    let loaded = ProjectConfig::load(dir.folder()).map_err(|errors| config::invalid(&errors))?;
    for warning in &loaded.warnings {
        context.printer.warning(warning);
    }
    Ok(TrustStore::new(context.home()?).look(id, &loaded.config)?)
}

/// Trusts what was shown of the settings in a folder.
pub(crate) fn accept(
    context: &Context,
    dir: &ProjectDir,
    id: ProjectId,
    shown: &Settings,
) -> Result<Settings, Failure> {
    let store = TrustStore::new(context.home()?);
    Ok(store.trust_shown(id, dir.folder(), &shown.digest, time::now())?)
}

/// Shows what would be trusted.
pub(crate) fn show(context: &Context, settings: &Settings) {
    context
        .printer
        .note(if settings.trusted_settings.is_some() {
            "The project's settings changed. What can run code now:"
        } else {
            "These settings of the project can run code:"
        });
    for line in trust::changes(settings) {
        let colour = if line.starts_with('+') {
            Colour::Green
        } else {
            Colour::Red
        };
        let line = context.printer.paint(colour, &terminal::line(&line));
        context.printer.note(format!("  {line}"));
    }
}
