//! Typed identifiers. Every object has a UUIDv7, so ids sort by creation time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that sorts after those made before it in this process.
            #[allow(clippy::new_without_default, reason = "a default id would hide a mistake")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id in a UUID that came from elsewhere.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { text: text.to_owned() })
            }
        }
    )*};
}

ids! {
    /// A machine.
    SystemId;
    /// A folder on a machine.
    ProjectId;
    /// A project's worker.
    AgentId;
    /// What someone wants done.
    TaskId;
    /// One attempt at a task.
    RunId;
    /// A question from a run to a person.
    AskId;
    /// Two edits of one task that were made without knowing of each other.
    ConflictId;
    /// Something that a run is given after its prompt.
    InputId;
    /// One event log. A restored database gets a new one, so that no reader mistakes its numbers.
    LogId;
}

/// A text that is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id")]
pub struct InvalidId {
    text: String,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

numbers! {
    /// Which daemon start this is. Every write and every word to an agent host carries it, and a lower one is refused.
    Epoch;
    /// Which claim of a task this is. It grows with every claim, and only the current one may change the run.
    FencingToken;
    /// How often an object was changed.
    Revision;
    /// The place of an event in its log: 1, 2, 3 ... without gaps.
    Seq;
}
