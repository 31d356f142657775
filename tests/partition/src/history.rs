//! What the machines were asked for, and what they answered.

use serde_json::Value;

use crate::script::Create;

/// What became of a request, as whoever asked knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was said to be done. Whatever happens, it has to be.
    Acknowledged,
    /// It was refused, or nobody was there.
    Refused,
    /// The answer did not come.
    Unknown,
}

impl Fate {
    /// Whether it may have taken effect.
    pub(crate) const fn may_be(self) -> bool {
        !matches!(self, Self::Refused)
    }
}

/// A task that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Created {
    /// What it is known by, before it has an id: the second line of its text, and its first title.
    pub(crate) name: String,
    pub(crate) machine: usize,
    pub(crate) what: Create,
    pub(crate) fate: Fate,
    /// Its id, if that was answered.
    pub(crate) id: Option<String>,
    /// The request, to be repeated as it was.
    pub(crate) body: Value,
}

/// An edit that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Edited {
    pub(crate) task: String,
    pub(crate) machine: usize,
    /// The title that the task was to have. No two edits have the same.
    pub(crate) title: String,
    /// The title that it had before, where it was edited. Whoever wrote that one is overwritten and not lost.
    pub(crate) before: String,
    pub(crate) fate: Fate,
}

/// A cancel or retry that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wished {
    pub(crate) task: String,
    pub(crate) is_retry: bool,
    pub(crate) fate: Fate,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) created: Vec<Created>,
    pub(crate) edited: Vec<Edited>,
    pub(crate) wished: Vec<Wished>,
}

impl History {
    /// The ids of tasks that were acknowledged, oldest first.
    pub(crate) fn known(&self, of_waiting: bool) -> Vec<&str> {
        let tasks = self.created.iter();
        tasks
            .filter(|created| created.fate == Fate::Acknowledged)
            .filter(|created| !of_waiting || created.what.waits.is_some())
            .filter_map(|created| created.id.as_deref())
            .collect()
    }
}
