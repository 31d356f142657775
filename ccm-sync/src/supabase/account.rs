//! What the command line does with an account, without a daemon.

use ccm_core::sync::{Device, Identity, Registration, Welcome};
use ccm_core::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::auth;
use super::failure::Failure;
use super::file::{AuthFile, Loaded};
use super::http::Http;
use super::tokens::Tokens;
use super::{Project, SignedIn, rest, wire};

/// What is known of a project's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// It answers, and has what CCM needs.
    Ready {
        /// The version of its migrations, if somebody is signed in.
        schema_version: Option<u32>,
    },
    /// It answers, but nobody applied the migrations: `ccm-sync/supabase/migrations`.
    NotSetUp,
}

/// Looks whether a project answers and the migrations are applied.
///
/// # Errors
/// `Unavailable` when it can't be reached or something else answers, `Unauthenticated` for a key that it does not know,
/// `TooOld` when this program must be upgraded first.
pub async fn check_server(project: &Project) -> Result<Server> {
    let http = Http::new(project.clone(), 1);
    auth::is_there(&http).await?;
    // Of nobody: the function looks at who calls before anything else, and refuses.
    let nobody = Identity {
        system: ccm_core::id::SystemId::from_uuid(Uuid::nil()),
        incarnation: Uuid::nil(),
    };
    let body = rest::arguments(&wire::devices(nobody))?;
    let answer = rest::call::<serde::de::IgnoredAny>(&http, "ccm_devices", body, None).await;
    match answer {
        Ok(_) => Ok(Server::Ready {
            schema_version: None,
        }),
        Err(Failure::NoFunctions(_)) => Ok(Server::NotSetUp),
        Err(Failure::Token(_) | Failure::NotRegistered(_)) => Ok(Server::Ready {
            schema_version: None,
        }),
        Err(Failure::Other(error)) => Err(error),
    }
}

impl SignedIn {
    /// Tells the server of this machine under this sign-in, before it is kept: so that what stands against it is said at once.
    ///
    /// # Errors
    /// As of [`SyncBackend::register`](ccm_core::SyncBackend::register), and `Unavailable` for a server without the
    /// migrations.
    pub async fn register(
        &self,
        project: &Project,
        registration: &Registration,
    ) -> Result<(Welcome, Server)> {
        let body = rest::arguments(&wire::Register::of(registration))?;
        let answer: wire::Registered = self.call(project, "ccm_register", body).await?;
        let server = Server::Ready {
            schema_version: answer.schema_version,
        };
        Ok((answer.into(), server))
    }

    /// The machines of this account, once this one is registered.
    ///
    /// # Errors
    /// As of [`SyncBackend::devices`](ccm_core::SyncBackend::devices).
    pub async fn devices(&self, project: &Project, me: Identity) -> Result<Vec<Device>> {
        let body = rest::arguments(&wire::devices(me))?;
        let answer: wire::Devices = self.call(project, "ccm_devices", body).await?;
        Ok(answer.into())
    }

    /// Ends this sign-in, which nobody is going to keep.
    ///
    /// # Errors
    /// `Unavailable` when the server can't be asked.
    pub async fn discard(self, project: &Project) -> Result<()> {
        auth::sign_out(&Http::new(project.clone(), 1), &self.session.access).await?;
        Ok(())
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        project: &Project,
        function: &str,
        body: bytes::Bytes,
    ) -> Result<T> {
        let http = Http::new(project.clone(), 1);
        let answer = rest::call(&http, function, body, Some(&self.session.access)).await;
        answer.map_err(Failure::into_error)
    }
}

/// What became of a sign-out.
#[derive(Debug)]
pub enum SignedOut {
    /// There was no sign-in.
    Nobody,
    /// It is over here and on the server.
    Everywhere,
    /// It is forgotten here; the server could not be told, and ends it by itself when it is not used.
    OnlyHere(Error),
}

/// Ends the kept sign-in, on the server too, and forgets it whatever the server says. Other machines stay signed in.
///
/// # Errors
/// `Unavailable` when the file can't be removed.
pub async fn sign_out(project: &Project, file: &AuthFile) -> Result<SignedOut> {
    let read = {
        let file = file.clone();
        blocking(move || Ok(file.load())).await?
    };
    let outcome = match read {
        Ok(None) => SignedOut::Nobody,
        Ok(Some(loaded)) => match end(project, file, &loaded).await {
            Ok(()) => SignedOut::Everywhere,
            Err(error) => SignedOut::OnlyHere(error),
        },
        // Nobody can read it any more, so nobody can end it.
        Err(error) => SignedOut::OnlyHere(error),
    };
    let file = file.clone();
    blocking(move || file.remove()).await?;
    Ok(outcome)
}

async fn end(project: &Project, file: &AuthFile, loaded: &Loaded) -> Result<()> {
    if loaded.session.url != project.url() {
        return Err(Error::new(
            ErrorKind::Unauthenticated,
            format!("it was a sign-in at {}", loaded.session.url),
        ));
    }
    let http = Http::new(project.clone(), 1);
    let tokens = Tokens::new(http.clone(), file.clone());
    let ended = async {
        let token = tokens.get().await?;
        if auth::sign_out(&http, &token.access).await? {
            return Ok::<(), Error>(());
        }
        // One that is too old to end its sign-in is renewed for it.
        let token = tokens.after(&token).await?;
        auth::sign_out(&http, &token.access).await?;
        Ok::<(), Error>(())
    };
    match ended.await {
        // It was over already.
        Err(error) if error.kind() == ErrorKind::Unauthenticated => Ok(()),
        ended => ended,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::internal("a file was not read").with_source(error)))
}
