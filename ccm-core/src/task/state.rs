//! The states of a task and the only ways from one to another.

use crate::agent::Wish;
use crate::id::RunId;
use crate::reason::Reason;
use crate::run::Verdict;
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// Where a task stands.
///
/// "Not before" and "blocked by" are facts of a queued task and no states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for its turn.
    Queued {
        /// Why the last try did not lead to an attempt, or failed and is to be repeated.
        last: Option<Setback>,
    },
    /// A run works on it.
    Running {
        /// That run.
        run: RunId,
        /// A decision to end the run; it stays until the run has ended.
        stop: Option<StopIntent>,
    },
    /// Done.
    Succeeded {
        /// The run that did it.
        run: RunId,
        /// When.
        at: Timestamp,
    },
    /// Given up.
    Failed {
        /// The last run, if there was one.
        run: Option<RunId>,
        /// Why, and what a person can do.
        cause: Setback,
        /// When.
        at: Timestamp,
    },
    /// Called off.
    Cancelled {
        /// The run that was stopped for it, if there was one.
        run: Option<RunId>,
        /// Who did it.
        by: String,
        /// When.
        at: Timestamp,
    },
}

/// The name of a task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub enum TaskStateName {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl TaskStateName {
    /// Every state there is.
    pub const ALL: &[Self] = &[
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether only a person's retry leads out of it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl std::fmt::Display for TaskStateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for TaskStateName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is not a task state")))
    }
}

/// Why something did not go as wished, and what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Setback {
    /// The class of cause.
    pub reason: Reason,
    /// One sentence for people.
    pub detail: Option<String>,
}

impl Setback {
    /// A setback without more to say.
    pub const fn bare(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }

    /// A setback with a sentence for people.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: Some(detail.into()),
        }
    }
}

/// A durable decision to end a run before it ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StopIntent {
    /// What the run will have ended of: [`Reason::Cancelled`], [`Reason::ProjectRemoved`], [`Reason::Timeout`] ...
    pub reason: Reason,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl StopIntent {
    /// The run is given up because its agent is.
    pub fn with_agent(wish: &Wish) -> Self {
        Self {
            reason: Reason::Lost,
            by: format!("{} with its agent", wish.by),
            at: wish.at,
        }
    }

    /// Whether the task must not be queued again after this stop.
    pub const fn is_final(&self) -> bool {
        matches!(self.reason, Reason::Cancelled | Reason::ProjectRemoved)
    }

    /// Which of two decisions counts: a person's beats the machine's, and else the first.
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        if !self.is_final() && later.is_final() {
            later
        } else {
            self
        }
    }
}

/// What asking for a cancel led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelEffect {
    /// It waited and is cancelled now.
    Done,
    /// It runs and will be stopped.
    Stopping,
    /// It was cancelled, or is being stopped, already.
    Unchanged,
}

impl TaskState {
    /// The state's name.
    pub const fn name(&self) -> TaskStateName {
        match self {
            Self::Queued { .. } => TaskStateName::Queued,
            Self::Running { .. } => TaskStateName::Running,
            Self::Succeeded { .. } => TaskStateName::Succeeded,
            Self::Failed { .. } => TaskStateName::Failed,
            Self::Cancelled { .. } => TaskStateName::Cancelled,
        }
    }

    /// The run it is about: the current one, or the one that ended it.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Queued { .. } => None,
            Self::Running { run, .. } | Self::Succeeded { run, .. } => Some(*run),
            Self::Failed { run, .. } | Self::Cancelled { run, .. } => *run,
        }
    }

    /// A run takes the task.
    pub fn claim(&self, run: RunId) -> Result<Self> {
        match self {
            Self::Queued { .. } => Ok(Self::Running { run, stop: None }),
            other => Err(other.refuse("claimed")),
        }
    }

    /// Someone calls the task off.
    pub fn cancel(&self, by: &str, at: Timestamp) -> Result<(Self, CancelEffect)> {
        match self {
            Self::Queued { .. } => {
                let by = by.to_owned();
                Ok((Self::Cancelled { run: None, by, at }, CancelEffect::Done))
            }
            Self::Running { run, stop } => {
                let wish = StopIntent {
                    reason: Reason::Cancelled,
                    by: by.to_owned(),
                    at,
                };
                let merged = stop.clone().map_or(wish.clone(), |first| first.or(wish));
                let effect = if stop.as_ref() == Some(&merged) {
                    CancelEffect::Unchanged
                } else {
                    CancelEffect::Stopping
                };
                let stop = Some(merged);
                Ok((Self::Running { run: *run, stop }, effect))
            }
            Self::Cancelled { .. } => Ok((self.clone(), CancelEffect::Unchanged)),
            ended => Err(ended.refuse("cancelled")),
        }
    }

    /// The machine decides to end the task's run.
    pub fn stop(&self, intent: StopIntent) -> Result<Self> {
        match self {
            Self::Running { run, stop } => Ok(Self::Running {
                run: *run,
                stop: Some(match stop.clone() {
                    Some(first) => first.or(intent),
                    None => intent,
                }),
            }),
            other => Err(other.refuse("stopped")),
        }
    }

    /// The run ended. `again` says whether the retry policy allows another attempt.
    pub fn finish(&self, verdict: &Verdict, again: bool, at: Timestamp) -> Result<Self> {
        let Self::Running { run, stop } = self else {
            return Err(self.refuse("finished"));
        };
        let run = *run;
        // A success that came before the stop reached the program counts.
        if matches!(verdict, Verdict::Succeeded) {
            return Ok(Self::Succeeded { run, at });
        }
        if let Some(stop) = stop.as_ref().filter(|stop| stop.is_final()) {
            return Ok(match stop.reason {
                Reason::ProjectRemoved => Self::Failed {
                    run: Some(run),
                    cause: Setback::bare(Reason::ProjectRemoved),
                    at,
                },
                _ => Self::Cancelled {
                    run: Some(run),
                    by: stop.by.clone(),
                    at,
                },
            });
        }
        let cause = verdict.setback();
        Ok(match cause.reason {
            // What a person decided is never undone by a retry policy, whatever it asks for.
            Reason::Cancelled => Self::Cancelled {
                run: Some(run),
                by: "agent".to_owned(),
                at,
            },
            reason if again && reason != Reason::ProjectRemoved => {
                Self::Queued { last: Some(cause) }
            }
            _ => Self::Failed {
                run: Some(run),
                cause,
                at,
            },
        })
    }

    /// A person wants an ended task done again.
    pub fn retry(&self) -> Result<Self> {
        match self {
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Cancelled { .. } => {
                Ok(Self::Queued { last: None })
            }
            other => Err(other.refuse("retried")),
        }
    }

    /// The project of a waiting task is removed.
    pub fn abandon(&self, at: Timestamp) -> Result<Self> {
        match self {
            Self::Queued { .. } => Ok(Self::Failed {
                run: None,
                cause: Setback::bare(Reason::ProjectRemoved),
                at,
            }),
            other => Err(other.refuse("abandoned")),
        }
    }

    fn refuse(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::WrongState(Noun::Task),
            format!("the task is {} and can't be {what}", self.name()),
        )
    }
}
