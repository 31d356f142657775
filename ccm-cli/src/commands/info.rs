use std::time::Duration;

use ccm_daemon::machine::{Config, WebUi, setup};
use serde::Serialize;

use super::Outcome;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// How long the daemon may take to say what it knows.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `info` shows; also without a daemon, and with a broken config.
#[derive(Serialize)]
struct Info {
    version: &'static str,
    hostname: String,
    os: &'static str,
    arch: &'static str,
    home: String,
    config: String,
    set_up: bool,
    config_problem: Option<String>,
    profile: Option<&'static str>,
    web_ui: Option<&'static str>,
    database: Option<String>,
    log_file: Option<String>,
    runtime: Option<String>,
    tmux: Option<String>,
    daemon: Option<ccm_daemon::machine::DaemonInfo>,
    open_asks: Option<u64>,
}

pub(super) fn run(context: &Context) -> Outcome {
    let home = context.home()?;
    let loaded = Config::load(home);
    let set_up = home.is_set_up();
    let config = loaded.as_ref().ok().map(|loaded| &loaded.config);
    let shown = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let info = Info {
        version: env!("CARGO_PKG_VERSION"),
        hostname: config.map_or_else(setup::hostname, |config| config.system.hostname.clone()),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        home: shown(home.dir()),
        config: shown(home.config_file()),
        set_up,
        config_problem: loaded
            .as_ref()
            .err()
            .filter(|errors| !errors.missing)
            .map(ToString::to_string),
        profile: config.map(|config| config.profile.as_str()),
        web_ui: config.map(|config| web_ui(WebUi::of(config))),
        database: config.map(|config| shown(&config.database.sqlite_path)),
        log_file: config.map(|config| shown(&config.daemon.log_file)),
        runtime: config.map(|config| format!("{:?}", config.agents.runtime).to_ascii_lowercase()),
        tmux: tmux_version(),
        daemon: home.running_daemon(),
        open_asks: open_asks(context),
    };
    if context.printer.json {
        context.printer.object(&info)?;
    } else {
        print(context, &info)?;
    }
    Ok(Code::Done)
}

fn print(context: &Context, info: &Info) -> Result<(), Failure> {
    let field = |name: &str, value: &str| {
        let name = format!("{name}:");
        context.printer.line(format!("{name:<10} {value}"))
    };
    field("version", info.version)?;
    field(
        "machine",
        &format!("{} ({} {})", info.hostname, info.os, info.arch),
    )?;
    field("home", &info.home)?;
    let state = match (&info.config_problem, info.set_up) {
        (Some(_), _) => " (broken: `ccm config validate` says how)",
        (None, false) => " (not there: `ccm-orchestrator init` sets this machine up)",
        (None, true) => "",
    };
    field("config", &format!("{}{state}", info.config))?;
    if let Some(profile) = info.profile {
        field("profile", profile)?;
    }
    if let Some(web_ui) = info.web_ui {
        field("web ui", web_ui)?;
    }
    if let Some(database) = &info.database {
        field("database", database)?;
    }
    if let Some(log) = &info.log_file {
        field("log", log)?;
    }
    if let Some(runtime) = &info.runtime {
        field("runtime", runtime)?;
    }
    field("tmux", info.tmux.as_deref().unwrap_or("not found"))?;
    let daemon = match &info.daemon {
        Some(daemon) => format!("running, pid {}, {}", daemon.pid, daemon.url()),
        None => "stopped".to_owned(),
    };
    field("daemon", &daemon)?;
    match info.open_asks {
        None | Some(0) => Ok(()),
        Some(n) => field("asks", &format!("{n} open; `ccm asks` shows them")),
    }
}

/// Whether a daemon of this install serves the web UI with the config as it is now.
const fn web_ui(web_ui: WebUi) -> &'static str {
    match web_ui {
        WebUi::Served => "on",
        WebUi::Minimal | WebUi::Disabled => "off",
        WebUi::NotBuilt => "not built in",
    }
}

/// What agents wait for people to answer, if this machine's daemon can say so.
fn open_asks(context: &Context) -> Option<u64> {
    if context.is_elsewhere() || context.daemon().ok()?.is_none() {
        return None;
    }
    let client = context.client().ok()?;
    let status = context.block_on(async {
        let status = tokio::time::timeout(PATIENCE, client.status()).await;
        Ok(status.ok().and_then(Result::ok))
    });
    Some(status.ok()??.open_asks)
}

fn tmux_version() -> Option<String> {
    let output = std::process::Command::new("tmux").arg("-V").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.trim().strip_prefix("tmux ")?;
    Some(version.to_owned())
}
