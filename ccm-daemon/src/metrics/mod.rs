//! What operators watch, as Prometheus scrapes it.
//!
//! While nobody scrapes only counters are kept: of requests, and of the database's commits. What tasks and runs came to
//! is counted from the log when it is asked for (`ledger.rs`), and everything else is looked up then.
//!
//! Labels have few values: routes as they are described, states and reasons from closed lists, and no more projects
//! than [`MAX_PROJECTS`].

mod ledger;
mod now;
mod process;
mod sync;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ccm_core::id::Seq;
use ccm_core::{Error, Result};
use ccm_store::Commit;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Mutex;

use crate::app::App;
use ledger::Ledger;
pub use ledger::MAX_PROJECTS;
use now::Now;
use table::Table;
pub use table::{Kind, Row};

pub(crate) use prometheus_text::CONTENT_TYPE;

/// From what SQLite needs for a row to what makes people wonder.
const COMMIT_SECONDS: [f64; 11] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0,
];
const COMMIT_CHANGES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 512.0];
const REQUEST_SECONDS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0,
];

/// A route as it is described, and how it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: &'static str,
}

/// The same, and what the answer was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of one daemon.
#[derive(Debug)]
pub(crate) struct Metrics {
    table: Table,
    requests: Family<Answered, Counter>,
    request_seconds: Histograms<Route>,
    commit_seconds: Histogram,
    commit_changes: Histogram,
    now: Now,
    ledger: Mutex<Ledger>,
}

impl Metrics {
    /// Metrics that count from `head` on, the last event that is of no interest.
    pub(crate) fn new(head: Seq) -> Self {
        let mut table = Table::default();
        let now = Now::new(&mut table);
        let ledger = Ledger::new(head, &mut table);
        let requests = table.add(
            "ccm_http_requests",
            Kind::Counter,
            &["route", "method", "status"],
            "Requests that were answered; a stream counts when it begins",
            Family::default(),
        );
        let request_seconds = table.add(
            "ccm_http_request_duration_seconds",
            Kind::Histogram,
            &["route", "method"],
            "From a request's head to the answer's head",
            Histograms::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
        );
        let commit_seconds = table.add(
            "ccm_store_commit_seconds",
            Kind::Histogram,
            &[],
            "How long the database's transactions take until they are on the disk",
            Histogram::new(COMMIT_SECONDS),
        );
        let commit_changes = table.add(
            "ccm_store_commit_changes",
            Kind::Histogram,
            &[],
            "How many changes were committed together",
            Histogram::new(COMMIT_CHANGES),
        );
        Self {
            table,
            requests,
            request_seconds,
            commit_seconds,
            commit_changes,
            now,
            ledger: Mutex::new(ledger),
        }
    }

    /// Notes a request that was answered. `route` is the template of its path, never the path.
    pub(crate) fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        let labels = Answered {
            route: route.to_owned(),
            method,
            status,
        };
        self.requests.get_or_create(&labels).inc();
        let Answered { route, method, .. } = labels;
        self.request_seconds
            .get_or_create(&Route { route, method })
            .observe(took.as_secs_f64());
    }

    /// What is to be told of commits.
    pub(crate) fn on_commit(&self) -> impl Fn(Commit) + Send + Sync + use<> {
        let (seconds, changes) = (self.commit_seconds.clone(), self.commit_changes.clone());
        move |commit| {
            seconds.observe(commit.took.as_secs_f64());
            changes.observe(commit.changes as f64);
        }
    }

    /// The metrics as text.
    pub(crate) async fn scrape(&self, app: &App) -> Result<String> {
        // Whoever scrapes meanwhile waits, so that nothing is counted twice.
        let mut ledger = self.ledger.lock().await;
        ledger.catch_up(app.engine().store()).await?;
        self.now.look(app).await?;
        let mut text = String::new();
        prometheus_text::encode(&mut text, self.table.registry())
            .map_err(|error| Error::internal("the metrics can't be written").with_source(error))?;
        Ok(text)
    }
}

/// Every metric there is, for the documentation.
pub fn table() -> Vec<Row> {
    Metrics::new(Seq(0)).table.rows().to_vec()
}
