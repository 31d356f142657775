//! Every key of the config files: one table each for the machine and for a project.
//!
//! Checking, defaults, `config get|set|show`, hints at misspelt keys and the commented file that set-up writes are all
//! derived from these tables, so a key that is added here is known everywhere.

pub use super::tables::{MACHINE, PROJECT};

/// One kind of config file.
#[derive(Debug)]
pub struct Schema {
    /// What errors call the file.
    pub file: &'static str,
    /// Its keys in the order in which they are written.
    pub keys: &'static [Key],
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its full name, such as `agents.max_idle_time`.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its default as YAML. Empty if there is none, or if it is found out at run time.
    pub default: &'static str,
    /// What it is for, in a few words.
    pub doc: &'static str,
    /// When a change of it counts.
    pub applied: Applied,
    /// Whether its value is shown only to whoever asks for exactly this key.
    pub secret: bool,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Whole {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// What is counted, if it needs saying.
        unit: Option<&'static str>,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One line.
    Text,
    /// Letters, digits, `-` and `_`.
    Word,
    /// What a project can be called.
    Name,
    /// A UUID.
    Id,
    /// A path; `~` is the user's home, relative ones begin at the machine home.
    Path,
    /// An IP address or `localhost`.
    Address,
    /// An address of a server: https, or http on this machine.
    Url,
    /// Arguments: a list of texts.
    Arguments,
    /// A list of tags.
    Tags,
    /// A list of host names, each with a port if it is not the usual one.
    Hosts,
    /// Environment variables and their values.
    Environment,
}

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// After `daemon reload`; nothing has to be restarted.
    Reload,
    /// After `daemon restart`.
    Restart,
    /// For runs that begin later; nothing has to be restarted.
    NextRun,
    /// For tasks that are created later; nothing has to be restarted.
    NextTask,
    /// When the project is registered.
    Registration,
    /// In a later version: this one checks and keeps the value, and does nothing with it.
    NotYet,
}

impl Key {
    /// What its value may be, in words.
    pub fn allowed(&self) -> String {
        super::check::expected(&self.kind)
    }
}

impl Applied {
    /// When a change counts, in words.
    pub const fn when(self) -> &'static str {
        match self {
            Self::Reload => "after `daemon reload`",
            Self::Restart => "after `daemon restart`",
            Self::NextRun => "from the next run",
            Self::NextTask => "for tasks created later",
            Self::Registration => "when the project is registered",
            Self::NotYet => "in a later version",
        }
    }
}

impl Schema {
    /// The key called `path`.
    pub fn key(&self, path: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.path == path)
    }

    /// The map key that `path` is an entry of, and the entry's name: `agent.env.LANG` is `LANG` of `agent.env`.
    pub fn entry<'p>(&self, path: &'p str) -> Option<(&'static Key, &'p str)> {
        self.keys
            .iter()
            .filter(|key| key.kind == Kind::Environment)
            .find_map(|key| {
                let name = path.strip_prefix(key.path)?.strip_prefix('.')?;
                (!name.is_empty()).then_some((key, name))
            })
    }

    /// Whether `path` is a part of key names, such as `agents`.
    pub fn is_section(&self, path: &str) -> bool {
        self.keys.iter().any(|key| {
            key.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// The known key or section that `path` was most likely meant to be.
    pub fn nearest(&self, path: &str) -> Option<&'static str> {
        let sections = self
            .keys
            .iter()
            .filter_map(|key| key.path.rsplit_once('.').map(|(section, _)| section));
        self.keys
            .iter()
            .map(|key| key.path)
            .chain(sections)
            .filter_map(|known| distance(path, known).map(|distance| (distance, known)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known)
    }
}

/// How far a mistyped key is from a known one, if it is near: a few letters, or the right name in the wrong section.
fn distance(path: &str, known: &str) -> Option<usize> {
    let near = |a: &str, b: &str, least: usize| {
        let distance = strsim::damerau_levenshtein(a, b);
        (distance <= (a.len() / 3).max(least)).then_some(distance)
    };
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = near(path, known, 2);
    let elsewhere = near(&last(path), &last(known), 1).map(|distance| distance + 1);
    whole.into_iter().chain(elsewhere).min()
}
