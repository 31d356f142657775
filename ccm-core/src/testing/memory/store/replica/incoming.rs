//! What comes in: rows of the server.

use super::{DocumentState, Held, Key};
use crate::Result;
use crate::store::{Adopted, Adoption, Document};
use crate::sync::local::{Facts, is_made_here};
use crate::sync::{Kind, Row};
use crate::testing::memory::store::State;
use crate::time::Timestamp;

impl State {
    pub(super) fn adopt(&mut self, adoption: Adoption, now: Timestamp) -> Result<Adopted> {
        self.kept()?.sharing.previous = None;
        let mut adopted = Adopted::default();
        for row in adoption.rows {
            self.take_row(row, now, &mut adopted)?;
        }
        let sharing = &mut self.kept()?.sharing;
        sharing.cursor = adoption.cursor;
        if let Some(mark) = adoption.mark {
            sharing.left_marks = vec![mark];
        }
        if adoption.complete && !sharing.complete {
            sharing.complete = true;
            self.sweep(now)?;
        }
        Ok(adopted)
    }

    fn take_row(&mut self, row: Row, now: Timestamp, adopted: &mut Adopted) -> Result<()> {
        let key = (row.kind.clone(), row.id);
        let has_own_row = self.has_own_row(&key);
        let kept = self.kept()?;
        kept.see(row.hlc);
        if is_made_here(&key.0) && row.origin == kept.me() && has_own_row {
            // What it says is said better by the row itself.
            kept.documents.remove(&key);
            kept.beside.remove(&key);
            return Ok(());
        }
        let generation = kept.generation;
        let newer_than = |seq: Option<u64>| seq.is_none_or(|seq| seq < row.seq);
        let beside = kept.beside.get(&key).map(|row| row.seq);
        let own = kept
            .documents
            .get(&key)
            .filter(|held| held.generation == generation);
        if !newer_than(beside) || !newer_than(own.and_then(|held| held.seq)) {
            return Ok(());
        }
        let me = kept.me();
        let pending = kept.is_pending(&key);
        if let Some(held) = kept.documents.get_mut(&key)
            && held.generation != generation
        {
            held.generation = generation;
            let lost = held.origin == me && held.hlc > row.hlc && held.body != row.body;
            if lost && !pending && !is_made_here(&key.0) {
                // The server was put back to before it had this.
                let hlc = held.hlc;
                held.seq = (row.origin == me).then_some(row.seq);
                kept.leave(key.clone(), hlc);
                if let Some((_, mark)) = kept.marks.get_mut(&key) {
                    mark.base_body = mark
                        .base
                        .and(row.body.clone())
                        .filter(|_| key.0 == Kind::Task);
                }
                kept.beside.insert(key, row);
                adopted.waiting += 1;
                return Ok(());
            }
        }
        if pending {
            kept.beside.insert(key, row);
            adopted.waiting += 1;
            return Ok(());
        }
        if self.keep_row(key, row, now)? {
            adopted.changed += 1;
        }
        Ok(())
    }

    /// Makes a row what the document is. Says whether that is something new.
    fn keep_row(&mut self, key: Key, row: Row, now: Timestamp) -> Result<bool> {
        let kept = self.kept()?;
        let (me, generation) = (kept.me(), kept.generation);
        kept.beside.remove(&key);
        if let Some(held) = kept.documents.get_mut(&key)
            && held.body == row.body
            && held.origin == row.origin
        {
            held.hlc = row.hlc;
            held.seq = Some(row.seq);
            held.generation = generation;
            return Ok(false);
        }
        let own = row.origin == me && key.0 == Kind::Task && self.has_own_row(&key);
        let state = match own {
            true => DocumentState::Settled,
            false => self.state_of(&key, row.body.as_ref()),
        };
        let held = Held {
            body: row.body,
            hlc: row.hlc,
            origin: row.origin,
            seq: Some(row.seq),
            place: 0,
            state,
            generation,
        };
        self.replace(key, held, now)?;
        Ok(true)
    }

    /// Makes what the server has of a document what it is, unless something of it is still to be sent or answered.
    pub(super) fn release(&mut self, key: &Key, row: Option<Row>, now: Timestamp) -> Result<()> {
        let has_own_row = self.has_own_row(key);
        let kept = self.kept()?;
        let me = kept.me();
        if let Some(row) = &row {
            kept.see(row.hlc);
        }
        let beside = kept.beside.get(key).cloned();
        let latest = [row.clone(), beside].into_iter().flatten();
        let Some(latest) = latest.max_by_key(|row| row.seq) else {
            return Ok(());
        };
        if is_made_here(&key.0) && latest.origin == me && has_own_row {
            kept.documents.remove(key);
            kept.beside.remove(key);
            return Ok(());
        }
        if !kept.is_pending(key) {
            let held = kept.documents.get(key);
            let held = held.filter(|held| held.generation == kept.generation);
            if held.is_some_and(|held| held.seq > Some(latest.seq)) {
                return Ok(());
            }
            return self.keep_row(key.clone(), latest, now).map(drop);
        }
        // It was changed again: on what this machine itself had sent before, if that is what the server has.
        if let Some(row) = row.filter(|row| row.origin == me) {
            if let Some((_, mark)) = kept.marks.get_mut(key) {
                mark.base = Some(row.seq);
                mark.base_body = row.body.filter(|_| key.0 == Kind::Task);
            }
            if let Some(held) = kept.documents.get_mut(key) {
                held.seq = Some(row.seq);
            }
        }
        kept.beside.insert(key.clone(), latest);
        Ok(())
    }

    /// Removes what the server did not send again, and marks what it has to get again.
    fn sweep(&mut self, now: Timestamp) -> Result<()> {
        let kept = self.kept()?;
        let (me, generation) = (kept.me(), kept.generation);
        let old = kept.documents.iter();
        let old = old.filter(|(_, held)| held.generation != generation);
        let mut old: Vec<(u64, Key)> = old.map(|(key, held)| (held.place, key.clone())).collect();
        old.sort_by_key(|(place, _)| *place);
        for (_, key) in old {
            let kept = self.kept()?;
            let pending = kept.is_pending(&key);
            let Some(held) = kept.documents.get_mut(&key) else {
                continue;
            };
            held.generation = generation;
            if pending || (held.origin == me && is_made_here(&key.0)) {
                continue;
            }
            if held.origin == me {
                held.seq = None;
                let hlc = held.hlc;
                kept.leave(key, hlc);
            } else if let Some(held) = kept.documents.remove(&key) {
                let facts = Facts::of(&key.0, key.1, held.body.as_ref());
                self.tell_document(&key, &facts, held.origin, now);
            }
        }
        Ok(())
    }

    pub(super) fn unsettled(&self, after: u64, limit: u32) -> Vec<Document> {
        let Some(kept) = &self.replica else {
            return Vec::new();
        };
        let open = kept.documents.iter();
        let open = open.filter(|(_, held)| held.state == DocumentState::Open && held.place > after);
        let mut open: Vec<(u64, &Key)> = open.map(|(key, held)| (held.place, key)).collect();
        open.sort_by_key(|(place, _)| *place);
        let first = open.into_iter().take(limit as usize);
        first.filter_map(|(_, key)| kept.read(key)).collect()
    }
}
