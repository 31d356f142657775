//! Setting this machine up: questions give [`Answers`], which are plain data, and each step makes what is missing. So
//! whatever cuts it short, it can be run again, and a second time there is nothing to do.

mod questions;

use std::path::{Path, PathBuf};

use ccm_core::api::SyncState;
use ccm_daemon::machine::config::ProfileName;
use ccm_daemon::machine::{Config, DaemonInfo, Home, setup, supabase};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::Outcome;
use super::super::supabase::account::Given;
use super::super::supabase::connect;
use super::start::start;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Colour;
use questions::{Answers, SignedInAs, Supabase};

/// Set this machine up: write its config, make its database and API token, start the daemon
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator init                                        asks for everything
  ccm-orchestrator init --yes                                  takes the defaults
  ccm-orchestrator init --minimal --no-supabase --hostname box asks for nothing, and starts the daemon
  ccm-orchestrator init --yes --no-start                       only writes files
  ccm-orchestrator init --supabase                             signs in to Supabase, too

Running it again is harmless: what is there stays as it is, what is missing is made.")]
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
    /// Share projects and tasks with your other machines through a Supabase project of yours
    #[arg(long)]
    supabase: bool,
    /// Keep everything on this machine
    #[arg(long, conflicts_with_all = ["supabase", "supabase_url", "supabase_key", "email", "password_stdin", "otp"])]
    no_supabase: bool,
    #[command(flatten)]
    account: Given,
    /// What this machine is called [default: what it calls itself]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    #[command(flatten)]
    service: super::service::Options,
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
    service: Option<super::service::Report>,
    daemon: Option<DaemonInfo>,
    sync: Option<SyncState>,
}

pub(crate) fn run(args: &Machine, context: &Context) -> Outcome {
    args.account.check()?;
    let service = args.service.begin(context)?;
    let home = context.home()?;
    let fresh = !home.is_set_up();
    let answers =
        questions::ask(args, fresh, &service, context).map_err(|failure| match failure.code {
            Code::Interrupted => failure.hint("nothing was changed; run it again at any time"),
            _ => failure,
        })?;
    let (created, config) = write(home, &answers, context)?;
    if !fresh {
        warn_of_others(args, &config, context);
    }
    let sync = match answers.supabase {
        Supabase::Unwanted => None,
        Supabase::Named { why, .. } => {
            context.printer.warning(why);
            context.printer.hint(
                "`ccm-orchestrator supabase connect` signs in later; until then projects and tasks stay on this machine",
            );
            None
        }
        Supabase::SignedIn(signed_in) => Some(share(home, *signed_in, context)?),
    };
    let for_another = service.is_for_another();
    let service = service.install(answers.service, context)?;
    let daemon = match home.running_daemon() {
        Some(info) => Some(info),
        // What root can't leave to a service, that account has to start itself.
        None if for_another && service.is_none() => None,
        None if answers.start => Some(start(context)?),
        None => None,
    };
    if context.printer.json {
        context.printer.object(&Report {
            home: home.dir().to_owned(),
            config: home.config_file().to_owned(),
            created,
            service,
            daemon: daemon.clone(),
            sync,
        })?;
    }
    tell_end(daemon.as_ref(), fresh, context);
    Ok(Code::Done)
}

/// Makes the files that are missing.
fn write(
    home: &Home,
    answers: &Answers,
    context: &Context,
) -> Result<(Vec<PathBuf>, Config), Failure> {
    let (supabase_url, supabase_key) = match &answers.supabase {
        Supabase::Named { url, key, .. } => (url.clone(), key.clone()),
        Supabase::SignedIn(signed_in) => (Some(signed_in.url.clone()), Some(signed_in.key.clone())),
        Supabase::Unwanted => (None, None),
    };
    let made = setup::set_up(
        home,
        &setup::Answers {
            profile: answers.profile,
            hostname: answers.hostname.clone(),
            supabase_url,
            supabase_key,
        },
    )?;
    let tell = |path: &Path| context.printer.note(format!("Wrote {}", path.display()));
    let mut created = made.created;
    created.iter().for_each(|path| tell(path));
    if context.block_on(async { Ok(setup::create_database(&made.config).await?) })? {
        let path = &made.config.database.sqlite_path;
        tell(path);
        created.push(path.clone());
    }
    if created.is_empty() {
        context.printer.note(format!(
            "This machine is set up already ({}); nothing was changed.",
            home.config_file().display()
        ));
    }
    Ok((created, made.config))
}

