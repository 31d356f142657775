use ccm_core::{Error, ErrorKind, Noun, chain};

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "token",
    looks_for: "an API token that is missing or is none",
    matters: "no command reaches the daemon without it",
    mends: "`--fix` makes a new one; programs that keep the old one need the new one",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let home = machine.home.clone();
    if !home.is_set_up() {
        return Vec::new();
    }
    let path = home.token_file();
    let Err(error) = home.token() else {
        return Vec::new();
    };
    let made = format!(
        "made {}; `ccm-orchestrator daemon restart` makes it count",
        path.display()
    );
    let make = move |home: &super::Home| home.create_token().map(|_| made);
    if error.kind() == ErrorKind::NotFound(Noun::System) {
        return vec![
            Finding::problem("there is no API token")
                .at(&path)
                .remedy("ccm-orchestrator init")
                .repaired_by(Repair::safe(move || make(&home))),
        ];
    }
    if std::fs::metadata(&path).is_ok_and(|meta| {
        use std::os::unix::fs::PermissionsExt;
        meta.permissions().mode() & 0o077 != 0
    }) {
        // What the modes are is another check's.
        return Vec::new();
    }
    let question = format!(
        "Replace {0}? Programs that keep the old token need the new one. What is there becomes {0}.old.",
        path.display()
    );
    vec![
        Finding::problem(chain(&error))
            .at(&path)
            .remedy("delete it and run `ccm-orchestrator init`")
            .repaired_by(Repair::after_asking(question, move || {
                let path = home.token_file();
                let aside = path.with_extension("old");
                std::fs::rename(&path, aside).map_err(|e| {
                    Error::internal(format!("{} can't be moved away", path.display()))
                        .with_source(e)
                })?;
                make(&home)
            })),
    ]
}
