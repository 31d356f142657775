use std::process::Command;
use std::time::Duration;

use super::surroundings::{Surroundings, run};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "clock",
    looks_for: "a clock that nobody sets",
    matters: "dates of tasks count by it",
    mends: "`timedatectl set-ntp true`",
    look,
};

fn look(_: &Surroundings) -> Vec<Finding> {
    let mut timedatectl = Command::new("timedatectl");
    timedatectl.args(["show", "--property=NTPSynchronized", "--value"]);
    // Where there is no such program nothing is known.
    match run(&mut timedatectl, Duration::from_secs(2)) {
        Ok(Some(said)) if said.text.trim() == "no" => vec![
            Finding::note("the clock is not synchronised").remedy("sudo timedatectl set-ntp true"),
        ],
        _ => Vec::new(),
    }
}
