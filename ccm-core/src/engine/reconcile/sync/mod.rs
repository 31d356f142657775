//! Shares what is here with the user's other machines, and does here what they ask for.
//!
//! ```text
//!        ┌────────────────────────── woken: a change here, a poke, a person, a date ◀──────────────┐
//!        ▼                                                                                         │
//! introduce ─▶ settle ─▶ seal and push until nothing waits ─▶ pull and settle to the end ─▶ claim ──┤
//!        │                                                                                         │
//!        └── it failed: wait, longer each time; offline, what nobody else can know of is done ─────┘
//! ```
//!
//! One round is made of steps that each leave the store as another engine can go on with it. Leases are looked after
//! beside it ([`leases`]), because they must not wait for a server that does not answer.

mod bodies;
mod claims;
mod inbox;
mod leases;
mod line;
mod state;
mod trouble;

pub(in crate::engine) use inbox::Inbox;
pub(in crate::engine) use leases::{give_all_up, give_up, know_leases};
pub(in crate::engine) use state::SyncState;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::line::Line;
use self::trouble::{SOONEST, Trouble, chance};
use super::{Shared, own};
use crate::id::Seq;
use crate::sync::{Kind, SyncPhase};
use crate::{Error, ErrorKind, Noun, Result, SyncBackend, chain};

/// How long after a change it is waited for more, so that many at once go out together.
const TOGETHER: Duration = Duration::from_millis(5);
/// How often something new is looked for while the server says by itself that there is.
const STRETCHED: Duration = Duration::from_secs(60);
/// What is sent at once. Of what happens to a run there is more all the time; it goes along with the next round. Whoever tells
/// transcripts does so no more often than is good.
const LOUD: [Kind; 8] = [
    Kind::System,
    Kind::Project,
    Kind::Task,
    Kind::Wish,
    Kind::Report,
    Kind::Ask,
    Kind::Transcript,
    Kind::Conflict,
];

pub(super) fn start(shared: &Arc<Shared>) {
    let Some(backend) = shared.parts.sync.clone() else {
        return;
    };
    if shared.parts.store.replica().is_none() {
        return;
    }
    own(
        shared,
        "sync",
        run(Arc::clone(shared), Arc::clone(&backend)),
    );
    own(shared, "pokes", listen(Arc::clone(shared), backend));
    own(shared, "leases", leases::run(Arc::clone(shared)));
}

/// Hears pokes also while a round goes on.
async fn listen(shared: Arc<Shared>, backend: Arc<dyn SyncBackend>) {
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            // There may be another server behind the backend.
            () = shared.sync.rewired.notified() => {}
            () = backend.poked() => shared.sync.poked.notify_one(),
        }
        tokio::task::yield_now().await;
    }
}

/// What a round is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Everything.
    Whole,
    /// Only send: something changed here.
    Send,
}

async fn run(shared: Arc<Shared>, backend: Arc<dyn SyncBackend>) {
    let mut line = Line::new(Arc::clone(&shared), Arc::clone(&backend));
    let mut head = shared.parts.store.watch();
    let mut next = Round::Whole;
    // When the last whole round began: what is sent in between puts off no look at what others did.
    let mut looked = Duration::ZERO;
    loop {
        if shared.sync.is_off() || !backend.is_connected() {
            line.changed();
            shared.sync.note(|facts| {
                facts.phase = SyncPhase::Off;
                (facts.failures, facts.breaker_open) = (0, false);
            });
            shared.sync.answer(shared.sync.asked(), &Err(off()));
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = shared.sync.wake.notified() => {}
            }
            next = Round::Whole;
            continue;
        }
        head.mark_unchanged();
        let asked = shared.sync.asked();
        if shared.sync.is_waited_for() {
            next = Round::Whole;
        }
        if shared.sync.facts().phase == SyncPhase::Off {
            shared
                .sync
                .note(|facts| facts.phase = SyncPhase::Connecting);
        }
        if next == Round::Whole {
            looked = shared.parts.clock.uptime();
        }
        let done = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return,
            done = line.round(next == Round::Whole) => done,
        };
        let waited = match done {
            Ok(()) => {
                well(&shared);
                shared.sync.answer(asked, &Ok(()));
                wait(&shared, &*backend, &line, looked, &mut head).await
            }
            Err(error) if shared.superseded(&error) => return,
            Err(error) => {
                let trouble = troubled(&shared, &error);
                line.changed();
                shared.sync.answer(asked, &Err(error));
                wait_out(&shared, &mut line, &trouble, &mut head).await
            }
        };
        match waited {
            Some(round) => next = round,
            None => return,
        }
    }
}

