//! What was measured, and how it is told.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Value, json};

/// One figure, with what it is held against.
pub(crate) struct Figure {
    what: String,
    value: f64,
    unit: Cow<'static, str>,
    beside: Option<(Cow<'static, str>, f64)>,
    ratio: Option<f64>,
    goal: Option<Goal>,
}

/// What is wanted, of the ratio if there is one, else of the value.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::AtLeast(limit) => format!(">= {limit}"),
        }
    }

    fn met(self, by: f64) -> bool {
        match self {
            Self::AtMost(limit) => by <= limit,
            Self::AtLeast(limit) => by >= limit,
        }
    }
}

impl Figure {
    pub(crate) fn new(
        what: impl Into<String>,
        value: f64,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            what: what.into(),
            value,
            unit: unit.into(),
            beside: None,
            ratio: None,
            goal: None,
        }
    }

    /// Measured in turns with something else, of which `value` is the median. The ratio is the median of each turn's.
    pub(crate) fn beside(
        mut self,
        what: impl Into<Cow<'static, str>>,
        value: f64,
        ratio: f64,
    ) -> Self {
        self.beside = Some((what.into(), value));
        self.ratio = Some(ratio);
        self
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn verdict(&self) -> Option<bool> {
        let by = self.ratio.unwrap_or(self.value);
        Some(self.goal?.met(by))
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        self.0.push(figure);
    }

    pub(crate) fn table(&self) -> String {
        let mut rows = vec![["FIGURE", "VALUE", "BESIDE", "RATIO", "GOAL"].map(str::to_owned)];
        rows.extend(self.0.iter().map(|figure| {
            let beside = figure
                .beside
                .as_ref()
                .map(|(what, value)| format!("{} {} ({what})", number(*value), figure.unit));
            let goal = figure.goal.map(|goal| {
                let missed = if figure.verdict() == Some(false) {
                    " missed"
                } else {
                    ""
                };
                format!("{}{missed}", goal.text())
            });
            [
                figure.what.clone(),
                format!("{} {}", number(figure.value), figure.unit),
                beside.unwrap_or_default(),
                figure.ratio.map(number).unwrap_or_default(),
                goal.unwrap_or_default(),
            ]
        }));
        let mut text = String::new();
        let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max();
        let widths: Vec<usize> = (0..5).map(|n| width(n).unwrap_or(0)).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let _ = writeln!(text, "{}", line.join("  ").trim_end());
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.0.iter().map(|figure| {
            json!({
                "figure": figure.what,
                "value": figure.value,
                "unit": figure.unit,
                "beside": figure.beside.as_ref().map(|(what, value)| json!({ "figure": what, "value": value })),
                "ratio": figure.ratio,
                "goal": figure.goal.map(Goal::text),
                "met": figure.verdict(),
            })
        });
        json!({ "version": env!("CARGO_PKG_VERSION"), "figures": figures.collect::<Vec<_>>() })
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else if value.abs() >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// The middle one. There is at least one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the two in turns, and returns the median of each and of their ratios.
pub(crate) fn in_turns(
    turns: usize,
    mut ours: impl FnMut() -> f64,
    mut other: impl FnMut() -> f64,
) -> (f64, f64, f64) {
    let (mut values, mut others, mut ratios) = (vec![], vec![], vec![]);
    for turn in 0..turns {
        // Whoever comes first has the colder machine, so they take turns in that, too.
        let (value, beside) = if turn % 2 == 0 {
            let value = ours();
            (value, other())
        } else {
            let beside = other();
            (ours(), beside)
        };
        values.push(value);
        others.push(beside);
        ratios.push(value / beside);
    }
    (median(values), median(others), median(ratios))
}
