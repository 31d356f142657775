//! What a task asks for, checked once.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::system::SystemKind;
use crate::time::Timestamp;
use crate::{Error, Result};

/// The most bytes a task's text may have.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The most characters a task's title may have.
pub const MAX_TITLE_CHARS: usize = 200;
/// The most tasks that one task may wait for.
pub const MAX_BLOCKERS: usize = 100;
/// The most tags a task may ask for.
pub const MAX_TAGS: usize = 32;
/// The most further attempts that a task may ask for.
pub const MAX_RETRIES: u32 = 100;
/// The longest that one attempt may take: 366 days.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The words an agent gets: 1 byte to 1 MiB of UTF-8 without NUL, kept byte for byte.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskText(String);

impl TaskText {
    /// Checks `text` and keeps it unchanged.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::invalid("the task text is empty"));
        }
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::invalid(format!(
                "the task text has {} bytes, and at most {MAX_TEXT_BYTES} (1 MiB) are allowed",
                text.len()
            )));
        }
        if let Some(at) = text.find('\0') {
            return Err(Error::invalid(format!(
                "the task text has a NUL character at byte {at}"
            )));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first `chars` characters.
    #[must_use]
    pub fn cut(mut self, chars: NonZeroU32) -> Self {
        cut(&mut self.0, chars);
        self
    }

    /// A title made of the first line that says something.
    pub fn title(&self) -> Title {
        let line = self.0.lines().find(|line| !line.trim().is_empty());
        let mut title: String = line
            .unwrap_or("(blank)")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect::<String>()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        if title.is_empty() {
            title.push_str("(blank)");
        }
        if title.chars().count() > 80 {
            title = title.chars().take(79).collect();
            title.push('…');
        }
        Title(title)
    }
}

/// Leaves the first `chars` characters of a text.
pub(super) fn cut(text: &mut String, chars: NonZeroU32) {
    if let Some((end, _)) = text.char_indices().nth(chars.get() as usize) {
        text.truncate(end);
        // It is kept for as long as a list is on its way.
        text.shrink_to_fit();
    }
}

impl TryFrom<String> for TaskText {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<TaskText> for String {
    fn from(text: TaskText) -> Self {
        text.0
    }
}

impl fmt::Debug for TaskText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskText({} bytes)", self.0.len())
    }
}

/// One line of 1 to 200 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Title(String);

impl Title {
    /// Checks `title`.
    pub fn new(title: impl Into<String>) -> Result<Self> {
        let title = title.into();
        let chars = title.chars().count();
        if title.trim().is_empty() {
            return Err(Error::invalid("the title is empty"));
        }
        if chars > MAX_TITLE_CHARS {
            return Err(Error::invalid(format!(
                "the title has {chars} characters, and at most {MAX_TITLE_CHARS} are allowed"
            )));
        }
        if title.chars().any(char::is_control) {
            return Err(Error::invalid("the title has a control character"));
        }
        Ok(Self(title))
    }

    /// The title.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Title {
    type Error = Error;

    fn try_from(title: String) -> Result<Self> {
        Self::new(title)
    }
}

impl From<Title> for String {
    fn from(title: Title) -> Self {
        title.0
    }
}

/// Whether a run begins a conversation or goes on with the agent's last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionMode {
    /// A conversation of its own.
    #[default]
    Fresh,
    /// The agent's last conversation.
    Continue,
}

/// What a task asks for. Nothing in it changes by running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// One line for people.
    pub title: Title,
    /// What the agent gets.
    pub text: TaskText,
    /// Higher is sooner; 0 is usual.
    pub priority: i32,
    /// Not to be started before this.
    pub not_before: Option<Timestamp>,
    /// Tasks that must have succeeded first.
    pub blocked_by: Vec<TaskId>,
    /// How many further attempts may follow one that failed or was lost.
    pub max_retries: u32,
    /// The longest that one attempt may take, from the start of its program.
    pub timeout: Option<Duration>,
    /// Which conversation it belongs to.
    pub session: SessionMode,
    /// Tags that a machine must all have to run it.
    pub tags: Vec<String>,
    /// The kind of machine it needs.
    pub system_type: Option<SystemKind>,
}

impl TaskSpec {
    /// A task with this text, everything else as usual.
    pub fn new(text: TaskText) -> Self {
        Self {
            title: text.title(),
            text,
            priority: 0,
            not_before: None,
            blocked_by: Vec::new(),
            max_retries: 0,
            timeout: None,
            session: SessionMode::Fresh,
            tags: Vec::new(),
            system_type: None,
        }
    }

    /// Checks the limits that the types don't carry.
    pub fn validate(&self) -> Result<()> {
        if self.blocked_by.len() > MAX_BLOCKERS {
            return Err(Error::invalid(format!(
                "the task waits for {} others, and at most {MAX_BLOCKERS} are allowed",
                self.blocked_by.len()
            ))
            .at("/blocked_by"));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(Error::invalid(format!(
                "the task has {} tags, and at most {MAX_TAGS} are allowed",
                self.tags.len()
            ))
            .at("/tags"));
        }
        if let Some((place, tag)) = (0..).zip(&self.tags).find(|(_, tag)| !is_tag(tag)) {
            return Err(Error::invalid(format!(
                "{tag:?} is not a tag: 1 to 64 letters, digits, '-', '_', '.', ':' or '/'"
            ))
            .at(format_args!("/tags/{place}")));
        }
        if self.max_retries > MAX_RETRIES {
            return Err(Error::invalid(format!(
                "the task asks for {} retries, and at most {MAX_RETRIES} are allowed",
                self.max_retries
            )));
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Error::invalid("the timeout is 0 seconds").at("/timeout_s"));
        }
        if self.timeout.is_some_and(|timeout| timeout > MAX_TIMEOUT) {
            return Err(Error::invalid(format!(
                "the timeout is longer than the {} seconds (366 days) that are allowed",
                MAX_TIMEOUT.as_secs()
            )));
        }
        Ok(())
    }
}

/// Whether `text` can be a tag of a machine or a task.
pub fn is_tag(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/'))
}