/// Waits for a reason to hear from the server, which was asked last when it was `looked`. `None` when the engine ends.
async fn wait(
    shared: &Shared,
    backend: &dyn SyncBackend,
    line: &Line,
    looked: Duration,
    head: &mut watch::Receiver<Seq>,
) -> Option<Round> {
    let clock = &shared.parts.clock;
    let mut something_waits = false;
    loop {
        let mut interval = shared.sync.limits().interval;
        if !backend.has_pokes() {
            // A little early: what is found is to have begun within it.
            interval -= interval / 40;
        }
        let waited = clock.uptime().saturating_sub(looked);
        // Overdue already, because so much was to be sent.
        if waited >= STRETCHED || (waited >= interval && !backend.has_pokes()) {
            return Some(Round::Whole);
        }
        let due = line.claims.next.map(|at| at.saturating_sub(clock.uptime()));
        // Whether the server still says what is new is looked at as often as it would be asked without.
        let passed = interval.saturating_mul(
            u32::try_from(waited.as_micros() / interval.as_micros().max(1)).unwrap_or(u32::MAX),
        );
        let tick = (passed + interval).saturating_sub(waited);
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return None,
            () = shared.sync.wake.notified() => return Some(Round::Whole),
            () = shared.sync.poked.notified() => return Some(Round::Whole),
            () = clock.wait(due.map_or(tick, |due| due.min(tick))) => {
                let up = clock.uptime();
                let is_due = line.claims.next.is_some_and(|at| at <= up);
                let patient = backend.has_pokes() && !something_waits;
                if is_due || !patient || up.saturating_sub(looked) >= STRETCHED {
                    return Some(Round::Whole);
                }
            }
            () = shared.sync.changed.notified() => {
                gather(shared).await;
                return Some(Round::Send);
            }
            changed = head.changed() => {
                if changed.is_err() {
                    return None;
                }
                gather(shared).await;
                head.mark_unchanged();
                match what_waits(shared).await {
                    Waiting::Loud => return Some(Round::Send),
                    Waiting::Quiet => something_waits = true,
                    Waiting::Nothing => {}
                }
            }
        }
    }
}

/// Waits a moment for what else changes, unless something more urgent comes.
async fn gather(shared: &Shared) {
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => {}
        // For whoever waits next.
        () = shared.sync.wake.notified() => shared.sync.wake.notify_one(),
        () = shared.sync.poked.notified() => shared.sync.poked.notify_one(),
        () = shared.parts.clock.wait(TOGETHER) => {}
    }
}

enum Waiting {
    Nothing,
    Quiet,
    Loud,
}

async fn what_waits(shared: &Shared) -> Waiting {
    let Some(replica) = shared.parts.store.replica() else {
        return Waiting::Nothing;
    };
    // A round says what is wrong with the store.
    let is_there = |marks: Result<Vec<_>>| marks.is_ok_and(|marks: Vec<_>| !marks.is_empty());
    if is_there(replica.marks(&LOUD, 1).await) {
        Waiting::Loud
    } else if is_there(replica.marks(&[], 1).await) {
        Waiting::Quiet
    } else {
        Waiting::Nothing
    }
}

/// What can be done without the server.
async fn without_contact(line: &mut Line) -> Result<()> {
    line.settle_inbox().await?;
    line.pin().await
}

/// Waits after a failure. What nobody else can know of is begun meanwhile. `None` when the engine ends.
async fn wait_out(
    shared: &Shared,
    line: &mut Line,
    trouble: &Trouble,
    head: &mut watch::Receiver<Seq>,
) -> Option<Round> {
    let clock = &shared.parts.clock;
    let begun = clock.uptime();
    let mut until = begun + trouble.pause;
    loop {
        if let Err(error) = without_contact(line).await {
            if shared.superseded(&error) {
                return None;
            }
            tracing::warn!(
                error = chain(&error),
                "tasks can't be taken without a server"
            );
        }
        loop {
            let up = clock.uptime();
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => return None,
                () = shared.sync.wake.notified() => return Some(Round::Whole),
                () = shared.sync.poked.notified(), if trouble.hint.is_none() => {
                    // The server is there again, it seems. It is not asked more often for that than need be.
                    until = until.min((begun + SOONEST).max(up));
                }
                () = clock.wait(until.saturating_sub(up)) => return Some(Round::Whole),
                () = shared.sync.changed.notified() => break,
                changed = head.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return None,
                },
            }
        }
        gather(shared).await;
        head.mark_unchanged();
    }
}

fn off() -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::System),
        "this machine shares its queue with no other one",
    )
}

fn well(shared: &Shared) {
    let was_broken = shared.sync.facts().failures > 0;
    shared.sync.note(|facts| {
        facts.phase = SyncPhase::UpToDate;
        (facts.failures, facts.breaker_open) = (0, false);
    });
    shared.problems.clear("sync");
    if was_broken {
        tracing::info!("sharing goes on");
    }
}

/// Notes what went wrong, and says how it goes on.
fn troubled(shared: &Shared, error: &Error) -> Trouble {
    let failures = shared.sync.facts().failures.saturating_add(1);
    let max_retries = shared.sync.limits().max_retries;
    let trouble = Trouble::after(error, failures, max_retries, chance());
    let sentence = chain(error);
    let until = shared.parts.clock.now().after(trouble.pause);
    match trouble.hint {
        Some(hint) => {
            tracing::error!(error = sentence, hint, "sharing stopped");
            let problem = format!("sharing stopped: {sentence}; {hint}");
            shared.problems.set("sync", problem);
        }
        // Told once: not to be reached is normal.
        None if failures == 1 => {
            tracing::info!(
                error = sentence,
                "the server can't be reached; what changes is kept for it"
            );
        }
        None => {
            tracing::debug!(error = sentence, failures, pause = ?trouble.pause, "the server can't be reached")
        }
    }
    shared.sync.note(|facts| {
        facts.failures = failures;
        facts.breaker_open = trouble.breaker_open;
        facts.phase = match trouble.hint {
            Some(hint) => SyncPhase::Stopped {
                why: sentence,
                hint: hint.to_owned(),
            },
            None => SyncPhase::Waiting {
                until,
                error: sentence,
            },
        };
    });
    trouble
}
