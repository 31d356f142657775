use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Project;

/// A config file: every key with what counts for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Config {
    /// Where the file is, on the daemon's machine.
    pub path: String,
    /// The keys.
    pub keys: Vec<ConfigKey>,
}

/// A key of a config file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigKey {
    /// Its full name, such as `agents.max_concurrent`.
    pub key: String,
    /// What counts; null if there is no value. Of a secret only whether there is one.
    pub value: Value,
    /// Where that comes from.
    pub origin: ConfigOrigin,
    /// The line of the file that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What else says so, if it is derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is for.
    pub doc: String,
    /// What its value may be, in words.
    pub allowed: String,
    /// When a change of it counts.
    pub applied: ConfigApplied,
    /// Whether its value is not shown.
    pub secret: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConfigOrigin {
    /// The file says so.
    File,
    /// Nothing says otherwise.
    Default,
    /// Something else says so.
    Derived,
    /// There is no value.
    Unset,
}

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConfigApplied {
    /// At once: the daemon takes it in.
    Now,
    /// After a restart of the daemon.
    Restart,
    /// For runs that begin later.
    NextRun,
    /// For tasks that are created later.
    NextTask,
    /// When the project is registered.
    Registration,
    /// In a later version: this one checks and keeps it.
    Later,
}

/// Changes of a config file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditConfig {
    /// The changes, in their order; all of them or none are made.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 100))]
    pub changes: Vec<EditKey>,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EditKey {
    /// The key's full name.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 200,
            pattern = "^[A-Za-z0-9_.-]+$",
            example = "agents.max_concurrent",
        )
    )]
    pub key: String,
    /// What it is to be set to, as YAML, of which JSON is a part: `4`, `true`, `["a", "b"]`. Null takes away what it is set
    /// to, so that its default counts.
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 4096, pattern = "^[^\\u0000]*$")
    )]
    pub value: Option<String>,
}

/// What changes of a project's config led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EditedProjectConfig {
    /// The project, whose queue may be held by it now, or let go.
    pub project: Project,
    /// Whether this machine trusts the settings as they are now, as far as they can run code.
    pub trusted: bool,
}
