use ccm_core::{ErrorKind, chain};
use ccm_store::Depth;

use super::super::backup;
use super::surroundings::{Surroundings, block_on};
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "database",
    looks_for: "a database that is damaged, newer than this program, or has a huge log; a restore that was cut short",
    matters: "the queue is in it",
    mends: "`ccm restore FILE` with a backup (`backups/` in the machine home, `ccm.db.schema-N.backup` beside the database)",
    look,
};

/// It is cut back to 8 MiB whenever nobody reads.
const HUGE_LOG: u64 = 256 * 1024 * 1024;

fn look(machine: &Surroundings) -> Vec<Finding> {
    let database = machine.database();
    let path = database.path();
    let mut findings = Vec::new();
    if backup::is_interrupted(&machine.home) && machine.daemon.is_none() {
        let home = machine.home.clone();
        findings.push(
            Finding::problem("a restore was cut short")
                .at(path)
                .remedy("ccm-orchestrator daemon start")
                .repaired_by(Repair::safe(move || {
                    backup::finish_interrupted(&home).map(|_| "finished the restore".to_owned())
                })),
        );
        // What is there is neither the old nor the new.
        return findings;
    }
    if !path.exists() {
        return findings;
    }
    let checked = block_on(async { database.check(Depth::Quick).await });
    match checked {
        Some(Ok(_)) | None => {}
        Some(Err(error)) => {
            let said = match error.kind() {
                ErrorKind::Corrupt => "it is damaged, or no database of CCM".to_owned(),
                _ => chain(&error),
            };
            let finding = Finding::problem(said).at(path);
            findings.push(match error.kind() {
                ErrorKind::TooNew => finding.remedy("install the newer program again"),
                ErrorKind::Corrupt => finding.remedy(remedy(machine)),
                _ => finding.remedy("see what keeps it from being read, and try again"),
            });
        }
    }
    let [log, _] = database.beside();
    let size = std::fs::metadata(&log).map_or(0, |meta| meta.len());
    if size > HUGE_LOG {
        findings.push(
            Finding::warning(format!(
                "the database's log has grown to {} MiB",
                size / 1024 / 1024
            ))
            .at(&log)
            .remedy("end programs that keep the database open (`fuser` tells which), then `ccm-orchestrator daemon restart`"),
        );
    }
    findings
}

/// The command that restores the newest backup there is.
fn remedy(machine: &Surroundings) -> String {
    let backups = std::fs::read_dir(machine.home.backups_dir());
    let newest = backups
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "tar"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .max();
    match newest {
        Some((_, path)) => format!("ccm restore {}", path.display()),
        None => {
            "ccm restore FILE, with a backup; without one move the database away and start anew"
                .to_owned()
        }
    }
}
