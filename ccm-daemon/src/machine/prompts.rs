//! Templates of tasks: the files in a project's `.ccm/prompts/`, with places to fill in.
//!
//! A place is `{{name}}`, or `{{name=default}}` where it may stay empty; `{{input}}` is for the task's own text. A
//! backslash before it (`\{{name}}`) makes it plain text, and so is everything else in braces. What is filled in is
//! taken as it is: places in it are not filled.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use ccm_core::task::MAX_TEXT_BYTES;

use super::files::{self, Links};
use super::project_dir::ProjectDir;

/// The place of the task's own text.
pub const INPUT: &str = "input";
/// What a template's file mostly ends with; its name does without.
const ENDING: &str = ".md";
const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// The templates of one project.
#[derive(Debug, Clone)]
pub struct Prompts {
    folder: PathBuf,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it is called.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What stands there.
    pub text: String,
    parts: Vec<Part>,
}

/// A place in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it is without a value. It needs one without this.
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Variable),
}

/// Why there is no such template.
#[derive(Debug, thiserror::Error)]
pub enum NoTemplate {
    /// There is none of that name.
    #[error("there is no template {name:?} in {}", folder.display())]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
        /// The name that was most likely meant.
        nearest: Option<String>,
        /// Those that are there.
        there: Vec<String>,
    },
    /// It can't be one.
    #[error("{0:?} is not a template's name: it names a file in .ccm/prompts, without a path")]
    NoName(String),
    /// It can't be used.
    #[error("{} can't be used as a template: {error}", path.display())]
    Unusable {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Why a template could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfilled {
    /// These places have no value.
    Missing(Vec<String>),
    /// There is no place of this name.
    Unknown {
        /// The name.
        name: String,
        /// The name that was most likely meant.
        nearest: Option<String>,
        /// Those that are there.
        there: Vec<String>,
    },
    /// It comes to more than a task's text may have.
    TooLong,
}

impl Prompts {
    /// The templates of a project.
    pub fn of(project: &ProjectDir) -> Self {
        Self {
            folder: project.prompts_dir(),
        }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All of them by name, those that can't be used as the reason why not. Without a folder there are none.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn list(&self) -> io::Result<Vec<Result<Template, NoTemplate>>> {
        let names = self.names()?;
        Ok(names.iter().map(|name| self.find(name)).collect())
    }

    /// The template of this name, with or without the `.md` of its file. Links are not followed.
    ///
    /// # Errors
    /// When there is none, or it can't be used.
    pub fn find(&self, name: &str) -> Result<Template, NoTemplate> {
        if !is_name(name) {
            return Err(NoTemplate::NoName(name.to_owned()));
        }
        for file in [format!("{name}{ENDING}"), name.to_owned()] {
            let path = self.folder.join(&file);
            let text = match files::read_text(&path, Links::Refused) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(NoTemplate::Unusable { path, error }),
            };
            return Ok(Template {
                name: file.strip_suffix(ENDING).unwrap_or(&file).to_owned(),
                path,
                parts: parse(&text),
                text,
            });
        }
        let there = self.names().unwrap_or_default();
        Err(NoTemplate::Unknown {
            name: name.to_owned(),
            folder: self.folder.clone(),
            nearest: nearest(name, &there),
            there,
        })
    }

    /// The names of all of them, in order.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let entry = entry?;
            // Folders are no templates; links are told to be none.
            if entry.file_type()?.is_dir() {
                continue;
            }
            if let Some(file) = entry.file_name().to_str().filter(|file| is_name(file)) {
                names.insert(file.strip_suffix(ENDING).unwrap_or(file).to_owned());
            }
        }
        Ok(names.into_iter().collect())
    }
}

impl Template {
    /// Its places in the order in which they come first, each once. One that has a default somewhere has it everywhere.
    pub fn variables(&self) -> Vec<Variable> {
        let mut variables: Vec<Variable> = Vec::new();
        for part in &self.parts {
            let Part::Place(place) = part else { continue };
            match variables.iter_mut().find(|known| known.name == place.name) {
                Some(known) if known.default.is_none() => known.default.clone_from(&place.default),
                Some(_) => {}
                None => variables.push(place.clone()),
            }
        }
        variables
    }

    /// Its place for the task's own text.
    pub fn input(&self) -> Option<Variable> {
        let mut variables = self.variables().into_iter();
        variables.find(|variable| variable.name == INPUT)
    }

    /// Its first line with something in it, as people wrote it.
    pub fn title(&self) -> String {
        let raw: String = self.parts.iter().map(Part::written).collect();
        let line = raw.lines().map(str::trim).find(|line| !line.is_empty());
        line.unwrap_or_default()
            .trim_start_matches('#')
            .trim_start()
            .to_owned()
    }

