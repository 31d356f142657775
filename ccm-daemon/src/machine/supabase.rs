//! Signing in to the Supabase project that machines share, with no daemon: the sign-in itself, what is kept of it, and
//! what the config says of it.

use std::path::PathBuf;

use ccm_core::api::{KeyStorage, SyncCondition, SyncState};
use ccm_core::sync::{Identity, Registration};
use ccm_core::system::System;
use ccm_core::time::{Clock, SystemClock, Timestamp};
use ccm_core::{Error, Result, Store};
use ccm_sync::supabase::{self as client, AuthFile, SignedOut};
use serde_json::Value;

use super::config::Config;
use super::config_file::ConfigFile;
use super::home::Home;
use super::{setup, yaml_of};

pub use ccm_sync::supabase::{
    MIGRATIONS, Project, SecondFactor, Secret, Server, SignIn, SignedIn, check_server, sign_in,
};

/// Who is signed in, as far as it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose account it is.
    pub email: String,
    /// The project's address.
    pub url: String,
    /// What keeps the sign-in from being read.
    pub key_storage: KeyStorage,
    /// Since when.
    pub signed_in_at: Option<Timestamp>,
}

/// Where the sign-in is kept, or would be.
pub fn auth_file(home: &Home) -> PathBuf {
    match Config::load(home) {
        Ok(loaded) => loaded.config.supabase.auth_file,
        Err(_) => home.dir().join("auth.json"),
    }
}

/// Whether a sign-in is kept, good or not.
pub fn has_sign_in(config: &Config) -> bool {
    config.supabase.auth_file.exists()
}

/// Whether this machine is connected, or was and is only switched off for a while.
///
/// # Errors
/// Those of the config.
pub fn is_connected(home: &Home) -> Result<bool> {
    let config = Config::load(home).map_err(Error::from)?.config;
    Ok(config.supabase.enabled || has_sign_in(&config))
}

/// Who is signed in; `None` for nobody.
///
/// # Errors
/// Those of [`AuthFile::info`].
pub fn account(config: &Config) -> Result<Option<Account>> {
    let info = AuthFile::new(&config.supabase.auth_file).info()?;
    Ok(info.map(|info| Account {
        email: info.email,
        url: info.url,
        key_storage: storage(info.key),
        signed_in_at: Some(info.signed_in_at),
    }))
}

/// Keeps a sign-in in the place of the one that was there, which ends on the server, too.
///
/// # Errors
/// Those of [`AuthFile::save`].
pub async fn keep(config: &Config, project: &Project, signed_in: &SignedIn) -> Result<Account> {
    let file = AuthFile::new(&config.supabase.auth_file);
    if file.path().exists() {
        // Only politeness: nobody has it any more then, and it ends by itself.
        let _ = client::sign_out(project, &file).await;
    }
    let storage = storage(file.save(signed_in)?);
    Ok(Account {
        email: signed_in.email().to_owned(),
        url: project.url().to_owned(),
        key_storage: storage,
        signed_in_at: Some(SystemClock.now()),
    })
}

const fn storage(storage: client::KeyStorage) -> KeyStorage {
    match storage {
        client::KeyStorage::Keyring => KeyStorage::Keyring,
        client::KeyStorage::File => KeyStorage::File,
    }
}

/// Has the config say that this machine shares through this project. A daemon that runs has to be told.
///
/// # Errors
/// Those of [`ConfigFile::change_many`].
pub fn switch_on(home: &Home, url: &str, key: &str) -> Result<()> {
    let text = |value: &str| Some(yaml_of(&Value::from(value)));
    change(
        home,
        &[
            ("supabase.url", text(url)),
            ("supabase.key", text(key)),
            ("supabase.enabled", Some("true".to_owned())),
            ("sync.enabled", Some("true".to_owned())),
        ],
    )
}

fn change(home: &Home, changes: &[(&str, Option<String>)]) -> Result<()> {
    let changes: Vec<_> = changes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    ConfigFile::machine(home)
        .change_many(&changes, |_| Ok(()))
        .map(drop)
}

