//! The one writer: everything that waits becomes one transaction.
//!
//! A change never talks to the database itself. It says what it needs, all needs of a group are loaded by one command,
//! the changes are applied to the loaded rows one after another, and what became of the rows is written and committed by
//! a second command. So a group costs two ways to the driver's thread and one sync to disk, however many wait, and a
//! change that is refused leaves nothing behind: it checks before it changes.

mod flush;
mod gap;
mod load;
mod observer;
mod reserve;
mod script;
mod shared;
mod work;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ccm_core::id::{Epoch, Seq};
use ccm_core::{Error, ErrorKind, Result};
use sea_orm::sqlx::Sqlite;
use sea_orm::sqlx::pool::PoolConnection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::Failure;
use crate::values::column;

#[cfg(test)]
pub(crate) use flush::{PROMOTE, shift, unblock};
#[cfg(test)]
pub(crate) use gap::{Look, oldest, statement as along_queue};
pub(crate) use load::Needs;
#[cfg(test)]
pub(crate) use load::{
    OPEN_ASKS_OF, OPEN_INPUTS_OF, OPEN_RUNS_OF, asks_of_requests, circles, known_tasks, run_of,
};
pub use observer::Commit;
pub(crate) use observer::Observer;
pub(crate) use reserve::Reserve;
pub(crate) use script::Script;
#[cfg(test)]
pub(crate) use shared::{OPERATIONS, STALE, kept, leave};
pub(crate) use shared::{key as document_key, whole};
pub(crate) use work::{About, KeyName, Tracked, Work};

/// Changes that may wait before callers have to.
const QUEUE: usize = 4096;
/// The most changes in one transaction.
const MAX_CHANGES: usize = 512;
/// The most that the changes of one transaction may weigh, in KiB of text.
const MAX_WEIGHT: usize = 8 * 1024;

/// Something to write.
pub(crate) trait Change: Send + 'static {
    /// What its caller gets.
    type Answer: Send + 'static;
    /// Whether it must have a transaction of its own, of which nothing is kept if it fails.
    const ALONE: bool = false;
    /// Whether it raises the epoch instead of being bound to it.
    const TAKES_OVER: bool = false;
    /// Whether it brings in something new, which has to wait while the disk is full.
    const GROWS: bool = false;

    /// How much it has to write, in KiB.
    fn weight(&self) -> usize {
        1
    }

    /// Names the rows that [`apply`](Self::apply) will look at.
    fn needs(&self, needs: &mut Needs);

    /// Makes the change in memory. With `Err` nothing must be changed that the caller is not told of. May be called
    /// again on fresh rows when the first group failed.
    fn apply(&self, work: &mut Work) -> Result<Self::Answer>;
}

/// A change whose caller waits.
trait Waiting: Send {
    fn alone(&self) -> bool;
    fn takes_over(&self) -> bool;
    fn grows(&self) -> bool;
    fn weight(&self) -> usize;
    fn needs(&self, needs: &mut Needs);
    /// Says whether it is done.
    fn apply(&mut self, work: &mut Work) -> bool;
    /// Answers: with what `apply` came to, or with the trouble that kept it from being committed.
    fn settle(self: Box<Self>, trouble: Option<&Trouble>);
}

struct Pending<C: Change> {
    change: C,
    came_to: Option<Result<C::Answer>>,
    caller: oneshot::Sender<Result<C::Answer>>,
}

impl<C: Change> Waiting for Pending<C> {
    fn alone(&self) -> bool {
        C::ALONE || C::TAKES_OVER
    }

    fn takes_over(&self) -> bool {
        C::TAKES_OVER
    }

    fn grows(&self) -> bool {
        C::GROWS
    }

    fn weight(&self) -> usize {
        self.change.weight()
    }

    fn needs(&self, needs: &mut Needs) {
        self.change.needs(needs);
    }

    fn apply(&mut self, work: &mut Work) -> bool {
        let came_to = self.came_to.insert(self.change.apply(work));
        came_to.is_ok()
    }

