//! A server in memory, and machines that share a queue through it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use crate::id::{FencingToken, SystemId, TaskId};
use crate::sync::{Change, Lease, Pulled, Pushed, SharedClaim, SyncBackend, SyncCursor};
use crate::time::{Clock, Timestamp};
use crate::{Error, ErrorKind, Noun, Result};

/// What several machines of one user share. Clones are the same server.
#[derive(Clone)]
pub struct MemoryServer {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    pokes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The server's own sequence: a change's cursor is its place here, from 1.
    changes: Vec<Change>,
    leases: BTreeMap<TaskId, LeaseRow>,
}

struct LeaseRow {
    claim: Uuid,
    holder: SystemId,
    lease: Lease,
    finished: bool,
}

/// How one call of a machine goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFault {
    /// The request is lost: `Unavailable`, and nothing took effect.
    RequestLost,
    /// The answer is lost: `Unavailable`, and it took effect.
    AnswerLost,
}

/// A [`SyncBackend`] of one machine on a [`MemoryServer`].
pub struct MemorySync {
    server: MemoryServer,
    system: SystemId,
    line: Mutex<Line>,
}

/// The way between a machine and the server.
struct Line {
    up: bool,
    pokes: bool,
    faults: VecDeque<SyncFault>,
    seen: u64,
}

