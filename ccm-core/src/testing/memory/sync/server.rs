//! What the server keeps of one user, and its rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::id::{FencingToken, SystemId, TaskId};
use crate::sync::{
    Change, ConflictRule, Device, Fate, Hlc, Identity, Kind, Lease, Operation, PullQuery, Pulled,
    PushResult, Pushed, Registration, Row, SharedClaim, SyncCursor, Welcome,
};
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

/// Clones are copies: a server that is put back to one was restored.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    seq: u64,
    rows: BTreeMap<(Kind, Uuid), Row>,
    /// Which of the lives of its machine's data wrote each document.
    lives: BTreeMap<(Kind, Uuid), Uuid>,
    devices: BTreeMap<SystemId, DeviceRow>,
    leases: BTreeMap<TaskId, LeaseRow>,
    /// Documents that it lets nothing in of.
    poison: BTreeSet<Uuid>,
}

#[derive(Debug, Clone)]
struct DeviceRow {
    device: Device,
    incarnation: Uuid,
    /// The uuid of each number, from 1.
    taken: Vec<Uuid>,
    mark: Option<Uuid>,
}

#[derive(Debug, Clone)]
struct LeaseRow {
    claim: Uuid,
    holder: SystemId,
    lease: Lease,
    finished: bool,
}

impl State {
    pub(super) fn poison(&mut self, document: Uuid) {
        self.poison.insert(document);
    }

    pub(super) fn all_rows(&self) -> Vec<Row> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn register(&mut self, new: &Registration, now: Timestamp) -> Result<Welcome> {
        let Identity {
            system,
            incarnation,
        } = new.identity;
        let row = self.devices.entry(system).or_insert_with(|| DeviceRow {
            device: Device {
                id: system,
                hostname: new.hostname.clone(),
                registered_at: now,
                last_seen: now,
                revoked_at: None,
            },
            incarnation,
            taken: Vec::new(),
            mark: None,
        });
        if row.device.revoked_at.is_some() {
            return Err(revoked());
        }
        if row.incarnation != incarnation {
            if new.previous != Some(row.incarnation) {
                return Err(copied());
            }
            row.incarnation = incarnation;
            row.taken.clear();
            row.mark = None;
        }
        row.device.hostname.clone_from(&new.hostname);
        row.device.last_seen = now;
        Ok(Welcome {
            now,
            last_number: row.taken.len() as u64,
            last_uuid: row.taken.last().copied(),
            clock: self
                .rows
                .values()
                .map(|row| row.hlc)
                .max()
                .unwrap_or_default(),
        })
    }

    fn device(&mut self, me: Identity, now: Timestamp) -> Result<&mut DeviceRow> {
        let row = self.devices.get_mut(&me.system);
        let row = row.ok_or_else(|| {
            Error::new(
                ErrorKind::OutOfStep,
                "the server does not know this machine",
            )
        })?;
        if row.device.revoked_at.is_some() {
            return Err(revoked());
        }
        if row.incarnation != me.incarnation {
            return Err(copied());
        }
        row.device.last_seen = now;
        Ok(row)
    }

    pub(super) fn push(
        &mut self,
        me: Identity,
        batch: &[Operation],
        rule: ConflictRule,
        now: Timestamp,
    ) -> Result<Pushed> {
        let changes = batch.iter().filter_map(|one| one.change.as_ref());
        if let Some(bad) = changes
            .map(|change| change.id)
            .find(|id| self.poison.contains(id))
        {
            return Err(Error::invalid(format!(
                "something in the request, with {bad}, is not let in"
            )));
        }
        let device = self.device(me, now)?;
        let mut expected = None;
        for operation in batch {
            let number = operation.number;
            let last = device.taken.len() as u64;
            if number == 0
                || number > expected.unwrap_or(last + 1)
                || expected.is_some_and(|next| next != number)
            {
                return Err(Error::invalid(format!(
                    "operation {number} does not follow on what the server has"
                )));
            }
            let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
            if device
                .taken
                .get(place)
                .is_some_and(|uuid| *uuid != operation.uuid)
            {
                return Err(copied());
            }
            expected = Some(number + 1);
        }
        let mut results = Vec::new();
        let mut touched = BTreeSet::new();
        for operation in batch {
            if let Some(change) = &operation.change {
                touched.insert((change.kind.clone(), change.id));
            }
            let device = self.device(me, now)?;
            let fate = if operation.number <= device.taken.len() as u64 {
                Fate::Skipped
            } else {
                device.taken.push(operation.uuid);
                match &operation.change {
                    None => Fate::Taken,
                    Some(change) => self.take(me, operation.uuid, change, rule, now),
                }
            };
            results.push(PushResult {
                number: operation.number,
                fate,
            });
        }
        let rows = touched.iter().filter_map(|key| self.rows.get(key).cloned());
        let rows = rows.collect();
        Ok(Pushed {
            acknowledged: self.device(me, now)?.taken.len() as u64,
            results,
            rows,
            now,
        })
    }

