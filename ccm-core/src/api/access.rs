use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A code that signs one browser in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignInCode {
    /// The code.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{32}$"))]
    pub code: String,
    /// What the browser opens.
    pub url: String,
    /// Until when it may be used.
    pub expires_at: Timestamp,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Its name.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::SessionId))]
    pub id: String,
    /// What the browser called itself.
    pub browser: String,
    /// When it was signed in.
    pub created_at: Timestamp,
    /// When it will have to sign in again.
    pub expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub this: bool,
}

/// Something that somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// When; no two entries have the same time.
    pub time: Timestamp,
    /// Who: `token`, `socket:uid=UID,pid=PID`, `browser:SESSION`, `run:RUN`, `machine:ID,host=NAME,account=WHO` for what came
    /// from another machine, or `nobody` for what was refused to all.
    pub principal: String,
    /// What the client calls itself.
    pub client: String,
    /// What was asked for: a method, and a path with the names of its parameters. `SYNC /tasks/{id}` is a task that came from
    /// another machine.
    pub operation: String,
    /// The path itself.
    pub path: String,
    /// The path of the object that it made, if it made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The status of the answer; of what came from another machine 201, 202 if it waits for leave, or 403.
    pub status: u16,
}
