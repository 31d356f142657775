//! What the functions are given and what they answer.

use std::borrow::Cow;
use std::collections::HashMap;

use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::sync::{
    Change, ConflictRule, Device, Fate, Hlc, Identity, Kind, Lease, Operation, PROTOCOL, PullQuery,
    Pulled, PushResult, Pushed, Registration, Row, SharedClaim, SyncCursor, Welcome,
};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

use super::failure;

/// Who calls.
#[derive(Serialize)]
pub(super) struct Caller {
    p_device: SystemId,
    p_incarnation: Uuid,
    p_protocol: u32,
}

impl Caller {
    fn of(me: Identity) -> Self {
        Self {
            p_device: me.system,
            p_incarnation: me.incarnation,
            p_protocol: PROTOCOL,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Register<'a> {
    #[serde(flatten)]
    caller: Caller,
    p_previous: Option<Uuid>,
    p_hostname: &'a str,
}

impl<'a> Register<'a> {
    pub(super) fn of(registration: &'a Registration) -> Self {
        // The server's column has no room for more, and a name is for people only.
        let name = &registration.hostname;
        let end = name
            .char_indices()
            .nth(255)
            .map_or(name.len(), |(at, _)| at);
        Self {
            caller: Caller::of(registration.identity),
            p_previous: registration.previous,
            p_hostname: match &name[..end] {
                "" => "unnamed",
                name => name,
            },
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Registered {
    server_time: i64,
    last_number: u64,
    last_uuid: Option<Uuid>,
    clock: Hlc,
    #[serde(default)]
    pub(super) schema_version: Option<u32>,
}

impl From<Registered> for Welcome {
    fn from(told: Registered) -> Self {
        Self {
            now: Timestamp::from_micros(told.server_time),
            last_number: told.last_number,
            last_uuid: told.last_uuid,
            clock: told.clock,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Push<'a> {
    #[serde(flatten)]
    caller: Caller,
    p_mode: &'static str,
    p_operations: Vec<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    number: u64,
    uuid: Uuid,
    kind: &'a str,
    id: Uuid,
    body: Option<Cow<'a, Value>>,
    hlc_time: i64,
    hlc_count: u32,
    base: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_body: Option<Cow<'a, Value>>,
    epoch: Option<FencingToken>,
}

/// How deep a content may be. Whoever reads it stops at 128, and then could not read anything any more.
const MAX_DEPTH: usize = 100;

impl<'a> Push<'a> {
    /// # Errors
    /// `Invalid` for a content that no machine could read again.
    pub(super) fn of(me: Identity, batch: &'a [Operation], rule: ConflictRule) -> Result<Self> {
        for operation in batch {
            let change = operation.change.as_ref();
            let bodies = change.map(|change| [&change.body, &change.base_body]);
            let too_deep =
                |body: &Option<Value>| body.as_ref().is_some_and(|it| is_deeper(it, MAX_DEPTH));
            if bodies.is_some_and(|bodies| bodies.into_iter().any(too_deep)) {
                return Err(Error::invalid(format!(
                    "operation {} is nested too deeply to be shared",
                    operation.number
                )));
            }
        }
        Ok(Self {
            caller: Caller::of(me),
            p_mode: rule.as_str(),
            p_operations: batch.iter().map(told).collect(),
        })
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Array(values) => values.iter().any(|value| is_deeper(value, below)),
        Value::Object(fields) => fields.values().any(|value| is_deeper(value, below)),
        _ => false,
    }
}

fn told(operation: &Operation) -> Told<'_> {
    let none = Told {
        number: operation.number,
        uuid: operation.uuid,
        kind: "noop",
        id: operation.uuid,
        body: None,
        hlc_time: 0,
        hlc_count: 0,
        base: None,
        base_body: None,
        epoch: None,
    };
    let Some(change) = &operation.change else {
        return none;
    };
    let Change {
        kind,
        id,
        body,
        hlc,
        base,
        base_body,
        epoch,
    } = change;
    Told {
        kind: kind.as_str(),
        id: *id,
        body: body.as_ref().map(storable),
        hlc_time: hlc.time,
        hlc_count: hlc.count,
        base: *base,
        base_body: base_body.as_ref().map(storable),
        epoch: *epoch,
        ..none
    }
}

/// A content as PostgreSQL can keep it: its `jsonb` has no NUL, so that the replacement character is in its place.
fn storable(body: &Value) -> Cow<'_, Value> {
    if has_nul(body) {
        Cow::Owned(without_nul(body))
    } else {
        Cow::Borrowed(body)
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn without_nul(value: &Value) -> Value {
    let replaced = |text: &String| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::String(replaced(text)),
        Value::Array(values) => values.iter().map(without_nul).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (replaced(name), without_nul(value)))
            .collect(),
        other => other.clone(),
    }
}

#[derive(Deserialize)]
pub(super) struct PushAnswer {
    server_time: i64,
    acknowledged: u64,
    results: Vec<Outcome>,
    rows: Vec<Document>,
}

#[derive(Deserialize)]
struct Outcome {
    number: u64,
    status: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    kind: Kind,
    id: Uuid,
    #[serde(default)]
    body: Option<Value>,
    /// The operation of this push whose content it has, in place of that.
    #[serde(default)]
    operation: Option<Uuid>,
    #[serde(default)]
    deleted: bool,
    hlc_time: i64,
    hlc_count: u32,
    origin: SystemId,
    seq: u64,
    #[serde(default)]
    epoch: Option<FencingToken>,
}

impl From<Document> for Row {
    fn from(document: Document) -> Self {
        Self {
            kind: document.kind,
            id: document.id,
            body: document.body.filter(|_| !document.deleted),
            hlc: Hlc {
                time: document.hlc_time,
                count: document.hlc_count,
            },
            origin: document.origin,
            seq: document.seq,
            epoch: document.epoch,
        }
    }
}

impl PushAnswer {
    /// What became of `batch`.
    ///
    /// # Errors
    /// `TooOld` for a fate that this program does not know.
    pub(super) fn read(self, batch: &[Operation]) -> Result<Pushed> {
        let results = self.results.into_iter().map(fate).collect::<Result<_>>()?;
        let contents: HashMap<Uuid, &Change> = batch
            .iter()
            .filter_map(|operation| Some((operation.uuid, operation.change.as_ref()?)))
            .collect();
        let row = |mut document: Document| {
            if let Some(operation) = document.operation {
                let change = contents.get(&operation);
                let change = change.ok_or_else(|| failure::unreadable("what became of changes"))?;
                document.body = change.body.as_ref().map(|body| storable(body).into_owned());
            }
            Ok(Row::from(document))
        };
        Ok(Pushed {
            acknowledged: self.acknowledged,
            results,
            rows: self.rows.into_iter().map(row).collect::<Result<_>>()?,
            now: Timestamp::from_micros(self.server_time),
        })
    }
}

fn fate(outcome: Outcome) -> Result<PushResult> {
    let fate = match outcome.status.as_str() {
        "taken" => Fate::Taken,
        "skipped" => Fate::Skipped,
        "overruled" => Fate::Overruled,
        "conflict" => Fate::Conflict,
        "refused" => Fate::Refused {
            code: outcome.code.unwrap_or_else(|| "invalid".to_owned()),
            message: outcome.message.unwrap_or_default(),
        },
        _ => {
            return Err(Error::new(
                ErrorKind::TooOld,
                "the server says of a change what this program does not understand: upgrade ccm on this machine",
            ));
        }
    };
    Ok(PushResult {
        number: outcome.number,
        fate,
    })
}

#[derive(Serialize)]
pub(super) struct Pull<'a> {
    #[serde(flatten)]
    caller: Caller,
    p_after: u64,
    p_limit: u32,
    p_nonces: &'a [Uuid],
    p_nonce: Option<Uuid>,
}

impl<'a> Pull<'a> {
    pub(super) fn of(me: Identity, query: &'a PullQuery) -> Self {
        Self {
            caller: Caller::of(me),
            p_after: query.after.0,
            p_limit: query.limit,
            p_nonces: &query.known_marks,
            p_nonce: query.mark,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct PullAnswer {
    server_time: i64,
    rows: Vec<Document>,
    cursor: u64,
    more: bool,
    last_number: u64,
}

impl From<PullAnswer> for Pulled {
    fn from(answer: PullAnswer) -> Self {
        Self {
            rows: answer.rows.into_iter().map(Row::from).collect(),
            cursor: SyncCursor(answer.cursor),
            more: answer.more,
            last_number: answer.last_number,
            now: Timestamp::from_micros(answer.server_time),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Claim {
    #[serde(flatten)]
    caller: Caller,
    p_claim: Uuid,
    p_task: TaskId,
    p_seconds: f64,
}

impl Claim {
    pub(super) fn of(me: Identity, claim: &SharedClaim) -> Self {
        Self {
            caller: Caller::of(me),
            p_claim: claim.id,
            p_task: claim.task,
            p_seconds: claim.period.as_secs_f64(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Held {
    #[serde(flatten)]
    caller: Caller,
    p_task: TaskId,
    p_token: FencingToken,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_seconds: Option<f64>,
}

impl Held {
    pub(super) fn of(
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Option<Duration>,
    ) -> Self {
        Self {
            caller: Caller::of(me),
            p_task: task,
            p_token: token,
            p_seconds: period.map(|period| period.as_secs_f64()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct LeaseAnswer {
    token: FencingToken,
    until: i64,
    server_time: i64,
}

impl From<LeaseAnswer> for Lease {
    fn from(answer: LeaseAnswer) -> Self {
        Self {
            token: answer.token,
            until: Timestamp::from_micros(answer.until),
            now: Timestamp::from_micros(answer.server_time),
        }
    }
}

/// The arguments of a function that asks for nothing more than who calls.
pub(super) fn devices(me: Identity) -> impl Serialize {
    Caller::of(me)
}

#[derive(Deserialize)]
pub(super) struct Devices {
    devices: Vec<DeviceRow>,
}

#[derive(Deserialize)]
struct DeviceRow {
    id: SystemId,
    hostname: String,
    registered_at: i64,
    last_seen: i64,
    #[serde(default)]
    revoked_at: Option<i64>,
}

impl From<Devices> for Vec<Device> {
    fn from(answer: Devices) -> Self {
        let device = |row: DeviceRow| Device {
            id: row.id,
            hostname: row.hostname,
            registered_at: Timestamp::from_micros(row.registered_at),
            last_seen: Timestamp::from_micros(row.last_seen),
            revoked_at: row.revoked_at.map(Timestamp::from_micros),
        };
        answer.devices.into_iter().map(device).collect()
    }
}

#[derive(Serialize)]
pub(super) struct Revoke {
    #[serde(flatten)]
    caller: Caller,
    p_target: SystemId,
}

impl Revoke {
    pub(super) fn of(me: Identity, target: SystemId) -> Self {
        Self {
            caller: Caller::of(me),
            p_target: target,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn me() -> Identity {
        Identity {
            system: SystemId::from_uuid(Uuid::from_u128(1)),
            incarnation: Uuid::from_u128(2),
        }
    }

    #[test]
    fn a_push_is_written_and_its_answer_read() {
        let id = Uuid::from_u128(3);
        let change = Change {
            kind: Kind::Task,
            id,
            body: Some(json!({ "a\0": ["b\0", 1], "c": "\\u0000" })),
            hlc: Hlc { time: 5, count: 6 },
            base: Some(7),
            base_body: None,
            epoch: Some(FencingToken(8)),
        };
        let operation = |number, change| Operation {
            number,
            uuid: Uuid::from_u128(u128::from(number)),
            change,
        };
        let batch = [operation(1, Some(change)), operation(2, None)];
        let written =
            serde_json::to_value(Push::of(me(), &batch, ConflictRule::Manual).unwrap()).unwrap();
        assert_eq!(written["p_device"], json!(me().system));
        assert_eq!(
            (&written["p_mode"], &written["p_protocol"]),
            (&json!("manual"), &json!(1))
        );
        let first = &written["p_operations"][0];
        assert_eq!(
            first["body"],
            json!({ "a\u{fffd}": ["b\u{fffd}", 1], "c": "\\u0000" })
        );
        assert_eq!(
            (&first["hlc_time"], &first["hlc_count"]),
            (&json!(5), &json!(6))
        );
        assert_eq!((&first["base"], &first["epoch"]), (&json!(7), &json!(8)));
        assert_eq!(written["p_operations"][1]["kind"], "noop");

        let answer = json!({
            "server_time": 9, "acknowledged": 2, "new": "field",
            "results": [
                { "number": 1, "status": "refused", "code": "not_owner", "message": "no" },
                { "number": 2, "status": "taken", "code": null, "message": null },
            ],
            "rows": [
                { "kind": "later", "id": id, "body": null, "deleted": true, "hlc_time": 1, "hlc_count": 2,
                    "origin": me().system, "seq": 3, "epoch": null },
                { "kind": "task", "id": id, "operation": Uuid::from_u128(1), "hlc_time": 1, "hlc_count": 2,
                    "origin": me().system, "seq": 4, "epoch": null },
            ],
        });
        let read = || -> PushAnswer { serde_json::from_value(answer.clone()).unwrap() };
        let pushed = read().read(&batch).unwrap();
        assert_eq!(pushed.rows[1].body.as_ref(), Some(&first["body"]));
        let of_none = read().read(&batch[1..]).unwrap_err();
        assert_eq!(of_none.kind(), ErrorKind::Unavailable);
        assert_eq!((pushed.acknowledged, pushed.now.as_micros()), (2, 9));
        assert!(
            matches!(&pushed.results[0].fate, Fate::Refused { code, .. } if code == "not_owner")
        );
        assert_eq!(pushed.results[1].fate, Fate::Taken);
        assert_eq!(pushed.rows[0].kind, Kind::Other("later".to_owned()));
        assert_eq!(pushed.rows[0].body, None);
        let unknown = json!({ "server_time": 9, "acknowledged": 1, "rows": [],
            "results": [{ "number": 1, "status": "postponed" }] });
        let read: PushAnswer = serde_json::from_value(unknown).unwrap();
        assert_eq!(read.read(&[]).unwrap_err().kind(), ErrorKind::TooOld);
    }

    #[test]
    fn what_nobody_could_read_again_is_not_sent() {
        let nested = |depth| (1..depth).fold(json!([]), |inner, _| json!([inner]));
        for (depth, sent) in [(100, true), (101, false), (1000, false)] {
            let change = Change {
                kind: Kind::Run,
                id: Uuid::from_u128(3),
                body: Some(nested(depth)),
                hlc: Hlc::default(),
                base: None,
                base_body: None,
                epoch: None,
            };
            let operation = Operation {
                number: 1,
                uuid: Uuid::from_u128(4),
                change: Some(change),
            };
            let batch = [operation];
            let push = Push::of(me(), &batch, ConflictRule::Manual);
            assert_eq!(push.is_ok(), sent, "{depth}");
            assert!(
                push.err()
                    .is_none_or(|error| error.kind() == ErrorKind::Invalid)
            );
        }
    }

    #[test]
    fn a_name_fits_the_server() {
        for (hostname, sent) in [
            (String::new(), "unnamed".to_owned()),
            ("box".to_owned(), "box".to_owned()),
            ("é".repeat(300), "é".repeat(255)),
        ] {
            let registration = Registration {
                identity: me(),
                previous: None,
                hostname,
            };
            let written = serde_json::to_value(Register::of(&registration)).unwrap();
            assert_eq!(written["p_hostname"], sent);
            assert_eq!(
                written["p_previous"],
                Value::Null,
                "every argument is named"
            );
        }
    }
}