    fn take(
        &mut self,
        me: Identity,
        uuid: Uuid,
        change: &Change,
        rule: ConflictRule,
        now: Timestamp,
    ) -> Fate {
        let origin = me.system;
        let hlc = change.hlc.clamped(now);
        let key = (change.kind.clone(), change.id);
        if let Err(code) = self.may_write(origin, change) {
            return Fate::Refused {
                code: code.to_owned(),
                message: format!(
                    "this machine may not write the {} {}",
                    change.kind, change.id
                ),
            };
        }
        let old = self.rows.get(&(change.kind.clone(), change.id)).cloned();
        if let Some(old) = &old {
            let concurrent = old.origin != origin && change.base.is_none_or(|base| old.seq > base);
            if change.kind == Kind::Task && concurrent && old.body != change.body {
                let wins =
                    (hlc, origin) > (old.hlc, old.origin) && rule == ConflictRule::LastWriteWins;
                let theirs = side(old.origin, old.hlc, old.body.as_ref());
                let ours = side(origin, hlc, change.body.as_ref());
                let (kept, lost) = if wins { (ours, theirs) } else { (theirs, ours) };
                let conflict = json!({
                    "task_id": change.id,
                    "rule": rule,
                    "kept": kept,
                    "lost": lost,
                    "base": change.base_body,
                    "found_at": now.as_micros(),
                });
                self.write(Kind::Conflict, uuid, Some(conflict), hlc, origin, None);
                if !wins {
                    return match rule {
                        ConflictRule::LastWriteWins => Fate::Overruled,
                        ConflictRule::Manual => Fate::Conflict,
                    };
                }
            }
            // What a machine sends is in order, whatever its clock says. After older data were put back it is not.
            let is_old = old.origin == origin && hlc <= old.hlc;
            if is_old && self.lives.get(&key) != Some(&me.incarnation) && change.kind != Kind::Task
            {
                return Fate::Overruled;
            }
            if change.kind == Kind::Wish {
                return Fate::Taken;
            }
        }
        // An edit that follows on the stored one is later than it, whatever this machine's clock says.
        let hlc = old.map_or(hlc, |old| {
            if hlc > old.hlc {
                hlc
            } else {
                old.hlc.tick(Timestamp::UNIX_EPOCH)
            }
        });
        self.lives.insert(key, me.incarnation);
        self.write(
            change.kind.clone(),
            change.id,
            change.body.clone(),
            hlc,
            origin,
            change.epoch,
        );
        Fate::Taken
    }

    fn write(
        &mut self,
        kind: Kind,
        id: Uuid,
        body: Option<Value>,
        hlc: Hlc,
        origin: SystemId,
        epoch: Option<FencingToken>,
    ) {
        self.seq += 1;
        let row = Row {
            kind: kind.clone(),
            id,
            body,
            hlc,
            origin,
            seq: self.seq,
            epoch,
        };
        self.rows.insert((kind, id), row);
    }

