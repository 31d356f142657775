//! Checking a config file against its table: values with their places, and every problem at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::check;
use super::schema::{Applied, Key, Schema};
use super::yaml::{self, Body, Entry, Node};

/// Something wrong in a config file, told as `config.yaml:31: agents.max_idle_time: expected ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What the file is called.
    pub file: String,
    /// The line, if it is about one.
    pub line: Option<usize>,
    /// The key, if it is about one.
    pub key: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a config file can't be used: everything that is wrong with it, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
    /// Whether the file is simply not there.
    pub missing: bool,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for ccm_core::Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::invalid(errors.to_string())
    }
}

impl ConfigErrors {
    /// One problem with the file as a whole.
    pub(crate) fn whole(path: &Path, file: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problems: vec![Problem {
                file: file.to_owned(),
                line: None,
                key: None,
                message: message.into(),
            }],
            missing: false,
        }
    }
}

/// A value that a file sets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) line: usize,
}

/// What a file says, checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) schema: &'static Schema,
    /// What is set and allowed, by key.
    pub(crate) settings: BTreeMap<&'static str, Setting>,
    /// Values that are not allowed, and anything that is no value.
    pub(crate) errors: Vec<Problem>,
    /// Keys that nobody knows.
    pub(crate) unknown: Vec<Problem>,
}

impl Checked {
    /// Checks `text`. A text that is no YAML has one error and no settings.
    pub(crate) fn new(schema: &'static Schema, text: &str) -> Self {
        let mut checked = Self {
            schema,
            settings: BTreeMap::new(),
            errors: Vec::new(),
            unknown: Vec::new(),
        };
        match yaml::parse(text) {
            Err(e) => {
                let problem = checked.problem(Some(e.line), None, e.message);
                checked.errors.push(problem);
            }
            Ok(root) => match &root.body {
                Body::Map { entries, .. } => checked.section("", entries),
                _ => {
                    let message = format!("expected keys and values, found {}", root.found());
                    let problem = checked.problem(Some(root.line), None, message);
                    checked.errors.push(problem);
                }
            },
        }
        checked
    }

    fn section(&mut self, prefix: &str, entries: &[Entry]) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in entries {
            let Body::Scalar { text, .. } = &entry.key.body else {
                let message = format!("expected a key, found {}", entry.key.found());
                self.error(entry.key.line, None, message);
                continue;
            };
            let path = if prefix.is_empty() {
                text.clone()
            } else {
                format!("{prefix}.{text}")
            };
            if let Some(first) = seen.insert(text, entry.key.line) {
                let message = format!("written twice, first in line {first}");
                self.error(entry.key.line, Some(&path), message);
                continue;
            }
            let schema = self.schema;
            if let Some(key) = schema.key(&path) {
                self.value(key, &entry.value);
            } else if schema.is_section(&path) {
                match &entry.value.body {
                    Body::Map { entries, .. } => self.section(&path, entries),
                    _ if entry.value.is_null() => {}
                    _ => {
                        let found = entry.value.found();
                        let message = format!("expected keys and values, found {found}");
                        self.error(entry.value.line, Some(&path), message);
                    }
                }
            } else {
                let message = unknown_key(schema, &path);
                let problem = self.problem(Some(entry.key.line), Some(&path), message);
                self.unknown.push(problem);
            }
        }
    }

    fn value(&mut self, key: &'static Key, node: &Node) {
        if node.is_null() {
            return;
        }
        match check::value(&key.kind, node) {
            Ok(value) => {
                let line = node.line;
                self.settings.insert(key.path, Setting { value, line });
            }
            Err(wrong) => {
                let path = match wrong.entry {
                    Some(entry) => format!("{}.{entry}", key.path),
                    None => key.path.to_owned(),
                };
                self.error(wrong.line, Some(&path), wrong.message);
            }
        }
    }

    pub(crate) fn error(&mut self, line: usize, key: Option<&str>, message: String) {
        let problem = self.problem(Some(line), key, message);
        self.errors.push(problem);
    }

    /// A problem with `key`, at the line where it is set if it is.
    pub(crate) fn at(&self, key: &str, message: impl Into<String>) -> Problem {
        self.problem(self.line(key), Some(key), message.into())
    }

    fn problem(&self, line: Option<usize>, key: Option<&str>, message: String) -> Problem {
        Problem {
            file: self.schema.file.to_owned(),
            line,
            key: key.map(printable),
            message,
        }
    }

    /// Where `key` is set.
    pub(crate) fn line(&self, key: &str) -> Option<usize> {
        self.settings.get(key).map(|setting| setting.line)
    }

    /// The value of `key`: what is set, else its default, else null.
    pub(crate) fn get(&self, key: &str) -> Value {
        if let Some(setting) = self.settings.get(key) {
            return setting.value.clone();
        }
        self.schema.key(key).map_or(Value::Null, default_of)
    }

    /// What is set to no effect: keys that this version checks and keeps, and does nothing with.
    pub(crate) fn not_yet(&self) -> Vec<Problem> {
        self.schema
            .keys
            .iter()
            .filter(|key| key.applied == Applied::NotYet)
            .filter(|key| self.line(key.path).is_some() && self.get(key.path) != default_of(key))
            .map(|key| {
                self.at(
                    key.path,
                    "this version keeps the value and does nothing with it yet",
                )
            })
            .collect()
    }

    /// Everything with defaults as nested objects. Keys that have neither a value nor a default are null.
    pub(crate) fn nested(&self) -> Value {
        nested(self.schema, |key| self.get(key))
    }
}

/// The values of all keys of `schema` as nested objects.
pub(crate) fn nested(schema: &Schema, value: impl Fn(&'static str) -> Value) -> Value {
    let mut root = Value::Object(serde_json::Map::new());
    for key in schema.keys {
        let mut place = &mut root;
        for part in key.path.split('.') {
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            place = &mut place[part];
        }
        *place = value(key.path);
    }
    root
}

/// What is said about a key that nobody knows.
pub(crate) fn unknown_key(schema: &Schema, path: &str) -> String {
    match schema.nearest(path) {
        Some(known) => format!("unknown key, did you mean {known}?"),
        None => "unknown key".to_owned(),
    }
}

/// The default of a key.
pub(crate) fn default_of(key: &Key) -> Value {
    yaml::parse(&format!("value: {}", key.default))
        .ok()
        .and_then(|root| {
            let node = &root.get("value")?.value;
            check::value(&key.kind, node).ok()
        })
        .unwrap_or(Value::Null)
}

/// A key as it can be shown: what would break the line is escaped.
fn printable(key: &str) -> String {
    if key.chars().any(char::is_control) || key.is_empty() {
        format!("{key:?}")
    } else {
        key.to_owned()
    }
}
