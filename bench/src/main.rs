//! Measures the programs of a release from outside, as people and programs use them, beside what the machine gives raw.
//!
//! `make bench` builds what it needs and runs it. Absolute times mean little on a shared machine, so whatever has a raw
//! limit or a peer is measured beside it, in turns and in the same run; the ratio is what counts.
#![allow(clippy::unwrap_used, reason = "a measurement that fails is none")]

mod events;
mod figure;
mod http;
mod machine;
mod page;
mod process;
mod rates;
mod raw;
mod readers;
mod rest;
mod starts;
mod sync;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use figure::Report;
use machine::{Build, Profile};

const HELP: &str = "\
Measures what CCM's programs cost.

Usage: ccm-bench --full DIR --minimal DIR [OPTIONS]

Options:
      --full DIR      The programs of the default build
      --minimal DIR   Those of the build without the web UI
      --seconds N     For how long an idle daemon and a busy page are watched [default: 60]
      --folder DIR    On whose disk it is measured [default: the system's for temporary files]
      --only PART     Only rest, starts, rates, events, page or sync
      --json          Print an object instead of a table
  -h, --help          Print this
";

/// What can be measured alone.
const PARTS: [&str; 6] = ["rest", "starts", "rates", "events", "page", "sync"];

struct Wish {
    builds: [Build; 2],
    idle: Duration,
    folder: PathBuf,
    only: Option<String>,
    json: bool,
}

fn main() -> ExitCode {
    let wish = match parse(std::env::args().skip(1)) {
        Ok(Some(wish)) => wish,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("error: {message}; --help shows what can be said");
            return ExitCode::from(2);
        }
    };
    let report = measure(&wish);
    if wish.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    ExitCode::SUCCESS
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Wish>, String> {
    let (mut full, mut minimal) = (None, None);
    let (mut idle, mut folder, mut json) = (60, std::env::temp_dir(), false);
    let mut only = None;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match &*arg {
            "--full" => full = Some(value()?),
            "--minimal" => minimal = Some(value()?),
            "--folder" => folder = value()?.into(),
            "--seconds" => {
                let given = value()?;
                idle = given
                    .parse()
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or(format!("--seconds {given} is no number of seconds"))?;
            }
            "--only" => {
                let part = value()?;
                if !PARTS.contains(&&*part) {
                    return Err(format!("--only {part} is not one of {}", PARTS.join(", ")));
                }
                only = Some(part);
            }
            "--json" => json = true,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("{other:?} is no option")),
        }
    }
    let build = |dir: Option<String>, profile: Profile| {
        let dir = dir.ok_or(format!("--{} is missing", profile.as_str()))?;
        Build::at(dir.into(), profile)
    };
    Ok(Some(Wish {
        builds: [
            build(full, Profile::Full)?,
            build(minimal, Profile::Minimal)?,
        ],
        idle: Duration::from_secs(idle),
        folder,
        only,
        json,
    }))
}

fn measure(wish: &Wish) -> Report {
    let mut report = Report::default();
    let is_wanted = |part: &str| wish.only.as_deref().is_none_or(|only| only == part);
    if is_wanted("rest") {
        for build in &wish.builds {
            say(&format!("{}: size and rest", build.profile.as_str()));
            rest::size(build, &mut report);
            rest::measure(build, &wish.folder, wish.idle, &mut report);
        }
    }
    let [full, _] = &wish.builds;
    if is_wanted("starts") {
        say("starts");
        starts::measure(full, &wish.folder, &mut report);
    }
    if is_wanted("rates") {
        say("durable creates");
        rates::measure(full, &wish.folder, &mut report);
    }
    if is_wanted("events") {
        say("events");
        events::measure(full, &wish.folder, &mut report);
    }
    if is_wanted("page") {
        say("the page");
        page::measure(full, wish.idle, &mut report);
    }
    if is_wanted("sync") {
        say("machines that share");
        sync::measure(full, &wish.folder, wish.idle, &mut report);
    }
    report
}

/// Progress, for whoever waits.
fn say(what: &str) {
    eprintln!("measuring {what}");
}
