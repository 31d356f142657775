use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::Error;

use super::super::backup::UNFINISHED;
use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "litter",
    looks_for: "unfinished files of programs that were killed",
    matters: "they take room and are of no use",
    mends: "`--fix` removes them",
    look,
};

/// Somebody may be at work on a younger one.
const OLD: Duration = Duration::from_secs(3600);

fn look(machine: &Surroundings) -> Vec<Finding> {
    let home = &machine.home;
    let mut folders = vec![
        home.dir().to_owned(),
        home.run_dir(),
        home.trust_dir(),
        home.backups_dir(),
    ];
    if let Some(folder) = machine.database().path().parent() {
        folders.push(folder.to_owned());
    }
    folders.sort();
    folders.dedup();
    let litter: Vec<PathBuf> = folders.iter().flat_map(|folder| left_in(folder)).collect();
    let Some(first) = litter.first() else {
        return Vec::new();
    };
    if super::super::backup::is_interrupted(home) {
        // What a restore has still to put in its place looks the same.
        return Vec::new();
    }
    let count = litter.len();
    vec![
        Finding::warning(format!("unfinished files were left behind ({count})"))
            .at(first)
            .remedy("ccm doctor --fix")
            .repaired_by(Repair::safe(move || {
                for path in &litter {
                    remove(path).map_err(|error| {
                        Error::internal(format!("{} can't be removed", path.display()))
                            .with_source(error)
                    })?;
                }
                Ok(format!("removed unfinished files ({count})"))
            })),
    ]
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(is_unfinished);
            let age = entry.metadata().and_then(|meta| meta.modified());
            is_ours && age.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > OLD))
        })
        .map(|entry| entry.path())
        .collect()
}

/// The names that files have before they are whole: of a backup, or of a file that is replaced (`.NAME.` and 16 digits).
fn is_unfinished(name: &str) -> bool {
    let Some(rest) = name.strip_prefix('.') else {
        return false;
    };
    let is_random = |end: &str| {
        end.len() == 16
            && end
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    name.starts_with(UNFINISHED) || rest.rsplit_once('.').is_some_and(|(_, end)| is_random(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_litter() {
        assert!(is_unfinished(".ccm-unfinished-0123456789abcdef.part"));
        assert!(is_unfinished(".config.yaml.0123456789abcdef"));
        for other in [
            ".gitignore",
            "config.yaml",
            ".config.yaml.swp",
            ".x.0123456789ABCDEF",
        ] {
            assert!(!is_unfinished(other), "{other}");
        }
    }
}
