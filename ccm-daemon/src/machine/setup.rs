//! Setting a machine up, without questions.

use std::path::PathBuf;

use ccm_core::id::SystemId;
use ccm_core::{Error, Result};

use super::config::{Config, ProfileName};
use super::config_file::ConfigFile;
use super::files;
use super::home::Home;

/// What set-up has to know.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// What the daemon is to serve.
    pub profile: ProfileName,
    /// What the machine is called; what it calls itself if left out.
    pub hostname: Option<String>,
}

/// What set-up found and made.
#[derive(Debug, Clone, PartialEq)]
pub struct SetUp {
    /// What was made. Empty if everything was there: then nothing was changed.
    pub created: Vec<PathBuf>,
    /// The config as it is now. One that was there is left as it was, whatever the answers.
    pub config: Config,
}

/// Makes what is missing of `home`: the folder, the config file, the token, the folders of database and log.
///
/// # Errors
/// `Invalid` for a hostname that is none or a config file that is there and broken, with every problem of it;
/// `Internal` when something can't be written.
pub fn set_up(home: &Home, answers: &Answers) -> Result<SetUp> {
    let hostname = answers.hostname.clone().unwrap_or_else(hostname);
    if hostname.trim().is_empty() || hostname.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{hostname:?} is no host name")));
    }
    let mut created = Vec::new();
    if home.create()? {
        created.push(home.dir().to_owned());
    }
    let file = home.config_file();
    if !home.is_set_up() {
        let text = Config::default_text(answers.profile, SystemId::new(), &hostname);
        let new = files::create_new(file, files::SECRET, text.as_bytes()).map_err(|e| {
            Error::internal(format!("{} can't be written", file.display())).with_source(e)
        })?;
        if new {
            created.push(file.to_owned());
        }
    }
    if home.create_token()? {
        created.push(home.token_file());
    }
    let config = Config::load(home).map_err(Error::from)?.config;
    for path in [&config.database.sqlite_path, &config.daemon.log_file] {
        let Some(folder) = path.parent() else {
            continue;
        };
        let new = files::create_private_dir(folder).map_err(|e| {
            Error::internal(format!("the folder {} can't be made", folder.display())).with_source(e)
        })?;
        if new {
            created.push(folder.to_owned());
        }
    }
    Ok(SetUp { created, config })
}

/// The machine's id: the config's, else a new one, which is written there.
///
/// # Errors
/// As those of [`ConfigFile::set`].
pub fn system_id(home: &Home, config: &Config) -> Result<SystemId> {
    if let Some(id) = config.system.id {
        return Ok(id);
    }
    let id = SystemId::new();
    ConfigFile::machine(home).set("system.id", &id.to_string())?;
    Ok(id)
}

/// What this machine calls itself.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
