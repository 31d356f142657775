//! Setting a machine up, without questions.

use std::path::PathBuf;

use ccm_core::id::SystemId;
use ccm_core::{Error, Result};
use serde_json::Value;

use super::config::{Config, ProfileName, Unknown};
use super::config_file::{ConfigFile, bare};
use super::files;
use super::home::Home;
use super::schema::MACHINE;

/// What set-up has to know.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// What the daemon is to serve.
    pub profile: ProfileName,
    /// What the machine is called; what it calls itself if left out.
    pub hostname: Option<String>,
    /// The address of the account that machines share.
    pub supabase_url: Option<String>,
    /// Its publishable key.
    pub supabase_key: Option<String>,
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
    let new_config = if home.is_set_up() {
        None
    } else {
        Some(config_text(home, answers)?)
    };
    let mut created = Vec::new();
    if home.create()? {
        created.push(home.dir().to_owned());
    }
    let file = home.config_file();
    // The config last of the files that go with it, because it is what says that the machine is set up.
    if let Some(text) = new_config {
        if write_schema(home)? {
            created.push(home.schema_file());
        }
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

/// Makes the database, if there is none. Returns whether it was made now; one that is there is not touched.
///
/// # Errors
/// Those of [`SqliteStore::open`](ccm_store::SqliteStore::open).
pub async fn create_database(config: &Config) -> Result<bool> {
    if config.database.sqlite_path.exists() {
        return Ok(false);
    }
    crate::factories::store(config).await?.close().await;
    Ok(true)
}

/// Whether `text` can be the answer for the key `key`.
///
/// # Errors
/// With what is allowed.
pub fn check_answer(key: &str, text: &str) -> std::result::Result<(), String> {
    if text.trim().is_empty() {
        return Err("Please type an answer.".to_owned());
    }
    // As the file that set-up would write: what is wrong in it is wrong with the answer.
    let text = super::template::machine(&[(key, text.into())]);
    let checked = Config::from_text(&Home::at("/"), &text, Unknown::Refused);
    let problems = checked
        .err()
        .map_or_else(Vec::new, |errors| errors.problems);
    let own = problems
        .into_iter()
        .find(|problem| problem.key.as_deref() == Some(key));
    own.map_or(Ok(()), |problem| Err(format!("{key}: {}", problem.message)))
}

/// The config file of a machine that is new, checked.
fn config_text(home: &Home, answers: &Answers) -> Result<String> {
    let hostname = answers.hostname.clone().unwrap_or_else(hostname);
    if hostname.trim().is_empty() || hostname.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{hostname:?} is no host name")));
    }
    let mut values = vec![
        ("profile", Value::from(answers.profile.as_str())),
        ("system.id", SystemId::new().to_string().into()),
        ("system.hostname", hostname.into()),
    ];
    for (key, answer) in [
        ("supabase.url", &answers.supabase_url),
        ("supabase.key", &answers.supabase_key),
    ] {
        if let Some(answer) = answer {
            values.push((key, answer.as_str().into()));
        }
    }
    let text = super::template::machine(&values);
    match Config::from_text(home, &text, Unknown::Refused) {
        Ok(_) => Ok(text),
        Err(errors) => {
            let told: Vec<String> = errors.problems.into_iter().map(bare).collect();
            Err(Error::invalid(told.join("; ")))
        }
    }
}

/// Writes the schema that the config file names for editors. Returns whether it was not there.
fn write_schema(home: &Home) -> Result<bool> {
    let path = home.schema_file();
    files::create_new(&path, files::SECRET, MACHINE.json_text().as_bytes())
        .map_err(|e| Error::internal(format!("{} can't be written", path.display())).with_source(e))
}

/// Brings the schema up to this version, if it is there and of another one.
///
/// # Errors
/// When it can't be written.
pub(crate) fn refresh_schema(home: &Home) -> std::io::Result<()> {
    let (path, text) = (home.schema_file(), MACHINE.json_text());
    match files::read_text(&path, files::Links::Followed) {
        Ok(old) if old != text => files::replace(&path, files::SECRET, text.as_bytes()),
        // Somebody who deleted it doesn't want it.
        _ => Ok(()),
    }
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
