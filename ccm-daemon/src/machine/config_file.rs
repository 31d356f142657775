//! One config file as the commands `config get|set|show|validate|edit|path` see it: the machine's or a project's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ccm_core::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::check;
use super::config::{Config, Unknown};
use super::edit::{self, Unable};
use super::files::{self, Links};
use super::home::Home;
use super::project_config::{self, ProjectConfig};
use super::schema::{Applied, Kind, MACHINE, PROJECT, Schema};
use super::show;
use super::values::{self, Checked, ConfigErrors, Problem, unknown_key};
use super::yaml;

/// The machine's config file or a project's.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Place {
    Machine(Home),
    Project(PathBuf),
}

/// What a key is set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Got {
    /// Its value with the default for a key that is not set; null if there is neither.
    pub value: Value,
    /// The line that sets it.
    pub line: Option<usize>,
}

/// What setting a key led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The file's text now.
    pub text: String,
    /// Whether it was changed.
    pub changed: bool,
    /// When the change counts.
    pub applied: Applied,
}

impl ConfigFile {
    /// The config file of the machine.
    pub fn machine(home: &Home) -> Self {
        Self {
            place: Place::Machine(home.clone()),
        }
    }

    /// The config file of the project in `folder`.
    pub fn project(folder: &Path) -> Self {
        Self {
            place: Place::Project(folder.to_owned()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        match &self.place {
            Place::Machine(home) => home.config_file().to_owned(),
            Place::Project(folder) => ProjectConfig::path(folder),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What can be in it.
    pub fn schema(&self) -> &'static Schema {
        match &self.place {
            Place::Machine(_) => &MACHINE,
            Place::Project(_) => &PROJECT,
        }
    }

    /// Its text, whatever is wrong with it. A project without the file has an empty one.
    ///
    /// # Errors
    /// When there is no config of the machine, or the file can't be read.
    pub fn text(&self) -> Result<String, ConfigErrors> {
        match &self.place {
            Place::Machine(home) => super::config::read(home),
            Place::Project(folder) => Ok(project_config::read(folder)?.unwrap_or_default()),
        }
    }

    /// Checks the file as `config validate` does, and returns the warnings.
    ///
    /// # Errors
    /// Every problem at once, unknown keys among them.
    pub fn validate(&self) -> Result<Vec<Problem>, ConfigErrors> {
        self.validate_text(&self.text()?)
    }

    /// Checks `text` as if it were the file's, and returns the warnings.
    ///
    /// # Errors
    /// Every problem at once, unknown keys among them.
    pub fn validate_text(&self, text: &str) -> Result<Vec<Problem>, ConfigErrors> {
        match &self.place {
            Place::Machine(home) => {
                Config::from_text(home, text, Unknown::Refused).map(|loaded| loaded.warnings)
            }
            Place::Project(folder) => ProjectConfig::from_text(folder, text, Unknown::Refused)
                .map(|loaded| loaded.warnings),
        }
    }

    /// The value of `key`: a key of the table, an entry of a map (`agent.env.LANG`) or a section (all its keys).
    ///
    /// # Errors
    /// `Invalid` for an unknown key, with the nearest known one, and for a file that can't be used.
    pub fn get(&self, key: &str) -> Result<Got> {
        let schema = self.schema();
        let checked = self.usable().map_err(Error::from)?;
        if schema.key(key).is_some() {
            return Ok(Got {
                value: checked.get(key),
                line: checked.line(key),
            });
        }
        if let Some((map, entry)) = schema.entry(key) {
            let value = checked.get(map.path).get(entry).cloned();
            return Ok(Got {
                line: value.as_ref().and_then(|_| checked.line(map.path)),
                value: value.unwrap_or(Value::Null),
            });
        }
        if schema.is_section(key) {
            let pointer = format!("/{}", key.replace('.', "/"));
            // Whoever asks for a section has not asked for the secret in it.
            let shown = values::nested(schema, |path| match schema.key(path) {
                Some(key) => show::hidden(key, checked.get(path)),
                None => Value::Null,
            });
            let value = shown.pointer(&pointer).cloned();
            return Ok(Got {
                value: value.unwrap_or(Value::Null),
                line: None,
            });
        }
        Err(unknown(schema, key))
    }

    /// Sets `key` to `value`, which is YAML. Comments, order and all other lines stay. Nothing is written when the
    /// file says so already.
    ///
    /// # Errors
    /// `Invalid` for an unknown key, a value that is not allowed, a change that would break the file, or a file that
    /// can't be changed by a program; `Internal` when it can't be written.
    pub fn set(&self, key: &str, value: &str) -> Result<Edited> {
        self.change(key, Some(value))
    }

    /// Takes away what `key` is set to, so that its default counts. A line with a comment becomes a comment itself.
    ///
    /// # Errors
    /// As those of [`set`](Self::set).
    pub fn unset(&self, key: &str) -> Result<Edited> {
        self.change(key, None)
    }

    pub(super) fn change(&self, key: &str, value: Option<&str>) -> Result<Edited> {
        // A machine that was not set up has no folder to lock either.
        self.text().map_err(Error::from)?;
        let _lock = self.lock()?;
        let text = self.text().map_err(Error::from)?;
        let edited = self.change_in(&text, key, value)?;
        if edited.changed {
            self.write(&edited.text)?;
        }
        Ok(edited)
    }

    /// What [`set`](Self::set) would make of `text`.
    ///
    /// # Errors
    /// As those of [`set`](Self::set).
    pub fn set_in(&self, text: &str, key: &str, value: &str) -> Result<Edited> {
        self.change_in(text, key, Some(value))
    }

    /// Makes several changes in one step, or none: each is a key with its new value as YAML, or without one. `check` may
    /// refuse the text that is there. Returns the file's text now.
    ///
    /// # Errors
    /// As those of [`set`](Self::set), and those of `check`.
    pub fn change_many(
        &self,
        changes: &[(String, Option<String>)],
        check: impl FnOnce(&str) -> Result<()>,
    ) -> Result<String> {
        self.text().map_err(Error::from)?;
        let _lock = self.lock()?;
        let text = self.text().map_err(Error::from)?;
        check(&text)?;
        let mut edited = text.clone();
        for (key, value) in changes {
            edited = self.edited(&edited, key, value.as_deref())?.0;
        }
        if edited != text {
            self.not_worse(&text, &edited)?;
            self.write(&edited)?;
        }
        Ok(edited)
    }

    fn change_in(&self, text: &str, key: &str, value: Option<&str>) -> Result<Edited> {
        let (edited, applied) = self.edited(text, key, value)?;
        let changed = edited != text;
        if changed {
            self.not_worse(text, &edited)?;
        }
        Ok(Edited {
            text: edited,
            changed,
            applied,
        })
    }

    /// Refuses a change that brings an error into the file. What was wrong before does not count.
    fn not_worse(&self, text: &str, edited: &str) -> Result<()> {
        let known: Vec<String> = self.errors(text).into_iter().map(bare).collect();
        let new = self
            .errors(edited)
            .into_iter()
            .find(|problem| !known.contains(&bare(problem.clone())));
        new.map_or(Ok(()), |problem| Err(Error::invalid(bare(problem))))
    }

    /// The text with one change, and when that counts. What it makes of the whole file is not looked at.
    fn edited(&self, text: &str, key: &str, value: Option<&str>) -> Result<(String, Applied)> {
        let schema = self.schema();
        let (kind, applied) = match (schema.key(key), schema.entry(key)) {
            (Some(known), _) => (Some(known.kind), known.applied),
            (None, Some((map, name))) => {
                check::environment_name(name).map_err(|e| Error::invalid(format!("{key}: {e}")))?;
                (None, map.applied)
            }
            (None, None) if schema.is_section(key) => {
                return Err(Error::invalid(format!(
                    "{key} is a section: set one of its keys, such as {}",
                    self.example(key)
                )));
            }
            (None, None) => return Err(unknown(schema, key)),
        };
        let path: Vec<&str> = match schema.entry(key) {
            Some((map, name)) => map.path.split('.').chain([name]).collect(),
            None => key.split('.').collect(),
        };
        let edited = match value {
            None => edit::unset(text, &path),
            Some(value) => {
                let value = parsed(key, kind.as_ref(), value)?;
                if is_so(schema, text, key, &value) {
                    Ok(text.to_owned())
                } else {
                    edit::set(text, &path, &value)
                }
            }
        };
        Ok((edited.map_err(|e| self.unable(key, e))?, applied))
    }

    /// Puts `text` in the place of the file in one step, if it is free of errors.
    ///
    /// # Errors
    /// `Invalid` with every problem of the text; `Internal` when it can't be written.
    pub fn replace(&self, text: &str) -> Result<()> {
        self.validate_text(text).map_err(Error::from)?;
        let _lock = self.lock()?;
        self.write(text)
    }

    fn example(&self, section: &str) -> &'static str {
        let inside = |path: &str| {
            path.strip_prefix(section)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let keys = self.schema().keys.iter();
        keys.map(|key| key.path)
            .find(|path| inside(path))
            .unwrap_or_default()
    }

    pub(super) fn usable(&self) -> Result<Checked, ConfigErrors> {
        let text = self.text()?;
        let problems = self.errors(&text);
        if problems.is_empty() {
            return Ok(Checked::new(self.schema(), &text));
        }
        Err(ConfigErrors {
            path: self.path(),
            problems,
            missing: false,
        })
    }

    /// What is wrong with `text`, unknown keys aside.
    fn errors(&self, text: &str) -> Vec<Problem> {
        let answer = match &self.place {
            Place::Machine(home) => Config::from_text(home, text, Unknown::Warned).map(|_| ()),
            Place::Project(folder) => {
                ProjectConfig::from_text(folder, text, Unknown::Warned).map(|_| ())
            }
        };
        answer.err().map_or_else(Vec::new, |errors| errors.problems)
    }

    fn unable(&self, key: &str, unable: Unable) -> Error {
        let file = self.schema().file;
        Error::invalid(match unable {
            Unable::Syntax(e) => format!("{file}:{}: {}; mend it in an editor", e.line, e.message),
            Unable::ByHand { line } => format!(
                "{file}:{line}: {key} can't be changed here without rearranging the file; change it in an editor"
            ),
        })
    }

    /// Keeps other commands from writing at the same time.
    fn lock(&self) -> Result<Flock<File>> {
        let file = self.target()?;
        let folder = match &self.place {
            Place::Machine(_) => file.parent().unwrap_or(Path::new("/")),
            Place::Project(folder) => folder,
        };
        let locked = File::open(folder).and_then(|folder| {
            Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, e)| io::Error::from(e))
        });
        locked.map_err(|e| {
            Error::internal(format!("{} can't be locked", folder.display())).with_source(e)
        })
    }

    fn write(&self, text: &str) -> Result<()> {
        let path = self.target()?;
        let written = match &self.place {
            Place::Machine(_) => files::replace(&path, files::SECRET, text.as_bytes()),
            Place::Project(folder) => std::fs::create_dir_all(folder.join(".ccm"))
                .and_then(|()| files::replace(&path, files::SHARED, text.as_bytes())),
        };
        written.map_err(|e| {
            Error::internal(format!("{} can't be written", path.display())).with_source(e)
        })
    }

    /// The file itself: a user's own link to the machine's config stays a link.
    fn target(&self) -> Result<PathBuf> {
        let path = self.path();
        match &self.place {
            Place::Machine(_) => Ok(path.canonicalize().unwrap_or(path)),
            Place::Project(folder) => {
                project_config::read(folder).map_err(Error::from)?;
                Ok(path)
            }
        }
    }
}

/// Whether `text` says already that `key` is `value`.
fn is_so(schema: &'static Schema, text: &str, key: &str, value: &Value) -> bool {
    let says = Checked::new(schema, text);
    match schema.entry(key) {
        Some((map, name)) => {
            says.line(map.path).is_some() && says.get(map.path).get(name) == Some(value)
        }
        None => says
            .settings
            .get(key)
            .is_some_and(|old| old.value == *value),
    }
}

fn unknown(schema: &Schema, key: &str) -> Error {
    Error::invalid(format!("{key}: {}", unknown_key(schema, key)))
}

/// A problem without its place, which an edit may have moved.
pub(super) fn bare(problem: Problem) -> String {
    match problem.key {
        Some(key) => format!("{key}: {}", problem.message),
        None => problem.message,
    }
}

/// `text` as a value of `kind`, or as the value of an environment variable.
fn parsed(key: &str, kind: Option<&Kind>, text: &str) -> Result<Value> {
    let node = match yaml::document(text) {
        Ok(Some(node)) if kind.is_none() || !node.is_null() => node,
        Ok(None) if kind.is_none() => {
            return Err(Error::invalid(format!("{key}: {}", check::VARIABLE)));
        }
        Ok(_) => return Ok(Value::Null),
        Err(e) => return Err(Error::invalid(format!("{key}: {}", e.message))),
    };
    let Some(kind) = kind else {
        let value = check::argument(&node).map(Value::from);
        return value.ok_or_else(|| Error::invalid(format!("{key}: {}", check::VARIABLE)));
    };
    check::value(kind, &node).map_err(|wrong| {
        let entry = wrong
            .entry
            .map(|entry| format!(".{entry}"))
            .unwrap_or_default();
        Error::invalid(format!("{key}{entry}: {}", wrong.message))
    })
}

/// Reads a text that a person gave outright, such as an edited copy of a config file.
///
/// # Errors
/// When it can't be read, has more than 1 MiB or is not UTF-8.
pub fn read_copy(path: &Path) -> io::Result<String> {
    files::read_text(path, Links::Followed)
}