    /// Who may write what; the code of the refusal.
    fn may_write(&self, origin: SystemId, change: &Change) -> Result<(), &'static str> {
        let old = self.rows.get(&(change.kind.clone(), change.id));
        let body = change.body.as_ref();
        let own = |key: &str| body.is_none_or(|body| names(body, key, origin.as_uuid()));
        match &change.kind {
            Kind::System if change.id != *origin.as_uuid() => Err("not_owner"),
            Kind::Project if !own("system_id") => Err("not_owner"),
            Kind::Project if old.is_some_and(|old| old.origin != origin) => Err("not_owner"),
            Kind::Wish if old.is_some_and(|old| old.body != change.body) => Err("invalid"),
            Kind::Conflict if old.is_none() => Err("not_owner"),
            Kind::Report | Kind::Run | Kind::Ask | Kind::Transcript => {
                self.may_report(origin, change)
            }
            _ => Ok(()),
        }
    }

    fn may_report(&self, origin: SystemId, change: &Change) -> Result<(), &'static str> {
        let task = match &change.kind {
            Kind::Report => Some(change.id),
            _ => change
                .body
                .as_ref()
                .and_then(|body| uuid_of(body, "task_id")),
        };
        if let Some(lease) = task.and_then(|task| self.leases.get(&TaskId::from_uuid(task))) {
            let current = lease.holder == origin && change.epoch == Some(lease.lease.token);
            return if current { Ok(()) } else { Err("lease_lost") };
        }
        let definition = task.and_then(|task| self.rows.get(&(Kind::Task, task)));
        let project = definition
            .and_then(|row| row.body.as_ref())
            .and_then(|body| uuid_of(body, "project_id"))
            .and_then(|project| self.rows.get(&(Kind::Project, project)));
        match project {
            Some(project) if project.origin != origin => Err("not_owner"),
            _ => Ok(()),
        }
    }

    pub(super) fn pull(
        &mut self,
        me: Identity,
        query: &PullQuery,
        now: Timestamp,
    ) -> Result<Pulled> {
        let seq = self.seq;
        let device = self.device(me, now)?;
        let forgotten = device
            .mark
            .is_some_and(|mark| !query.known_marks.contains(&mark));
        // One that begins may have asked for its first mark in vain.
        let never = device.mark.is_none() && query.after.0 > 0 && !query.known_marks.is_empty();
        if forgotten || never || query.after.0 > seq {
            return Err(Error::new(
                ErrorKind::OutOfStep,
                "the server was put back to an older state",
            ));
        }
        if query.mark.is_some() {
            device.mark = query.mark;
        }
        let last_number = device.taken.len() as u64;
        let mut rows: Vec<Row> = self
            .rows
            .values()
            .filter(|row| row.seq > query.after.0)
            .cloned()
            .collect();
        rows.sort_by_key(|row| row.seq);
        let more = rows.len() > query.limit as usize;
        rows.truncate(query.limit as usize);
        Ok(Pulled {
            cursor: SyncCursor(rows.last().map_or(query.after.0, |row| row.seq)),
            rows,
            more,
            last_number,
            now,
        })
    }

    pub(super) fn claim(
        &mut self,
        me: Identity,
        claim: &SharedClaim,
        now: Timestamp,
    ) -> Result<Lease> {
        self.device(me, now)?;
        if !self.rows.contains_key(&(Kind::Task, *claim.task.as_uuid())) {
            return Err(Error::no_task(claim.task));
        }
        let refuse = |why: &str| Err(Error::new(ErrorKind::WrongState(Noun::Task), why));
        let mut token = FencingToken(1);
        if let Some(row) = self.leases.get(&claim.task) {
            if row.claim == claim.id
                && row.holder == me.system
                && !row.finished
                && row.lease.until > now
            {
                return Ok(Lease { now, ..row.lease });
            }
            if !row.finished && row.lease.until > now {
                return refuse("another machine runs the task");
            }
            token.0 = row.lease.token.0 + 1;
        }
        let report = self.rows.get(&(Kind::Report, *claim.task.as_uuid()));
        let state = report.and_then(|row| row.body.as_ref()?.get("state")?.as_str());
        if state.is_some_and(|state| matches!(state, "succeeded" | "failed" | "cancelled")) {
            return refuse("the task has ended");
        }
        let lease = Lease {
            token,
            until: now.after(claim.period),
            now,
        };
        let row = LeaseRow {
            claim: claim.id,
            holder: me.system,
            lease,
            finished: false,
        };
        self.leases.insert(claim.task, row);
        Ok(lease)
    }

    /// The lease of `task`, if this machine holds it with `token`.
    fn held(
        &mut self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        now: Timestamp,
    ) -> Result<&mut LeaseRow> {
        self.device(me, now)?;
        let row = self.leases.get_mut(&task);
        row.filter(|row| row.holder == me.system && row.lease.token == token)
            .ok_or_else(|| Error::new(ErrorKind::Superseded, "the lease is another machine's"))
    }

    pub(super) fn renew(
        &mut self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: std::time::Duration,
        now: Timestamp,
    ) -> Result<Lease> {
        let row = self.held(me, task, token, now)?;
        if row.finished || row.lease.until <= now {
            return Err(Error::new(ErrorKind::Superseded, "the lease has ended"));
        }
        row.lease.until = row.lease.until.max(now.after(period));
        Ok(Lease { now, ..row.lease })
    }

    pub(super) fn finish(
        &mut self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        now: Timestamp,
    ) -> Result<()> {
        self.held(me, task, token, now)?.finished = true;
        Ok(())
    }

    pub(super) fn devices(&mut self, me: Identity, now: Timestamp) -> Result<Vec<Device>> {
        self.device(me, now)?;
        Ok(self
            .devices
            .values()
            .map(|row| row.device.clone())
            .collect())
    }

    pub(super) fn revoke(&mut self, me: Identity, system: SystemId, now: Timestamp) -> Result<()> {
        self.device(me, now)?;
        if me.system == system {
            return Err(Error::invalid(
                "this machine can't shut itself out; disconnect it instead",
            ));
        }
        let row = self.devices.get_mut(&system);
        let row = row.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound(Noun::System),
                format!("there is no machine {system}"),
            )
        })?;
        let at = *row.device.revoked_at.get_or_insert(now);
        if let Some(old) = self.rows.get(&(Kind::System, *system.as_uuid())).cloned()
            && let Some(mut body) = old.body
        {
            if let Some(fields) = body.as_object_mut() {
                fields.insert("revoked_at".to_owned(), json!(at));
            }
            self.write(Kind::System, old.id, Some(body), old.hlc, old.origin, None);
        }
        Ok(())
    }
}

fn side(origin: SystemId, hlc: Hlc, body: Option<&Value>) -> Value {
    json!({ "origin": origin, "hlc": hlc, "body": body })
}

fn uuid_of(body: &Value, key: &str) -> Option<Uuid> {
    body.get(key)?.as_str()?.parse().ok()
}

fn names(body: &Value, key: &str, id: &Uuid) -> bool {
    uuid_of(body, key) == Some(*id)
}

fn revoked() -> Error {
    Error::new(ErrorKind::Revoked, "this machine was shut out")
}

fn copied() -> Error {
    Error::new(
        ErrorKind::Taken(Noun::System),
        "another machine, or an older copy of this one, writes under the same identity",
    )
}
