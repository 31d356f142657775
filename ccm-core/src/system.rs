//! Systems: machines.

use serde::{Deserialize, Serialize};

use crate::id::SystemId;

/// A machine and what tasks may ask of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its id, kept for good.
    pub id: SystemId,
    /// What people call it.
    pub hostname: String,
    /// What it is for.
    pub kind: SystemKind,
    /// What it has.
    pub tags: Vec<String>,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(missing_docs, reason = "the names say it")]
pub enum SystemKind {
    #[default]
    Developer,
    Devops,
    Business,
}

impl SystemKind {
    /// The name used in the config, the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Devops => "devops",
            Self::Business => "business",
        }
    }
}

impl std::str::FromStr for SystemKind {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        [Self::Developer, Self::Devops, Self::Business]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| crate::Error::invalid(format!("{text:?} is not a system type")))
    }
}
