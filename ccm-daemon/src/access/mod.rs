//! Who asks: the token, browsers that were signed in, running agents, and what each of them did.

mod agent_token;
mod attempts;
mod audit;
mod codes;
mod keys;
mod sessions;

use std::fmt;
use std::sync::Arc;

use ccm_core::Result;
use ccm_core::id::{ProjectId, RunId};
use ccm_core::time::Timestamp;
use subtle::ConstantTimeEq;

pub(crate) use agent_token::AgentTokens;
pub(crate) use attempts::{Attempts, Failure};
pub(crate) use audit::Audit;
pub(crate) use codes::Codes;
pub(crate) use sessions::VALID as SESSION_VALID;
pub(crate) use sessions::{Session, SessionId, Sessions, SignedIn};

use crate::machine::{Home, Token};
use keys::Keys;

/// Who made a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Somebody who has the machine's token.
    Token,
    /// A process of the daemon's own user, at the unix socket.
    Socket { uid: u32, pid: Option<i32> },
    /// A browser that was signed in.
    Browser(SessionId),
    /// A running agent, which may do little, and only in its project.
    Agent { run: RunId, project: ProjectId },
}

impl Principal {
    /// The only project that this one may see, if there is such a bound.
    pub(crate) const fn scope(&self) -> Option<ProjectId> {
        match self {
            Self::Agent { project, .. } => Some(*project),
            Self::Token | Self::Socket { .. } | Self::Browser(_) => None,
        }
    }

    /// What it is called where it may not choose a name itself.
    pub(crate) fn own_name(&self) -> Option<String> {
        match self {
            Self::Token | Self::Socket { .. } => None,
            Self::Browser(_) => Some("web".to_owned()),
            Self::Agent { run, .. } => Some(format!("run:{run}")),
        }
    }

    /// The run whose agent it is. Everybody else is the machine's owner, whatever they come with.
    pub(crate) const fn run(&self) -> Option<RunId> {
        match self {
            Self::Agent { run, .. } => Some(*run),
            Self::Token | Self::Socket { .. } | Self::Browser(_) => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::Socket { uid, pid: None } => write!(f, "socket:uid={uid}"),
            Self::Socket {
                uid,
                pid: Some(pid),
            } => write!(f, "socket:uid={uid},pid={pid}"),
            Self::Browser(session) => write!(f, "browser:{session}"),
            Self::Agent { run, .. } => write!(f, "run:{run}"),
        }
    }
}

/// Everything that decides who asks.
#[derive(Debug)]
pub(crate) struct Access {
    token: Token,
    /// Tokens of running agents.
    pub(crate) agents: AgentTokens,
    /// Codes that sign a browser in.
    pub(crate) codes: Codes,
    /// Browsers that are signed in.
    pub(crate) sessions: Arc<Sessions>,
    /// Wrong tokens and cookies.
    pub(crate) attempts: Attempts,
    /// Who did what.
    pub(crate) audit: Audit,
}

impl Access {
    /// The access to the daemon of `home`, which `token` opens.
    pub(crate) fn new(home: &Home, token: Token) -> Self {
        let keys = Keys::of(&token);
        Self {
            agents: AgentTokens::new(&keys),
            codes: Codes::default(),
            sessions: Arc::new(Sessions::load(home.sessions_file(), &keys)),
            attempts: Attempts::default(),
            audit: Audit::new(home.audit_file()),
            token,
        }
    }

    /// Whether `given` is the machine's token.
    pub(crate) fn is_token(&self, given: &str) -> bool {
        let own = self.token.reveal().as_bytes();
        bool::from(given.as_bytes().ct_eq(own))
    }

    /// Signs the browser that has `code` in, if the code is one that was given out and is neither used nor too old.
    ///
    /// # Errors
    /// When the session can't be written down.
    pub(crate) async fn sign_in(
        &self,
        code: &str,
        browser: &str,
        now: Timestamp,
    ) -> Result<Option<SignedIn>> {
        if !self.codes.take(code, now) {
            return Ok(None);
        }
        let (sessions, browser) = (Arc::clone(&self.sessions), browser.to_owned());
        blocking(move || sessions.begin(&browser, now))
            .await
            .map(Some)
    }

    /// Ends a session. Returns whether there was one.
    ///
    /// # Errors
    /// When that can't be written down.
    pub(crate) async fn sign_out(&self, session: SessionId) -> Result<bool> {
        let sessions = Arc::clone(&self.sessions);
        blocking(move || sessions.end(session)).await
    }
}

/// Runs what writes files outside of the async runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        ccm_core::Error::internal("a thread for a file can't be had").with_source(error)
    })?
}
