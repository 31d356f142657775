use std::process::ExitStatus;

use ccm_daemon::machine::draft::{Draft, Verdict};
use ccm_daemon::machine::{ConfigErrors, ConfigFile, ProjectConfig, ProjectDir};
use clap::Args;

use super::super::project::trust;
use super::super::{Outcome, ask, editor, project};
use super::{Which, file, invalid};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Edit the config file in $VISUAL or $EDITOR; it is replaced only by a text without errors
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ccm config edit
  ccm config edit --project
  EDITOR=\"code --wait\" ccm config edit

The editor gets a copy. What is wrong in it is shown, and you can go on editing, keep it as a draft, on which the next
`config edit` goes on, or throw it away. The file itself stays as it is until the copy is right.")]
pub(crate) struct Edit {
    #[command(flatten)]
    which: Which,
    /// Throw a draft of an earlier edit away
    #[arg(long)]
    fresh: bool,
}

pub(super) fn run(args: &Edit, context: &Context) -> Outcome {
    let (file, dir) = file(&args.which, context)?;
    if let Err(errors) = file.text() {
        return Err(if errors.missing {
            Failure::new(
                Code::NotFound,
                format!("there is no {}", errors.path.display()),
            )
            .hint("set this machine up with `ccm-orchestrator init`")
        } else {
            invalid(&errors)
        });
    }
    let editor = editor::name()?;
    let before = dir
        .as_ref()
        .map(|dir| Trusted::look(context, dir))
        .transpose()?;
    let draft = file.draft(context.home()?, args.fresh)?;
    if draft.is_resumed() {
        context.printer.note(format!(
            "This goes on with the draft of an earlier edit ({}); --fresh begins anew.",
            draft.path().display()
        ));
    }
    editor::leave_interrupts_to_it(context)?;
    loop {
        let ended = editor::edit(&editor, draft.path())?;
        if !ended.success() {
            return Err(failed(&editor, ended, draft)?);
        }
        match draft.judge()? {
            Verdict::Unchanged(broken) => {
                draft.discard()?;
                context.printer.note("Nothing was changed.");
                return match broken {
                    Some(errors) => Err(invalid(&errors).hint("`ccm config edit` again mends it")),
                    None => Ok(Code::Done),
                };
            }
            Verdict::Good(warnings) => {
                for warning in warnings {
                    context.printer.warning(warning);
                }
                return install(&file, draft, dir.as_ref(), before, context);
            }
            Verdict::Broken(errors) => match broken(&errors, &draft, context)? {
                Next::Again => {}
                Next::Keep => return Ok(keep(&draft, context)),
                Next::Discard => return discard(draft, context),
                Next::Install => return install(&file, draft, dir.as_ref(), before, context),
            },
            Verdict::Overtaken => match overtaken(&file, &draft, context)? {
                Next::Again => {}
                Next::Keep => return Ok(keep(&draft, context)),
                Next::Discard => return discard(draft, context),
                Next::Install => return install(&file, draft, dir.as_ref(), before, context),
            },
        }
    }
}

/// What is to become of a draft that can't simply take the file's place.
#[derive(Debug, Clone, Copy)]
enum Next {
    Again,
    Keep,
    Discard,
    Install,
}

fn broken(errors: &ConfigErrors, draft: &Draft, context: &Context) -> Result<Next, Failure> {
    if !context.printer.can_ask() {
        return Err(Failure::new(Code::Failed, errors.to_string()).hint(kept(draft)));
    }
    context.printer.note(errors);
    let options = ["Edit it again", "Keep it as a draft", "Throw it away"];
    let answer = ask::choice(context, "The file was not changed. What now?", &options)
        .map_err(|failure| failure.hint(kept(draft)))?;
    Ok([Next::Again, Next::Keep, Next::Discard][answer])
}

fn overtaken(file: &ConfigFile, draft: &Draft, context: &Context) -> Result<Next, Failure> {
    let what = format!("{} was changed meanwhile", file.path().display());
    if !context.printer.can_ask() {
        return Err(Failure::new(Code::Refused, what).hint(kept(draft)));
    }
    context
        .printer
        .warning(format!("{what}, and the draft knows nothing of that."));
    let options = [
        "Edit it again",
        "Put it in the file's place all the same",
        "Keep it as a draft",
        "Throw it away",
    ];
    let answer =
        ask::choice(context, "What now?", &options).map_err(|failure| failure.hint(kept(draft)))?;
    Ok([Next::Again, Next::Install, Next::Keep, Next::Discard][answer])
}

fn kept(draft: &Draft) -> String {
    format!(
        "your text is kept in {}; `ccm config edit` goes on with it",
        draft.path().display()
    )
}

fn keep(draft: &Draft, context: &Context) -> Code {
    context.printer.hint(kept(draft));
    Code::Failed
}

fn discard(draft: Draft, context: &Context) -> Outcome {
    draft.discard()?;
    context.printer.note("Nothing was changed.");
    Ok(Code::Failed)
}

fn failed(editor: &str, ended: ExitStatus, draft: Draft) -> Result<Failure, Failure> {
    let failure = Failure::new(
        Code::Failed,
        format!("the editor {editor:?} failed ({ended}); the file was not changed"),
    );
    if matches!(draft.judge(), Ok(Verdict::Unchanged(_))) && !draft.is_resumed() {
        draft.discard()?;
        return Ok(failure.hint("set VISUAL or EDITOR to another editor"));
    }
    Ok(failure.hint(kept(&draft)))
}

fn install(
    file: &ConfigFile,
    draft: Draft,
    dir: Option<&ProjectDir>,
    before: Option<Trusted>,
    context: &Context,
) -> Outcome {
    let path = draft.path().to_owned();
    draft.install().map_err(|error| {
        Failure::from(error).hint(format!(
            "your text is kept in {}; `ccm config edit` goes on with it",
            path.display()
        ))
    })?;
    context
        .printer
        .note(format!("Saved {}.", file.path().display()));
    match (dir, before) {
        (Some(dir), Some(before)) => {
            before.trust_again(context, dir)?;
            project::refresh(context, dir.folder());
        }
        _ if context.daemon()?.is_some() => context
            .printer
            .hint("`ccm-orchestrator daemon reload` makes it count"),
        _ => {}
    }
    Ok(Code::Done)
}

/// Whether a project's settings were trusted before they were edited.
struct Trusted(bool);

impl Trusted {
    fn look(context: &Context, dir: &ProjectDir) -> Result<Self, Failure> {
        let Some(id) = dir.id()? else {
            return Ok(Self(false));
        };
        // A file that is broken is trusted by nobody.
        if ProjectConfig::load(dir.folder()).is_err() {
            return Ok(Self(false));
        }
        Ok(Self(trust::look(context, dir, id)?.trusted))
    }

    /// Whoever edits what was trusted trusts the result; else it is shown and asked about.
    fn trust_again(self, context: &Context, dir: &ProjectDir) -> Result<(), Failure> {
        let Some(id) = dir.id()? else {
            return Ok(());
        };
        let settings = trust::look(context, dir, id)?;
        if settings.trusted {
            return Ok(());
        }
        if !self.0 {
            trust::show(context, &settings);
            let wanted =
                context.printer.can_ask() && ask::yes(context, "Trust these settings?", false)?;
            if !wanted {
                context.printer.warning(
                    "the settings are not trusted, so tasks will wait; `ccm project trust` shows them and asks",
                );
                return Ok(());
            }
        }
        trust::accept(context, dir, id, &settings)?;
        Ok(())
    }
}