/// A config that was there is left as it is, and whoever asked for something else is told.
fn warn_of_others(args: &Machine, config: &Config, context: &Context) {
    let warn = |key: &str, says: &str, wanted: &str| {
        context.printer.warning(format!(
            "the config says {key} {says} and was left so; `ccm config set {key} {wanted}` changes it"
        ));
    };
    if let Some(wanted) = args
        .wanted_profile()
        .filter(|wanted| *wanted != config.profile)
    {
        warn("profile", config.profile.as_str(), wanted.as_str());
    }
    let hostname = args.hostname.as_ref();
    if let Some(wanted) = hostname.filter(|wanted| **wanted != config.system.hostname) {
        warn("system.hostname", &config.system.hostname, wanted);
    }
    let url = config.supabase.url.as_ref();
    if let Some(wanted) = args
        .account
        .supabase_url
        .as_ref()
        .filter(|wanted| url != Some(wanted))
    {
        warn(
            "supabase.url",
            url.map_or("nothing", String::as_str),
            wanted,
        );
    }
    let key = config.supabase.key.as_ref();
    if args
        .account
        .supabase_key
        .as_ref()
        .is_some_and(|wanted| key != Some(wanted))
    {
        warn("supabase.key", "something else", "KEY");
    }
}

/// Keeps the sign-in and has this machine registered. What stands against that is told, and set-up goes on.
fn share(home: &Home, signed_in: SignedInAs, context: &Context) -> Result<SyncState, Failure> {
    let SignedInAs {
        project,
        url,
        key,
        session,
    } = signed_in;
    let config = Config::load(home).map_err(ccm_core::Error::from)?.config;
    let account =
        context.block_on(async { Ok(supabase::keep(&config, &project, &session).await?) })?;
    supabase::switch_on(home, &url, &key)?;
    let joined = connect::join(home, &project, context)?;
    let printer = context.printer;
    printer.note(connect::told(home, &account, &joined, context));
    if let Some(failure) = &joined.failure {
        printer.warning(&failure.message);
        if let Some(hint) = &failure.hint {
            printer.hint(hint);
        }
    }
    Ok(joined.state)
}

fn tell_end(daemon: Option<&DaemonInfo>, fresh: bool, context: &Context) {
    let printer = context.printer;
    let mark = if printer.is_unicode() { "✓ " } else { "" };
    printer.note(printer.paint(Colour::Green, &format!("{mark}Setup complete")));
    match daemon {
        Some(info) => match info.web_ui_url() {
            Some(url) => {
                printer.note(format!("Web UI: {url}"));
                tell_sign_in(context);
            }
            None => printer.note(format!("API: {}", info.url())),
        },
        None => printer.note("Start the daemon with `ccm-orchestrator daemon start`."),
    }
    if fresh {
        printer.note("Next: `ccm init` in the folder of a project.");
    }
}

/// Somebody who sits there can open the page right away; a log must not have a code that opens anything.
fn tell_sign_in(context: &Context) {
    if !context.printer.is_terminal() {
        return;
    }
    let code = context
        .client()
        .and_then(|client| context.block_on(async { Ok(client.sign_in_code().await?) }));
    // Without a code there is `ccm ui`, which also says what is wrong.
    if let Ok(code) = code {
        context.printer.note(format!(
            "Signs a browser in for the next ten minutes: {}",
            code.url
        ));
    }
}

impl Machine {
    fn wanted_profile(&self) -> Option<ProfileName> {
        self.profile
            .or_else(|| self.minimal.then_some(Profile::Minimal))
            .map(ProfileName::from)
    }

    /// Whether Supabase is wanted, if that was said: naming the project or who signs in says so, too.
    fn wants_supabase(&self) -> Option<bool> {
        let named = self.supabase || self.account.any();
        (named || self.no_supabase).then_some(named)
    }
}
