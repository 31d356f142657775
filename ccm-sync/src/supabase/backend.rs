//! The backend.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::sync::{
    ConflictRule, Device, Identity, Lease, Operation, PullQuery, Pulled, Pushed, Registration,
    SharedClaim, Welcome,
};
use ccm_core::{Error, Result, SyncBackend};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::failure::Failure;
use super::file::AuthFile;
use super::http::Http;
use super::realtime::{self, Pokes};
use super::tokens::{Token, Tokens};
use super::{Project, rest, wire};

/// How this machine's queue is shared through a Supabase project.
#[derive(Debug, Clone)]
pub struct SupabaseOptions {
    /// The project.
    pub project: Project,
    /// The kept sign-in.
    pub auth: AuthFile,
    /// Most requests under way at once.
    pub connections: usize,
    /// Whether changes of other machines are told at once, over a connection that stays open.
    pub realtime: bool,
}

impl SupabaseOptions {
    /// A project with the sign-in at `auth_file`, four connections, and told at once.
    pub fn new(project: Project, auth_file: impl Into<PathBuf>) -> Self {
        Self {
            project,
            auth: AuthFile::new(auth_file),
            connections: 4,
            realtime: true,
        }
    }
}

/// Shares one queue through the functions of a Supabase project (`ccm-sync/supabase/migrations`).
///
/// Only one program on a machine uses a sign-in this way: the daemon. It opens no connection before it is asked for
/// something.
pub struct SupabaseSync {
    http: Http,
    tokens: Tokens,
    pokes: Arc<Pokes>,
    realtime: Option<Mutex<Option<JoinHandle<()>>>>,
    /// As whom this machine registered last, and under which sign-in.
    registered: Mutex<Option<Registered>>,
}

#[derive(Debug, Clone)]
struct Registered {
    registration: Registration,
    session: Option<Uuid>,
    /// The last number that the server was known to have.
    acknowledged: u64,
}

impl SupabaseSync {
    /// Sets the backend up. A sign-in need not be there yet: it is looked for at each call.
    pub fn open(options: SupabaseOptions) -> Self {
        let http = Http::new(options.project, options.connections);
        Self {
            tokens: Tokens::new(http.clone(), options.auth),
            http,
            pokes: Arc::default(),
            realtime: options.realtime.then(Mutex::default),
            registered: Mutex::default(),
        }
    }

    /// Calls a function, with a new token if the server does not accept this one, and registers again when somebody has
    /// signed in anew meanwhile.
    async fn call<T: DeserializeOwned>(&self, function: &str, body: Bytes) -> Result<T> {
        let (answer, _) = self.call_as(function, body).await?;
        Ok(answer)
    }

    /// The same, with the token that it was answered for.
    async fn call_as<T: DeserializeOwned>(
        &self,
        function: &str,
        body: Bytes,
    ) -> Result<(T, Token)> {
        let mut token = self.tokens.get().await?;
        let (mut renewed, mut registered) = (false, false);
        loop {
            let answer = rest::call(&self.http, function, body.clone(), Some(&token.access)).await;
            let failure = match answer {
                Ok(answer) => {
                    self.pokes.reached();
                    return Ok((answer, token));
                }
                Err(failure) => failure,
            };
            match failure {
                Failure::Token(_) if !renewed => {
                    renewed = true;
                    token = self.tokens.after(&token).await?;
                }
                Failure::NotRegistered(error) if !registered => {
                    registered = true;
                    self.register_anew(&token, error).await?;
                }
                failure => return Err(failure.into_error()),
            }
        }
    }

    /// Registers under a sign-in that is not that of the last time. If it is, the server has forgotten this machine.
    async fn register_anew(&self, token: &Token, forgotten: Error) -> Result<()> {
        let last = self.registered().clone();
        let Some(last) = last.filter(|last| last.session != token.session) else {
            return Err(forgotten);
        };
        let body = rest::arguments(&wire::Register::of(&last.registration))?;
        let answer = rest::call(&self.http, "ccm_register", body, Some(&token.access)).await;
        let answer: wire::Registered = answer.map_err(Failure::into_error)?;
        let welcome = Welcome::from(answer);
        if welcome.last_number < last.acknowledged {
            return Err(forgotten);
        }
        self.remember(last.registration, token, last.acknowledged);
        Ok(())
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, Option<Registered>> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, registration: Registration, token: &Token, acknowledged: u64) {
        *self.registered() = Some(Registered {
            registration,
            session: token.session,
            acknowledged,
        });
    }

