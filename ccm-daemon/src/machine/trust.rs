//! What this machine trusts of the projects' settings.
//!
//! A cloned repository must not run code: its settings that can do so count only after somebody on this machine saw
//! and trusted them. What was trusted is kept in the machine home, out of reach of the repository.

use std::path::{Path, PathBuf};

use ccm_core::api;
use ccm_core::id::ProjectId;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config_file::{ConfigFile, Edited};
use super::files::{self, Links};
use super::home::Home;
use super::project_config::ProjectConfig;

/// The trust of one machine.
#[derive(Debug, Clone)]
pub struct TrustStore {
    dir: PathBuf,
}

/// What was trusted last of a project.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    digest: String,
    settings: Vec<String>,
    trusted_at: Timestamp,
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Record>(bytes);
}

impl TrustStore {
    /// The trust kept in `home`.
    pub fn new(home: &Home) -> Self {
        Self {
            dir: home.trust_dir(),
        }
    }

    /// Whether `config`'s settings may run code for the project, what they are, and what was trusted last.
    ///
    /// # Errors
    /// `Corrupt` when the record can't be read; then nothing is trusted.
    pub fn look(&self, project: ProjectId, config: &ProjectConfig) -> Result<api::Trust> {
        let settings = config.code_settings();
        let digest = digest(&settings);
        let record = self.record(project)?;
        Ok(api::Trust {
            trusted: settings.is_empty()
                || record
                    .as_ref()
                    .is_some_and(|record| record.digest == digest),
            digest,
            settings,
            trusted_settings: record.map(|record| record.settings),
        })
    }

    /// Trusts what `config` says now.
    ///
    /// # Errors
    /// `Internal` when it can't be written.
    pub fn trust(&self, project: ProjectId, config: &ProjectConfig, now: Timestamp) -> Result<()> {
        let settings = config.code_settings();
        let record = Record {
            digest: digest(&settings),
            settings,
            trusted_at: now,
        };
        let path = self.path(project);
        let written = serde_json::to_vec_pretty(&record)
            .map_err(std::io::Error::from)
            .and_then(|text| {
                files::create_private_dir(&self.dir)?;
                files::replace(&path, files::SECRET, &text)
            });
        written.map_err(|e| {
            Error::internal(format!("{} can't be written", path.display())).with_source(e)
        })
    }

