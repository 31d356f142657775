use std::path::PathBuf;

use ccm_daemon::machine::config::ProfileName;
use ccm_daemon::machine::{DaemonInfo, setup};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::{Outcome, ask};
use super::start::start;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;

/// Set this machine up: write its config, make its API token, start the daemon
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// Take the default for everything that is not given
    #[arg(short, long)]
    yes: bool,
    /// full: API and web UI; minimal: the API alone
    #[arg(long)]
    profile: Option<Profile>,
    /// The same as --profile minimal
    #[arg(long, conflicts_with = "profile")]
    minimal: bool,
    /// What this machine is called [default: what it calls itself]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Don't share projects and tasks with other machines
    #[arg(long)]
    no_supabase: bool,
    /// Don't install a service
    #[arg(long)]
    no_service: bool,
    /// Don't start the daemon
    #[arg(long)]
    no_start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Full,
    Minimal,
}

impl From<Profile> for ProfileName {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Full => Self::Full,
            Profile::Minimal => Self::Minimal,
        }
    }
}

/// What set-up led to.
#[derive(Serialize)]
struct Report {
    home: PathBuf,
    config: PathBuf,
    created: Vec<PathBuf>,
    daemon: Option<DaemonInfo>,
}

pub(crate) fn run(args: &Machine, context: &Context) -> Outcome {
    let home = context.home()?;
    let printer = context.printer;
    let fresh = !home.is_set_up();
    let profile = args
        .profile
        .or_else(|| args.minimal.then_some(Profile::Minimal))
        .map(ProfileName::from);
    let answers = if fresh {
        answers(args, profile, context)?
    } else {
        setup::Answers::default()
    };
    let made = setup::set_up(home, &answers)?;
    for path in &made.created {
        printer.note(format!("Wrote {}", path.display()));
    }
    if made.created.is_empty() {
        printer.note(format!(
            "This machine is set up already ({}); nothing was changed.",
            home.config_file().display()
        ));
    }
    if let Some(wanted) = profile.filter(|wanted| !fresh && *wanted != made.config.profile) {
        printer.warning(format!(
            "the config says profile {} and was left so; `ccm config set profile {}` changes it",
            made.config.profile.as_str(),
            wanted.as_str()
        ));
    }
    let daemon = match home.running_daemon() {
        Some(info) => Some(info),
        None if wants_start(args, context)? => Some(start(context)?),
        None => None,
    };
    if printer.json {
        printer.object(&Report {
            home: home.dir().to_owned(),
            config: home.config_file().to_owned(),
            created: made.created,
            daemon: daemon.clone(),
        })?;
    }
    match daemon {
        Some(info) => {
            printer.note(format!(
                "{} The daemon is running: {}",
                printer.paint(Colour::Green, "Set-up complete."),
                info.url()
            ));
            if let Some(url) = info.web_ui_url() {
                printer.note(format!("Web UI: {url}"));
            }
        }
        None => printer.note(format!(
            "{} Start the daemon with `ccm-orchestrator daemon start`.",
            printer.paint(Colour::Green, "Set-up complete.")
        )),
    }
    if fresh {
        printer.note("Next: `ccm init` in the folder of a project.");
    }
    Ok(Code::Done)
}

fn answers(
    args: &Machine,
    profile: Option<ProfileName>,
    context: &Context,
) -> Result<setup::Answers, Failure> {
    let ask = !args.yes && context.printer.can_ask();
    if !args.yes && !ask {
        for (given, option, what) in [
            (profile.is_some(), "--profile full|minimal", "profile"),
            (args.hostname.is_some(), "--hostname NAME", "host name"),
        ] {
            if !given {
                return Err(
                    Failure::usage(format!("there is no terminal to ask for the {what}")).hint(
                        format!("give {option}, or --yes for the default of everything"),
                    ),
                );
            }
        }
    }
    let profile = match profile {
        None if ask => ask_profile(context)?,
        given => given.unwrap_or_default(),
    };
    let hostname = match &args.hostname {
        None if ask => {
            let usual = setup::hostname();
            let answer = ask::answer(context, &format!("System hostname? [{usual}] "))?;
            Some(answer).filter(|answer| !answer.is_empty())
        }
        given => given.clone(),
    };
    Ok(setup::Answers { profile, hostname })
}

fn ask_profile(context: &Context) -> Result<ProfileName, Failure> {
    context.printer.note("Which profile?");
    context.printer.note("  [1] Full     API and web UI");
    context.printer.note("  [2] Minimal  the API alone");
    loop {
        match &*ask::answer(context, "Profile? [1] ")?.to_ascii_lowercase() {
            "" | "1" | "full" => return Ok(ProfileName::Full),
            "2" | "minimal" => return Ok(ProfileName::Minimal),
            _ => context.printer.note("Please answer 1 or 2."),
        }
    }
}

fn wants_start(args: &Machine, context: &Context) -> Result<bool, Failure> {
    if args.no_start {
        return Ok(false);
    }
    if args.yes || !context.printer.can_ask() {
        return Ok(true);
    }
    ask::yes(context, "Start the daemon now?", true)
}
