//! What set-up has to know: from options, from a person at the terminal in the order of these lines, or the defaults.

use ccm_daemon::machine::config::ProfileName;
use ccm_daemon::machine::setup;

use super::super::super::ask;
use super::super::service::SetUp;
use super::Machine;
use crate::context::Context;
use crate::exit::Failure;

/// All that set-up has to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) profile: ProfileName,
    pub(super) supabase: Supabase,
    /// What the machine calls itself if left out.
    pub(super) hostname: Option<String>,
    pub(super) service: bool,
    pub(super) start: bool,
}

/// Whether projects and tasks are to be shared.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Supabase {
    Unwanted,
    Wanted {
        url: Option<String>,
        key: Option<String>,
    },
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
    let supabase = match args.wants_supabase() {
        None if asks_about_config => ask::yes_or_no(context, "Enable Supabase?", false)?,
        given => given.unwrap_or(false),
    };
    // Signing in (e-mail, password, code) comes here once there is something to sign in to.
    let supabase = if supabase {
        ask_supabase(args, asks_about_config, context)?
    } else {
        Supabase::Unwanted
    };
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
    Ok(Answers {
        profile,
        supabase,
        hostname,
        service,
        start,
    })
}

/// With nobody to ask, everything that has no default of its own has to be given: all that is missing at once.
fn refuse_missing(args: &Machine) -> Result<(), Failure> {
    let supabase = args.wants_supabase();
    let shared = supabase == Some(true);
    let missing: Vec<(&str, &str)> = [
        (
            args.wanted_profile().is_some(),
            "the profile",
            "--profile full|minimal",
        ),
        (
            supabase.is_some(),
            "Supabase",
            "--no-supabase or --supabase",
        ),
        (
            !shared || args.supabase_url.is_some(),
            "the Supabase address",
            "--supabase-url URL",
        ),
        (
            !shared || args.supabase_key.is_some(),
            "the Supabase key",
            "--supabase-key KEY",
        ),
        (args.hostname.is_some(), "the host name", "--hostname NAME"),
    ]
    .into_iter()
    .filter(|(given, ..)| !given)
    .map(|(_, what, option)| (what, option))
    .collect();
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

fn ask_supabase(args: &Machine, asks: bool, context: &Context) -> Result<Supabase, Failure> {
    let checked = |key: &'static str| {
        move |text: &str| setup::check_answer(key, text).map(|()| text.to_owned())
    };
    let url = match &args.supabase_url {
        None if asks => Some(ask::until(
            context,
            "Supabase URL? (https://PROJECT.supabase.co) ",
            checked("supabase.url"),
        )?),
        given => given.clone(),
    };
    let key = match &args.supabase_key {
        None if asks => Some(ask_key(context)?),
        given => given.clone(),
    };
    Ok(Supabase::Wanted { url, key })
}

fn ask_key(context: &Context) -> Result<String, Failure> {
    loop {
        let key = ask::secret(context, "Supabase publishable key?")?;
        match setup::check_answer("supabase.key", &key) {
            Ok(()) => return Ok(key),
            Err(why) => context.printer.note(why),
        }
    }
}

fn ask_hostname(context: &Context) -> Result<String, Failure> {
    let usual = setup::hostname();
    ask::until(context, &format!("System hostname? [{usual}] "), |text| {
        let name = if text.is_empty() { &usual } else { text };
        setup::check_answer("system.hostname", name).map(|()| name.to_owned())
    })
}
