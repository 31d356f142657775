//! What may be wrong with a machine, found by looking, and mended where that is safe.
//!
//! A check is one file. It looks at one subject, changes nothing, and says what it found: what is wrong, where, why that
//! matters, and what mends it. Checks look side by side, each on a thread of its own, and one that hangs (a dead network
//! file system, a program that doesn't answer) is told and left behind.

mod agents;
mod changed;
mod clock;
mod config;
mod daemon;
mod database;
mod disk;
mod groups;
mod home;
mod installs;
mod limits;
mod litter;
mod login;
mod modes;
mod path;
mod place;
mod port;
mod program;
mod projects;
mod service;
mod socket;
mod surroundings;
mod sync;
mod tmux;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ccm_core::Result;
use serde::Serialize;

use super::home::Home;
use surroundings::Surroundings;

/// The longest that all checks together may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Something that is looked at.
pub struct Check {
    /// Its name, one word.
    pub name: &'static str,
    /// What it looks for, as a noun phrase.
    pub looks_for: &'static str,
    /// What such trouble means.
    pub matters: &'static str,
    /// What mends it, in general.
    pub mends: &'static str,
    look: fn(&Surroundings) -> Vec<Finding>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// Every check, in the order in which people best read what they say.
pub static CHECKS: &[Check] = &[
    home::CHECK,
    modes::CHECK,
    place::CHECK,
    disk::CHECK,
    config::CHECK,
    token::CHECK,
    database::CHECK,
    daemon::CHECK,
    changed::CHECK,
    port::CHECK,
    socket::CHECK,
    tmux::CHECK,
    program::CHECK,
    login::CHECK,
    path::CHECK,
    projects::CHECK,
    agents::CHECK,
    service::CHECK,
    installs::CHECK,
    limits::CHECK,
    groups::CHECK,
    clock::CHECK,
    sync::CHECK,
    litter::CHECK,
];

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Work goes on, but something is not as it should be.
    Warning,
    /// Something does not work.
    Problem,
}

/// Something that was found.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What is wrong.
    pub what: String,
    /// Where, if it is somewhere.
    #[serde(rename = "where")]
    pub place: Option<PathBuf>,
    /// What mends it: a command, or what a person has to do.
    pub remedy: Option<String>,
    /// How it can be mended here and now.
    #[serde(skip)]
    pub repair: Option<Repair>,
}

impl Finding {
    fn new(level: Level, what: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            place: None,
            remedy: None,
            repair: None,
        }
    }

    fn note(what: impl Into<String>) -> Self {
        Self::new(Level::Note, what)
    }

    fn warning(what: impl Into<String>) -> Self {
        Self::new(Level::Warning, what)
    }

    fn problem(what: impl Into<String>) -> Self {
        Self::new(Level::Problem, what)
    }

    fn at(mut self, path: &Path) -> Self {
        self.place = Some(path.to_owned());
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn repaired_by(mut self, repair: Repair) -> Self {
        self.repair = Some(repair);
        self
    }
}

/// What `--fix` does about something.
pub struct Repair {
    /// What has to be asked first, because something could be lost.
    pub question: Option<String>,
    act: Box<dyn FnOnce() -> Result<String> + Send>,
}

impl Repair {
    /// A repair that can't lose anything. It says what it did.
    fn safe(act: impl FnOnce() -> Result<String> + Send + 'static) -> Self {
        Self {
            question: None,
            act: Box::new(act),
        }
    }

    /// A repair that somebody has to agree to.
    fn after_asking(
        question: impl Into<String>,
        act: impl FnOnce() -> Result<String> + Send + 'static,
    ) -> Self {
        Self {
            question: Some(question.into()),
            act: Box::new(act),
        }
    }

    /// Mends it, and says what was done.
    ///
    /// # Errors
    /// With why it could not be mended.
    pub fn act(self) -> Result<String> {
        (self.act)()
    }
}

impl std::fmt::Debug for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repair")
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}

/// What a check found.
#[derive(Debug)]
pub struct Examined {
    /// The check.
    pub check: &'static Check,
    /// What it found. Nothing if all is well.
    pub findings: Vec<Finding>,
}

/// Looks at the machine of `home`, which need not be set up. Takes a few seconds at most, and changes nothing.
pub fn examine(home: &Home) -> Vec<Examined> {
    let surroundings = Arc::new(Surroundings::new(home.clone()));
    let until = Instant::now() + PATIENCE;
    let waiting: Vec<_> = CHECKS
        .iter()
        .map(|check| {
            let (sender, found) = channel();
            let surroundings = Arc::clone(&surroundings);
            let looking = std::thread::Builder::new()
                .name(format!("doctor-{}", check.name))
                // Ends by itself, or with the program.
                .spawn(move || sender.send((check.look)(&surroundings)));
            (check, found, looking.is_ok())
        })
        .collect();
    waiting
        .into_iter()
        .map(|(check, found, started)| {
            let left = until.saturating_duration_since(Instant::now());
            let findings = match found.recv_timeout(left) {
                Ok(findings) => findings,
                Err(_) => vec![not_finished(check, started)],
            };
            Examined { check, findings }
        })
        .collect()
}

fn not_finished(check: &Check, started: bool) -> Finding {
    let why = if started {
        "could not be looked at to the end: something does not answer"
    } else {
        "could not be looked at: no thread can be started"
    };
    Finding::warning(format!("{} {why}", check.looks_for))
        .remedy("see whether the disk of the machine home hangs (`df`), and run `ccm doctor` again")
}

/// The checks as a table for the documentation.
pub fn reference() -> String {
    let mut text = String::from("| check | looks for | why it matters | what mends it |\n");
    text.push_str("| --- | --- | --- | --- |\n");
    for check in CHECKS {
        text.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            check.name, check.looks_for, check.matters, check.mends
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_each_is_there_once() {
        let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase()))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn what_hangs_is_told() {
        let told = not_finished(&home::CHECK, true);
        assert_eq!(told.level, Level::Warning);
        assert!(told.what.contains("does not answer"));
    }
}
