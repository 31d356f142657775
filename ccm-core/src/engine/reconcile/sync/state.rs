//! What sharing keeps in memory: signals, what is shown of it, and the leases with their deadlines.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::engine::SyncLimits;
use crate::id::{FencingToken, TaskId};
use crate::store::LeaseRecord;
use crate::sync::SyncPhase;
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Result};

/// What is known of other machines only while this engine lives. Nothing in it can't be learned again.
pub(in crate::engine) struct SyncState {
    /// Somebody wants to hear from the server now.
    pub(in crate::engine) wake: Notify,
    /// Something was written for other machines.
    pub(in crate::engine) changed: Notify,
    /// The server has something new, or may have.
    pub(super) poked: Notify,
    /// There may be another server behind the backend.
    pub(super) rewired: Notify,
    /// Some lease was got or given back, or has another length from now on.
    pub(in crate::engine) leases_changed: Notify,
    /// Held by whoever seals documents, by whoever changes one after having read it, and from when versions of other machines
    /// come in until they are settled. So nothing half settled is sealed, and nobody's change is overwritten unseen.
    pub(in crate::engine) documents: tokio::sync::Mutex<()>,
    /// Not even tried until somebody wakes it: a person switched sharing off.
    off: AtomicBool,
    rounds: watch::Sender<Rounds>,
    limits: RwLock<SyncLimits>,
    facts: Mutex<Facts>,
    leases: Mutex<HashMap<TaskId, Kept>>,
    /// Shared tasks of other machines that a person let run here.
    approved: Mutex<BTreeSet<TaskId>>,
    /// Shared tasks that were queued again here, and need a lease again.
    wanted_again: Mutex<BTreeSet<TaskId>>,
    /// Shared tasks that this machine gave up, and when it may think of them again in the clock's uptime.
    given_up: Mutex<HashMap<TaskId, Duration>>,
}

/// Rounds that somebody waits for.
#[derive(Debug, Clone, Default)]
struct Rounds {
    asked: u64,
    done: u64,
    failed: Option<(ErrorKind, String)>,
}

/// What is shown of sharing.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Facts {
    pub(in crate::engine) phase: SyncPhase,
    pub(in crate::engine) last_contact: Option<Timestamp>,
    pub(in crate::engine) last_push: Option<Timestamp>,
    pub(in crate::engine) last_pull: Option<Timestamp>,
    pub(in crate::engine) clock_ahead_ms: Option<i64>,
    pub(in crate::engine) failures: u32,
    pub(in crate::engine) breaker_open: bool,
}

/// A shared task that this machine has, or has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Kept {
    pub(super) record: LeaseRecord,
    pub(super) hold: Option<Hold>,
}

/// A lease that holds, in the time since the machine was booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    /// When a run of it has to be over.
    pub(super) ends: Duration,
    /// When to renew it.
    pub(super) renew_at: Duration,
    /// Since when its task could start and did not, or that it has begun.
    pub(super) idle_since: Option<Duration>,
}

impl SyncState {
    pub(in crate::engine) fn new(limits: SyncLimits) -> Self {
        Self {
            wake: Notify::new(),
            changed: Notify::new(),
            poked: Notify::new(),
            rewired: Notify::new(),
            leases_changed: Notify::new(),
            documents: tokio::sync::Mutex::new(()),
            off: AtomicBool::new(false),
            rounds: watch::Sender::new(Rounds::default()),
            limits: RwLock::new(limits),
            facts: Mutex::new(Facts {
                phase: SyncPhase::Off,
                last_contact: None,
                last_push: None,
                last_pull: None,
                clock_ahead_ms: None,
                failures: 0,
                breaker_open: false,
            }),
            leases: Mutex::default(),
            approved: Mutex::default(),
            wanted_again: Mutex::default(),
            given_up: Mutex::default(),
        }
    }

