//! What tasks, runs and asks came to, counted from the log.
//!
//! The log has all of it already, so nothing is counted while nobody asks: a scrape goes on in the log where the last one
//! stopped. It begins with the daemon, as counters do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ccm_core::api::EventKind;
use ccm_core::event::Event;
use ccm_core::id::{ProjectId, RunId, Seq};
use ccm_core::run::{Run, RunState, Stream as Output, Usage};
use ccm_core::store::EventQuery;
use ccm_core::time::Timestamp;
use ccm_core::{ErrorKind, Reason, Result, Store};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use serde_json::Value;

use super::table::{Kind, Table};

/// How many projects have figures of their own. What others use is counted together, as `(other)`.
pub const MAX_PROJECTS: usize = 50;
const OTHER: &str = "(other)";
/// How many events are read at once.
const BATCH: u32 = 512;
/// The events that are counted.
const KINDS: [EventKind; 12] = [
    EventKind::TaskCreated,
    EventKind::TaskRequeued,
    EventKind::TaskSucceeded,
    EventKind::TaskFailed,
    EventKind::TaskCancelled,
    EventKind::RunCreated,
    EventKind::RunStarted,
    EventKind::RunOutput,
    EventKind::RunEnded,
    EventKind::AskCreated,
    EventKind::AskAnswered,
    EventKind::AskVoided,
];

const LAUNCH_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
const RUN_SECONDS: [f64; 11] = [
    1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0,
];
const ASK_SECONDS: [f64; 9] = [
    5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0,
];

/// What it came to, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    state: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stream {
    stream: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Project {
    project: Arc<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    project: Arc<String>,
    kind: &'static str,
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// The last event that was counted.
    at: Seq,
    runs: HashMap<RunId, Open>,
    asks: HashMap<String, Timestamp>,
    projects: HashMap<ProjectId, Arc<String>>,
    counts: Counts,
}

/// A run that is under way.
#[derive(Debug)]
struct Open {
    claimed: Timestamp,
    is_started: bool,
}

#[derive(Debug)]
struct Counts {
    tasks_created: Counter,
    tasks_requeued: Family<Why, Counter>,
    tasks_ended: Family<End, Counter>,
    runs_started: Counter,
    runs_ended: Family<End, Counter>,
    launch_seconds: Histogram,
    run_seconds: Histogram,
    output_bytes: Family<Stream, Counter>,
    asks: Counter,
    asks_ended: Family<State, Counter>,
    ask_seconds: Histogram,
    tokens: Family<Tokens, Counter>,
    cost: Family<Project, Counter<f64, AtomicU64>>,
}

impl Counts {
    fn new(table: &mut Table) -> Self {
        use Kind::{Counter as C, Histogram as H};
        Self {
            tasks_created: table.add(
                "ccm_tasks_created",
                C,
                &[],
                "Tasks that were accepted",
                Counter::default(),
            ),
            tasks_requeued: table.add(
                "ccm_tasks_requeued",
                C,
                &["reason"],
                "Tasks that wait again after a run",
                Family::default(),
            ),
            tasks_ended: table.add(
                "ccm_tasks_ended",
                C,
                &["state", "reason"],
                "Tasks that are done, by what they came to and why",
                Family::default(),
            ),
            runs_started: table.add(
                "ccm_runs_started",
                C,
                &[],
                "Runs that were begun",
                Counter::default(),
            ),
            runs_ended: table.add(
                "ccm_runs_ended",
                C,
                &["state", "reason"],
                "Runs that are over, by what they came to and why",
                Family::default(),
            ),
            launch_seconds: table.add(
                "ccm_run_launch_seconds",
                H,
                &[],
                "From the claim of a task until its program was started",
                Histogram::new(LAUNCH_SECONDS),
            ),
            run_seconds: table.add(
                "ccm_run_duration_seconds",
                H,
                &[],
                "From the start of a run's program to the run's end",
                Histogram::new(RUN_SECONDS),
            ),
            output_bytes: table.add(
                "ccm_run_output_bytes",
                C,
                &["stream"],
                "What runs wrote for people to read",
                Family::default(),
            ),
            asks: table.add(
                "ccm_asks_created",
                C,
                &[],
                "Questions that runs asked people",
                Counter::default(),
            ),
            asks_ended: table.add(
                "ccm_asks_ended",
                C,
                &["state"],
                "Questions that were answered or need no answer any more",
                Family::default(),
            ),
            ask_seconds: table.add(
                "ccm_ask_wait_seconds",
                H,
                &[],
                "How long runs waited for the answers that they got",
                Histogram::new(ASK_SECONDS),
            ),
            tokens: table.add(
                "ccm_tokens",
                C,
                &["project", "kind"],
                "Tokens that ended runs used, as their programs say",
                Family::default(),
            ),
            cost: table.add(
                "ccm_cost_usd",
                C,
                &["project"],
                "What ended runs cost in US dollars, as their programs say",
                Family::default(),
            ),
        }
    }
}

impl Ledger {
    pub(super) fn new(head: Seq, table: &mut Table) -> Self {
        Self {
            at: head,
            runs: HashMap::new(),
            asks: HashMap::new(),
            projects: HashMap::new(),
            counts: Counts::new(table),
        }
    }

