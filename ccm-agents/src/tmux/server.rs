//! The tmux server: finding the program, starting the server, and the one connection to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ccm_core::{Error, Result, chain};
use tokio::process::Command as Program;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::control::{Control, Failure};
use super::program::{
    clean, close_inherited, end_with, find, how_to_install, is_program, is_too_old, server_options,
};
use super::quote::{Command, harmless_name};
use crate::descriptors;
use crate::scope::{Prefix, Scopes};

/// How long a server that hung is left alone by calls, in times of what an answer may take.
const COOL_DOWN: u32 = 2;
/// How often a server that refuses to start is asked again: right after the end of another one it can.
const START_ATTEMPTS: u32 = 6;

/// Where tmux is and what it is to be asked for.
#[derive(Debug, Clone)]
pub struct TmuxConfig {
    /// The program; without a `/` it is looked for on the PATH.
    pub program: PathBuf,
    /// The server's socket.
    pub socket: TmuxSocket,
    /// The session that holds the agents' windows.
    pub session: String,
    /// The folder of named sockets, instead of what the variable `TMUX_TMPDIR` says.
    pub tmpdir: Option<PathBuf>,
    /// The most windows of this home, if there is a limit. Agents beyond it have theirs when there is room.
    /// [`TmuxRuntime::set_max_windows`](super::TmuxRuntime::set_max_windows) changes it later.
    pub max_windows: Option<usize>,
    /// How long one answer of tmux may take.
    pub timeout: Duration,
}

impl Default for TmuxConfig {
    fn default() -> Self {
        Self {
            program: "tmux".into(),
            socket: TmuxSocket::Name("ccm".into()),
            session: "ccm".into(),
            tmpdir: None,
            max_windows: None,
            timeout: Duration::from_secs(5),
        }
    }
}

/// A server's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TmuxSocket {
    /// By name, in tmux's own folder: `tmux -L NAME`.
    Name(String),
    /// By path: `tmux -S PATH`.
    Path(PathBuf),
}

impl From<&str> for TmuxSocket {
    /// A path if there is a `/` in it, else a name.
    fn from(text: &str) -> Self {
        if text.contains('/') {
            Self::Path(text.into())
        } else {
            Self::Name(text.into())
        }
    }
}

/// One server and the connection to it.
#[derive(Debug)]
pub(super) struct Server {
    config: TmuxConfig,
    session: String,
    program: Mutex<Option<PathBuf>>,
    link: Mutex<LinkState>,
    /// Notified when windows may have changed, and when the connection is over.
    pub(super) changed: Arc<Notify>,
    /// The most windows now.
    max_windows: RwLock<Option<usize>>,
    /// Who makes the scope that a server is started in.
    scopes: Option<Scopes>,
}

#[derive(Debug, Default)]
struct LinkState {
    link: Option<Link>,
    cool_until: Option<Instant>,
}

/// A connection and what it is attached to.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) control: Arc<Control>,
    /// The session that gets our windows, as `$1`.
    pub(super) session: String,
    /// The server's socket.
    pub(super) socket: String,
}

/// Why there is no connection.
enum NoLink {
    /// There is no server.
    NoServer,
    /// There is a server, without our session.
    NoSession,
    /// There is a server that doesn't answer.
    Hung,
    Failed(Error),
}

impl Server {
    pub(super) fn new(config: TmuxConfig, scopes: Option<Scopes>) -> Self {
        Self {
            session: harmless_name(&config.session),
            max_windows: RwLock::new(config.max_windows),
            config,
            scopes,
            program: Mutex::default(),
            link: Mutex::default(),
            changed: Arc::default(),
        }
    }

