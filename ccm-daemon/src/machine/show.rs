//! What counts, key by key, and where each value comes from: what `config show` shows.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::config::ProfileName;
use super::config_file::{ConfigFile, Place};
use super::home::Home;
use super::render;
use super::schema::{Key, Kind, Schema};
use super::setup;
use super::values::{Checked, ConfigErrors, nested};

/// What is shown instead of a secret.
pub const HIDDEN: &str = "(hidden)";

/// A key, its value and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key's full name.
    pub key: &'static str,
    /// What counts. Secrets are hidden; null if there is no value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A config file says so.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Nothing says otherwise.
    Default,
    /// Something else says so, in words.
    Derived(String),
    /// There is no value.
    Unset,
}

/// Everything that counts for one config file.
#[derive(Debug, Clone)]
pub struct Effective {
    schema: &'static Schema,
    /// The keys in the order of the table.
    pub keys: Vec<Shown>,
}

impl ConfigFile {
    /// What counts, with defaults and with what other settings make of it. For a project what its machine says is below
    /// what it says itself.
    ///
    /// # Errors
    /// Every problem of the file, unknown keys aside.
    pub fn effective(&self, machine: Option<&Home>) -> Result<Effective, ConfigErrors> {
        let checked = self.usable()?;
        let path = self.path();
        let mut keys: Vec<Shown> = checked
            .schema
            .keys
            .iter()
            .map(|key| shown(key, &checked, &path))
            .collect();
        match self.place() {
            Place::Machine(_) => derive_machine(&mut keys, &checked),
            Place::Project(folder) => {
                let memory = machine.and_then(machine_memory);
                derive_project(&mut keys, folder, memory);
            }
        }
        Ok(Effective {
            schema: checked.schema,
            keys,
        })
    }
}

impl Effective {
    /// The values as nested objects.
    pub fn values(&self) -> Value {
        nested(self.schema, |path| {
            let shown = self.keys.iter().find(|shown| shown.key == path);
            shown.map_or(Value::Null, |shown| shown.value.clone())
        })
    }

    /// The values as YAML, with a comment on where each comes from if `origins` is set.
    pub fn yaml(&self, origins: bool) -> String {
        let mut text = String::new();
        let mut open: Vec<&str> = Vec::new();
        for shown in &self.keys {
            let parts: Vec<&str> = shown.key.split('.').collect();
            let Some((name, sections)) = parts.split_last() else {
                continue;
            };
            let same = open.iter().zip(sections).take_while(|(a, b)| a == b);
            let same = same.count();
            open.truncate(same);
            for section in &sections[same..] {
                text.push_str(&format!("{}{section}:\n", "  ".repeat(open.len())));
                open.push(section);
            }
            let value = render::flow(&shown.value);
            let line = format!("{}{name}: {value}", "  ".repeat(sections.len()));
            if origins {
                text.push_str(&format!("{line:<38}  # {}\n", shown.origin));
            } else {
                text.push_str(&format!("{line}\n"));
            }
        }
        text
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
            Self::Derived(words) => f.write_str(words),
            Self::Unset => f.write_str("not set"),
        }
    }
}

fn shown(key: &'static Key, checked: &Checked, path: &Path) -> Shown {
    let value = checked.get(key.path);
    let origin = match checked.line(key.path) {
        Some(line) if !value.is_null() => Origin::File {
            path: path.to_owned(),
            line,
        },
        _ if value.is_null() => Origin::Unset,
        _ => Origin::Default,
    };
    Shown {
        key: key.path,
        value: hidden(key, value),
        origin,
    }
}

/// A secret without what is secret about it.
pub(crate) fn hidden(key: &Key, value: Value) -> Value {
    match (key.kind, value) {
        (_, value) if !key.secret || value.is_null() => value,
        (Kind::Environment, Value::Object(map)) => Value::Object(
            map.into_iter()
                .map(|(name, _)| (name, HIDDEN.into()))
                .collect::<Map<_, _>>(),
        ),
        _ => HIDDEN.into(),
    }
}

fn derive_machine(keys: &mut [Shown], checked: &Checked) {
    let minimal = checked.get("profile") == ProfileName::Minimal.as_str();
    for shown in keys {
        match shown.key {
            "web_ui.enabled" if minimal && shown.value == Value::Bool(true) => {
                shown.value = Value::Bool(false);
                shown.origin = Origin::Derived("off in the profile minimal".to_owned());
            }
            "system.hostname" if shown.value.is_null() => {
                shown.value = setup::hostname().into();
                shown.origin = Origin::Derived("what this machine calls itself".to_owned());
            }
            _ => {}
        }
    }
}

fn derive_project(keys: &mut [Shown], folder: &Path, memory: Option<(Value, String)>) {
    for shown in keys {
        match shown.key {
            "name" if shown.value.is_null() => {
                if let Some(name) = folder.file_name() {
                    shown.value = name.to_string_lossy().into();
                    shown.origin = Origin::Derived("the folder's name".to_owned());
                }
            }
            "limits.memory_mb" if shown.value.is_null() => {
                if let Some((value, words)) = &memory {
                    shown.value = value.clone();
                    shown.origin = Origin::Derived(words.clone());
                }
            }
            _ => {}
        }
    }
}

/// The machine's limit of memory, which counts for projects that have none of their own. `None` if the machine's config
/// can't be used.
fn machine_memory(home: &Home) -> Option<(Value, String)> {
    const KEY: &str = "resources.max_agent_memory_mb";
    let machine = ConfigFile::machine(home).effective(None).ok()?;
    let shown = machine.keys.into_iter().find(|shown| shown.key == KEY)?;
    Some((shown.value, format!("{KEY} ({})", shown.origin)))
}