    fn acknowledged(&self, me: Identity, number: u64) {
        if let Some(last) = self.registered().as_mut()
            && last.registration.identity == me
        {
            last.acknowledged = last.acknowledged.max(number);
        }
    }

    /// Begins to listen for pokes, once.
    fn listen(&self) {
        let Some(realtime) = &self.realtime else {
            return;
        };
        let mut task = realtime.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_none() {
            let run = realtime::run(
                self.http.clone(),
                self.tokens.clone(),
                Arc::clone(&self.pokes),
            );
            *task = Some(tokio::spawn(run));
        }
    }
}

impl Drop for SupabaseSync {
    fn drop(&mut self) {
        let task = self.realtime.as_mut().map(Mutex::get_mut);
        if let Some(Ok(Some(task))) = task {
            task.abort();
        }
    }
}

#[async_trait]
impl SyncBackend for SupabaseSync {
    fn is_connected(&self) -> bool {
        true
    }

    async fn register(&self, registration: &Registration) -> Result<Welcome> {
        let body = rest::arguments(&wire::Register::of(registration))?;
        let (answer, token) = self
            .call_as::<wire::Registered>("ccm_register", body)
            .await?;
        let welcome = Welcome::from(answer);
        self.remember(registration.clone(), &token, welcome.last_number);
        self.listen();
        Ok(welcome)
    }

    async fn push(&self, me: Identity, batch: &[Operation], rule: ConflictRule) -> Result<Pushed> {
        let body = rest::arguments(&wire::Push::of(me, batch, rule)?)?;
        let answer: wire::PushAnswer = self.call("ccm_push", body).await?;
        let pushed = answer.read(batch)?;
        self.acknowledged(me, pushed.acknowledged);
        Ok(pushed)
    }

    async fn pull(&self, me: Identity, query: &PullQuery) -> Result<Pulled> {
        let body = rest::arguments(&wire::Pull::of(me, query))?;
        let answer: wire::PullAnswer = self.call("ccm_pull", body).await?;
        Ok(answer.into())
    }

    async fn claim(&self, me: Identity, claim: &SharedClaim) -> Result<Lease> {
        let body = rest::arguments(&wire::Claim::of(me, claim))?;
        let answer: wire::LeaseAnswer = self.call("ccm_claim", body).await?;
        Ok(answer.into())
    }

    async fn renew(
        &self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Duration,
    ) -> Result<Lease> {
        let body = rest::arguments(&wire::Held::of(me, task, token, Some(period)))?;
        let answer: wire::LeaseAnswer = self.call("ccm_renew", body).await?;
        Ok(answer.into())
    }

    async fn finish(&self, me: Identity, task: TaskId, token: FencingToken) -> Result<()> {
        let body = rest::arguments(&wire::Held::of(me, task, token, None))?;
        let _: serde::de::IgnoredAny = self.call("ccm_finish", body).await?;
        Ok(())
    }

    async fn devices(&self, me: Identity) -> Result<Vec<Device>> {
        let body = rest::arguments(&wire::devices(me))?;
        let answer: wire::Devices = self.call("ccm_devices", body).await?;
        Ok(answer.into())
    }

    async fn revoke(&self, me: Identity, system: SystemId) -> Result<()> {
        if me.system == system {
            return Err(Error::invalid(
                "this machine can't shut itself out; disconnect it with `ccm supabase disconnect`",
            ));
        }
        let body = rest::arguments(&wire::Revoke::of(me, system))?;
        let _: serde::de::IgnoredAny = self.call("ccm_revoke", body).await?;
        Ok(())
    }

    async fn poked(&self) {
        self.pokes.next().await;
    }

    fn has_pokes(&self) -> bool {
        self.pokes.are_coming()
    }
}

impl fmt::Debug for SupabaseSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SupabaseSync")
            .field(self.http.project())
            .finish()
    }
}