    /// The text with `values` in its places. `input` is put in its place, or after the text if there is none.
    ///
    /// # Errors
    /// When a value is missing, has no place, or all together is too long.
    pub fn fill(
        &self,
        values: &BTreeMap<String, String>,
        input: Option<&str>,
    ) -> Result<String, Unfilled> {
        let variables = self.variables();
        let named = || {
            variables
                .iter()
                .map(|one| &*one.name)
                .filter(|name| *name != INPUT)
        };
        if let Some(name) = values
            .keys()
            .find(|name| !named().any(|known| known == **name))
        {
            let there: Vec<String> = named().map(str::to_owned).collect();
            return Err(Unfilled::Unknown {
                name: name.clone(),
                nearest: nearest(name, &there),
                there,
            });
        }
        let value_of = |variable: &Variable| -> Option<String> {
            let given = match variable.name == INPUT {
                true => input.map(str::to_owned),
                false => values.get(&variable.name).cloned(),
            };
            given.or_else(|| variable.default.clone())
        };
        let missing = variables.iter().filter(|one| value_of(one).is_none());
        let missing: Vec<String> = missing.map(|one| one.name.clone()).collect();
        if !missing.is_empty() {
            return Err(Unfilled::Missing(missing));
        }
        let filled: BTreeMap<&str, String> = variables
            .iter()
            .filter_map(|one| Some((&*one.name, value_of(one)?)))
            .collect();
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(part) => part,
                Part::Place(place) => filled.get(&*place.name).map_or("", String::as_str),
            });
            if text.len() > MAX_TEXT_BYTES {
                return Err(Unfilled::TooLong);
            }
        }
        if let Some(input) = input.filter(|_| self.input().is_none()) {
            text.truncate(text.trim_end().len());
            text.push_str("\n\n");
            text.push_str(input);
        }
        Ok(text)
    }
}

impl Part {
    fn written(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Place(Variable { name, .. }) => format!("{OPEN}{name}{CLOSE}"),
        }
    }
}

#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(text: &str) {
    let template = Template {
        name: "t".to_owned(),
        path: PathBuf::from("t.md"),
        text: text.to_owned(),
        parts: parse(text),
    };
    let named = template.variables().into_iter();
    let values = named
        .filter(|variable| variable.name != INPUT)
        .map(|variable| (variable.name, "{{x}}".to_owned()));
    // With a value for each place it is filled, and a value is never a template.
    let filled = template.fill(&values.collect(), Some("{{y}}"));
    assert!(!matches!(
        filled,
        Err(Unfilled::Missing(_) | Unfilled::Unknown { .. })
    ));
    let _ = template.title();
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        let (before, from) = rest.split_at(at);
        let Some((place, length)) = place(from) else {
            // One brace further there may be a place.
            plain.push_str(before);
            plain.push_str(&from[..1]);
            rest = &from[1..];
            continue;
        };
        rest = &from[length..];
        if let Some(before) = before.strip_suffix('\\') {
            plain.push_str(before);
            plain.push_str(&from[..length]);
            continue;
        }
        plain.push_str(before);
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Place(place));
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

/// The place that `text`, which begins with two braces, begins with, and its length.
fn place(text: &str) -> Option<(Variable, usize)> {
    let inside = text.strip_prefix(OPEN)?;
    let end = inside.find(CLOSE)?;
    let inside = &inside[..end];
    let (name, default) = match inside.split_once('=') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inside, None),
    };
    let name = name.trim();
    let variable = Variable {
        name: name.to_owned(),
        default,
    };
    is_variable(name).then_some((variable, OPEN.len() + end + CLOSE.len()))
}

/// Whether `name` can be the name of a place in a template.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Whether `name` can be the name of a file in the folder of templates: no path, and nothing hidden.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && !name.chars().any(|c| c == '/' || c.is_control())
}

