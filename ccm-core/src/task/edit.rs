//! Changing what a task asks for.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Rank, SessionMode, Task, TaskSpec, TaskState, TaskText, Title};
use crate::id::{Revision, TaskId};
use crate::system::SystemKind;
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// What becomes of a value that can be unset. In JSON: left out, `null`, or the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is unset.
    Unset,
    /// It becomes this.
    Set(T),
}

impl<T> Edit<T> {
    /// Whether it stays: what serde asks before it leaves the field out.
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The same with another value.
    pub fn try_map<U>(self, map: impl FnOnce(T) -> Result<U>) -> Result<Edit<U>> {
        Ok(match self {
            Self::Keep => Edit::Keep,
            Self::Unset => Edit::Unset,
            Self::Set(value) => Edit::Set(map(value)?),
        })
    }

    fn apply(self, to: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Unset => *to = None,
            Self::Set(value) => *to = Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Edit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Unset => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Edit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Unset, Self::Set))
    }
}

/// A change of what a task asks for. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpecEdit {
    /// Another title; unset, it is made from the text.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub title: Edit<Title>,
    /// Another text. A title that was made from the old one is made from it.
    pub text: Option<TaskText>,
    /// Another priority.
    pub priority: Option<i32>,
    /// Another date to wait for, or none.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub not_before: Edit<Timestamp>,
    /// Other tasks to wait for.
    pub blocked_by: Option<Vec<TaskId>>,
    /// Another number of retries.
    pub max_retries: Option<u32>,
    /// Another longest time, or none.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub timeout: Edit<Duration>,
    /// Another conversation.
    pub session: Option<SessionMode>,
    /// Other tags.
    pub tags: Option<Vec<String>>,
    /// Another kind of machine, or any.
    #[serde(skip_serializing_if = "Edit::is_keep")]
    pub system_type: Edit<SystemKind>,
}

impl TaskSpec {
    /// What is asked for after `edit`, checked.
    ///
    /// # Errors
    /// `Invalid` for what breaks a rule.
    pub fn edited(&self, edit: SpecEdit) -> Result<Self> {
        let mut spec = self.clone();
        let from_text = self.title == self.text.title();
        spec.text = edit.text.unwrap_or(spec.text);
        match edit.title {
            Edit::Set(title) => spec.title = title,
            Edit::Keep if !from_text => {}
            Edit::Keep | Edit::Unset => spec.title = spec.text.title(),
        }
        spec.priority = edit.priority.unwrap_or(spec.priority);
        edit.not_before.apply(&mut spec.not_before);
        spec.blocked_by = edit.blocked_by.unwrap_or(spec.blocked_by);
        spec.max_retries = edit.max_retries.unwrap_or(spec.max_retries);
        edit.timeout.apply(&mut spec.timeout);
        spec.session = edit.session.unwrap_or(spec.session);
        spec.tags = edit.tags.unwrap_or(spec.tags);
        edit.system_type.apply(&mut spec.system_type);
        spec.validate()?;
        Ok(spec)
    }

    /// The names of what differs, as the API calls them.
    pub fn changes(&self, to: &Self) -> Vec<&'static str> {
        [
            ("title", self.title != to.title),
            ("text", self.text != to.text),
            ("priority", self.priority != to.priority),
            ("not_before", self.not_before != to.not_before),
            ("blocked_by", self.blocked_by != to.blocked_by),
            ("max_retries", self.max_retries != to.max_retries),
            ("timeout_s", self.timeout != to.timeout),
            ("session", self.session != to.session),
            ("tags", self.tags != to.tags),
            ("system_type", self.system_type != to.system_type),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

impl Task {
    /// The task after `edit` and the names of what differs, or `None` if nothing does. `revision` is the one that the
    /// editor saw.
    ///
    /// # Errors
    /// `WrongState(Task)` when it does not wait, `StaleRevision` when it is at another revision, and `Invalid` for what
    /// breaks a rule, such as waiting for itself.
    pub fn edited(
        &self,
        revision: Option<Revision>,
        edit: SpecEdit,
        now: Timestamp,
    ) -> Result<Option<(Self, Vec<&'static str>)>> {
        self.waits("edited")?;
        if revision.is_some_and(|seen| seen != self.revision) {
            return Err(Error::new(
                ErrorKind::StaleRevision,
                format!(
                    "the task was changed meanwhile: look at it again (it is at revision {})",
                    self.revision
                ),
            ));
        }
        self.edited_anyway(edit, now)
    }

    /// The same whatever it does now and at whichever revision it is: one that does not wait has the change for its next
    /// attempt.
    ///
    /// # Errors
    /// `Invalid` for what breaks a rule.
    pub fn edited_anyway(
        &self,
        edit: SpecEdit,
        now: Timestamp,
    ) -> Result<Option<(Self, Vec<&'static str>)>> {
        let dated = !edit.not_before.is_keep();
        let mut task = self.clone();
        task.spec = self.spec.edited(edit)?;
        if task.spec.blocked_by.contains(&task.id) {
            return Err(Error::invalid("the task would wait for itself").at("/blocked_by"));
        }
        let mut changes = self.spec.changes(&task.spec);
        if dated && matches!(self.state, TaskState::Queued { .. }) {
            // Also instead of the time until another attempt.
            task.due_at = task.spec.not_before;
            if task.due_at != self.due_at && !changes.contains(&"not_before") {
                changes.push("not_before");
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        task.revision.0 += 1;
        task.updated_at = now;
        Ok(Some((task, changes)))
    }

    /// The task at another place in its queue, and the names of what differs.
    #[must_use]
    pub fn moved(&self, priority: i32, rank: Rank, now: Timestamp) -> (Self, Vec<&'static str>) {
        let mut task = self.clone();
        task.spec.priority = priority;
        task.rank = rank;
        // A date that has come counts no longer: since when it waits is what its place says.
        task.due_at = self.due_at.filter(|due| *due > now);
        task.revision.0 += 1;
        task.updated_at = now;
        let mut changes = self.spec.changes(&task.spec);
        changes.push("place");
        (task, changes)
    }

    /// Whether it may stand next to `other` in the queue.
    ///
    /// # Errors
    /// `WrongState(Task)` when the other one does not wait; `Invalid` when it is itself or of another project.
    pub fn may_be_next_to(&self, other: &Self) -> Result<()> {
        if other.id == self.id {
            return Err(Error::invalid("a task can't be next to itself"));
        }
        if other.project_id != self.project_id {
            return Err(Error::invalid(format!(
                "the other task is of another project, {}",
                other.project
            )));
        }
        if !matches!(other.state, TaskState::Queued { .. }) {
            return Err(Error::new(
                ErrorKind::WrongState(Noun::Task),
                format!(
                    "the other task is {}, and only those that wait have a place in the queue",
                    other.state.name()
                ),
            ));
        }
        Ok(())
    }

    /// Refuses what only a waiting task lets be done.
    ///
    /// # Errors
    /// `WrongState(Task)`.
    pub fn waits(&self, what: &str) -> Result<()> {
        if matches!(self.state, TaskState::Queued { .. }) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::WrongState(Noun::Task),
            format!(
                "the task is {} and can't be {what}: only one that waits can",
                self.state.name()
            ),
        ))
    }
}
