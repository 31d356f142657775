use ccm_core::api::{
    Conflict, ConflictField, ConflictStateName, Keep, ResolveConflict, ResolveField, Side,
};
use clap::{Args, ValueEnum};

use super::super::{Outcome, ask};
use super::conflict;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Decide which of two edits of a task counts
///
/// `local` is this machine's edit, `remote` the other one's; where neither is this machine's, `remote` is the one that
/// counts until somebody decides. `merge` takes each field from the edit that changed it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm-orchestrator sync resolve                             asks for everything
  ccm-orchestrator sync resolve 3f2a9c1b7d4e --keep local
  ccm-orchestrator sync resolve 3f2a9c1b7d4e --keep merge --field text=remote --field title=local")]
pub(in super::super) struct Resolve {
    /// The conflict, by its id or the end of it
    id: Option<String>,
    /// Which edit is to count
    #[arg(long, value_name = "WHICH")]
    keep: Option<Which>,
    /// With --keep merge: whose value a field gets that both changed
    #[arg(long = "field", value_name = "NAME=WHICH", value_parser = field, requires = "keep")]
    fields: Vec<ResolveField>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Local,
    Remote,
    Merge,
}

impl From<Which> for Keep {
    fn from(which: Which) -> Self {
        match which {
            Which::Local => Self::Local,
            Which::Remote => Self::Remote,
            Which::Merge => Self::Merge,
        }
    }
}

fn field(text: &str) -> Result<ResolveField, String> {
    let (name, keep) = text.split_once('=').unwrap_or((text, ""));
    let keep = match keep {
        "local" => Side::Local,
        "remote" => Side::Remote,
        _ => {
            return Err(format!(
                "expected a field and whose value it gets, such as text=local, found {text:?}"
            ));
        }
    };
    Ok(ResolveField {
        name: name.to_owned(),
        keep,
    })
}

pub(super) fn run(args: &Resolve, context: &Context) -> Outcome {
    let printer = context.printer;
    if !args.fields.is_empty() && args.keep != Some(Which::Merge) {
        return Err(Failure::usage("--field is for --keep merge alone"));
    }
    if !printer.can_ask() {
        let missing: Vec<_> = [
            (args.id.is_none(), "ID"),
            (args.keep.is_none(), "--keep local|remote|merge"),
        ]
        .into_iter()
        .filter_map(|(missing, what)| missing.then_some(what))
        .collect();
        if !missing.is_empty() {
            return Err(Failure::usage("there is no terminal to ask for a decision")
                .hint(format!("give {}", missing.join(" and "))));
        }
    }
    let client = context.client()?;
    let conflict = match &args.id {
        Some(id) => context.block_on(conflict::find(&client, id))?,
        None => chosen(context, &client)?,
    };
    let undecided = conflict.state == ConflictStateName::Open;
    let keep = match args.keep {
        Some(which) => which.into(),
        None if undecided => asked(context, &conflict)?,
        None => return Err(decided(&conflict)),
    };
    let fields = match keep {
        Keep::Merge => merged(context, &conflict, args.fields.clone())?,
        Keep::Local | Keep::Remote => Vec::new(),
    };
    let decision = ResolveConflict { keep, fields };
    let done =
        context.block_on(async { Ok(client.resolve_conflict(conflict.id, &decision).await?) })?;
    if printer.json {
        printer.object(&done)?;
        return Ok(Code::Done);
    }
    let (local, remote) = (conflict::name(&done.local), conflict::name(&done.remote));
    printer.line(match keep {
        Keep::Local => format!("Resolved: the edit of {local} counts"),
        Keep::Remote => format!("Resolved: the edit of {remote} counts"),
        Keep::Merge => format!("Resolved: the edits of {local} and {remote} both count"),
    })?;
    Ok(Code::Done)
}

/// The open conflict that the person at the terminal means.
fn chosen(context: &Context, client: &Client) -> Result<Conflict, Failure> {
    let open = Some(ConflictStateName::Open);
    let mut open = context.block_on(async { Ok(client.conflicts(open).all().await?) })?;
    match open.len() {
        0 => Err(
            Failure::new(Code::Refused, "no conflict waits for a decision")
                .hint("`ccm sync conflicts --all` shows those that were decided"),
        ),
        1 => Ok(open.remove(0)),
        _ => {
            context.printer.note("Which conflict?");
            let options: Vec<String> = open.iter().map(option).collect();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let at = ask::choice(context, "Conflict?", &options)?;
            Ok(open.remove(at))
        }
    }
}

fn option(one: &Conflict) -> String {
    let title = ccm_agents::terminal::line(&one.title);
    let (local, remote) = (conflict::name(&one.local), conflict::name(&one.remote));
    format!("{title} ({local}, {remote})")
}

fn decided(conflict: &Conflict) -> Failure {
    let why = match &conflict.resolution {
        Some(done) => format!("{} decided it already", done.by),
        None => "it needs no decision: the later edit counts".to_owned(),
    };
    Failure::new(Code::Refused, why).hint("edit the task instead: `ccm task edit`")
}

/// Which edit the person at the terminal wants, having seen both.
fn asked(context: &Context, conflict: &Conflict) -> Result<Keep, Failure> {
    let printer = context.printer;
    conflict::details(conflict)
        .iter()
        .for_each(|line| printer.note(line));
    let local = format!("local   the edit of {}", conflict::name(&conflict.local));
    let remote = format!("remote  the edit of {}", conflict::name(&conflict.remote));
    let mut options = vec![&*local, &*remote];
    if !conflict.local.deleted && !conflict.remote.deleted {
        options.push(match conflict.mergeable {
            true => "merge   both: they changed different fields",
            false => "merge   both, field by field",
        });
    }
    let at = ask::choice(context, "Keep?", &options)?;
    Ok([Keep::Local, Keep::Remote, Keep::Merge][at])
}

/// Whose values the fields get that both changed: as given, else as the person at the terminal says.
fn merged(
    context: &Context,
    conflict: &Conflict,
    mut given: Vec<ResolveField>,
) -> Result<Vec<ResolveField>, Failure> {
    let known = |name: &str| conflict.fields.iter().any(|field| field.name == name);
    if let Some(unknown) = given.iter().find(|field| !known(&field.name)) {
        let names: Vec<_> = conflict.fields.iter().map(|field| &*field.name).collect();
        return Err(Failure::usage(format!(
            "the edits don't differ in a field {:?}",
            unknown.name
        ))
        .hint(format!("they differ in {}", names.join(", "))));
    }
    let is_given = |field: &&ConflictField, given: &[ResolveField]| {
        given.iter().any(|one| one.name == field.name)
    };
    let both = conflict
        .fields
        .iter()
        .filter(|one| one.changed_by.is_none());
    let open: Vec<_> = both.filter(|field| !is_given(field, &given)).collect();
    if open.is_empty() {
        return Ok(given);
    }
    if !context.printer.can_ask() {
        let options: Vec<_> = open
            .iter()
            .map(|field| format!("--field {}=local|remote", field.name))
            .collect();
        return Err(Failure::usage(format!(
            "both edits changed {}",
            open.iter()
                .map(|field| &*field.name)
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .hint(format!("say whose value counts: {}", options.join(" "))));
    }
    for field in open {
        let question = format!("{}?", field.name);
        let local = format!("local   {}", conflict::name(&conflict.local));
        let remote = format!("remote  {}", conflict::name(&conflict.remote));
        let at = ask::choice(context, &question, &[&local, &remote])?;
        given.push(ResolveField {
            name: field.name.clone(),
            keep: [Side::Local, Side::Remote][at],
        });
    }
    Ok(given)
}
