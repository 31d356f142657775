//! A server in memory, and machines that share a queue through it.

mod server;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use self::server::State;
use crate::id::{FencingToken, SystemId, TaskId};
use crate::sync::{
    ConflictRule, Device, Identity, Lease, Operation, PullQuery, Pulled, Pushed, Registration, Row,
    SharedClaim, SyncBackend, Welcome,
};
use crate::time::{Clock, Timestamp};
use crate::{Error, ErrorKind, Result};

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

/// A copy of what a [`MemoryServer`] had.
#[derive(Debug)]
pub struct MemoryBackup(State);

/// How one call of a machine goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncFault {
    /// The request is lost: `Unavailable`, and nothing took effect.
    RequestLost,
    /// The answer is lost: `Unavailable`, and it took effect.
    AnswerLost,
    /// The server refuses with this, and nothing took effect.
    Refused(ErrorKind),
}

/// A [`SyncBackend`] of one machine on a [`MemoryServer`].
pub struct MemorySync {
    server: MemoryServer,
    line: Mutex<Line>,
}

/// The way between a machine and the server.
struct Line {
    up: bool,
    pokes: bool,
    faults: VecDeque<Option<SyncFault>>,
    /// What goes wrong with every call.
    bad: Option<SyncFault>,
    /// How many calls were made.
    calls: u64,
    connected: bool,
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

    /// A machine's way to it. Whose it is, each call says.
    pub fn connect(&self) -> MemorySync {
        MemorySync {
            server: self.clone(),
            line: Mutex::new(Line {
                up: true,
                pokes: true,
                faults: VecDeque::new(),
                bad: None,
                calls: 0,
                connected: true,
                seen: *self.shared.pokes.borrow(),
            }),
        }
    }

    /// A copy of everything it has.
    pub fn back_up(&self) -> MemoryBackup {
        MemoryBackup(self.lock().clone())
    }

    /// Puts an older state back, as somebody does who restores a database.
    pub fn restore(&self, backup: &MemoryBackup) {
        self.lock().clone_from(&backup.0);
    }

    /// Never lets anything of this document in from now on: a push with it is refused as a whole.
    pub fn poison(&self, document: Uuid) {
        self.lock().poison(document);
    }

    /// Pokes all machines without reason.
    pub fn poke(&self) {
        self.shared.pokes.send_modify(|pokes| *pokes += 1);
    }

    /// What it has of every document, by kind and id.
    pub fn rows(&self) -> Vec<Row> {
        self.lock().all_rows()
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
        self.line().faults.push_back(Some(fault));
    }

    /// Makes one call go wrong after so many that go well.
    pub fn fail_after(&self, calls: usize, fault: SyncFault) {
        let mut line = self.line();
        line.faults.extend(std::iter::repeat_n(None, calls));
        line.faults.push_back(Some(fault));
    }

    /// Has nothing more go wrong.
    pub fn clear_faults(&self) {
        let mut line = self.line();
        line.faults.clear();
        line.bad = None;
    }

    /// Puts something behind the line, or takes it away.
    pub fn set_connected(&self, connected: bool) {
        self.line().connected = connected;
    }

    /// How many calls were made over this line.
    pub fn calls(&self) -> u64 {
        self.line().calls
    }

    /// Makes every call go wrong from now on, after those of [`fail_next`](Self::fail_next), or none.
    pub fn set_bad(&self, fault: Option<SyncFault>) {
        self.line().bad = fault;
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server, over a line that may be bad.
    async fn ask<T>(&self, request: impl FnOnce(&mut State, Timestamp) -> Result<T>) -> Result<T> {
        // Whoever gives up waiting does so before the request arrives or before the answer does.
        tokio::task::yield_now().await;
        let answer = self.answer(request);
        tokio::task::yield_now().await;
        answer
    }

    fn answer<T>(&self, request: impl FnOnce(&mut State, Timestamp) -> Result<T>) -> Result<T> {
        let fault = {
            let mut line = self.line();
            line.calls += 1;
            if !line.up {
                return Err(Error::unavailable("the server is not reachable"));
            }
            match line.faults.pop_front() {
                Some(fault) => fault,
                None => line.bad,
            }
        };
        match fault {
            Some(SyncFault::RequestLost) => {
                return Err(Error::unavailable("the request was lost"));
            }
            Some(SyncFault::Refused(kind)) => {
                return Err(Error::new(kind, "the server refuses this machine"));
            }
            Some(SyncFault::AnswerLost) | None => {}
        }
        let now = self.server.shared.clock.now();
        let answer = request(&mut self.server.lock(), now);
        match fault {
            Some(_) => Err(Error::unavailable("the answer was lost")),
            None => answer,
        }
    }

    fn poke(&self) {
        self.server.shared.pokes.send_modify(|pokes| *pokes += 1);
    }
}

#[async_trait]
impl SyncBackend for MemorySync {
    fn is_connected(&self) -> bool {
        self.line().connected
    }

    async fn register(&self, registration: &Registration) -> Result<Welcome> {
        self.ask(|state, now| state.register(registration, now))
            .await
    }

    async fn push(&self, me: Identity, batch: &[Operation], rule: ConflictRule) -> Result<Pushed> {
        let pushed = self.ask(|state, now| {
            // What is refused leaves nothing behind.
            let mut next = state.clone();
            let pushed = next.push(me, batch, rule, now)?;
            *state = next;
            Ok(pushed)
        });
        let pushed = pushed.await;
        self.poke();
        pushed
    }

    async fn pull(&self, me: Identity, query: &PullQuery) -> Result<Pulled> {
        self.ask(|state, now| state.pull(me, query, now)).await
    }

    async fn claim(&self, me: Identity, claim: &SharedClaim) -> Result<Lease> {
        self.ask(|state, now| state.claim(me, claim, now)).await
    }

    async fn renew(
        &self,
        me: Identity,
        task: TaskId,
        token: FencingToken,
        period: Duration,
    ) -> Result<Lease> {
        self.ask(|state, now| state.renew(me, task, token, period, now))
            .await
    }

    async fn finish(&self, me: Identity, task: TaskId, token: FencingToken) -> Result<()> {
        self.ask(|state, now| state.finish(me, task, token, now))
            .await
    }

    async fn devices(&self, me: Identity) -> Result<Vec<Device>> {
        self.ask(|state, now| state.devices(me, now)).await
    }

    async fn revoke(&self, me: Identity, system: SystemId) -> Result<()> {
        self.ask(|state, now| state.revoke(me, system, now)).await?;
        self.poke();
        Ok(())
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

    fn has_pokes(&self) -> bool {
        let line = self.line();
        line.up && line.pokes
    }
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemorySync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySync").finish_non_exhaustive()
    }
}