    fn settle(self: Box<Self>, trouble: Option<&Trouble>) {
        let answer = match (trouble, self.came_to) {
            (Some(trouble), _) => Err(trouble.describe()),
            (None, Some(answer)) => answer,
            (None, None) => Err(Error::internal("the change was not applied")),
        };
        // A caller that went away has no use for it.
        let _ = self.caller.send(answer);
    }
}

/// Why a whole group was not committed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The database failed.
    Database(Failure),
    /// Something stored can't be read.
    Unreadable(Error),
    /// This handle may not write.
    Fenced(&'static str),
    /// The disk is full, and what room is left is for others.
    Spent,
}

impl Trouble {
    fn describe(&self) -> Error {
        match self {
            Self::Database(failure) => failure.describe(),
            Self::Unreadable(error) => Error::new(error.kind(), ccm_core::chain(error)),
            Self::Fenced(why) => Error::new(ErrorKind::Superseded, *why),
            Self::Spent => Error::new(
                ErrorKind::DiskFull,
                "there is no room left for the database: nothing new is accepted until there is some",
            ),
        }
    }

    fn is_full_disk(&self) -> bool {
        matches!(self, Self::Database(failure) if failure.describe().kind() == ErrorKind::DiskFull)
    }

    /// Whether it may be the doing of one change, so that the others can go through without it.
    fn may_be_of_one(&self) -> bool {
        match self {
            Self::Database(failure) => !matches!(
                failure.describe().kind(),
                ErrorKind::Unknown | ErrorKind::Unavailable
            ),
            Self::Unreadable(_) => true,
            Self::Fenced(_) | Self::Spent => false,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Database(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The way to the writer, which lives until this is closed or dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Waiting>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for dyn Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

impl Writer {
    /// Starts the writer on its connection. It tells `head` the number of the last event after every commit.
    pub(crate) fn start(
        connection: PoolConnection<Sqlite>,
        reserve: Option<Reserve>,
        head: watch::Sender<Seq>,
        observer: Observer,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let body = Loop {
            connection,
            reserve,
            epoch: None,
            head,
            observer,
        };
        Self {
            queue: Mutex::new(Some(queue)),
            task: Mutex::new(Some(tokio::spawn(body.run(waiting)))),
        }
    }

    /// Makes a change and returns when it is durable. If the future is dropped the change is made or not made, whole.
    pub(crate) async fn write<C: Change>(&self, change: C) -> Result<C::Answer> {
        let queue = lock(&self.queue).clone().ok_or_else(closed)?;
        let (caller, answer) = oneshot::channel();
        let pending = Pending {
            change,
            came_to: None,
            caller,
        };
        queue.send(Box::new(pending)).await.map_err(|_| closed())?;
        drop(queue);
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::Unknown,
                "the writer ended before it answered",
            ))
        })
    }

    /// Makes a change that nobody waits for, unless the queue is full.
    pub(crate) fn offer<C: Change>(&self, change: C) {
        let (caller, _) = oneshot::channel();
        if let Some(queue) = lock(&self.queue).as_ref() {
            let _ = queue.try_send(Box::new(Pending {
                change,
                came_to: None,
                caller,
            }));
        }
    }

