//! The program `ccm-daemon`: from its arguments to its exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use ccm_core::{Error, ErrorKind, chain};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::daemon::{Daemon, Ended};
use crate::machine::{Home, backup};
use crate::settings::Settings;
use crate::{notify, telemetry};

const HELP: &str = "\
The daemon of CCM. Runs in the foreground; `ccm daemon start` runs it for you.

Usage: ccm-daemon [--config FILE]

Options:
      --config FILE  The machine's config file; its folder is the machine home
  -h, --help         Print this
  -V, --version      Print the version

Exit codes: 0 stopped, 1 failed, 2 wrong arguments or configuration, 5 another daemon has this home
";

/// How the daemon ended; the numbers are its exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was asked to stop.
    Stopped = 0,
    /// Something failed that starting again can mend.
    Failed = 1,
    /// Its arguments, config or data have to be changed by a person first.
    Config = 2,
    /// Another daemon has this home.
    Other = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the daemon with this process's arguments until it ends.
pub fn run() -> ExitCode {
    run_with(std::env::args_os().skip(1)).into()
}

/// Runs the daemon with these arguments, the program's name not among them.
pub fn run_with(args: impl IntoIterator<Item = OsString>) -> Exit {
    match Wish::parse(args) {
        Ok(Wish::Help) => print(HELP),
        Ok(Wish::Version) => print(concat!("ccm-daemon ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Wish::Serve { config }) => start(config),
        Err(message) => {
            tell(&format!(
                "{message}; `ccm-daemon --help` shows what can be said"
            ));
            Exit::Config
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Help,
    Version,
    Serve { config: Option<PathBuf> },
}

impl Wish {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        let mut config = None;
        while let Some(arg) = args.next() {
            let file = match arg.to_str() {
                Some("-h" | "--help") => return Ok(Self::Help),
                Some("-V" | "--version") => return Ok(Self::Version),
                Some("--config") => args.next(),
                Some(text) if text.starts_with("--config=") => {
                    text.strip_prefix("--config=").map(OsString::from)
                }
                _ => return Err(format!("{arg:?} is not an option of ccm-daemon")),
            };
            match file.filter(|file| !file.is_empty()) {
                Some(file) => config = Some(PathBuf::from(file)),
                None => return Err("--config needs a file".to_owned()),
            }
        }
        Ok(Self::Serve { config })
    }
}

fn print(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Stopped,
        Err(_) => Exit::Failed,
    }
}

/// Tells a person who started the daemon by hand, or the service manager's log.
fn tell(message: &str) {
    // With nobody to read it there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {message}");
}

fn start(config: Option<PathBuf>) -> Exit {
    match prepare(config) {
        Ok(prepared) => prepared.serve(),
        Err(refused) => {
            tell(&refused.message);
            notify::failed(&refused.message);
            refused.exit
        }
    }
}

/// Why nothing was started.
struct Refused {
    exit: Exit,
    message: String,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self {
            exit: exit_of(&error),
            message: chain(&error),
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooNew | ErrorKind::Taken(_) | ErrorKind::Corrupt => {
            Exit::Config
        }
        ErrorKind::WrongState(_) | ErrorKind::Superseded => Exit::Other,
        _ => Exit::Failed,
    }
}

/// Everything up to the point from which there is a log.
struct Prepared {
    home: Home,
    settings: Settings,
    lock: crate::machine::DaemonLock,
}

/// Nothing of a daemon that already runs is touched: the config is only read, and whoever has not the lock leaves.
fn prepare(config: Option<PathBuf>) -> Result<Prepared, Refused> {
    let home = Home::find(config.as_deref())?;
    // A restore that was cut short may be about the config, too.
    let finished = backup::finish_interrupted(&home)?;
    let (settings, warnings) = Settings::load(&home).map_err(|errors| Refused {
        exit: Exit::Config,
        message: errors.to_string(),
    })?;
    home.create()?;
    let lock = home.lock_daemon()?;
    let config = settings.current();
    telemetry::start(&config.daemon.log_file, config.daemon.log_level.as_filter())?;
    if finished {
        tracing::info!("finished a restore that was cut short");
    }
    if let Err(error) = crate::machine::setup::refresh_schema(&home) {
        tracing::warn!(%error, "the schema for editors can't be written");
    }
    if let Err(error) = ccm_agents::descriptors::raise(crate::http::DESCRIPTORS) {
        tracing::warn!(%error, "the limit of open files can't be raised, so fewer clients are served at once");
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(Prepared {
        home,
        settings,
        lock,
    })
}

impl Prepared {
    fn serve(self) -> Exit {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let exit = match runtime {
            Ok(runtime) => runtime.block_on(self.until_the_end()),
            Err(error) => Err(Error::internal("the daemon can't be started").with_source(error)),
        };
        let exit = exit.unwrap_or_else(|error| {
            let message = chain(&error);
            tracing::error!("{message}");
            tell(&message);
            notify::failed(&message);
            exit_of(&error)
        });
        telemetry::end();
        exit
    }

    async fn until_the_end(self) -> Result<Exit, Error> {
        let mut signals = Signals::new()?;
        let starting = Daemon::start(self.home, self.settings, self.lock);
        let daemon = tokio::select! {
            daemon = starting => daemon?,
            // What had begun is adopted by the next daemon.
            name = signals.stop() => {
                tracing::info!("stopped by {name} before it was up");
                return Ok(Exit::Stopped);
            }
            // The migration of a large database may take longer than a watchdog waits.
            never = notify::keep_watchdog(|| std::future::ready(())) => match never {},
        };
        daemon.tell_up();
        let app = daemon.app();
        let serving = daemon.serve();
        let mut serving = std::pin::pin!(serving);
        let ended = loop {
            let name = tokio::select! {
                ended = serving.as_mut() => break ended,
                never = notify::keep_watchdog(|| app.engine().store().counts()) => match never {},
                wish = signals.next() => match wish {
                    Signalled::Stop(name) => name,
                    Signalled::Reload => {
                        tokio::select! {
                            () = reload(&app) => {}
                            ended = serving.as_mut() => break ended,
                        }
                        continue;
                    }
                },
            };
            tracing::info!("stopping by {name}");
            break tokio::select! {
                // The server has to run on: answers under way are given before it ends.
                (_, ended) = async { tokio::join!(app.shutdown(false), serving.as_mut()) } => ended,
                name = signals.stop() => {
                    tracing::warn!("ended at once by a second {name}");
                    return Ok(Exit::Failed);
                }
            };
        };
        match ended {
            Ended::Stopped(report) => {
                tracing::info!(
                    running = report.running,
                    stopped = report.stopped,
                    "stopped; {} on without the daemon",
                    runs_go(report.running)
                );
                Ok(Exit::Stopped)
            }
            Ended::Failed(error) => Err(error),
        }
    }
}

/// Reads the config again because of a signal, and tells the service manager about it.
async fn reload(app: &Arc<App>) {
    // One that is not there, or gone, needs no word of it.
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
    }
    // What is wrong with the file was logged.
    if let Err(error) = app.reload().await {
        tracing::error!("{}", chain(&error));
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn runs_go(count: u64) -> String {
    if count == 1 {
        "1 run goes".to_owned()
    } else {
        format!("{count} runs go")
    }
}

struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::internal("signals can't be listened to").with_source(error))
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.term.recv() => Signalled::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signalled::Stop("SIGINT"),
            _ = self.hangup.recv() => Signalled::Reload,
        }
    }

    /// Returns the name of the signal that wants the daemon to stop, at a time when nothing can be reloaded.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Signalled::Stop(name) = self.next().await {
                return name;
            }
            tracing::info!("SIGHUP changes nothing while the daemon starts or stops");
        }
    }
}

/// What a signal asks for.
enum Signalled {
    /// The end, by the signal of this name.
    Stop(&'static str),
    /// The config is to be read again.
    Reload,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Wish, String> {
        Wish::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_few() {
        let serve = |file: Option<&str>| {
            Ok(Wish::Serve {
                config: file.map(PathBuf::from),
            })
        };
        assert_eq!(parse(&[]), serve(None));
        assert_eq!(parse(&["--config", "a.yaml"]), serve(Some("a.yaml")));
        assert_eq!(parse(&["--config=a.yaml"]), serve(Some("a.yaml")));
        assert_eq!(parse(&["-V"]), Ok(Wish::Version));
        assert_eq!(parse(&["--config", "x", "--help"]), Ok(Wish::Help));
        for wrong in [&["--config"][..], &["--config="], &["start"], &["-x"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