    /// Trusts what the project in `folder` says now, if that is what `digest` stands for: nobody can trust what they
    /// were not shown.
    ///
    /// # Errors
    /// `WrongState(Project)` when it says something else meanwhile, `Invalid` when its config is broken.
    pub fn trust_shown(
        &self,
        project: ProjectId,
        folder: &Path,
        shown: &str,
        now: Timestamp,
    ) -> Result<api::Trust> {
        let config = ProjectConfig::load(folder).map_err(Error::from)?.config;
        if digest(&config.code_settings()) != shown {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Project),
                "the settings changed after they were shown; look at them again",
            ));
        }
        self.trust(project, &config, now)?;
        self.look(project, &config)
    }

    /// Sets a key in a project's config file and trusts the change, if what was there was trusted: a person who sets
    /// one key has not seen the others. The second value is whether the settings are trusted now.
    ///
    /// # Errors
    /// As those of [`ConfigFile::set`].
    pub fn set_in_project(
        &self,
        project: ProjectId,
        folder: &Path,
        key: &str,
        value: &str,
        now: Timestamp,
    ) -> Result<(Edited, bool)> {
        self.change_in_project(project, folder, key, Some(value), now)
    }

    /// The same for a key that is to have its default again.
    ///
    /// # Errors
    /// As those of [`ConfigFile::unset`].
    pub fn unset_in_project(
        &self,
        project: ProjectId,
        folder: &Path,
        key: &str,
        now: Timestamp,
    ) -> Result<(Edited, bool)> {
        self.change_in_project(project, folder, key, None, now)
    }

    fn change_in_project(
        &self,
        project: ProjectId,
        folder: &Path,
        key: &str,
        value: Option<&str>,
        now: Timestamp,
    ) -> Result<(Edited, bool)> {
        let before = ProjectConfig::load(folder).map(|loaded| loaded.config);
        let trusted = match &before {
            Ok(before) => self.look(project, before)?.trusted,
            Err(_) => false,
        };
        let edited = ConfigFile::project(folder).change(key, value)?;
        let unknown = super::config::Unknown::Warned;
        let Ok(after) = ProjectConfig::from_text(folder, &edited.text, unknown) else {
            return Ok((edited, false));
        };
        // Between the look and the change the file may have become another one: then nothing is trusted by it.
        let expected = before.is_ok_and(|before| only_differs_in(&before, &after.config, &[key]));
        if trusted && expected && !self.look(project, &after.config)?.trusted {
            self.trust(project, &after.config, now)?;
        }
        let trusted = self.look(project, &after.config)?.trusted;
        Ok((edited, trusted))
    }

    /// Makes several changes in a project's config file in one step, or none, and trusts them, if what was there was
    /// trusted. `check` may refuse the text that is there. Returns whether the settings are trusted now.
    ///
    /// # Errors
    /// As those of [`ConfigFile::change_many`].
    pub fn change_many_in_project(
        &self,
        project: ProjectId,
        folder: &Path,
        changes: &[(String, Option<String>)],
        check: impl FnOnce(&str) -> Result<()>,
        now: Timestamp,
    ) -> Result<bool> {
        let read = |text: &str| {
            let read = ProjectConfig::from_text(folder, text, super::config::Unknown::Warned);
            read.map(|loaded| loaded.config).ok()
        };
        // Looked at while nobody else changes it.
        let mut before = None;
        let text = ConfigFile::project(folder).change_many(changes, |text| {
            check(text)?;
            before = read(text);
            Ok(())
        })?;
        let Some(after) = read(&text) else {
            return Ok(false);
        };
        let keys: Vec<&str> = changes.iter().map(|(key, _)| &**key).collect();
        let was_trusted = match &before {
            Some(before) => {
                self.look(project, before)?.trusted && only_differs_in(before, &after, &keys)
            }
            None => false,
        };
        if was_trusted && !self.look(project, &after)?.trusted {
            self.trust(project, &after, now)?;
        }
        Ok(self.look(project, &after)?.trusted)
    }

    /// Forgets a project that was removed. Idempotent.
    ///
    /// # Errors
    /// `Internal` when the record can't be removed.
    pub fn forget(&self, project: ProjectId) -> Result<()> {
        match std::fs::remove_file(self.path(project)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::internal("what was trusted can't be removed").with_source(e))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self, project: ProjectId) -> PathBuf {
        self.dir.join(project.to_string())
    }

    fn record(&self, project: ProjectId) -> Result<Option<Record>> {
        let path = self.path(project);
        let text = match files::read_text(&path, Links::Refused) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                let message = format!("{} can't be read", path.display());
                return Err(Error::new(ErrorKind::Corrupt, message).with_source(e));
            }
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            let message = format!(
                "{} is damaged; delete it and trust the project again",
                path.display()
            );
            Error::new(ErrorKind::Corrupt, message).with_source(e)
        })
    }
}

/// Lines that went away and lines that came, with `- ` and `+ ` before them, for people.
pub fn changes(trust: &api::Trust) -> Vec<String> {
    let old = trust.trusted_settings.as_deref().unwrap_or_default();
    let gone = old.iter().filter(|line| !trust.settings.contains(line));
    let new = trust.settings.iter().filter(|line| !old.contains(line));
    gone.map(|line| format!("- {line}"))
        .chain(new.map(|line| format!("+ {line}")))
        .collect()
}

fn digest(settings: &[String]) -> String {
    // The lines have no line breaks in them, so no two lists are the same text.
    let mut hash = Sha256::new();
    hash.update(b"ccm trust 1\n");
    for line in settings {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether no code setting changed but those of `keys`.
fn only_differs_in(before: &ProjectConfig, after: &ProjectConfig, keys: &[&str]) -> bool {
    let of = |line: &String| {
        let name = line.split(':').next().unwrap_or_default();
        keys.iter().any(|key| {
            let inside = key.strip_prefix(name);
            inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let others = |config: &ProjectConfig| -> Vec<String> {
        let lines = config.code_settings();
        lines.into_iter().filter(|line| !of(line)).collect()
    };
    others(before) == others(after)
}
