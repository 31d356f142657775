use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "disk",
    looks_for: "a disk that is nearly full, or has no room for further files",
    matters: "without room no task is accepted, and output of agents is lost",
    mends: "make room, or move the home to a larger disk",
    look,
};

const MIB: u64 = 1024 * 1024;
/// With less than this nothing can be promised.
const PROBLEM: u64 = 50 * MIB;
const WARNING: u64 = 500 * MIB;
/// Files that may still be made.
const FEW: u64 = 1000;

fn look(machine: &Surroundings) -> Vec<Finding> {
    let mut places = vec![
        ("the machine home", machine.home.dir().to_owned()),
        ("temporary files", std::env::temp_dir()),
    ];
    if let Some(folder) = machine.database().path().parent() {
        places.push(("the database", folder.to_owned()));
    }
    let mut seen = Vec::new();
    places
        .into_iter()
        .flat_map(|(what, place)| {
            let device = device(&place);
            if seen.contains(&device) {
                return Vec::new();
            }
            seen.push(device);
            room(what, &place)
        })
        .collect()
}

fn device(place: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(place).ok().map(|meta| meta.dev())
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the widths differ from one system to another"
)]
fn room(what: &str, place: &PathBuf) -> Vec<Finding> {
    let Ok(volume) = statvfs(place) else {
        return Vec::new();
    };
    let free = volume.blocks_available() as u64 * volume.fragment_size() as u64;
    let mut findings = Vec::new();
    if free < WARNING {
        let said = format!("the disk of {what} has {} MiB left", free / MIB);
        let finding = if free < PROBLEM {
            Finding::problem(said)
        } else {
            Finding::warning(said)
        };
        findings.push(finding.at(place).remedy(format!(
            "make room there; `du -xh --max-depth 2 {} | sort -h` shows what is large",
            place.display()
        )));
    }
    // File systems without a fixed number of files say none.
    if volume.files() > 0 && (volume.files_available() as u64) < FEW {
        findings.push(
            Finding::problem(format!(
                "the disk of {what} can hold only {} more files",
                volume.files_available()
            ))
            .at(place)
            .remedy("remove files that are not needed; `df -i` shows how many there are"),
        );
    }
    findings
}