impl MemoryServer {
    /// A server that has nothing yet, whose leases end by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                clock,
                pokes: watch::Sender::new(0),
            }),
        }
    }

    /// The backend of a machine. Two of the same `system` are a machine and its copy.
    pub fn connect(&self, system: SystemId) -> MemorySync {
        MemorySync {
            server: self.clone(),
            system,
            line: Mutex::new(Line {
                up: true,
                pokes: true,
                faults: VecDeque::new(),
                seen: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemorySync {
    /// Cuts the line or mends it. While it is cut, everything is `Unavailable` and no poke comes.
    pub fn set_up(&self, up: bool) {
        self.line().up = up;
        self.server.shared.pokes.send_modify(|_| {});
    }

    /// Whether pokes come. They are hints, so everything must work without.
    pub fn set_pokes(&self, pokes: bool) {
        self.line().pokes = pokes;
        self.server.shared.pokes.send_modify(|_| {});
    }

    /// Makes the next call go wrong. Several are kept in order.
    pub fn fail_next(&self, fault: SyncFault) {
        self.line().faults.push_back(fault);
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server, over a line that may be bad.
    fn ask<T>(&self, request: impl FnOnce(&mut State, Timestamp) -> Result<T>) -> Result<T> {
        let fault = {
            let mut line = self.line();
            if !line.up {
                return Err(Error::unavailable("the server is not reachable"));
            }
            line.faults.pop_front()
        };
        if fault == Some(SyncFault::RequestLost) {
            return Err(Error::unavailable("the request was lost"));
        }
        let now = self.server.shared.clock.now();
        let answer = request(&mut self.server.lock(), now);
        match fault {
            Some(_) => Err(Error::unavailable("the answer was lost")),
            None => answer,
        }
    }

    /// The lease of `task`, if this machine holds it with `token`.
    fn held<'a>(
        &self,
        state: &'a mut State,
        task: TaskId,
        token: FencingToken,
    ) -> Result<&'a mut LeaseRow> {
        let row = state.leases.get_mut(&task);
        row.filter(|row| row.holder == self.system && row.lease.token == token)
            .ok_or_else(|| Error::new(ErrorKind::Superseded, "the lease is another machine's"))
    }
}

impl State {
    fn push(&mut self, batch: &[Change]) -> Result<u64> {
        let known = |state: &Self, origin: SystemId, number: u64| {
            let mut changes = state.changes.iter();
            let found = changes.find(|old| old.origin == origin && old.number == number);
            found.map(|old| old.uuid)
        };
        let Some(first) = batch.first() else {
            return Ok(0);
        };
        let origin = first.origin;
        let own = self.changes.iter().filter(|old| old.origin == origin);
        let mut last = own.count() as u64;
        let mut new = Vec::new();
        for (number, change) in (first.number..).zip(batch) {
            if change.origin != origin || change.number != number || number > last + 1 {
                return Err(Error::invalid(format!(
                    "change {} does not follow {last}",
                    change.number
                )));
            }
            match known(self, origin, number) {
                Some(uuid) if uuid == change.uuid => {}
                Some(_) => {
                    return Err(Error::new(
                        ErrorKind::Taken(Noun::System),
                        format!("another machine wrote change {number} as {origin}"),
                    ));
                }
                None => {
                    new.push(change.clone());
                    last = number;
                }
            }
        }
        self.changes.extend(new);
        Ok(last)
    }

    fn pull(&self, cursor: SyncCursor, limit: u32) -> Pulled {
        let at = usize::try_from(cursor.0).unwrap_or(usize::MAX);
        let rest = self.changes.get(at..).unwrap_or_default();
        let taken = rest.len().min(limit as usize);
        Pulled {
            changes: rest.iter().take(taken).cloned().collect(),
            cursor: SyncCursor(cursor.0 + taken as u64),
            more: rest.len() > taken,
        }
    }

    fn claim(&mut self, claim: &SharedClaim, now: Timestamp) -> Result<Lease> {
        let mut token = FencingToken(1);
        if let Some(row) = self.leases.get(&claim.task) {
            if row.claim == claim.id && !row.finished {
                return Ok(row.lease);
            }
            if !row.finished && row.lease.until > now && row.holder != claim.system {
                return Err(Error::new(
                    ErrorKind::WrongState(Noun::Task),
                    "another machine runs the task",
                ));
            }
            token.0 = row.lease.token.0 + 1;
        }
        let lease = Lease {
            token,
            until: now.after(claim.period),
        };
        let row = LeaseRow {
            claim: claim.id,
            holder: claim.system,
            lease,
            finished: false,
        };
        self.leases.insert(claim.task, row);
        Ok(lease)
    }
}

#[async_trait]
impl SyncBackend for MemorySync {
    fn is_connected(&self) -> bool {
        true
    }

    async fn push(&self, batch: &[Change]) -> Result<Pushed> {
        let pushed = self.ask(|state, _| state.push(batch));
        self.server.shared.pokes.send_modify(|pokes| *pokes += 1);
        pushed.map(|acknowledged| Pushed { acknowledged })
    }

    async fn pull(&self, cursor: SyncCursor, limit: u32) -> Result<Pulled> {
        self.ask(|state, _| Ok(state.pull(cursor, limit)))
    }

    async fn claim(&self, claim: &SharedClaim) -> Result<Lease> {
        self.ask(|state, now| state.claim(claim, now))
    }

    async fn renew(&self, task: TaskId, token: FencingToken, period: Duration) -> Result<Lease> {
        self.ask(|state, now| {
            let row = self.held(state, task, token)?;
            if row.finished || row.lease.until <= now {
                return Err(Error::new(ErrorKind::Superseded, "the lease has ended"));
            }
            row.lease.until = row.lease.until.max(now.after(period));
            Ok(row.lease)
        })
    }

    async fn finish(&self, task: TaskId, token: FencingToken) -> Result<()> {
        self.ask(|state, _| {
            self.held(state, task, token)?.finished = true;
            Ok(())
        })
    }

    async fn poked(&self) {
        let mut pokes = self.server.shared.pokes.subscribe();
        // The server lives as long as this machine's backend does, so the wait can't end in any other way.
        let _ = pokes
            .wait_for(|pokes| {
                let mut line = self.line();
                let heard = line.up && line.pokes && *pokes > line.seen;
                if heard {
                    line.seen = *pokes;
                }
                heard
            })
            .await;
    }
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemorySync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySync")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}
