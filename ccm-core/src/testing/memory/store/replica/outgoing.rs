//! What goes out: marks, operations, and what became of them.

use std::collections::BTreeMap;

use super::{Kept, Key};
use crate::store::{Mark, SealedOperation, SetAside};
use crate::sync::local::{Touched, is_made_here};
use crate::sync::{Change, Fate, Kind, Operation, PushResult, Row};
use crate::testing::memory::store::State;
use crate::time::Timestamp;
use crate::{Error, Result};

fn key_of(change: &Change) -> Key {
    (change.kind.clone(), change.id)
}

/// How much content an operation has, in bytes.
fn size(operation: &Operation) -> u64 {
    let length = |body: &serde_json::Value| body.to_string().len() as u64;
    let bodies = operation.change.iter();
    let bodies = bodies.flat_map(|change| [change.body.as_ref(), change.base_body.as_ref()]);
    bodies.flatten().map(length).sum()
}

impl Kept {
    /// Forgets what the server has not, and numbers what comes after `last`.
    pub(super) fn renumber(&mut self, last: u64) {
        let outbox = std::mem::take(&mut self.outbox);
        for (_, mark) in self.marks.values_mut() {
            (mark.base, mark.base_body) = (None, None);
        }
        for document in self.documents.values_mut() {
            document.seq = None;
        }
        for change in outbox.into_values().filter_map(|one| one.change) {
            self.leave(key_of(&change), change.hlc);
        }
        let sharing = &mut self.sharing;
        (sharing.sealed, sharing.acknowledged) = (last, last);
        sharing.acknowledged_uuid = None;
        sharing.left_marks.clear();
    }

    fn keep_aside(&mut self, operation: Operation, why: String, at: Timestamp) {
        let Some(change) = operation.change else {
            return;
        };
        let aside = SetAside {
            number: operation.number,
            kind: change.kind,
            id: change.id,
            body: change.body,
            why,
            at,
        };
        self.set_aside.insert(operation.number, aside);
    }
}

impl State {
    pub(super) fn oldest_marks(&self, kinds: &[Kind], limit: u32) -> Vec<Mark> {
        let marks = self.replica.iter().flat_map(|kept| kept.marks.values());
        let mut marks: Vec<&(u64, Mark)> = marks
            .filter(|(_, mark)| kinds.is_empty() || kinds.contains(&mark.kind))
            .collect();
        marks.sort_by_key(|(place, _)| *place);
        let first = marks.into_iter().take(limit as usize);
        first.map(|(_, mark)| mark.clone()).collect()
    }

    pub(super) fn seal(&mut self, operations: Vec<SealedOperation>) -> Result<()> {
        let kept = self.kept()?;
        for sealed in operations {
            let SealedOperation {
                mark,
                uuid,
                body,
                epoch,
            } = sealed;
            let key = (mark.kind.clone(), mark.id);
            if kept
                .marks
                .get(&key)
                .is_some_and(|(_, own)| own.hlc == mark.hlc)
            {
                kept.marks.remove(&key);
            }
            kept.sharing.sealed += 1;
            let number = kept.sharing.sealed;
            let change = Change {
                kind: mark.kind,
                id: mark.id,
                body,
                hlc: mark.hlc,
                base: mark.base,
                base_body: mark.base_body,
                epoch,
            };
            let operation = Operation {
                number,
                uuid,
                change: Some(change),
            };
            kept.outbox.insert(number, operation);
        }
        Ok(())
    }

    pub(super) fn outbox(&self, after: u64, limit: u32, max_bytes: u64) -> Vec<Operation> {
        let outbox = self
            .replica
            .iter()
            .flat_map(|kept| kept.outbox.range(after + 1..));
        let outbox = outbox.map(|(_, operation)| operation);
        let mut bytes = 0;
        let fits = |(at, operation): &(usize, &Operation)| {
            bytes += size(operation);
            *at == 0 || bytes <= max_bytes
        };
        let first = outbox.take(limit as usize).enumerate().take_while(fits);
        first.map(|(_, operation)| operation.clone()).collect()
    }

    pub(super) fn pushed(
        &mut self,
        acknowledged: u64,
        results: &[PushResult],
        rows: Vec<Row>,
        now: Timestamp,
    ) -> Result<()> {
        let kept = self.kept()?;
        kept.sharing.previous = None;
        let rest = kept.outbox.split_off(&(acknowledged + 1));
        let answered = std::mem::replace(&mut kept.outbox, rest);
        if let Some(last) = answered.values().next_back() {
            kept.sharing.acknowledged = last.number;
            kept.sharing.acknowledged_uuid = Some(last.uuid);
        }
        let mut open: BTreeMap<Key, Option<Row>> = BTreeMap::new();
        for operation in answered.into_values() {
            if let Some(change) = &operation.change {
                open.insert(key_of(change), None);
            }
            let result = results.iter().find(|one| one.number == operation.number);
            if let Some(Fate::Refused { code, message }) = result.map(|result| &result.fate) {
                kept.keep_aside(operation, format!("{message} ({code})"), now);
            }
        }
        for row in rows {
            open.insert((row.kind.clone(), row.id), Some(row));
        }
        for (key, row) in open {
            self.release(&key, row, now)?;
        }
        Ok(())
    }

    pub(super) fn set_operation_aside(
        &mut self,
        number: u64,
        why: &str,
        now: Timestamp,
    ) -> Result<()> {
        let kept = self.kept()?;
        let operation = kept.outbox.get_mut(&number);
        let operation = operation
            .ok_or_else(|| Error::invalid(format!("there is no operation {number} to send")))?;
        let whole = operation.clone();
        operation.change = None;
        let key = whole.change.as_ref().map(key_of);
        kept.keep_aside(whole, why.to_owned(), now);
        match key {
            Some(key) => self.release(&key, None, now),
            None => Ok(()),
        }
    }

    pub(super) fn set_aside(&self, limit: u32) -> Vec<SetAside> {
        let aside = self.replica.iter();
        let aside = aside.flat_map(|kept| kept.set_aside.values().rev());
        aside.take(limit as usize).cloned().collect()
    }

    pub(super) fn dismiss(&mut self, number: u64, again: bool, now: Timestamp) -> Result<()> {
        let aside = self.kept()?.set_aside.remove(&number);
        let aside = aside
            .ok_or_else(|| Error::invalid(format!("nothing of number {number} was set aside")))?;
        if !again {
            return Ok(());
        }
        let key = (aside.kind, aside.id);
        if is_made_here(&key.0) || key.0 == Kind::System || self.has_own_row(&key) {
            let (kind, id) = key;
            let task = None;
            self.mark(Touched { kind, id, task }, now);
            return Ok(());
        }
        let state = match self.kept()?.documents.get(&key) {
            Some(held) => held.state,
            None => self.state_of(&key, aside.body.as_ref()),
        };
        self.write_document(key, aside.body, state, now)
    }
}
