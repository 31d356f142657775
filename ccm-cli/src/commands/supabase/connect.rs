use ccm_core::api::SyncState;
use ccm_core::{ErrorKind, chain};
use ccm_daemon::machine::supabase::{self, Account, Project, Server};
use ccm_daemon::machine::{Config, Home};
use clap::Args;

use super::super::Outcome;
use super::super::sync;
use super::account::{Credentials, Given, Kept, of_kind};
use super::only_here;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Sign in to Supabase and share projects and tasks with your other machines
///
/// The address and the key of the Supabase project are asked for once and kept in the config; the password is not kept.
/// Running it again signs in anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator supabase connect                            asks for everything
  ccm-orchestrator supabase connect --email ada@example.com    asks for the password
  ccm-orchestrator supabase connect --supabase-url https://PROJECT.supabase.co \\
      --supabase-key sb_publishable_KEY --email ada@example.com --password-stdin < password

The Supabase project needs CCM's tables once: run the SQL that `ccm supabase migrations` prints
in its SQL editor, or `supabase db push` with ccm-sync/supabase/migrations/.")]
pub(in super::super) struct Connect {
    #[command(flatten)]
    given: Given,
}

pub(super) fn run(args: &Connect, context: &Context) -> Outcome {
    args.given.check()?;
    only_here(context, "connect this machine")?;
    let home = context.home()?;
    let config = Config::load(home).map_err(ccm_core::Error::from)?.config;
    let kept = Kept::of(&config);
    let mut credentials = Credentials::ask(&args.given, &kept, context.printer.can_ask(), context)?;
    let session = credentials.sign_in(context)?;
    let account = context
        .block_on(async { Ok(supabase::keep(&config, &credentials.project, &session).await?) })?;
    supabase::switch_on(home, &credentials.url, &credentials.key)?;
    let joined = join(home, &credentials.project, context)?;
    let told = told(home, &account, &joined, context);
    if context.printer.json {
        context.printer.object(&joined.state)?;
    } else if joined.failure.is_none() {
        context.printer.line(told)?;
    } else {
        context.printer.note(told);
    }
    match joined.failure {
        Some(failure) => Err(failure),
        None => {
            next(&joined, context);
            Ok(Code::Done)
        }
    }
}

/// How a machine that somebody signed in on comes to share.
pub(crate) struct Joined {
    /// How sharing is now.
    pub(crate) state: SyncState,
    /// What keeps it from sharing. The sign-in is kept.
    pub(crate) failure: Option<Failure>,
    /// Whether a daemon runs, which shares from now on.
    pub(crate) running: bool,
}

/// Has this machine registered: by the daemon if it runs, which is told of the sign-in, else right here.
pub(crate) fn join(home: &Home, project: &Project, context: &Context) -> Result<Joined, Failure> {
    let running = home.running_daemon().is_some();
    let progress = context.printer.progress("Registering this machine");
    let failure = if let Some(failure) = not_set_up(project, context)? {
        if running {
            let client = context.client()?;
            context.block_on(async { Ok(client.reload().await?) })?;
        }
        Some(failure)
    } else if running {
        let client = context.client()?;
        context.block_on(async {
            client.reload().await?;
            Ok(client.sync_now().await.err().map(Failure::from))
        })?
    } else {
        let config = Config::load(home).map_err(ccm_core::Error::from)?.config;
        let registered = context.block_on(async { Ok(supabase::register(home, &config).await) })?;
        registered.err().map(|error| {
            Failure::new(of_kind(error.kind()), chain(&error)).hint(advice(error.kind()))
        })
    };
    drop(progress);
    let (state, _) = sync::state(context)?;
    Ok(Joined {
        state,
        failure,
        running,
    })
}

/// What a project lacks that nobody has applied the migrations to.
fn not_set_up(project: &Project, context: &Context) -> Result<Option<Failure>, Failure> {
    let server = context.block_on(async { Ok(supabase::check_server(project).await) })?;
    Ok(match server {
        Ok(Server::Ready { .. }) => None,
        Ok(Server::NotSetUp) => Some(
            Failure::new(Code::Refused, "the Supabase project lacks CCM's tables and functions").hint(
                "run the SQL that `ccm supabase migrations` prints in its SQL editor, or `supabase db push`; the sign-in is kept, \
                 and sharing begins by itself then",
            ),
        ),
        Err(error) => Some(
            Failure::new(of_kind(error.kind()), chain(&error)).hint(advice(error.kind())),
        ),
    })
}

const fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Taken(_) => {
            "if this home is a copy of another machine's, give this machine one of its own: stop the daemon, move the home \
             away and run `ccm-orchestrator init`"
        }
        ErrorKind::TooOld => "update CCM on this machine",
        _ => {
            "the sign-in is kept; `ccm sync now` tries again, and `ccm supabase status` says how it is"
        }
    }
}

/// What somebody who signed in gets to know.
pub(crate) fn told(home: &Home, account: &Account, joined: &Joined, context: &Context) -> String {
    if account.key_storage == ccm_core::api::KeyStorage::File {
        context.printer.note(format!(
            "There is no keyring here, so the sign-in in {} is encrypted with a key in a file beside it.",
            supabase::auth_file(home).display()
        ));
    }
    match joined.failure {
        None => format!("Connected to {} as {}", account.url, account.email),
        Some(_) => format!("Signed in to {} as {}", account.url, account.email),
    }
}

fn next(joined: &Joined, context: &Context) {
    let printer = context.printer;
    if joined.running {
        printer.note("Next: `ccm-orchestrator supabase connect` on your other machines; `ccm supabase devices` lists them.");
    } else {
        printer.note("Next: `ccm-orchestrator daemon start`; sharing begins with it.");
    }
}
