//! What the web page costs a browser. The browser is driven by the page's tests (`ccm-cli/tests/web/measure/`), which know
//! how to; their figures are told with the others.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::figure::{Figure, Goal, Report};
use crate::machine::Build;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ccm-cli/tests/web");

/// Measures the page that the programs of `build` serve, under load for so long.
pub(crate) fn measure(build: &Build, busy: Duration, report: &mut Report) {
    let folder = TempDir::with_prefix("ccm-bench-").unwrap();
    let figures = folder.path().join("figures");
    let status = Command::new("npx")
        .args(["playwright", "test", "--project=measure"])
        .args(["--workers", "1"])
        .current_dir(TESTS)
        .env("CCM_PROGRAMS", build.dir())
        .env("CCM_FIGURES", &figures)
        .env("CCM_SECONDS", busy.as_secs().to_string())
        // Standard output is for the report.
        .stdout(Stdio::from(std::io::stderr()))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "the page could not be measured");
    read(&figures, report);
}

/// Figures, one a line.
fn read(file: &Path, report: &mut Report) {
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let value = told["value"].as_f64().unwrap();
        let mut figure = Figure::new(text(&told["figure"]), value, text(&told["unit"]));
        if let Some(beside) = told.get("beside") {
            let other = beside["value"].as_f64().unwrap();
            figure = figure.beside(text(&beside["figure"]), other, value / other);
        }
        if let Some(limit) = told["at_most"].as_f64() {
            figure = figure.goal(Goal::AtMost(limit));
        }
        report.add(figure);
    }
}
