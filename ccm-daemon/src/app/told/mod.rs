//! What this machine tells others of its runs beyond what the engine does: their transcripts. And what it writes down of what
//! comes from others.
//!
//! It follows the log of events while something is shared, and is asked nothing else. Where it is in the log is kept in a
//! file, so that a daemon that died in the middle leaves out nothing; what it does twice does no harm.

mod arrivals;
mod transcripts;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ccm_core::api::EventKind;
use ccm_core::event::{Cursor, Event};
use ccm_core::id::{RunId, Seq};
use ccm_core::store::{EventQuery, Replica};
use ccm_core::{Result, Store, chain};
use tokio::time::Instant;

use self::transcripts::Tail;
use super::App;
use crate::machine::files::{self, Links, SECRET};

/// How many events are read at once.
const PART: u32 = 1000;
/// What happens in so short a time is dealt with at once.
const PAUSE: Duration = Duration::from_millis(200);
/// A transcript that grows is told no more often than this, whatever the config says.
const SHORTEST: Duration = Duration::from_secs(1);
/// After what went wrong.
const PATIENCE: Duration = Duration::from_secs(10);

const KINDS: [EventKind; 5] = [
    EventKind::TaskCreated,
    EventKind::RunStarted,
    EventKind::RunOutput,
    EventKind::RunEnded,
    EventKind::SharingChanged,
];

/// A run whose transcript is told.
#[derive(Debug, Default)]
struct Followed {
    /// Whether it may have said more than was told.
    is_behind: bool,
    is_over: bool,
    /// Before when nothing more is told of it.
    rests_until: Option<Instant>,
    tail: Option<Tail>,
}

impl Followed {
    /// When it is to be told next, if it is, as of `now`.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.is_behind.then(|| self.rests_until.unwrap_or(now))
    }
}

/// Where the reading is.
struct Place {
    cursor: Cursor,
    /// What was read and is not written down.
    is_new: bool,
    file: PathBuf,
}

impl Place {
    /// Where the daemon before this one was, or the end of the log if that can't be known.
    async fn find(store: &dyn Store, file: PathBuf) -> Result<Self> {
        let log = store.log().await?;
        let kept = files::read_text(&file, Links::Refused).ok();
        let kept = kept.and_then(|text| text.trim().parse::<Cursor>().ok());
        let head = Cursor {
            log: log.log,
            seq: log.head,
        };
        Ok(Self {
            cursor: kept.filter(|cursor| log.holds(*cursor)).unwrap_or(head),
            is_new: true,
            file,
        })
    }

    /// What happens while nothing is shared is told to nobody later.
    fn forget(&self) {
        if let Err(error) = std::fs::remove_file(&self.file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "where the telling of transcripts was stays written down");
        }
    }

    fn keep(&mut self) {
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        if let Err(error) = files::replace(&self.file, SECRET, self.cursor.to_string().as_bytes()) {
            // At worst the next daemon begins at the end of the log.
            tracing::warn!(%error, "where the telling of transcripts is can't be written down");
        }
    }
}

impl App {
    /// Tells other machines what runs here say, and writes down what comes from them, until the daemon stops.
    pub async fn keep_told(&self) {
        let stopping = self.stopping().clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = self.tell() => {}
        }
    }

    async fn tell(&self) {
        let store = &**self.engine().store();
        let Some(replica) = store.replica() else {
            return;
        };
        let mut head = store.watch();
        loop {
            head.mark_unchanged();
            if replica.may_share() {
                match replica.identity().await {
                    Ok(None) => {}
                    Ok(Some(_)) => match self.tell_while_shared(store, replica).await {
                        Ok(()) => continue,
                        Err(error) => {
                            tracing::warn!(error = chain(&error), "transcripts are told later");
                            tokio::time::sleep(PATIENCE).await;
                            continue;
                        }
                    },
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "transcripts are told later");
                        tokio::time::sleep(PATIENCE).await;
                    }
                }
            }
            if head.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns when nothing is shared any more.
    async fn tell_while_shared(&self, store: &dyn Store, replica: &dyn Replica) -> Result<()> {
        let file = self.parts.home.run_dir().join("told");
        let mut place = Place::find(store, file).await?;
        let mut runs: BTreeMap<RunId, Followed> = BTreeMap::new();
        for run in store.open_runs().await? {
            runs.entry(run.id).or_default().is_behind = true;
        }
        let mut head = store.watch();
        loop {
            head.mark_unchanged();
            let events = EventQuery {
                after: place.cursor.seq,
                kinds: KINDS.to_vec(),
                limit: PART,
                ..EventQuery::default()
            };
            let upto: Seq = *head.borrow();
            let events = store.events(&events).await?;
            let full = events.len() == PART as usize;
            for event in &events {
                if self.take(event, replica, &mut runs).await? {
                    place.is_new = true;
                }
            }
            let last = events.last().map(|event| event.seq);
            let read = match full {
                true => last,
                // Nothing of these kinds is between the last of them and what was the head before they were read.
                false => Some(last.unwrap_or(upto).max(upto)),
            };
            place.cursor.seq = read.unwrap_or(upto).max(place.cursor.seq);
            if events
                .iter()
                .any(|event| event.kind == EventKind::SharingChanged)
                && replica.identity().await?.is_none()
            {
                place.forget();
                return Ok(());
            }
            let interval = self.parts.settings.current().sync.interval.max(SHORTEST);
            let next = self.tell_due(replica, &mut runs, interval).await;
            if !runs.values().any(|run| run.is_over) {
                place.keep();
            }
            if full {
                continue;
            }
            let pause = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = head.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = pause => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Notes what happened. Returns whether it is to be dealt with even by the next daemon.
    async fn take(
        &self,
        event: &Event,
        replica: &dyn Replica,
        runs: &mut BTreeMap<RunId, Followed>,
    ) -> Result<bool> {
        match (event.kind, event.run_id, event.task_id) {
            (EventKind::TaskCreated, _, Some(task)) => {
                self.note_arrival(replica, task).await?;
                Ok(true)
            }
            (EventKind::RunStarted | EventKind::RunOutput, Some(run), _) => {
                runs.entry(run).or_default().is_behind = true;
                Ok(false)
            }
            (EventKind::RunEnded, Some(run), _) => {
                let run = runs.entry(run).or_default();
                run.is_behind = true;
                run.is_over = true;
                run.rests_until = None;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Tells what is due. Returns when the next is.
    async fn tell_due(
        &self,
        replica: &dyn Replica,
        runs: &mut BTreeMap<RunId, Followed>,
        interval: Duration,
    ) -> Option<Instant> {
        let now = Instant::now();
        let mut done = Vec::new();
        for (id, run) in runs.iter_mut() {
            if run.due(now).is_none_or(|due| due > now) {
                continue;
            }
            run.is_behind = false;
            run.rests_until = Some(now + interval);
            match self
                .tell_transcript(replica, *id, run.is_over, &mut run.tail)
                .await
            {
                Ok(true) => {}
                Ok(false) => done.push(*id),
                Err(error) => {
                    tracing::warn!(run = %id, error = chain(&error), "its transcript is told later");
                    // What was told is looked up again.
                    run.tail = None;
                    run.is_behind = true;
                    run.rests_until = Some(now + PATIENCE);
                }
            }
        }
        for id in done {
            runs.remove(&id);
        }
        runs.values().filter_map(|run| run.due(now)).min()
    }
}
