//! What all readers share: one task that reads what is new in the log, once for everybody, while there is a reader.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use ccm_core::id::{LogId, Seq};
use ccm_core::store::{EventQuery, LogRange};
use ccm_core::{Result, Store, chain};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio_util::task::AbortOnDropHandle;

use super::segment::{Part, Segment};
use super::shelf::{Past, Tail};
use crate::http::serve::Capacity;

/// How many events are read at once.
const BATCH: u32 = 256;
/// A first reader who is no further behind than this finds what it lacks in the tail.
const NEAR: u64 = 1024;
/// How many readers who catch up read the log at the same time. Other requests read, too.
const CATCHING_UP: usize = 2;
/// Readers are woken a group at a time, so that a request never stands in line behind all of them.
const GROUPS: usize = 64;

/// The event streams of a daemon.
#[derive(Debug)]
pub(crate) struct Streams {
    room: Arc<Semaphore>,
    limit: usize,
    live: Mutex<Weak<Live>>,
}

impl Streams {
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            room: Arc::new(Semaphore::new(capacity.streams)),
            limit: capacity.streams,
            live: Mutex::default(),
        }
    }

    /// How many streams there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.limit - self.room.available_permits()
    }

    /// Room for one more stream, if there is some.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// What readers share. The first one brings it to life, and it ends with the last.
    pub(super) fn join(&self, store: &Arc<dyn Store>, log: LogRange, at: Seq) -> Arc<Live> {
        // Nothing that holds it can panic.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = live.upgrade().filter(|live| !live.tail.has_ended()) {
            return live;
        }
        let is_near = log.head.0 - at.0 <= NEAR;
        let started = Arc::new(Live::start(
            store,
            log.log,
            if is_near { at } else { log.head },
        ));
        *live = Arc::downgrade(&started);
        started
    }
}

/// The log as it comes in.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tail: Arc<Tail>,
    past: Past,
    catching_up: Semaphore,
    groups: Arc<[watch::Sender<Seq>]>,
    _task: AbortOnDropHandle<()>,
}

impl Live {
    fn start(store: &Arc<dyn Store>, log: LogId, base: Seq) -> Self {
        let tail = Arc::new(Tail::after(base));
        let groups: Arc<[_]> = (0..GROUPS).map(|_| watch::Sender::new(base)).collect();
        // Whatever is committed from here on wakes it.
        let head = store.watch();
        let following = Following {
            store: Arc::clone(store),
            log,
            tail: Arc::clone(&tail),
            groups: Arc::clone(&groups),
        };
        Self {
            tail,
            past: Past::default(),
            catching_up: Semaphore::new(CATCHING_UP),
            groups,
            _task: AbortOnDropHandle::new(tokio::spawn(following.run(head))),
        }
    }

    /// Wakes its holder when the tail has grown, or ended.
    pub(super) fn wake(&self) -> watch::Receiver<Seq> {
        let smallest = self
            .groups
            .iter()
            .min_by_key(|group| group.receiver_count());
        smallest.map_or_else(|| watch::channel(Seq(0)).1, watch::Sender::subscribe)
    }

    /// The place of somebody who may read the log now.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.catching_up.acquire().await.ok()
    }

    /// What comes after `at`, from what was read for another reader who catches up.
    pub(super) fn past(&self, at: Seq, query: &EventQuery, room: usize) -> Option<Part> {
        self.past.find(at, query, room)
    }

    /// What comes after `at`, from the log, for other readers, too.
    pub(super) async fn read(
        &self,
        store: &dyn Store,
        log: LogId,
        at: Seq,
        query: &EventQuery,
        room: usize,
    ) -> Result<Option<Part>> {
        let segments = Segment::of(log, &store.events(&page(at)).await?);
        let part = segments
            .first()
            .and_then(|segment| segment.after(at, query, room));
        self.past.keep(segments);
        Ok(part)
    }
}

fn page(after: Seq) -> EventQuery {
    EventQuery {
        after,
        limit: BATCH,
        ..EventQuery::default()
    }
}

struct Following {
    store: Arc<dyn Store>,
    log: LogId,
    tail: Arc<Tail>,
    groups: Arc<[watch::Sender<Seq>]>,
}

impl Following {
    async fn run(self, mut head: watch::Receiver<Seq>) {
        loop {
            // Marked before the log is read: what is committed after that is seen by the next round.
            head.mark_unchanged();
            if let Err(error) = self.catch_up().await {
                // Its readers come back with their places and learn more then.
                tracing::warn!(error = %chain(&error), "the event streams end early: the log can't be read");
                break;
            }
            if head.changed().await.is_err() {
                break;
            }
        }
        self.tail.end();
        self.tell().await;
    }

    async fn catch_up(&self) -> Result<()> {
        loop {
            let events = self.store.events(&page(self.tail.head())).await?;
            let is_all = events.len() < BATCH as usize;
            if !events.is_empty() {
                self.tail.push(Segment::of(self.log, &events));
                self.tell().await;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Wakes the readers. Each of them then takes all there is, so that what is committed meanwhile is one more write
    /// for them and not many.
    async fn tell(&self) {
        let head = self.tail.head();
        for group in self.groups.iter() {
            if group.receiver_count() > 0 {
                group.send_replace(head);
                tokio::task::yield_now().await;
            }
        }
    }
}