    /// Refuses further changes, and returns when those that wait are answered.
    pub(crate) async fn close(&self) {
        drop(lock(&self.queue).take());
        let task = lock(&self.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the database's writer failed");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing that holds these locks can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> Error {
    Error::unavailable("the store is closed")
}

struct Loop {
    connection: PoolConnection<Sqlite>,
    reserve: Option<Reserve>,
    epoch: Option<Epoch>,
    head: watch::Sender<Seq>,
    observer: Observer,
}

impl Loop {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Waiting>>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match queue.recv().await {
                    Some(first) => waiting.push_back(first),
                    None => return,
                }
                // Whoever was answered together can ask together again.
                tokio::task::yield_now().await;
            }
            while waiting.len() < MAX_CHANGES
                && let Ok(next) = queue.try_recv()
            {
                waiting.push_back(next);
            }
            let group = next_group(&mut waiting);
            self.commit(group).await;
        }
    }

    async fn commit(&mut self, mut group: Vec<Box<dyn Waiting>>) {
        if group.iter().any(|one| one.grows()) && !self.has_room().await {
            let (growing, rest) = group.into_iter().partition(|one| one.grows());
            settle(growing, Some(&Trouble::Spent));
            group = rest;
        }
        if group.is_empty() {
            return;
        }
        let trouble = match self.attempt(&mut group).await {
            Ok(()) => return settle(group, None),
            Err(trouble) => trouble,
        };
        let released =
            trouble.is_full_disk() && self.reserve.as_mut().is_some_and(Reserve::release);
        if !released && (group.len() == 1 || !trouble.may_be_of_one()) {
            return settle(group, Some(&trouble));
        }
        // One of them was too much, or broke a rule that its own checks did not foresee: the others must not suffer.
        for one in group {
            let trouble = if released && one.grows() {
                Some(Trouble::Spent)
            } else {
                None
            };
            let mut one = vec![one];
            let trouble = match trouble {
                None => self.attempt(&mut one).await.err(),
                spent => spent,
            };
            settle(one, trouble.as_ref());
        }
    }

    /// Whether something new may come: the reserve is whole, or can be made whole again.
    async fn has_room(&mut self) -> bool {
        match &mut self.reserve {
            Some(reserve) if reserve.is_spent() => reserve.fill().await,
            _ => true,
        }
    }

    async fn attempt(&mut self, group: &mut [Box<dyn Waiting>]) -> Result<(), Trouble> {
        let outcome = self.transact(group).await;
        if let Err(trouble) = &outcome {
            tracing::debug!(
                ?trouble,
                changes = group.len(),
                "a transaction was given up"
            );
            self.roll_back().await;
        }
        outcome
    }

    async fn transact(&mut self, group: &mut [Box<dyn Waiting>]) -> Result<(), Trouble> {
        let takes_over = group.iter().any(|one| one.takes_over());
        if self.epoch.is_none() && !takes_over {
            return Err(Trouble::Fenced(
                "this store was not taken over yet; begin first",
            ));
        }
        let begun = Instant::now();
        let mut needs = Needs::default();
        for one in group.iter() {
            one.needs(&mut needs);
        }
        let mut work = Work::load(needs, &mut self.connection).await?;
        if !takes_over && self.epoch.map(|epoch| column(epoch.0)) != Some(work.meta.epoch) {
            return Err(Trouble::Fenced("another daemon took this store over"));
        }
        let mut void = false;
        for one in group.iter_mut() {
            void |= !one.apply(&mut work) && one.alone();
        }
        if void {
            self.roll_back().await;
            return Ok(());
        }
        let epoch = Epoch(work.meta.epoch.unsigned_abs());
        let seq = Seq(work.meta.last_seq.unsigned_abs());
        match work.flush() {
            Some(script) => {
                script.run(&mut self.connection).await?;
                self.observer.committed(Commit {
                    changes: group.len(),
                    took: begun.elapsed(),
                });
            }
            None => self.roll_back().await,
        }
        if takes_over {
            self.epoch = Some(epoch);
        }
        self.head
            .send_if_modified(|seen| std::mem::replace(seen, seq) != seq);
        Ok(())
    }

    /// Ends a transaction that must leave nothing behind.
    async fn roll_back(&mut self) {
        let mut script = Script::default();
        script.push("ROLLBACK", []);
        if let Err(failure) = script.run(&mut self.connection).await {
            // SQLite has rolled back by itself after some errors; there is no transaction then.
            tracing::debug!(?failure, "nothing to roll back");
        }
    }
}

fn settle(group: Vec<Box<dyn Waiting>>, trouble: Option<&Trouble>) {
    for one in group {
        one.settle(trouble);
    }
}

/// Takes what goes into the next transaction, in the order it came.
fn next_group(waiting: &mut VecDeque<Box<dyn Waiting>>) -> Vec<Box<dyn Waiting>> {
    let mut group: Vec<Box<dyn Waiting>> = Vec::new();
    let mut weight = 0;
    while let Some(next) = waiting.front() {
        let fits = group.is_empty() || (!next.alone() && weight + next.weight() <= MAX_WEIGHT);
        if !fits {
            break;
        }
        weight += next.weight();
        let last = next.alone();
        group.extend(waiting.pop_front());
        if last {
            break;
        }
    }
    group
}

#[cfg(test)]
mod tests;
