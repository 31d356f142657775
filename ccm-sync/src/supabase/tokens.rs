//! The access token that calls are made with, renewed in time by one caller at a time.
//!
//! The server gives each refresh token once. One that is used again much later ends the whole sign-in, so: a lock on the
//! file between programs, a new look at the file once the lock is there, and the new tokens on the disk before anybody
//! uses them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccm_core::{Error, ErrorKind, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use uuid::Uuid;

use super::Secret;
use super::auth;
use super::failure::SIGN_IN;
use super::file::{AuthFile, Loaded, Stamp};
use super::http::Http;
use super::session::Session;

/// A token is renewed when it is good for less than this, in seconds.
const EARLY: i64 = 90;
/// A token that is good for less than this, in seconds, may end on the way.
const TOO_LATE: i64 = 5;
/// After a renewal that failed, the next one is not tried before, as long as the old token is good.
const PAUSE: Duration = Duration::from_secs(10);
/// How long another program is given to write what it got, in several looks.
const OTHERS_WRITE: Duration = Duration::from_millis(300);
const LOOKS: u32 = 10;

/// The tokens of one sign-in. Clones are the same.
#[derive(Clone)]
pub(super) struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    http: Http,
    file: AuthFile,
    state: Arc<Mutex<State>>,
    /// Grows when there is another token.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// What was read or written last, and which version of the file it is.
    loaded: Option<Loaded>,
    stamp: Option<Stamp>,
    /// Tokens that the disk did not take yet. Nobody uses them before it does.
    unwritten: Option<Session>,
    /// The version of the file with which the sign-in was over, as the server said.
    over: Option<(Stamp, String)>,
    /// When a renewal failed last.
    failed: Option<Instant>,
}

/// A token to make calls with.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) access: Secret,
    pub(super) user: Uuid,
    /// The sign-in that it comes from.
    pub(super) session: Option<Uuid>,
}

impl Tokens {
    pub(super) fn new(http: Http, file: AuthFile) -> Self {
        Self {
            shared: Arc::new(Shared {
                http,
                file,
                state: Arc::default(),
                changed: watch::Sender::new(0),
            }),
        }
    }

    /// Told of each new token.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// A token that is good, renewed before if its end is near.
    ///
    /// # Errors
    /// `Unauthenticated` when somebody has to sign in; `Unavailable` when there is none now.
    pub(super) async fn get(&self) -> Result<Token> {
        self.other_than(None).await
    }

    /// A token that is another one than `refused`, which the server does not accept.
    pub(super) async fn after(&self, refused: &Token) -> Result<Token> {
        self.other_than(Some(refused.access.clone())).await
    }

    async fn other_than(&self, refused: Option<Secret>) -> Result<Token> {
        let state = Arc::clone(&self.shared.state).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        // In a task of its own, so that a caller that goes away leaves no token behind that was given and not written.
        let work = tokio::spawn(async move { shared.renewed(state, refused).await });
        work.await
            .unwrap_or_else(|error| Err(Error::internal("a token was lost").with_source(error)))
    }
}

impl Shared {
    async fn renewed(
        &self,
        mut state: OwnedMutexGuard<State>,
        refused: Option<Secret>,
    ) -> Result<Token> {
        self.look(&mut state).await?;
        self.check(&state)?;
        let now = self.session(&state)?;
        let is_refused = refused.as_ref() == Some(&now.access);
        let left = now.left();
        let paused = state.failed.is_some_and(|at| at.elapsed() < PAUSE);
        if !is_refused && state.unwritten.is_none() && (left > EARLY || (left > TOO_LATE && paused))
        {
            return Ok(token(&now));
        }
        match self.renew(&mut state, refused.as_ref()).await {
            Ok(session) => {
                state.failed = None;
                self.changed.send_modify(|changes| *changes += 1);
                Ok(token(&session))
            }
            Err(error)
                if !is_refused && left > TOO_LATE && error.kind() != ErrorKind::Unauthenticated =>
            {
                tracing::debug!("the token is not renewed yet: {}", ccm_core::chain(&error));
                state.failed = Some(Instant::now());
                Ok(token(&now))
            }
            Err(error) => Err(error),
        }
    }

