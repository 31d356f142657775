use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::id::{ConflictId, ProjectId, SystemId, TaskId};
use crate::sync::documents::{self, Keep};
use crate::sync::{self, ConflictRule};
use crate::time::Timestamp;

/// How the queue is shared with other machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncState {
    /// Whether it is to be shared, by the config.
    pub enabled: bool,
    /// What carries it: `none`, or the kind of service.
    pub backend: String,
    /// Whether the service was reached at the last try, and took what it was sent.
    pub connected: bool,
    /// How many changes of this machine wait to be sent.
    pub pending: u64,
    /// How many conflicts wait for a decision.
    pub conflicts: u64,
    /// How it is, in a sentence.
    pub detail: String,
    /// How it is, for programs.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub condition: SyncCondition,
    /// What a person has to do, in a sentence; null if nothing.
    #[serde(default)]
    pub to_do: Option<String>,
    /// The service's address.
    #[serde(default)]
    pub server: Option<String>,
    /// Who is signed in there.
    #[serde(default)]
    pub account: Option<String>,
    /// What keeps the sign-in on this machine's disk from being read.
    #[serde(default)]
    pub key_storage: Option<KeyStorage>,
    /// Since when somebody is signed in.
    #[serde(default)]
    pub signed_in_at: Option<Timestamp>,
    /// When the service answered last.
    #[serde(default)]
    pub last_contact: Option<Timestamp>,
    /// What went wrong at the last try; null if nothing did.
    #[serde(default)]
    pub last_error: Option<String>,
    /// How many tries in a row went wrong.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub failures: u32,
    /// When the next try is due, if the last one went wrong.
    #[serde(default)]
    pub next_try_at: Option<Timestamp>,
    /// Whether the service tells at once when another machine changed something. Without, it is asked every `interval_s`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub live: bool,
    /// The longest time between two looks, in seconds.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true, maximum = 86_400))]
    pub interval_s: u64,
    /// What happens to edits that were made at the same time.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub rule: ConflictRule,
    /// How many documents of other machines wait to be dealt with here.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub unsettled: u64,
    /// How many changes of this machine the service can never take; they were set aside.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub set_aside: u64,
}

/// How sharing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SyncCondition {
    /// This machine shares nothing.
    #[default]
    Off,
    /// It is to share, and the service was not spoken to yet.
    Starting,
    /// The service was reached, and everything is exchanged or on its way.
    Ready,
    /// The service can't be reached, or refuses for a reason that passes. It is tried again.
    Offline,
    /// The service was tried so often in vain that somebody should look. It is tried again, more rarely.
    Stuck,
    /// Somebody has to sign in again.
    SignedOut,
    /// This machine was shut out by its user.
    Revoked,
    /// This program is too old for the service.
    Outdated,
    /// Another machine writes under this one's identity.
    Twin,
    /// What a newer program knows.
    #[serde(other)]
    Other,
}

impl SyncCondition {
    /// Every condition that this program knows.
    pub const ALL: &[Self] = &[
        Self::Off,
        Self::Starting,
        Self::Ready,
        Self::Offline,
        Self::Stuck,
        Self::SignedOut,
        Self::Revoked,
        Self::Outdated,
        Self::Twin,
    ];

    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Offline => "offline",
            Self::Stuck => "stuck",
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
            Self::Outdated => "outdated",
            Self::Twin => "twin",
            Self::Other => "other",
        }
    }

    /// Whether nothing gets better before a person did something.
    pub const fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Stuck | Self::SignedOut | Self::Revoked | Self::Outdated | Self::Twin
        )
    }
}

/// What keeps a sign-in on a disk from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum KeyStorage {
    /// A key in the operating system's keyring.
    Keyring,
    /// A key in a file beside it: good for copies of the sign-in's file alone, not against who can read the account's files.
    File,
}

/// What an exchange with the service came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SyncRound {
    /// How many changes of this machine the service has taken in it.
    pub sent: u64,
    /// How many documents of other machines came.
    pub received: u64,
    /// Whether everything is exchanged. If not it took too long to wait for, and goes on by itself.
    pub complete: bool,
    /// How it is now.
    pub state: SyncState,
}

