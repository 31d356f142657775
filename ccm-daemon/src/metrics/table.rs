//! The metrics by name: what is registered is what the documentation lists.

use prometheus_client::registry::{Metric, Registry};

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Is as it is now.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// Its name in the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Row {
    /// Its name, as it is scraped.
    pub fn name(&self) -> String {
        let suffix = if self.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        format!("{}{suffix}", self.name)
    }
}

/// All metrics.
#[derive(Debug, Default)]
pub(super) struct Table {
    registry: Registry,
    rows: Vec<Row>,
}

impl Table {
    /// Adds a metric, and gives it back to be used. A counter's name has no `_total` here.
    pub(super) fn add<M: Metric + Clone>(
        &mut self,
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
        metric: M,
    ) -> M {
        self.rows.push(Row {
            name,
            kind,
            labels,
            help,
        });
        self.registry.register(name, help, metric.clone());
        metric
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }
}