    async fn renew(&self, state: &mut State, refused: Option<&Secret>) -> Result<Session> {
        let file = self.file.clone();
        let _lock = blocking(move || file.lock()).await?;
        if let Some(session) = state.unwritten.clone() {
            return self.write(state, session).await;
        }
        // Another program may have been first.
        self.look(state).await?;
        let old = self.session(state)?;
        if refused != Some(&old.access) && old.left() > EARLY {
            return Ok(old);
        }
        match auth::refresh(&self.http, &old).await {
            Ok(session) => self.write(state, session).await,
            Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                // One that knows nothing of the lock may have used it.
                if let Some(session) = self.others(state, &old).await? {
                    return Ok(session);
                }
                if let Some(stamp) = state.stamp {
                    state.over = Some((stamp, error.to_string()));
                }
                Err(error)
            }
            Err(error) => match self.others(state, &old).await? {
                Some(session) => Ok(session),
                None => Err(error),
            },
        }
    }

    /// What another program wrote in the meantime, or writes now.
    async fn others(&self, state: &mut State, old: &Session) -> Result<Option<Session>> {
        for _ in 0..LOOKS {
            self.look(state).await?;
            let now = self.session(state)?;
            if now.refresh != old.refresh && now.left() > TOO_LATE {
                return Ok(Some(now));
            }
            tokio::time::sleep(OTHERS_WRITE / LOOKS).await;
        }
        Ok(None)
    }

    async fn write(&self, state: &mut State, session: Session) -> Result<Session> {
        let Some(loaded) = state.loaded.clone() else {
            return Err(nobody());
        };
        let (file, new) = (self.file.clone(), session.clone());
        let written = blocking(move || {
            let loaded = file.update(&loaded, new)?;
            Ok((loaded, file.stamp()))
        });
        match written.await {
            Ok((loaded, stamp)) => {
                (state.loaded, state.stamp) = (Some(loaded), stamp);
                (state.unwritten, state.over) = (None, None);
                Ok(session)
            }
            Err(error) => {
                state.unwritten = Some(session);
                Err(error)
            }
        }
    }

    /// Reads the file if it is another one than before.
    async fn look(&self, state: &mut State) -> Result<()> {
        let (file, known) = (self.file.clone(), state.stamp);
        let read = blocking(move || {
            let stamp = file.stamp();
            if stamp.is_some() && stamp == known {
                return Ok(None);
            }
            Ok(Some((stamp, file.load()?)))
        });
        let Some((stamp, loaded)) = read.await? else {
            return Ok(());
        };
        let project = self.http.project().url();
        if let Some(loaded) = loaded.as_ref().filter(|it| it.session.url != project) {
            return Err(Error::new(
                ErrorKind::Unauthenticated,
                format!(
                    "the sign-in is one at {}, not at {project}: {SIGN_IN}",
                    loaded.session.url
                ),
            ));
        }
        let is_new = loaded.is_some() && state.stamp != stamp;
        (state.loaded, state.stamp) = (loaded, stamp);
        // Whoever wrote it had the lock, and newer tokens or another sign-in.
        (state.unwritten, state.failed) = (None, None);
        if is_new {
            self.changed.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }

    /// Whether the sign-in of this version of the file is not known to be over.
    fn check(&self, state: &State) -> Result<()> {
        match &state.over {
            Some((stamp, why)) if Some(*stamp) == state.stamp => {
                Err(Error::new(ErrorKind::Unauthenticated, why.clone()))
            }
            _ => Ok(()),
        }
    }

    fn session(&self, state: &State) -> Result<Session> {
        let loaded = state.loaded.as_ref().ok_or_else(nobody)?;
        Ok(loaded.session.clone())
    }
}

fn nobody() -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        "nobody is signed in to the Supabase project: sign in with `ccm supabase connect`",
    )
}

fn token(session: &Session) -> Token {
    Token {
        access: session.access.clone(),
        user: session.user,
        session: session.id,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal("a file was not read").with_source(error)))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
