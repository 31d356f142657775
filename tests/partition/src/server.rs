//! What the machines share their queue through: PostgreSQL with the migration, and a double of Supabase in front of it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use supabase_double::{Fault, Options, Supabase, Wrong};
use tokio::runtime::{Builder, Runtime};

use crate::documents::Documents;
use crate::machine::Account;
use crate::network::Network;

/// The calls whose answers can be lost.
const CALLS: &str = "/rest/v1/rpc/ccm_";

/// A server at the place where all lines end.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    network: &'a Network,
    inner: Arc<Mutex<Inner>>,
    url: String,
    key: String,
}

/// Only for the thread of the network's own place: what it starts is there, too.
#[derive(Debug)]
struct Inner {
    // Dropped first, because its end may need the runtime.
    supabase: Supabase,
    runtime: Runtime,
}

impl<'a> Server<'a> {
    pub(crate) fn new(network: &'a Network) -> Result<Self, String> {
        let inner = network.place().within(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let options = Options {
                host: IpAddr::V4(Network::ADDRESS),
                ..Options::default()
            };
            let supabase = runtime.block_on(Supabase::with(options));
            Ok::<_, String>(Inner { supabase, runtime })
        })?;
        Ok(Self {
            network,
            url: inner.supabase.url(),
            key: inner.supabase.anon_key().to_owned(),
            inner: Arc::new(Mutex::new(inner)),
        })
    }

    fn within<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(&Supabase) -> T + Send + 'static,
    ) -> T {
        let inner = Arc::clone(&self.inner);
        self.network.place().within(move || {
            let inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.runtime.block_on(work(&inner.supabase))
        })
    }

    /// Ends the double at once. The database goes on.
    pub(crate) fn kill(&self) {
        self.within(async |supabase| supabase.stop_server().await);
    }

    /// Starts it again, where it was.
    pub(crate) fn start(&self) {
        self.within(async |supabase| supabase.start_server().await);
    }

    /// The answers to the next calls are lost; what was asked for is done.
    pub(crate) fn lose_answers(&self, count: u32) {
        let fault = Fault::of(CALLS, Wrong::AnswerLost).times(count);
        self.within(async |supabase| supabase.fault(fault).await);
    }

    /// Nothing more is lost.
    pub(crate) fn mend(&self) {
        self.within(async |supabase| supabase.heal().await);
    }

    /// The documents of a user.
    pub(crate) fn documents(&self, account: &Account) -> Result<Documents, String> {
        let query = format!(
            "select kind, id::text, body::text, origin::text, seq, hlc_time, hlc_count from public.ccm_entities
             where user_id = '{}'",
            account.user
        );
        let rows = self.within(async move |supabase| {
            let admin = supabase.admin().await;
            admin.query(&query, &[]).await
        });
        let mut documents = Documents::default();
        for row in rows.map_err(|error| error.to_string())? {
            let version = (row.get(3), Some(row.get(4)), row.get(5), row.get(6));
            documents.add(row.get(0), row.get(1), row.get(2), version)?;
        }
        Ok(documents)
    }

    /// A new user.
    pub(crate) fn account(&self, name: &str) -> Account {
        let mut account = Account {
            user: String::new(),
            url: self.url.clone(),
            key: self.key.clone(),
            email: format!("{name}@example.com"),
            password: format!("password of {name}"),
        };
        let (email, password) = (account.email.clone(), account.password.clone());
        let made = async move |supabase: &Supabase| supabase.create_user(&email, &password).await;
        account.user = self.within(made).to_string();
        account
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let inner = Arc::clone(&self.inner);
        // The double's end is waited for, and its process is known to that thread.
        self.network.place().within(move || drop(inner));
    }
}
