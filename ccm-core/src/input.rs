//! Inputs: what a running agent is given after its prompt.
//!
//! ```text
//! accepted ── written to the program ──▶ written ── the program says that it has it ──▶ delivered
//!     │                                     └────── the run ended before it did ──────▶ unknown
//!     └── the run ended, or took no more ──▶ too_late
//! ```

use serde::{Deserialize, Serialize};

use crate::ask::Answer;
use crate::id::{AskId, InputId, RunId};
use crate::task::TaskText;
use crate::time::Timestamp;

/// The number of a run's prompt. Inputs after it count on from there.
pub const PROMPT: u32 = 1;

/// Something that a run's program is given, at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its id. A message carries it to the program, which names it when it has it.
    pub id: InputId,
    /// The run.
    pub run_id: RunId,
    /// Its place among the run's inputs; the prompt is number 1.
    pub number: u32,
    /// What it says.
    pub body: InputBody,
    /// What became of it.
    pub state: InputState,
    /// Who sent it.
    pub by: String,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// What an input says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputBody {
    /// A further message from a person.
    Message {
        /// Its text.
        text: TaskText,
    },
    /// It is to stop what it does, and to wait for what a person says next.
    Interrupt {
        /// The message that says what is next, if it came along.
        then: Option<InputId>,
    },
    /// The answer to an ask.
    Answer {
        /// The ask.
        ask_id: AskId,
        /// The coding CLI's name for the request.
        request_id: String,
        /// What the driver kept of the request.
        payload: String,
        /// The answer.
        answer: Answer,
    },
}

impl InputBody {
    /// What kind of input it is, as the API names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message { .. } => "message",
            Self::Interrupt { .. } => "interrupt",
            Self::Answer { .. } => "answer",
        }
    }
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum InputState {
    /// It is on the disk and on its way.
    Accepted,
    /// It was written to the program, which has not said yet that it has it.
    Written,
    /// The program said that it has it.
    Delivered,
    /// It came too late: the program took no more input, or had ended.
    TooLate,
    /// It was written, and the program ended without saying whether it had it.
    Unknown,
}

impl InputState {
    /// The name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Written => "written",
            Self::Delivered => "delivered",
            Self::TooLate => "too_late",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more will become of it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::TooLate | Self::Unknown)
    }

    /// The state after one more thing was learned of it; what is final stays.
    #[must_use]
    pub const fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Accepted, next) => next,
            (Self::Written, Self::Delivered | Self::Unknown) => next,
            (state, _) => state,
        }
    }

    /// The state once the run is over and nothing more can be learned.
    #[must_use]
    pub const fn at_end(self) -> Self {
        match self {
            Self::Accepted => Self::TooLate,
            Self::Written => Self::Unknown,
            state => state,
        }
    }
}

impl std::str::FromStr for InputState {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        [
            Self::Accepted,
            Self::Written,
            Self::Delivered,
            Self::TooLate,
            Self::Unknown,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| crate::Error::invalid(format!("{text:?} is not a state of an input")))
    }
}