/// Signs this machine out, forgets the sign-in, and has the config say that nothing is shared. A daemon that runs has to be
/// told. The server is told if it can be; why not, is returned.
///
/// # Errors
/// When the config or the sign-in can't be changed.
pub async fn disconnect(home: &Home) -> Result<Option<String>> {
    let config = Config::load(home).map_err(Error::from)?.config;
    change(home, &[("supabase.enabled", Some("false".to_owned()))])?;
    let file = AuthFile::new(&config.supabase.auth_file);
    match project(&config) {
        Ok(project) => Ok(match client::sign_out(&project, &file).await? {
            SignedOut::OnlyHere(error) => Some(ccm_core::chain(&error)),
            SignedOut::Nobody | SignedOut::Everywhere => None,
        }),
        Err(error) => {
            file.remove()?;
            Ok(Some(error.to_string()))
        }
    }
}

/// The project that the config names.
///
/// # Errors
/// `Invalid` when it names none, or one that can't be.
pub fn project(config: &Config) -> Result<Project> {
    let settings = &config.supabase;
    let (Some(url), Some(key)) = (&settings.url, &settings.key) else {
        return Err(Error::invalid(
            "the config names no Supabase project; `ccm supabase connect` asks for it",
        ));
    };
    Project::new(url, &Secret::new(key.clone()))
}

/// Registers this machine with the server, while no daemon runs.
///
/// # Errors
/// `Unavailable` when a daemon was started meanwhile; those of the store and of
/// [`SyncBackend::register`](ccm_core::SyncBackend::register).
pub async fn register(home: &Home, config: &Config) -> Result<()> {
    // Only one program at a time may write the database.
    let _lock = home.lock_daemon()?;
    let system = System {
        id: setup::system_id(home, config)?,
        hostname: config.system.hostname.clone(),
        kind: config.system.kind,
        tags: config.system.tags.clone(),
    };
    let store = crate::factories::store(config).await?;
    let registered = register_in(&store, config, &system).await;
    store.close().await;
    registered
}

async fn register_in(
    store: &ccm_store::SqliteStore,
    config: &Config,
    system: &System,
) -> Result<()> {
    let replica = store
        .replica()
        .ok_or_else(|| Error::internal("this database keeps nothing for other machines"))?;
    let now = SystemClock.now();
    let sharing = match replica.sharing().await? {
        Some(sharing) if sharing.identity.system == system.id => sharing,
        _ => {
            store.begin(system, now).await?;
            let identity = Identity {
                system: system.id,
                incarnation: uuid::Uuid::now_v7(),
            };
            replica.share(identity, now).await?
        }
    };
    let backend = crate::factories::sync(config);
    let registration = Registration {
        identity: sharing.identity,
        previous: sharing.previous,
        hostname: config.system.hostname.clone(),
    };
    backend.register(&registration).await.map(drop)
}

/// How sharing is while no daemon runs.
pub fn state(home: &Home) -> SyncState {
    let config = Config::load(home).ok().map(|loaded| loaded.config);
    let shares = config.as_ref().is_some_and(Config::shares);
    let account = config.as_ref().and_then(|config| account(config).ok()?);
    let url = config
        .as_ref()
        .and_then(|config| config.supabase.url.clone());
    SyncState {
        enabled: shares,
        backend: if shares { "supabase" } else { "none" }.to_owned(),
        connected: false,
        pending: 0,
        conflicts: 0,
        detail: match (shares, &account) {
            (true, _) => "the daemon does not run, so nothing is exchanged; what waits is kept",
            (false, Some(_)) => {
                "somebody is signed in, but supabase.enabled or sync.enabled is false, so nothing is exchanged"
            }
            (false, None) => "this machine is not connected to Supabase, and everything is kept on it",
        }
        .to_owned(),
        condition: match (shares, &account) {
            (false, _) => SyncCondition::Off,
            (true, Some(_)) => SyncCondition::Offline,
            (true, None) => SyncCondition::SignedOut,
        },
        to_do: (shares && account.is_none())
            .then(|| "sign in again with `ccm supabase connect`".to_owned()),
        server: url,
        key_storage: account.as_ref().map(|account| account.key_storage),
        signed_in_at: account.as_ref().and_then(|account| account.signed_in_at),
        account: account.map(|account| account.email),
        last_contact: None,
        last_error: None,
        failures: 0,
        next_try_at: None,
        live: false,
        interval_s: config
            .as_ref()
            .map_or(0, |config| config.sync.interval.as_secs()),
        rule: config.as_ref().map_or_else(Default::default, |config| {
            crate::sharing::rule(config.sync.conflict_resolution)
        }),
        unsettled: 0,
        set_aside: 0,
    }
}