/// Two edits of one task that were made without knowing of each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conflict {
    /// Its id.
    pub id: ConflictId,
    /// The task.
    pub task_id: TaskId,
    /// The task's title, by the edit that counts.
    #[cfg_attr(feature = "openapi", schema(max_length = 200))]
    pub title: String,
    /// The project that the task was created for, if that can be read.
    pub project_id: Option<ProjectId>,
    /// Whether somebody has to decide.
    pub state: ConflictStateName,
    /// The rule that was used.
    pub rule: ConflictRule,
    /// When it was found.
    pub found_at: Timestamp,
    /// This machine's edit; where neither is, the one that lost.
    pub local: ConflictSide,
    /// The other one.
    pub remote: ConflictSide,
    /// Which of them counts until somebody decides, or did when nobody has to.
    pub counts: Side,
    /// What differs.
    pub fields: Vec<ConflictField>,
    /// Whether both can count, because no field was changed by both.
    pub mergeable: bool,
    /// How it was resolved.
    pub resolution: Option<ConflictResolution>,
}

/// Where a conflict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ConflictStateName {
    /// It waits for a decision.
    Open,
    /// Somebody decided.
    Resolved,
    /// The later edit counts, as the rule has it. The other one is kept to be looked at.
    Overruled,
}

impl ConflictStateName {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Overruled => "overruled",
        }
    }
}

/// One of the two edits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictSide {
    /// The machine that made it.
    pub system_id: SystemId,
    /// What that machine is called, if it is known.
    pub hostname: Option<String>,
    /// Whether it is the one that answers.
    pub this: bool,
    /// When it was made, by that machine's clock.
    pub changed_at: Timestamp,
    /// Whether it deleted the task.
    pub deleted: bool,
}

/// Which of two edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Side {
    /// This machine's.
    Local,
    /// The other machine's.
    Remote,
}

impl Side {
    /// The name used in the API and in commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// A field of a task that two edits left different.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictField {
    /// Its name, as in a task.
    pub name: String,
    /// What it was before both; null if it was nothing, or is not known any more.
    pub base: Value,
    /// What this machine's edit makes of it.
    pub local: Value,
    /// What the other one makes of it.
    pub remote: Value,
    /// Who changed it; null for both, and where that is not known.
    pub changed_by: Option<Side>,
}

/// How a conflict was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConflictResolution {
    /// Which edit counts.
    pub keep: Keep,
    /// Who decided.
    #[cfg_attr(feature = "openapi", schema(value_type = super::shapes::ClientName))]
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A decision about a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResolveConflict {
    /// Which edit is to count.
    pub keep: Keep,
    /// With `merge`, whose value the fields are to have that both changed. Those that one changed have that one's without
    /// being named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub fields: Vec<ResolveField>,
}

/// Whose value a field is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResolveField {
    /// The field's name.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 100,
            pattern = "^[a-z0-9_]+$",
            example = "text"
        )
    )]
    pub name: String,
    /// Whose.
    pub keep: Side,
}

/// A machine that shares, as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Device {
    /// The machine.
    pub id: SystemId,
    /// What people call it.
    #[cfg_attr(feature = "openapi", schema(max_length = 255))]
    pub hostname: String,
    /// When it came first.
    pub registered_at: Timestamp,
    /// When it was heard of last.
    pub last_seen: Timestamp,
    /// When it was shut out.
    pub revoked_at: Option<Timestamp>,
    /// Whether it is the one that answers.
    pub this: bool,
}

impl Device {
    /// The wire form of `device`, for the machine `this`.
    pub fn new(device: sync::Device, this: SystemId) -> Self {
        Self {
            this: device.id == this,
            id: device.id,
            hostname: device.hostname,
            registered_at: device.registered_at,
            last_seen: device.last_seen,
            revoked_at: device.revoked_at,
        }
    }
}

/// A change of this machine that the service can never take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetAside {
    /// Its number among this machine's changes.
    pub number: u64,
    /// What kind of object it is about: `task`, `report`, `run` ...
    #[cfg_attr(feature = "openapi", schema(max_length = 64))]
    pub kind: String,
    /// The object.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = "uuid"))]
    pub id: Uuid,
    /// The object's title or name, if it has one.
    pub title: Option<String>,
    /// Why it was not taken.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

impl From<crate::store::SetAside> for SetAside {
    fn from(aside: crate::store::SetAside) -> Self {
        let body = aside.body.as_ref();
        let named = ["title", "name", "hostname"]
            .iter()
            .find_map(|name| body?.get(name)?.as_str());
        Self {
            number: aside.number,
            title: named.map(str::to_owned),
            kind: aside.kind.as_str().to_owned(),
            id: aside.id,
            why: aside.why,
            at: aside.at,
        }
    }
}