    pub(super) fn max_windows(&self) -> Option<usize> {
        *self
            .max_windows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_max_windows(&self, most: Option<usize>) {
        *self
            .max_windows
            .write()
            .unwrap_or_else(PoisonError::into_inner) = most;
        self.changed.notify_one();
    }

    /// The program, found and new enough.
    pub(super) async fn program(&self) -> Result<PathBuf> {
        let mut known = self.program.lock().await;
        if let Some(program) = known.as_deref().filter(|program| is_program(program)) {
            return Ok(program.to_owned());
        }
        *known = None;
        let found = find(&self.config.program).ok_or_else(|| {
            Error::unavailable(format!(
                "{} is not on the PATH; {}",
                self.config.program.display(),
                how_to_install()
            ))
        })?;
        let said = self
            .output(clean(&found).arg("-V"))
            .await?
            .map_err(Error::unavailable)?;
        if is_too_old(&said) {
            return Err(Error::unavailable(format!(
                "{} is too old; {}",
                said.trim(),
                how_to_install()
            )));
        }
        Ok(known.insert(found).clone())
    }

    /// What the program calls itself, asked just now.
    pub(super) async fn version(&self) -> Result<String> {
        let program = self.program().await?;
        let said = self.output(clean(&program).arg("-V")).await?;
        said.map_err(Error::unavailable)
    }

    /// The connection, made again if need be. `None` if there is no session that could have windows of ours.
    ///
    /// `mark` is what our windows' marks begin with: a session of another name is ours as well if it holds one, because
    /// a person may rename sessions.
    pub(super) async fn link(&self, mark: &str) -> Result<Option<Link>> {
        let mut state = self.link.lock().await;
        self.linked(&mut state, mark).await
    }

    /// The same, but if there is no session one is made with a first window. Then the answer is what `first`, the
    /// arguments of `new-session` and the commands after it, printed.
    pub(super) async fn link_or_start(
        &self,
        mark: &str,
        first: &[Command],
    ) -> Result<(Link, Option<String>)> {
        let mut state = self.link.lock().await;
        let mut pause = Duration::from_millis(25);
        let mut attempt = 0;
        loop {
            if let Some(link) = self.linked(&mut state, mark).await? {
                return Ok((link, None));
            }
            attempt += 1;
            match self.start(first).await? {
                Ok(printed) => match self.linked(&mut state, mark).await? {
                    Some(link) => return Ok((link, Some(printed))),
                    None if attempt < START_ATTEMPTS => {}
                    None => {
                        return Err(Error::unavailable(
                            "tmux ended right after it was started; see whether its windows can run a program",
                        ));
                    }
                },
                Err(refusal) if attempt >= START_ATTEMPTS => {
                    return Err(Error::unavailable(format!(
                        "tmux can't be started: {refusal}"
                    )));
                }
                Err(refusal) => tracing::debug!(%refusal, "tmux is asked again to start"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn linked(&self, state: &mut LinkState, mark: &str) -> Result<Option<Link>> {
        if let Some(link) = state.link.as_ref().filter(|link| link.control.is_alive()) {
            return Ok(Some(link.clone()));
        }
        if let Some(old) = state.link.take()
            && old.control.timed_out()
        {
            state.cool_until = Some(Instant::now() + self.config.timeout * COOL_DOWN);
        }
        if state.cool_until.is_some_and(|until| Instant::now() < until) {
            return Err(hung());
        }
        let program = self.program().await?;
        let mut attached = self.attach(&program, &format!("={}", self.session)).await;
        if matches!(attached, Err(NoLink::NoSession))
            && let Some(other) = self.other_session(&program, mark).await?
        {
            attached = self.attach(&program, &other).await;
        }
        match attached {
            Ok(link) => {
                state.cool_until = None;
                state.link = Some(link.clone());
                Ok(Some(link))
            }
            Err(NoLink::NoServer | NoLink::NoSession) => Ok(None),
            Err(NoLink::Hung) => {
                state.cool_until = Some(Instant::now() + self.config.timeout * COOL_DOWN);
                Err(hung())
            }
            Err(NoLink::Failed(error)) => Err(error),
        }
    }

    async fn attach(&self, program: &Path, session: &str) -> Result<Link, NoLink> {
        let client = self.control_client(program, session, "no-output,ignore-size");
        let control = Control::connect(client, self.config.timeout, self.changed.clone())
            .await
            .map_err(no_link)?;
        let asked = Command::new("display-message")
            .arg("-p")
            .arg("#{session_id} #{socket_path}");
        let answer = control.call(asked).await.map_err(no_link)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (session, socket) = answer.split_once(' ').ok_or(NoLink::NoSession)?;
        Ok(Link {
            control: Arc::new(control),
            session: session.to_owned(),
            socket: socket.to_owned(),
        })
    }

    /// A client in control mode that is to be attached to `session`. It ends with this program.
    pub(super) fn control_client(&self, program: &Path, session: &str, flags: &str) -> Program {
        let mut client = self.client(program, None);
        client.args(["-N", "-C", "attach-session", "-f", flags, "-t", session]);
        let parent = nix::unistd::getpid();
        #[allow(
            unsafe_code,
            reason = "there is no safe way to reach a child before its exec"
        )]
        // SAFETY: between fork and exec only `end_with` runs, which makes async-signal-safe calls alone and allocates
        // nothing.
        unsafe {
            client.pre_exec(move || end_with(parent));
        }
        client
    }

    /// A session that has a window of ours though it isn't called as ours is.
    async fn other_session(&self, program: &Path, mark: &str) -> Result<Option<String>> {
        let mut client = self.client(program, None);
        client.args(["-N", "list-panes", "-a", "-F"]);
        client.arg(format!("#{{session_id}} #{{{}}}", super::windows::MARK));
        let listed = self.output(&mut client).await?.unwrap_or_default();
        Ok(listed.lines().find_map(|line| {
            let (session, marked) = line.split_once(' ')?;
            marked.starts_with(mark).then(|| session.to_owned())
        }))
    }

    /// Makes the session, and the server if there is none. The inner error is tmux's refusal.
    async fn start(&self, first: &[Command]) -> Result<Result<String, String>> {
        let program = self.program().await?;
        let mut running = self.client(&program, None);
        running.args(["-N", "list-sessions"]);
        // A server that runs already may be a person's own: only a server that we start gets our options.
        let running = match self.output(&mut running).await? {
            Ok(_) => true,
            Err(refusal) => !no_server(&refusal),
        };
        let mut commands = if running {
            Vec::new()
        } else {
            server_options()
        };
        commands.extend_from_slice(first);
        let words = Command::to_argv(&commands);
        if let Some(scopes) = self.scopes.as_ref().filter(|_| !running) {
            let prefix = scopes.before("tmux", "CCM windows");
            let mut start = self.start_command(&program, Some(prefix), &words);
            match self.output(&mut start).await {
                Ok(Ok(printed)) => return Ok(Ok(printed)),
                Ok(Err(why)) => tracing::warn!(%why, "the tmux server gets no scope of its own"),
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "the tmux server gets no scope of its own");
                }
            }
        }
        let mut start = self.start_command(&program, None, &words);
        self.output(&mut start).await
    }

    /// The command that a tmux server is born from.
    fn start_command(&self, program: &Path, prefix: Option<Prefix>, words: &[OsString]) -> Program {
        let mut start = self.client(program, prefix);
        start.args(words);
        let given = descriptors::given();
        // A server lives on for long: nothing that was left open to us is its business, least of all a lock.
        #[allow(
            unsafe_code,
            reason = "there is no safe way to reach a child before its exec"
        )]
        // SAFETY: between fork and exec only `lower` and `close_inherited` run, which make async-signal-safe calls alone
        // and allocate nothing.
        unsafe {
            start.pre_exec(move || {
                if let Some(limit) = given {
                    descriptors::lower(limit)?;
                }
                close_inherited()
            });
        }
        start
    }

    /// tmux with the arguments that name our server.
    fn client(&self, program: &Path, prefix: Option<Prefix>) -> Program {
        let (before, env) = match prefix {
            Some(prefix) => (prefix.words, prefix.env),
            None => (Vec::new(), None),
        };
        let mut client = match before.split_first() {
            Some((first, rest)) => {
                let mut client = clean(Path::new(first));
                client.args(rest).arg(program);
                client
            }
            None => clean(program),
        };
        client.envs(env);
        if let Some(tmpdir) = &self.config.tmpdir {
            client.env("TMUX_TMPDIR", tmpdir);
        }
        client.args(["-u", "-f", "/dev/null"]);
        match &self.config.socket {
            TmuxSocket::Name(name) => client.arg("-L").arg(name),
            TmuxSocket::Path(path) => client.arg("-S").arg(path),
        };
        client
    }

    /// Runs a client to its end: what it printed, or what it complained about.
    async fn output(&self, client: &mut Program) -> Result<Result<String, String>> {
        let ended = client
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(self.config.timeout, ended)
            .await
            .map_err(|_| Error::unavailable("tmux did not answer in time"))?
            .map_err(|error| Error::unavailable("tmux can't be run").with_source(error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(if ended.status.success() {
            Ok(text(&ended.stdout))
        } else {
            Err(text(&ended.stderr))
        })
    }

    /// `new-session` for our session, to be given a window.
    pub(super) fn new_session(&self) -> Command {
        Command::new("new-session")
            .args(["-d", "-s"])
            .arg(self.session.as_str())
    }

    /// The newest window of our session, right after it was made.
    pub(super) fn newest(&self) -> String {
        format!("={}:{{end}}", self.session)
    }
}

fn no_link(failure: Failure) -> NoLink {
    let (Failure::Refused(text) | Failure::Lost(text)) = &failure else {
        return NoLink::Hung;
    };
    if no_server(text) {
        NoLink::NoServer
    } else if text.starts_with("can't find session") || text.starts_with("no sessions") {
        NoLink::NoSession
    } else {
        NoLink::Failed(failure.into())
    }
}

fn hung() -> Error {
    Error::unavailable(
        "the tmux server does not answer; agents go on without windows until it does or is ended",
    )
}

fn no_server(text: &str) -> bool {
    text.starts_with("no server running")
        || (text.starts_with("error connecting to")
            && (text.contains("No such file") || text.contains("Connection refused")))
        || text.contains("server exited")
        || text.contains("its server ended")
        || text.contains("lost server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_a_slash_is_a_path() {
        assert_eq!(TmuxSocket::from("x"), TmuxSocket::Name("x".into()));
        assert_eq!(
            TmuxSocket::from("/run/x"),
            TmuxSocket::Path("/run/x".into())
        );
    }

    #[test]
    fn what_tmux_says_without_a_server_is_understood() {
        assert!(no_server("no server running on /tmp/tmux-0/ccm"));
        assert!(no_server(
            "error connecting to /tmp/x (No such file or directory)"
        ));
        assert!(!no_server("error connecting to /tmp/x (Permission denied)"));
    }
}
