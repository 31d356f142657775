//! What this machine shares with its user's other ones: by which line, as whom, and how that goes.

mod state;
mod watched;

use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::SyncBackend;
use ccm_core::engine::Engine;

use crate::factories;
use crate::machine::config::Config;
use crate::machine::supabase::{self, Account};
use watched::Watched;

pub(crate) use state::{rule, state, trouble};
pub(crate) use watched::Traffic;

/// The line to other machines. It can be another one, or none, while the daemon runs.
#[derive(Debug)]
pub struct Sharing {
    line: Arc<factories::Line>,
    backend: Arc<dyn SyncBackend>,
    traffic: Arc<Traffic>,
    /// What the line is made of.
    made_of: Mutex<Option<MadeOf>>,
}

/// What a line is made of: when that is another, so is the line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MadeOf {
    url: Option<String>,
    key: Option<String>,
    auth_file: std::path::PathBuf,
    connections: usize,
    account: Option<Account>,
}

impl Default for Sharing {
    fn default() -> Self {
        let line = Arc::new(factories::Line::default());
        let traffic = Arc::new(Traffic::default());
        let inner = Arc::clone(&line) as Arc<dyn SyncBackend>;
        Self {
            backend: Arc::new(Watched::new(inner, Arc::clone(&traffic))),
            line,
            traffic,
            made_of: Mutex::default(),
        }
    }
}

impl Sharing {
    /// The line, for the engine.
    pub(crate) fn backend(&self) -> Arc<dyn SyncBackend> {
        Arc::clone(&self.backend)
    }

    /// What went over it.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whose account the line was made for.
    pub(crate) fn account(&self) -> Option<String> {
        let made_of = self.made_of.lock().unwrap_or_else(PoisonError::into_inner);
        let account = made_of.as_ref()?.account.as_ref()?;
        Some(account.email.clone())
    }

    /// Has the line be the one that `config` asks for. Whether it is another one now.
    ///
    /// Reads a file, so it is not for the async runtime's own threads.
    pub(crate) fn apply(&self, config: &Config) -> bool {
        let wanted = config.shares().then(|| MadeOf {
            url: config.supabase.url.clone(),
            key: config.supabase.key.clone(),
            auth_file: config.supabase.auth_file.clone(),
            connections: config.resources.max_supabase_connections,
            account: supabase::account(config).ok().flatten(),
        });
        let mut made_of = self.made_of.lock().unwrap_or_else(PoisonError::into_inner);
        if *made_of == wanted {
            return false;
        }
        self.line.switch(factories::sync(config));
        self.traffic.begin_anew();
        *made_of = wanted;
        true
    }
}

/// Forgets what is kept for other machines, if this one was disconnected: nobody is signed in, and sharing is not wanted.
/// What is only switched off for a while is kept.
pub(crate) async fn forget_if_disconnected(engine: &Engine, config: &Config) {
    if config.supabase.enabled || supabase::has_sign_in(config) {
        return;
    }
    let kept = match engine.store().replica() {
        Some(replica) => replica.sharing().await,
        None => return,
    };
    let forgotten = match kept {
        Ok(None) => return,
        Ok(Some(_)) => engine.stop_sharing().await,
        Err(error) => Err(error),
    };
    if let Err(error) = forgotten {
        tracing::warn!(
            "what is kept for other machines can't be removed: {}",
            ccm_core::chain(&error)
        );
    }
}