/// What is to become of a change that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DecideSetAside {
    /// That.
    pub action: SetAsideAction,
}

/// What is to become of a change that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SetAsideAction {
    /// It is forgotten. The object stays on this machine as it is.
    Dismiss,
    /// What the object is now is sent as a new change.
    Again,
}

impl Conflict {
    /// The wire form of a conflict, as the machine `this` sees it. `hostname` knows what machines are called.
    pub fn new(
        id: ConflictId,
        conflict: &documents::Conflict,
        this: SystemId,
        hostname: impl Fn(SystemId) -> Option<String>,
    ) -> Self {
        // Where neither edit is this machine's, the one that lost stands for it.
        let kept_is_local = conflict.kept.origin == this && conflict.lost.origin != this;
        let (local, remote) = match kept_is_local {
            true => (&conflict.kept, &conflict.lost),
            false => (&conflict.lost, &conflict.kept),
        };
        let counts = match kept_is_local {
            true => Side::Local,
            false => Side::Remote,
        };
        let fields = differences(
            conflict.base.as_ref(),
            local.body.as_ref(),
            remote.body.as_ref(),
        );
        let side = |edit: &documents::Edit| ConflictSide {
            system_id: edit.origin,
            hostname: hostname(edit.origin),
            this: edit.origin == this,
            changed_at: Timestamp::from_micros(edit.hlc.time),
            deleted: edit.body.is_none(),
        };
        let shown = [&conflict.kept, &conflict.lost]
            .into_iter()
            .find_map(|edit| edit.body.as_ref());
        let text = |name: &str| shown.and_then(|body| body.get(name)?.as_str());
        let both_there = local.body.is_some() && remote.body.is_some();
        Self {
            id,
            task_id: conflict.task_id,
            title: text("title").unwrap_or_default().to_owned(),
            project_id: text("project_id").and_then(|id| id.parse().ok()),
            state: match (&conflict.resolution, conflict.is_open()) {
                (Some(_), _) => ConflictStateName::Resolved,
                (None, true) => ConflictStateName::Open,
                (None, false) => ConflictStateName::Overruled,
            },
            rule: conflict.rule,
            found_at: Timestamp::from_micros(conflict.found_at),
            local: side(local),
            remote: side(remote),
            counts,
            mergeable: both_there && fields.iter().all(|field| field.changed_by.is_some()),
            fields,
            resolution: conflict.resolution.as_ref().map(|done| ConflictResolution {
                keep: done.keep,
                by: done.by.clone(),
                at: done.at,
            }),
        }
    }
}

/// What two edits left different, each under the name that it has in a task.
fn differences(
    base: Option<&Value>,
    local: Option<&Value>,
    remote: Option<&Value>,
) -> Vec<ConflictField> {
    let empty = Map::new();
    let of = |body: Option<&Value>| body.and_then(Value::as_object).unwrap_or(&empty).clone();
    let known = base.is_some();
    let (base, local, remote) = (of(base), of(local), of(remote));
    let names: BTreeSet<&String> = local.keys().chain(remote.keys()).collect();
    let at = |body: &Map<String, Value>, name: &str| body.get(name).cloned().unwrap_or_default();
    let mut fields = Vec::new();
    for name in names {
        let (before, here, there) = (at(&base, name), at(&local, name), at(&remote, name));
        if here == there {
            continue;
        }
        let changed_by = match known {
            true if here == before => Some(Side::Remote),
            true if there == before => Some(Side::Local),
            _ => None,
        };
        fields.push(ConflictField {
            name: shown_name(name).to_owned(),
            base: shown_value(name, before),
            local: shown_value(name, here),
            remote: shown_value(name, there),
            changed_by,
        });
    }
    fields
}

/// A definition has microseconds where a task has seconds.
const TIMEOUT: (&str, &str) = ("timeout_us", "timeout_s");

fn shown_name(name: &str) -> &str {
    if name == TIMEOUT.0 { TIMEOUT.1 } else { name }
}

/// The name that the field of a task has in its definition.
pub fn definition_field(name: &str) -> &str {
    if name == TIMEOUT.1 { TIMEOUT.0 } else { name }
}