    /// Counts what was committed since the last time. When it is dropped half-way the next call goes on there.
    pub(super) async fn catch_up(&mut self, store: &Arc<dyn Store>) -> Result<()> {
        let log = store.log().await?;
        // Where the log was cut back there is nothing to count any more.
        self.at = self.at.max(log.pruned);
        loop {
            let query = EventQuery {
                after: self.at,
                kinds: KINDS.to_vec(),
                limit: BATCH,
                ..EventQuery::default()
            };
            let events = store.events(&query).await?;
            for event in &events {
                // Before the event counts, so that nothing is counted twice.
                let run = match event.run_id.filter(|_| event.kind == EventKind::RunEnded) {
                    Some(id) => found(store.run(id).await)?,
                    None => None,
                };
                let spender = match &run {
                    Some(run) if run.usage != Usage::default() || run.cost_usd.is_some() => {
                        Some((self.name(store, run.project_id).await, run))
                    }
                    _ => None,
                };
                self.count(event, run.as_ref());
                if let Some((project, run)) = spender {
                    self.used(&project, run);
                }
                self.at = event.seq;
            }
            if events.len() < BATCH as usize {
                self.at = self.at.max(log.head);
                return Ok(());
            }
        }
    }

    /// Whether nothing is remembered of what is under way.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.runs.is_empty() && self.asks.is_empty()
    }

    /// Counts an event; of the end of a run with the run.
    fn count(&mut self, event: &Event, run: Option<&Run>) {
        let counts = &self.counts;
        let text = |name: &str| event.data.get(name).and_then(Value::as_str);
        let reason = || reason(text("reason"));
        let task_ended = |state| {
            let end = End {
                state,
                reason: reason(),
            };
            counts.tasks_ended.get_or_create(&end).inc();
        };
        match event.kind {
            EventKind::TaskCreated => {
                counts.tasks_created.inc();
            }
            EventKind::TaskRequeued => {
                let why = Why { reason: reason() };
                counts.tasks_requeued.get_or_create(&why).inc();
            }
            EventKind::TaskSucceeded => task_ended("succeeded"),
            EventKind::TaskFailed => task_ended("failed"),
            EventKind::TaskCancelled => task_ended("cancelled"),
            EventKind::RunCreated => {
                counts.runs_started.inc();
                if let Some(run) = event.run_id {
                    let open = Open {
                        claimed: event.time,
                        is_started: false,
                    };
                    self.runs.insert(run, open);
                }
            }
            EventKind::RunStarted => {
                if let Some(open) = event.run_id.and_then(|run| self.runs.get_mut(&run)) {
                    open.is_started = true;
                    let seconds = event.time.since(open.claimed).as_secs_f64();
                    counts.launch_seconds.observe(seconds);
                }
            }
            EventKind::RunOutput => {
                let place = |name| event.data.get(name).and_then(Value::as_u64);
                if let (Some(from), Some(to)) = (place("from"), place("to")) {
                    let is_err = text("stream") == Some(Output::Err.as_str());
                    let stream = if is_err { Output::Err } else { Output::Out }.as_str();
                    let bytes = counts.output_bytes.get_or_create(&Stream { stream });
                    bytes.inc_by(to.saturating_sub(from));
                }
            }
            EventKind::RunEnded => {
                let end = End {
                    state: run_state(text("state")),
                    reason: reason(),
                };
                counts.runs_ended.get_or_create(&end).inc();
                // A run that was over soon had no event of its start.
                let open = event.run_id.and_then(|run| self.runs.remove(&run));
                if let Some(RunState::Ended {
                    started_at: Some(started),
                    finished_at,
                    ..
                }) = run.map(|run| &run.state)
                {
                    let seconds = finished_at.since(*started).as_secs_f64();
                    counts.run_seconds.observe(seconds);
                    if let Some(open) = open.filter(|open| !open.is_started) {
                        let seconds = started.since(open.claimed).as_secs_f64();
                        counts.launch_seconds.observe(seconds);
                    }
                }
            }
            EventKind::AskCreated => {
                counts.asks.inc();
                if let Some(ask) = text("ask_id") {
                    self.asks.insert(ask.to_owned(), event.time);
                }
            }
            EventKind::AskAnswered | EventKind::AskVoided => {
                let is_answered = event.kind == EventKind::AskAnswered;
                let state = if is_answered { "answered" } else { "void" };
                counts.asks_ended.get_or_create(&State { state }).inc();
                let asked = text("ask_id").and_then(|ask| self.asks.remove(ask));
                if let Some(asked) = asked.filter(|_| is_answered) {
                    let seconds = event.time.since(asked).as_secs_f64();
                    counts.ask_seconds.observe(seconds);
                }
            }
            _ => {}
        }
    }

    /// The name that a project has among the labels.
    async fn name(&mut self, store: &Arc<dyn Store>, id: ProjectId) -> Arc<String> {
        if let Some(name) = self.projects.get(&id) {
            return Arc::clone(name);
        }
        if self.projects.len() < MAX_PROJECTS
            && let Ok(project) = store.project(id).await
        {
            let name = Arc::new(project.name);
            self.projects.insert(id, Arc::clone(&name));
            return name;
        }
        Arc::new(OTHER.to_owned())
    }

    fn used(&self, project: &Arc<String>, run: &Run) {
        let usage = run.usage;
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
        ] {
            if count > 0 {
                let project = Arc::clone(project);
                let tokens = Tokens { project, kind };
                self.counts.tokens.get_or_create(&tokens).inc_by(count);
            }
        }
        if let Some(cost) = run.cost_usd.filter(|cost| *cost > 0.0) {
            let project = Arc::clone(project);
            self.counts
                .cost
                .get_or_create(&Project { project })
                .inc_by(cost);
        }
    }
}

/// What may have gone meanwhile.
fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// A reason from the closed list.
fn reason(text: Option<&str>) -> &'static str {
    match text {
        None => "none",
        Some(text) => text.parse().map_or("other", Reason::as_str),
    }
}

fn run_state(text: Option<&str>) -> &'static str {
    const STATES: [&str; 5] = ["succeeded", "failed", "cancelled", "lost", "superseded"];
    let known = STATES.into_iter().find(|state| text == Some(*state));
    known.unwrap_or("other")
}
