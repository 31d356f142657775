use ccm_core::api::{Session, SignInCode};
use ccm_core::id::RunId;
use ccm_core::{Error, ErrorKind, Result};

use std::time::Duration;

use super::App;
use crate::access::{self, Principal};

/// How long an agent may go on with what was open when its run has ended.
const LOOK_AFTER: Duration = Duration::from_secs(2);

impl App {
    /// The token for the agent of a run, which counts until the run is over: it sees the run's project and puts tasks
    /// into its queue. For whoever starts agents.
    pub fn agent_token(&self, run: RunId) -> String {
        self.access().agents.make(run)
    }

    /// Returns once `principal` may no longer see what it was let see before.
    pub(crate) async fn until_revoked(&self, principal: &Principal) {
        match principal {
            Principal::Token | Principal::Socket { .. } => std::future::pending().await,
            Principal::Browser(session) => {
                let sessions = &self.access().sessions;
                let mut changed = sessions.watch();
                while let Some(left) = sessions.left(*session, self.now()) {
                    // The sender lives as long as the sessions.
                    let _ = tokio::time::timeout(left, changed.changed()).await;
                }
            }
            Principal::Agent { run, .. } => {
                let mut head = self.engine().store().watch();
                loop {
                    head.mark_unchanged();
                    if matches!(self.open_run(*run).await, Ok(None)) {
                        return;
                    }
                    // Not at every event of a busy machine, and not while nothing happens.
                    let changed = head.changed().await;
                    tokio::time::sleep(LOOK_AFTER).await;
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// A code for a browser, and what it opens.
    pub(crate) fn sign_in_code(&self) -> Result<SignInCode> {
        let url = self.web_ui_url().ok_or_else(|| {
            let why = self.web_ui().why_not().unwrap_or("it is not served");
            Error::new(
                ErrorKind::Unsupported,
                format!("there is no web page to sign in to: {why}"),
            )
        })?;
        let code = self.access().codes.make(self.now())?;
        Ok(SignInCode {
            url: format!("{url}{}?code={}", crate::http::SIGN_IN_PATH, code.code),
            code: code.code,
            expires_at: code.expires_at,
        })
    }

    /// The browsers that are signed in, as the caller sees them.
    pub(crate) fn sessions(&self, caller: &Principal) -> Vec<Session> {
        let wire = |session: access::Session| Session {
            this: *caller == Principal::Browser(session.id),
            id: session.id.to_string(),
            browser: session.browser,
            created_at: session.created_at,
            expires_at: session.expires_at,
        };
        let open = self.access().sessions.open(self.now());
        open.into_iter().map(wire).collect()
    }
}