fn shown_value(name: &str, value: Value) -> Value {
    match value.as_u64() {
        Some(micros) if name == TIMEOUT.0 => (micros / 1_000_000).into(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sync::Hlc;
    use crate::sync::documents::{Edit, Resolution};

    fn edit(origin: SystemId, body: Option<Value>) -> Edit {
        let hlc = Hlc {
            time: 1_000_000,
            count: 0,
        };
        Edit { origin, hlc, body }
    }

    fn conflict(kept: Edit, lost: Edit, base: Option<Value>) -> documents::Conflict {
        documents::Conflict {
            task_id: TaskId::new(),
            rule: ConflictRule::Manual,
            kept,
            lost,
            base,
            found_at: 2_000_000,
            resolution: None,
            extra: Map::new(),
        }
    }

    fn shown(conflict: &documents::Conflict, this: SystemId) -> Conflict {
        let id = ConflictId::new();
        Conflict::new(id, conflict, this, |_| Some("box".to_owned()))
    }

    #[test]
    fn each_field_that_differs_is_shown_with_who_changed_it() {
        let (me, other) = (SystemId::new(), SystemId::new());
        let base =
            json!({"title": "a", "text": "t", "priority": 1, "timeout_us": 1_000_000, "kept": 1});
        let mine =
            json!({"title": "b", "text": "u", "priority": 1, "timeout_us": 1_000_000, "kept": 1});
        let theirs =
            json!({"title": "a", "text": "v", "priority": 1, "timeout_us": 5_000_000, "kept": 1});
        let conflict = conflict(
            edit(other, Some(theirs)),
            edit(me, Some(mine)),
            Some(base.clone()),
        );
        let seen = shown(&conflict, me);
        assert_eq!(
            (seen.local.this, seen.remote.this, seen.counts),
            (true, false, Side::Remote)
        );
        let fields: Vec<_> = seen
            .fields
            .iter()
            .map(|field| (&*field.name, field.changed_by))
            .collect();
        assert_eq!(
            fields,
            [
                ("text", None),
                ("timeout_s", Some(Side::Remote)),
                ("title", Some(Side::Local))
            ]
        );
        assert_eq!(
            (&seen.fields[1].base, &seen.fields[1].remote),
            (&json!(1), &json!(5))
        );
        assert!(!seen.mergeable, "both changed the text");
        assert_eq!(seen.title, "a", "by the edit that counts");
        assert_eq!(seen.state, ConflictStateName::Open);
    }

    #[test]
    fn edits_of_different_fields_can_both_count_if_it_is_known_what_they_began_with() {
        let (me, other) = (SystemId::new(), SystemId::new());
        let base = json!({"title": "a", "priority": 1});
        let mine = edit(me, Some(json!({"title": "b", "priority": 1})));
        let theirs = edit(other, Some(json!({"title": "a", "priority": 2})));
        let known = conflict(mine.clone(), theirs.clone(), Some(base));
        let seen = shown(&known, me);
        assert_eq!(
            seen.counts,
            Side::Local,
            "this machine's edit is the one that was kept"
        );
        assert!(seen.mergeable);
        assert!(!shown(&conflict(mine, theirs, None), me).mergeable);
    }

    #[test]
    fn a_deleted_side_has_no_values_and_can_not_be_merged() {
        let (me, other) = (SystemId::new(), SystemId::new());
        let body = json!({"title": "a"});
        let gone = conflict(
            edit(other, None),
            edit(me, Some(body.clone())),
            Some(body.clone()),
        );
        let seen = shown(&gone, me);
        assert!(seen.remote.deleted && !seen.local.deleted && !seen.mergeable);
        assert_eq!(seen.title, "a");
        assert_eq!(
            (&seen.fields[0].local, &seen.fields[0].remote),
            (&json!("a"), &Value::Null)
        );
    }

    #[test]
    fn where_neither_is_this_machine_the_one_that_lost_is_local() {
        let (a, b) = (SystemId::new(), SystemId::new());
        let mut conflict = conflict(
            edit(a, Some(json!({"title": "kept"}))),
            edit(b, Some(json!({"title": "lost"}))),
            None,
        );
        conflict.resolution = Some(Resolution {
            keep: Keep::Local,
            by: "cli".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        });
        let seen = shown(&conflict, SystemId::new());
        assert_eq!(
            (seen.local.system_id, seen.remote.system_id, seen.counts),
            (b, a, Side::Remote)
        );
        assert_eq!(seen.state, ConflictStateName::Resolved);
        conflict.resolution = None;
        conflict.rule = ConflictRule::LastWriteWins;
        assert_eq!(shown(&conflict, a).state, ConflictStateName::Overruled);
    }
}