    pub(in crate::engine) fn limits(&self) -> SyncLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::engine) fn set_limits(&self, limits: SyncLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.wake.notify_one();
        self.leases_changed.notify_one();
    }

    pub(in crate::engine) fn switch_off(&self, off: bool) {
        self.off.store(off, Ordering::SeqCst);
        self.rewired.notify_one();
        self.wake.notify_one();
    }

    pub(super) fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }

    pub(in crate::engine) fn facts(&self) -> Facts {
        lock(&self.facts).clone()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut lock(&self.facts));
    }

    // --- rounds that somebody waits for ---

    /// Asks for a whole round. Returns its number.
    pub(in crate::engine) fn ask(&self) -> u64 {
        let mut number = 0;
        self.rounds.send_modify(|rounds| {
            rounds.asked += 1;
            number = rounds.asked;
        });
        self.wake.notify_one();
        number
    }

    /// The last round that was asked for: one that begins now is that one.
    pub(super) fn asked(&self) -> u64 {
        self.rounds.borrow().asked
    }

    pub(super) fn is_waited_for(&self) -> bool {
        let rounds = self.rounds.borrow();
        rounds.asked > rounds.done
    }

    pub(super) fn answer(&self, number: u64, result: &Result<()>) {
        self.rounds.send_if_modified(|rounds| {
            if number <= rounds.done {
                return false;
            }
            rounds.done = number;
            let failed = result.as_ref().err();
            rounds.failed = failed.map(|error| (error.kind(), crate::chain(error)));
            true
        });
    }

    /// Returns what came of the round that was asked for, or of a later one.
    pub(in crate::engine) async fn answered(&self, number: u64) -> Result<()> {
        let mut rounds = self.rounds.subscribe();
        let done = rounds.wait_for(|rounds| rounds.done >= number).await;
        // The sender lives as long as `self`, which is borrowed here.
        match done.ok().and_then(|rounds| rounds.failed.clone()) {
            Some((kind, message)) => Err(Error::new(kind, message)),
            None => Ok(()),
        }
    }

    // --- leases ---

    pub(super) fn keep(&self, task: TaskId, kept: Kept) {
        lock(&self.leases).insert(task, kept);
        self.leases_changed.notify_one();
    }

    pub(super) fn drop_kept(&self, task: TaskId) {
        lock(&self.leases).remove(&task);
        self.leases_changed.notify_one();
    }

    /// The task is not this machine's any more, and not to be tried before.
    pub(super) fn note_given_up(&self, task: TaskId, until: Duration) {
        lock(&self.given_up).insert(task, until);
        self.wake.notify_one();
    }

    pub(super) fn take_given_up(&self) -> HashMap<TaskId, Duration> {
        std::mem::take(&mut *lock(&self.given_up))
    }

    pub(super) fn kept(&self, task: TaskId) -> Option<Kept> {
        lock(&self.leases).get(&task).cloned()
    }

    pub(super) fn all_kept(&self) -> Vec<(TaskId, Kept)> {
        let leases = lock(&self.leases);
        leases
            .iter()
            .map(|(task, kept)| (*task, kept.clone()))
            .collect()
    }

    pub(super) fn change_kept(&self, task: TaskId, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = lock(&self.leases).get_mut(&task) {
            change(kept);
        }
    }

    /// How many tasks this machine holds the lease of.
    pub(in crate::engine) fn held(&self) -> u64 {
        let leases = lock(&self.leases);
        leases.values().filter(|kept| kept.hold.is_some()).count() as u64
    }

    /// What a task may be started under: `Ok(None)` for one of this machine alone, an error for a shared one whose lease
    /// it does not hold. That it is wanted again is noted then.
    pub(in crate::engine) fn lease_of(&self, task: TaskId) -> Result<Option<Timestamp>, NotHeld> {
        {
            let leases = lock(&self.leases);
            match leases.get(&task) {
                None => return Ok(None),
                Some(Kept {
                    hold: Some(_),
                    record,
                }) if record.token.is_some() => return Ok(record.until),
                Some(_) => {}
            }
        }
        if lock(&self.wanted_again).insert(task) {
            self.wake.notify_one();
        }
        Err(NotHeld)
    }

    pub(super) fn wanted_again(&self) -> Vec<TaskId> {
        lock(&self.wanted_again).iter().copied().collect()
    }

    pub(super) fn not_wanted_again(&self, task: TaskId) {
        lock(&self.wanted_again).remove(&task);
    }

    /// When a run of the task has to be over, in the time since the machine was booted. `None` for a task of this machine
    /// alone.
    pub(super) fn ends(&self, task: TaskId) -> Option<Duration> {
        let leases = lock(&self.leases);
        leases
            .get(&task)
            .map(|kept| kept.hold.map_or(Duration::ZERO, |hold| hold.ends))
    }

    /// The token that what happens to a task is told under.
    pub(super) fn epoch(&self, task: TaskId) -> Option<FencingToken> {
        lock(&self.leases).get(&task)?.record.token
    }

    pub(in crate::engine) fn approve(&self, task: TaskId) {
        lock(&self.approved).insert(task);
        self.wake.notify_one();
    }

    pub(super) fn is_approved(&self, task: TaskId) -> bool {
        lock(&self.approved).contains(&task)
    }
}

/// The lease of a shared task is not this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct NotHeld;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