fn nearest(name: &str, there: &[String]) -> Option<String> {
    let most = (name.chars().count() / 3).max(1);
    let distances = there
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known));
    let near = distances.filter(|(distance, _)| *distance <= most).min();
    near.map(|(_, known)| known.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template {
            name: "t".to_owned(),
            path: PathBuf::from("t.md"),
            text: text.to_owned(),
            parts: parse(text),
        }
    }

    fn fill(text: &str, values: &[(&str, &str)], input: Option<&str>) -> Result<String, Unfilled> {
        let values = values.iter();
        let values = values.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        template(text).fill(&values.collect(), input)
    }

    #[test]
    fn places_are_filled_and_everything_else_stays() {
        for (text, want) in [
            ("Fix {{file}}.\r\n", "Fix a.rs.\r\n"),
            ("{{ file }}{{file}}", "a.rsa.rs"),
            ("\\{{file}} is {{file}}", "{{file}} is a.rs"),
            ("{{{file}}}", "{a.rs}"),
            ("{{kind=bug}} in {{file=x}}", "bug in a.rs"),
            ("{{kind=}}|{{kind=a=b}}{{file}}", "|a.rs"),
            (
                "${{ github.ref }} {{#if}} {{1}} {{}} {{ {{file}}",
                "${{ github.ref }} {{#if}} {{1}} {{}} {{ a.rs",
            ),
            ("ä{{file}}ü }} {{file", "äa.rsü }} {{file"),
        ] {
            let filled = fill(text, &[("file", "a.rs")], None);
            assert_eq!(filled.as_deref(), Ok(want), "{text}");
        }
        // What is filled in is no template.
        assert_eq!(
            fill("{{a}}{{b}}", &[("a", "{{b}}"), ("b", "\\{{a}}")], None).unwrap(),
            "{{b}}\\{{a}}"
        );
    }

    #[test]
    fn the_input_has_its_place_or_comes_last() {
        assert_eq!(
            fill("Do: {{input}}!", &[], Some("it\n")).unwrap(),
            "Do: it\n!"
        );
        assert_eq!(
            fill("Do: {{input=nothing}}!", &[], None).unwrap(),
            "Do: nothing!"
        );
        assert_eq!(
            fill("Review.\n\n", &[], Some("the diff\n")).unwrap(),
            "Review.\n\nthe diff\n"
        );
        assert_eq!(fill("Review.\n", &[], None).unwrap(), "Review.\n");
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let missing = |names: &[&str]| {
            Err(Unfilled::Missing(
                names.iter().map(|name| (*name).to_owned()).collect(),
            ))
        };
        assert_eq!(
            fill("{{b}} {{a}} {{b}} {{c=1}} {{input}}", &[], None),
            missing(&["b", "a", "input"])
        );
        // A default counts wherever it stands.
        assert_eq!(fill("{{a}} {{a=1}}", &[], None).unwrap(), "1 1");
        for (name, near) in [("fiel", Some("file")), ("other", None), ("input", None)] {
            let Err(Unfilled::Unknown { nearest, there, .. }) =
                fill("{{file}} {{input}}", &[(name, "x")], Some("y"))
            else {
                panic!("{name}")
            };
            assert_eq!(nearest.as_deref(), near);
            assert_eq!(there, ["file"]);
        }
        let much = "x".repeat(MAX_TEXT_BYTES / 2 + 1);
        assert_eq!(
            fill("{{a}}{{a}}", &[("a", &much)], None),
            Err(Unfilled::TooLong)
        );
    }

    #[test]
    fn a_template_is_a_file_of_the_folder_and_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let prompts = Prompts {
            folder: dir.path().join("prompts"),
        };
        assert!(prompts.list().unwrap().is_empty());
        std::fs::create_dir(prompts.folder()).unwrap();
        std::fs::create_dir(prompts.folder().join("folder.md")).unwrap();
        let write =
            |name: &str, text: &[u8]| std::fs::write(prompts.folder().join(name), text).unwrap();
        write("review.md", b"\n# Review {{file}}\nwell\n");
        write("plain.txt", b"do it");
        write(".hidden.md", b"no");
        write("bad.md", b"a\n\xff");
        std::fs::write(dir.path().join("secret.md"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret.md", prompts.folder().join("link.md")).unwrap();

        let found = prompts.find("review").unwrap();
        assert_eq!(
            (found.name.as_str(), found.title().as_str()),
            ("review", "Review {{file}}")
        );
        assert_eq!(prompts.find("review.md").unwrap(), found);
        assert_eq!(prompts.find("plain.txt").unwrap().name, "plain.txt");
        for (name, want) in [
            ("../secret", "is not a template's name"),
            ("/etc/passwd", "is not a template's name"),
            (".hidden", "is not a template's name"),
            ("", "is not a template's name"),
            ("link", "it is a symbolic link"),
            ("bad", "it is not UTF-8 text (line 2)"),
            ("folder", "it is no regular file"),
            ("revue", "there is no template \"revue\""),
        ] {
            let error = prompts.find(name).unwrap_err();
            assert!(error.to_string().contains(want), "{name}: {error}");
        }
        let Err(NoTemplate::Unknown { nearest, there, .. }) = prompts.find("reviw") else {
            panic!()
        };
        assert_eq!(nearest.as_deref(), Some("review"));
        assert_eq!(there, ["bad", "link", "plain.txt", "review"]);
        let listed = prompts.list().unwrap();
        let usable = listed.iter().filter(|one| one.is_ok());
        assert_eq!((listed.len(), usable.count()), (4, 2));
    }
}
