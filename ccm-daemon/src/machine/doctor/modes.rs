use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ccm_core::Error;

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "modes",
    looks_for: "files of the machine home that others can read, or that belong to somebody else",
    matters: "whoever reads the token can give this machine's agents work, and a token that others can read is refused",
    mends: "`chmod go-rwx`, or `--fix`",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let home = &machine.home;
    let mut paths = vec![
        home.dir().to_owned(),
        home.config_file().to_owned(),
        home.token_file(),
        home.trust_dir(),
        home.run_dir(),
        home.runs_dir(),
        home.logs_dir(),
        home.backups_dir(),
    ];
    for folder in [home.trust_dir(), home.backups_dir()] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path()));
    }
    let database = machine.database();
    paths.extend(database.beside());
    paths.push(database.path().to_owned());
    if let Some(config) = machine.config() {
        paths.push(config.supabase.auth_file.clone());
        paths.push(config.daemon.log_file.clone());
    }
    paths.sort();
    paths.dedup();
    paths.into_iter().filter_map(wrong).collect()
}

fn wrong(path: PathBuf) -> Option<Finding> {
    let meta = fs::metadata(&path).ok()?;
    let own = nix::unistd::geteuid();
    if meta.uid() != own.as_raw() && !own.is_root() {
        return Some(
            Finding::problem(format!("it belongs to another user ({})", meta.uid()))
                .at(&path)
                .remedy(format!("sudo chown {own} {}", path.display())),
        );
    }
    let mode = meta.mode() & 0o777;
    if meta.is_dir() && mode & 0o700 != 0o700 {
        return Some(finding(
            &path,
            mode,
            mode | 0o700,
            "its own user can't enter it",
        ));
    }
    // In a home that nobody else enters it is out of reach, but only until the home is opened or it is moved.
    (mode & 0o077 != 0).then(|| finding(&path, mode, mode & 0o700, "others can reach it"))
}

fn finding(path: &Path, mode: u32, right: u32, what: &str) -> Finding {
    let owned = path.to_owned();
    Finding::problem(format!("{what} (mode {mode:03o})"))
        .at(path)
        .remedy(format!("chmod {right:03o} {}", path.display()))
        .repaired_by(Repair::safe(move || {
            fs::set_permissions(&owned, fs::Permissions::from_mode(right))
                .map(|()| format!("gave {} the mode {right:03o}", owned.display()))
                .map_err(|error| {
                    Error::internal(format!("{} keeps its mode", owned.display()))
                        .with_source(error)
                })
        }))
}
