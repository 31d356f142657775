//! Agents: projects' workers, and what is known about them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, ProjectId, RunId};
use crate::reason::Reason;
use crate::task::Setback;
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// A project's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Its project.
    pub project_id: ProjectId,
    /// What people call it; also its window's name.
    pub name: String,
    /// What was last seen of it.
    pub state: AgentState,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// How that is known.
    pub evidence: Evidence,
    /// What it is to be.
    pub wish: Wish,
}

/// Whether an agent is to have its place: its host and its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Wanted {
    /// It has its place and gets tasks.
    #[default]
    Up,
    /// It was idle and gave its place back; its next task makes it anew.
    Asleep,
    /// Someone stopped it: no place and no tasks until someone starts it again.
    Down,
    /// Someone sits in its place with a session of their own: it gets no tasks until it is handed back.
    Taken,
}

impl Wanted {
    /// The name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Asleep => "asleep",
            Self::Down => "down",
            Self::Taken => "taken",
        }
    }
}

impl std::str::FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Up, Self::Asleep, Self::Down, Self::Taken]
            .into_iter()
            .find(|wanted| wanted.as_str() == text)
            .ok_or_else(|| {
                Error::invalid(format!("{text:?} is not what an agent can be wanted to be"))
            })
    }
}

/// What an agent is to be, and who decided it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What it is to be.
    pub wanted: Wanted,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

impl Wish {
    /// That of an agent which nobody decided anything about.
    pub fn first(at: Timestamp) -> Self {
        Self {
            wanted: Wanted::Up,
            by: "engine".to_owned(),
            at,
        }
    }
}

/// A decision about an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// What it is to be from now on.
    pub wish: Wish,
    /// Whether the runs that it has in hand are given up for it.
    pub force: bool,
    /// Whether this hands back one that someone has taken over. Nothing else changes what such a one is to be.
    #[serde(default)]
    pub hand_back: bool,
}

impl Agent {
    /// What `want` makes of its wish while it has runs in hand or none; `None` if that is what counts already.
    ///
    /// # Errors
    /// `WrongState(Agent)`: it has a run in hand that is not to be given up, it is to sleep or to be taken over and someone
    /// stopped it, or someone has taken it over.
    pub fn want(&self, want: &Want, has_runs: bool) -> Result<Option<Wish>> {
        let refuse = |why: &str| {
            let message = format!("the agent {} {why}", self.name);
            Err(Error::new(ErrorKind::WrongState(Noun::Agent), message))
        };
        match (self.wish.wanted, want.wish.wanted) {
            (now, wanted) if now == wanted => Ok(None),
            (Wanted::Taken, _) if !want.hand_back => {
                let by = &self.wish.by;
                refuse(&format!(
                    "was taken over by {by} and has to be handed back first"
                ))
            }
            (Wanted::Down, Wanted::Taken) => refuse("was stopped and has to be started first"),
            (_, Wanted::Taken) if has_runs => {
                refuse("has a run in hand; wait for its end, or cancel its task")
            }
            (Wanted::Down, Wanted::Asleep) => refuse("was stopped"),
            (_, Wanted::Asleep) if has_runs => refuse("has a run in hand"),
            (_, Wanted::Down) if has_runs && !want.force => refuse("has a run in hand"),
            _ => Ok(Some(want.wish.clone())),
        }
    }

    /// What a task that it gets makes of its wish: one that sleeps is woken.
    ///
    /// # Errors
    /// `WrongState(Agent)` for one that someone stopped or has taken over.
    pub fn claim(&self, by: String, at: Timestamp) -> Result<Option<Wish>> {
        match self.wish.wanted {
            Wanted::Up => Ok(None),
            Wanted::Asleep => Ok(Some(Wish {
                wanted: Wanted::Up,
                by,
                at,
            })),
            Wanted::Down => Err(Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!("the agent {} was stopped and gets no tasks", self.name),
            )),
            Wanted::Taken => Err(Error::new(
                ErrorKind::WrongState(Noun::Agent),
                format!("the agent {} was taken over and gets no tasks", self.name),
            )),
        }
    }

    /// Why tasks wait for it, if someone stopped it or has taken it over, and how to mend that.
    pub fn hold(&self) -> Option<Setback> {
        let (by, name) = (&self.wish.by, &self.name);
        match self.wish.wanted {
            Wanted::Up | Wanted::Asleep => None,
            Wanted::Down => Some(Setback::new(
                Reason::AgentStopped,
                format!("{by} stopped the agent; `ccm agent start {name}` starts it again"),
            )),
            Wanted::Taken => Some(Setback::new(
                Reason::AgentTaken,
                format!(
                    "{by} has taken the agent over; `ccm agent hand-back {name}` gives it back"
                ),
            )),
        }
    }
}

/// What an agent does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AgentState {
    /// Nothing of it exists.
    Stopped,
    /// Its host and window are being made.
    Starting,
    /// It waits for a task.
    Idle,
    /// It works.
    Working {
        /// On this.
        run: RunId,
    },
    /// It waits for a person.
    Waiting {
        /// In this run.
        run: RunId,
        /// For what, in a sentence, if it is no answer to an ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The provider of its model lets it wait.
    Parked {
        /// The run it has in hand meanwhile.
        run: Option<RunId>,
        /// Why.
        cause: Setback,
        /// Until when, as far as that is known.
        until: Option<Timestamp>,
    },
    /// It doesn't answer, though its lock is held.
    Unresponsive {
        /// The run it had.
        run: Option<RunId>,
    },
    /// It is being ended.
    Stopping,
    /// It could not be started, or something of it can't be ended.
    Failed {
        /// What is wrong and what to do, in one sentence.
        detail: String,
    },
}

impl AgentState {
    /// The run it is about.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Working { run } | Self::Waiting { run, .. } => Some(*run),
            Self::Parked { run, .. } | Self::Unresponsive { run } => *run,
            _ => None,
        }
    }
}

impl AgentState {
    /// Until when it is parked without a run in hand; `None` if it may work at `now`.
    pub fn parked_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Parked {
                run: None,
                until: Some(until),
                ..
            } if *until > now => Some(*until),
            _ => None,
        }
    }
}

/// How something about an agent is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// Who said so: `engine`, `host`, `gate`, `exit_record`, `lock`, `tmux`, and `stream`, the coding CLI's own words.
    pub source: String,
    /// When.
    pub seen_at: Timestamp,
}

/// What a runtime must know to give an agent its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPlace {
    /// The agent.
    pub id: AgentId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its name, for its window.
    pub name: String,
    /// The folder it works in.
    pub folder: PathBuf,
}

/// What a runtime sees of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// The agent.
    pub id: AgentId,
    /// Its host's process id, if it has one.
    pub pid: Option<u32>,
    /// Its window, in words that the runtime's terminal understands.
    pub window: Option<String>,
    /// Whether its host answered just now.
    pub answers: bool,
    /// The run its host has in hand.
    pub run: Option<RunId>,
    /// Whether a person looks at its terminal.
    pub watched: bool,
}
