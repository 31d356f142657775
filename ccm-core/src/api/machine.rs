use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::SystemId;
use crate::sync::documents::Wanted;
use crate::time::Timestamp;
use crate::{Error, Result};

/// A machine, where something says which one it has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// Its id.
    pub id: SystemId,
    /// What people call it; its id as long as it has not said that.
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub hostname: String,
    /// Whether it is the one that answers.
    pub this: bool,
    /// When it was heard of last, as far as that is known here. What is told of its tasks may be as old as that.
    pub last_seen: Option<Timestamp>,
}

/// What other machines have to do with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskSharing {
    /// The machine that it was created on.
    pub created_on: Machine,
    /// The machine that runs it, or is to. Null for a task that any machine may run and none has taken yet.
    pub runs_on: Option<Machine>,
    /// Whether any machine may run it that has the same repository and fits.
    pub any_machine: bool,
    /// Whether the machine that runs it has said anything of it yet.
    pub heard: bool,
    /// Whether the server has everything that was done about it on the machine that answers.
    pub sent: bool,
    /// What was asked of that machine from here and is not seen to be done yet. Lists leave it out.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true, max_items = 100))]
    pub wished: Vec<WishName>,
}

/// What was asked of the machine that runs a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum WishName {
    /// That it is called off.
    Cancel,
    /// That it is done again.
    Retry,
    /// That a question of its run is answered.
    Answer,
}

impl WishName {
    /// The name of what is wanted; `None` for what only a newer program knows.
    pub const fn of(wanted: &Wanted) -> Option<Self> {
        match wanted {
            Wanted::Cancel => Some(Self::Cancel),
            Wanted::Retry => Some(Self::Retry),
            Wanted::Answer { .. } => Some(Self::Answer),
            Wanted::Other => None,
        }
    }
}

/// Whose objects a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Machines {
    /// Those of the machine that answers.
    #[default]
    Local,
    /// Those, and what was created on that machine for others.
    Mine,
    /// Those of all machines.
    All,
    /// Those of this one.
    One(SystemId),
}

impl fmt::Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Mine => f.write_str("mine"),
            Self::All => f.write_str("all"),
            Self::One(id) => id.fmt(f),
        }
    }
}

impl FromStr for Machines {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "local" => Self::Local,
            "mine" => Self::Mine,
            "all" => Self::All,
            id => Self::One(id.parse().map_err(|_| {
                Error::invalid(format!(
                    "machine must be local, mine, all or a machine's id, found {id:?}"
                ))
            })?),
        })
    }
}

impl Serialize for Machines {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Machines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
mod described {
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
    use utoipa::openapi::{KnownFormat, RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::Machines;

    impl PartialSchema for Machines {
        fn schema() -> RefOr<Schema> {
            let word = ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(["local", "mine", "all"]));
            let id = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
                .max_length(Some(36));
            let schema = OneOfBuilder::new()
                .description(Some(
                    "Whose objects a list has: `local` for those of the machine that answers, `mine` for those and what \
                     was created there for other machines, `all`, or a machine's id.",
                ))
                .item(word)
                .item(id)
                .build();
            RefOr::T(Schema::OneOf(schema))
        }
    }

    impl ToSchema for Machines {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_written_as_they_are_read() {
        let one = Machines::One(SystemId::new());
        for machines in [Machines::Local, Machines::Mine, Machines::All, one] {
            assert_eq!(machines.to_string().parse::<Machines>().unwrap(), machines);
        }
        "server".parse::<Machines>().unwrap_err();
    }
}
