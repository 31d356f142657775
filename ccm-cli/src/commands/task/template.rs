//! Tasks from templates.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use ccm_core::api::Project;
use ccm_daemon::machine::{NoTemplate, ProjectDir, Prompts, Template, Unfilled, Variable};
use clap::Args;
use serde::Serialize;

use super::super::{Outcome, project, select, text};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// List a project's templates of tasks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task templates
  ccm task templates --project site --json
  ccm task create --template review --var file=src/parser.rs")]
pub(crate) struct List {
    /// The project [default: the one the current folder is in]
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
}

/// A template as `--json` shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    title: String,
    path: &'a Path,
    variables: Vec<Place>,
}

#[derive(Debug, Serialize)]
struct Place {
    name: String,
    default: Option<String>,
}

pub(super) fn list(args: &List, context: &Context) -> Outcome {
    let prompts = match &args.project {
        None => here(context)?,
        Some(name) => {
            let client = context.client()?;
            let project = context.block_on(select::project(context, &client, Some(name)))?;
            of(&project, context)?
        }
    };
    let printer = context.printer;
    let listed = prompts.list().map_err(|e| {
        let folder = prompts.folder().display();
        Failure::new(Code::Failed, format!("{folder} can't be read: {e}"))
    })?;
    let (templates, unusable): (Vec<_>, Vec<_>) = listed.into_iter().partition(Result::is_ok);
    let templates: Vec<Template> = templates.into_iter().flatten().collect();
    for error in unusable.into_iter().filter_map(Result::err) {
        printer.warning(error);
    }
    if printer.json {
        let shown: Vec<Shown<'_>> = templates.iter().map(shown).collect();
        printer.object(&shown)?;
    } else if templates.is_empty() {
        printer.note(format!(
            "No templates: write one as {}/NAME.md, with {{{{name}}}} where something is to be filled in.",
            prompts.folder().display()
        ));
    } else {
        let rows = templates.iter().map(|template| {
            let places = template.variables().iter().map(place).collect::<Vec<_>>();
            vec![template.name.clone(), places.join(" "), template.title()]
        });
        printer.table(&["NAME", "VARIABLES", "TITLE"], Some(2), rows.collect())?;
    }
    Ok(Code::Done)
}

fn shown(template: &Template) -> Shown<'_> {
    let variables = template.variables().into_iter();
    Shown {
        name: &template.name,
        title: template.title(),
        path: &template.path,
        variables: variables
            .map(|Variable { name, default }| Place { name, default })
            .collect(),
    }
}

fn place(variable: &Variable) -> String {
    match &variable.default {
        Some(default) => format!("{}={default}", variable.name),
        None => variable.name.clone(),
    }
}

/// The templates of the project that the current folder is in. No daemon is needed.
pub(super) fn here(context: &Context) -> Result<Prompts, Failure> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::usage(format!("the current folder can't be read: {e}")))?;
    let dir = project::find(context, &here)?.ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            format!(
                "{} is in no project, whose templates could be used",
                here.display()
            ),
        )
        .hint("name one with --project, or set this folder up with `ccm init`")
    })?;
    Ok(Prompts::of(&dir))
}

/// The templates of a project that is registered.
pub(super) fn of(project: &Project, context: &Context) -> Result<Prompts, Failure> {
    if context.is_elsewhere() {
        return Err(Failure::usage(
            "templates are files of the project, which is on the machine of its daemon",
        )
        .hint("run this there, or give the text itself"));
    }
    if let Some(machine) = &project.machine {
        return Err(Failure::new(
            Code::Refused,
            format!(
                "templates are files of the project, and {} is on {}",
                project.name, machine.hostname
            ),
        )
        .hint("run this there, or give the text itself"));
    }
    Ok(Prompts::of(&ProjectDir::open(Path::new(&project.path))?))
}

/// The text that a template and what is given for it come to.
pub(super) fn fill(
    prompts: &Prompts,
    name: &str,
    given: Vec<(String, String)>,
    words: Vec<OsString>,
    context: &Context,
) -> Result<String, Failure> {
    let template = prompts.find(name).map_err(no_template)?;
    let mut values = BTreeMap::new();
    for (name, value) in given {
        if let Some(twice) = values.insert(name.clone(), value) {
            return Err(Failure::usage(format!(
                "--var {name} is given twice, first as {twice:?}"
            )));
        }
    }
    let unfilled = |unfilled| not_filled(&template, unfilled);
    // What is wrong besides is told before a text is asked for.
    template.fill(&values, Some("")).map_err(unfilled)?;
    let wants_input = template
        .input()
        .is_some_and(|input| input.default.is_none());
    let input = if words.len() == 1 && words[0] == "-" {
        Some(text::given(Vec::new(), "task", context)?)
    } else if !words.is_empty() || wants_input {
        Some(text::given(words, "task", context)?)
    } else {
        None
    };
    text::checked(template.fill(&values, input.as_deref()).map_err(unfilled)?)
}

fn no_template(error: NoTemplate) -> Failure {
    let message = error.to_string();
    match error {
        NoTemplate::Unknown { nearest, there, .. } => {
            let failure = Failure::new(Code::NotFound, message);
            match nearest {
                Some(near) => failure.hint(format!(
                    "did you mean {near}? There are: {}",
                    there.join(", ")
                )),
                None if there.is_empty() => {
                    failure.hint("there are none; a file NAME.md in that folder is one")
                }
                None => failure.hint(format!("there are: {}", there.join(", "))),
            }
        }
        NoTemplate::NoName(_) => Failure::usage(message).hint("`ccm task templates` lists them"),
        NoTemplate::Unusable { .. } => Failure::usage(message),
    }
}

fn not_filled(template: &Template, unfilled: Unfilled) -> Failure {
    let name = &template.name;
    match unfilled {
        Unfilled::Missing(missing) => {
            let options: Vec<_> = missing
                .iter()
                .map(|name| format!("--var {name}=..."))
                .collect();
            Failure::usage(format!("the template {name} needs {}", missing.join(", ")))
                .hint(format!("add {}", options.join(" ")))
        }
        Unfilled::Unknown {
            name: unknown,
            nearest,
            there,
        } => {
            let failure = Failure::usage(format!("the template {name} has no place {unknown}"));
            match nearest {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None if unknown == "input" => {
                    failure.hint("give that text after the options, or on standard input with -")
                }
                None if there.is_empty() => failure.hint("it has none to fill in"),
                None => failure.hint(format!("it has: {}", there.join(", "))),
            }
        }
        Unfilled::TooLong => Failure::usage(format!(
            "the template {name} comes to more than 1 MiB with that; let the task name a file instead"
        )),
    }
}
