//! What this machine shares with its user's other ones: by which line, as whom, and how that goes.

mod state;
mod watched;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::engine::Engine;
use ccm_core::{Result, SyncBackend};

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
    /// Who was signed in when the file was last looked into: its key may be in a keyring, which takes a while to ask.
    seen: Mutex<Option<(Stamp, Option<Account>)>>,
}

/// Which file it is, and which version of it: inode, length, change.
type Stamp = (PathBuf, u64, u64, i64, i64);

/// What a line is made of: when that is another, so is the line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MadeOf {
    url: Option<String>,
    key: Option<String>,
    auth_file: PathBuf,
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
            seen: Mutex::default(),
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

    /// Who is signed in; `None` for nobody.
    ///
    /// Reads a file, so it is not for the async runtime's own threads.
    ///
    /// # Errors
    /// When that can't be read.
    fn account(&self, config: &Config) -> Result<Option<Account>> {
        let file = &config.supabase.auth_file;
        let Ok(data) = std::fs::metadata(file) else {
            return Ok(None);
        };
        let stamp = (
            file.clone(),
            data.ino(),
            data.len(),
            data.ctime(),
            data.ctime_nsec(),
        );
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, account)) = seen.as_ref().filter(|(before, _)| *before == stamp) {
            return Ok(account.clone());
        }
        let account = supabase::account(config)?;
        *seen = Some((stamp, account.clone()));
        Ok(account)
    }

    /// Whose account the line was made for.
    pub(crate) fn made_for(&self) -> Option<String> {
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
            account: self.account(config).ok().flatten(),
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
