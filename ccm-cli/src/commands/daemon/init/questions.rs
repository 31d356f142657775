//! What set-up has to know: from options, from a person at the terminal in the order of these lines, or the defaults.

use ccm_daemon::machine::config::ProfileName;
use ccm_daemon::machine::supabase::{self, Project, SignedIn};
use ccm_daemon::machine::{Config, setup};

use super::super::super::ask;
use super::super::super::supabase::account::{Credentials, Kept};
use super::super::service::SetUp;
use super::Machine;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// All that set-up has to know.
pub(super) struct Answers {
    pub(super) profile: ProfileName,
    pub(super) supabase: Supabase,
    /// What the machine calls itself if left out.
    pub(super) hostname: Option<String>,
    pub(super) service: bool,
    pub(super) start: bool,
}

/// Whether projects and tasks are to be shared.
pub(super) enum Supabase {
    Unwanted,
    /// They are, and nobody is signed in, for this reason. What was given of the project is kept.
    Named {
        url: Option<String>,
        key: Option<String>,
        why: String,
    },
    SignedIn(Box<SignedInAs>),
}

/// Somebody who signed in. Nothing of it is kept yet.
pub(super) struct SignedInAs {
    pub(super) project: Project,
    pub(super) url: String,
    pub(super) key: String,
    pub(super) session: SignedIn,
}

/// Everything is asked before anything is written, so whoever leaves at a question leaves nothing behind. What a config
/// that is there says already is not asked.
pub(super) fn ask(
    args: &Machine,
    fresh: bool,
    service: &SetUp,
    context: &Context,
) -> Result<Answers, Failure> {
    let asks = !args.yes && context.printer.can_ask();
    if !args.yes && !asks && fresh {
        refuse_missing(args)?;
    }
    let asks_about_config = asks && fresh;
    let profile = match args.wanted_profile() {
        None if asks_about_config => ask_profile(context)?,
        given => given.unwrap_or_default(),
    };
    let supabase = ask_supabase(args, asks, fresh, context)?;
    match ask_rest(args, asks, asks_about_config, service, context) {
        Ok((hostname, service, start)) => Ok(Answers {
            profile,
            supabase,
            hostname,
            service,
            start,
        }),
        Err(failure) => {
            forget(supabase, context);
            Err(failure)
        }
    }
}

/// Whoever leaves at a later question leaves no sign-in behind either.
fn forget(supabase: Supabase, context: &Context) {
    if let Supabase::SignedIn(signed_in) = supabase {
        let SignedInAs {
            project, session, ..
        } = *signed_in;
        // Only politeness: it ends by itself.
        let _ = context.block_on(async { Ok(session.discard(&project).await) });
    }
}

/// What the machine is called, whether it gets a service, and whether the daemon is started.
fn ask_rest(
    args: &Machine,
    asks: bool,
    asks_about_config: bool,
    service: &SetUp,
    context: &Context,
) -> Result<(Option<String>, bool, bool), Failure> {
    let hostname = match &args.hostname {
        None if asks_about_config => Some(ask_hostname(context)?),
        given => given.clone(),
    };
    let service = match asks && service.is_open(context)? {
        true => ask::yes_or_no(context, "Install the service?", true)?,
        false => true,
    };
    let running = context.daemon()?.is_some();
    let start = match args.no_start {
        true => false,
        false if asks && !running => ask::yes_or_no(context, "Start daemon now?", true)?,
        false => true,
    };
    Ok((hostname, service, start))
}

/// With nobody to ask, everything that has no default of its own has to be given: all that is missing at once.
fn refuse_missing(args: &Machine) -> Result<(), Failure> {
    let supabase = args.wants_supabase();
    let mut missing = Vec::new();
    if args.wanted_profile().is_none() {
        missing.push(("the profile", "--profile full|minimal"));
    }
    if supabase.is_none() {
        missing.push(("Supabase", "--no-supabase or --supabase"));
    }
    if supabase == Some(true) {
        missing.extend(args.account.missing(&Kept::default()));
    }
    if args.hostname.is_none() {
        missing.push(("the host name", "--hostname NAME"));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let (what, options): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    let (what, options) = (what.join(", "), options.join(", "));
    Err(
        Failure::usage(format!("there is no terminal to ask for {what}")).hint(format!(
            "give {options}, or --yes for the default of everything"
        )),
    )
}

fn ask_profile(context: &Context) -> Result<ProfileName, Failure> {
    context.printer.note("Select profile?");
    let options = [
        "Full     API and web UI, for a desktop",
        "Minimal  the API alone, for a server",
    ];
    let chosen = ask::choice(context, "Profile?", &options)?;
    Ok([ProfileName::Full, ProfileName::Minimal][chosen])
}

/// Whether projects and tasks are shared, through which Supabase project, and who signs in there.
fn ask_supabase(
    args: &Machine,
    asks: bool,
    fresh: bool,
    context: &Context,
) -> Result<Supabase, Failure> {
    let config = match fresh {
        true => None,
        false => Config::load(context.home()?)
            .ok()
            .map(|loaded| loaded.config),
    };
    let kept = config.as_ref().map(Kept::of).unwrap_or_default();
    let connected = config
        .as_ref()
        .is_some_and(|config| config.supabase.enabled && supabase::has_sign_in(config));
    // A set-up that was cut before anybody signed in goes on there.
    let cut = config.is_some() && !connected && kept.url.is_some();
    let wanted = match args.wants_supabase() {
        None if asks && (fresh || cut) => ask::yes_or_no(context, "Enable Supabase?", false)?,
        given => given.unwrap_or(false),
    };
    if !wanted || (connected && !args.account.any()) {
        return Ok(Supabase::Unwanted);
    }
    let named = |why: String| Supabase::Named {
        url: args.account.supabase_url.clone(),
        key: args.account.supabase_key.clone(),
        why,
    };
    let missing = args.account.missing(&kept);
    if !asks && !missing.is_empty() {
        let options: Vec<_> = missing.iter().map(|(_, option)| *option).collect();
        return Ok(named(format!(
            "nobody signs in to Supabase without {}",
            options.join(", ")
        )));
    }
    let mut credentials = Credentials::ask(&args.account, &kept, asks, context)?;
    match credentials.sign_in(context) {
        Ok(session) => Ok(Supabase::SignedIn(Box::new(SignedInAs {
            project: credentials.project,
            url: credentials.url,
            key: credentials.key,
            session,
        }))),
        Err(failure) if failure.code == Code::Interrupted => Err(failure),
        // Somebody who sits there has seen why; a server that is not there now must not be in the way of the rest.
        Err(failure) if asks || failure.code == Code::Failed => Ok(Supabase::Named {
            url: Some(credentials.url),
            key: Some(credentials.key),
            why: failure.message,
        }),
        Err(failure) => Err(failure),
    }
}

fn ask_hostname(context: &Context) -> Result<String, Failure> {
    let usual = setup::hostname();
    ask::until(context, &format!("System hostname? [{usual}] "), |text| {
        let name = if text.is_empty() { &usual } else { text };
        setup::check_answer("system.hostname", name).map(|()| name.to_owned())
    })
}
