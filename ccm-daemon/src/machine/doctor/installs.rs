use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::surroundings::{Surroundings, all, run};
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "installs",
    looks_for: "several installs of CCM on the PATH with different versions",
    matters: "the daemon and the command may not be of one version",
    mends: "remove the older one, or put the other first on the PATH",
    look,
};

const PATIENCE: Duration = Duration::from_secs(3);

fn look(_: &Surroundings) -> Vec<Finding> {
    let path = std::env::var_os("PATH");
    let mut places: Vec<PathBuf> = Vec::new();
    for place in all("ccm", path.as_deref()) {
        // The same program under two names is one install.
        let real = place.canonicalize().unwrap_or_else(|_| place.clone());
        if !places
            .iter()
            .any(|seen| seen.canonicalize().is_ok_and(|seen| seen == real))
        {
            places.push(place);
        }
    }
    if places.len() < 2 {
        return Vec::new();
    }
    let versions: Vec<_> = places.iter().map(|place| version(place)).collect();
    if versions.iter().all(|version| *version == versions[0]) {
        return Vec::new();
    }
    let told: Vec<String> = places
        .iter()
        .zip(&versions)
        .map(|(place, version)| {
            let version = version.as_deref().unwrap_or("no version");
            format!("{} ({version})", place.display())
        })
        .collect();
    vec![
        Finding::warning(format!("there are several installs: {}", told.join(", ")))
            .at(&places[0])
            .remedy("remove the one that you don't want; the first of them is used"),
    ]
}

fn version(program: &Path) -> Option<String> {
    let said = run(Command::new(program).arg("--version"), PATIENCE).ok()??;
    let line = said.text.lines().next()?.trim().to_owned();
    (said.status.success() && !line.is_empty()).then_some(line)
}
