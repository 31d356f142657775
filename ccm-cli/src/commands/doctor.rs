use ccm_agents::terminal;
use ccm_daemon::machine::doctor::{self, CHECKS, Examined, Finding, Level};
use clap::Args;
use serde::Serialize;

use super::{Outcome, ask};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::{Colour, Printer};

/// Look for what is wrong with this machine, and mend what can be mended
#[derive(Debug, Args)]
#[command(after_help = "\
It exits with 0 when there are at most warnings, and with 1 when something does not work.

Examples:
  ccm doctor                 look, and say what mends what was found
  ccm doctor --fix           mend what is safe to mend, and ask about the rest
  ccm doctor --fix --yes     mend all that can be mended
  ccm doctor --json          for programs")]
pub(super) struct Doctor {
    /// Mend what can be mended here, and look again
    #[arg(long)]
    fix: bool,
    /// With --fix: don't ask, also where something could be lost
    #[arg(short, long, requires = "fix")]
    yes: bool,
}

/// What `doctor` found, for programs.
#[derive(Serialize)]
struct Report<'a> {
    /// Whether nothing is left that does not work.
    ok: bool,
    /// Every check that was made.
    checks: Vec<&'static str>,
    /// What was mended.
    fixed: &'a [String],
    findings: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    check: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
    why: &'static str,
    /// Whether `--fix` can mend it, and whether it asks first.
    fix: Option<&'static str>,
}

pub(super) fn run(args: &Doctor, context: &Context) -> Outcome {
    let home = context.home()?;
    let examine = || {
        let _progress = context.printer.progress("Looking at this machine");
        doctor::examine(home)
    };
    let mut examined = examine();
    let mut mended = Mended::default();
    if args.fix {
        for one in examined {
            mend(args, context, one, &mut mended)?;
        }
        examined = examine();
    }
    let ok = !findings(&examined).any(|(_, finding)| finding.level == Level::Problem);
    if context.printer.json {
        context.printer.object(&report(&examined, &mended, ok))?;
    } else {
        print(context.printer, &examined, &mended)?;
    }
    Ok(if ok { Code::Done } else { Code::Failed })
}

#[derive(Default)]
struct Mended {
    done: Vec<String>,
    /// What somebody would have to agree to, and nobody could be asked.
    unasked: usize,
}

fn mend(
    args: &Doctor,
    context: &Context,
    examined: Examined,
    mended: &mut Mended,
) -> Result<(), Failure> {
    let printer = context.printer;
    for finding in examined.findings {
        let Some(repair) = finding.repair else {
            continue;
        };
        if let Some(question) = &repair.question
            && !args.yes
        {
            if !printer.can_ask() {
                mended.unasked += 1;
                continue;
            }
            if !ask::yes(context, &terminal::line(question), false)? {
                continue;
            }
        }
        match repair.act() {
            Ok(done) => mended.done.push(done),
            Err(error) => printer.warning(terminal::line(&ccm_core::chain(&error))),
        }
    }
    Ok(())
}

fn findings(examined: &[Examined]) -> impl Iterator<Item = (&Examined, &Finding)> {
    examined
        .iter()
        .flat_map(|one| one.findings.iter().map(move |finding| (one, finding)))
}

fn report<'a>(examined: &'a [Examined], mended: &'a Mended, ok: bool) -> Report<'a> {
    let found = findings(examined).map(|(one, finding)| Found {
        check: one.check.name,
        finding,
        why: one.check.matters,
        fix: finding.repair.as_ref().map(|repair| match repair.question {
            Some(_) => "asks",
            None => "safe",
        }),
    });
    Report {
        ok,
        checks: CHECKS.iter().map(|check| check.name).collect(),
        fixed: &mended.done,
        findings: found.collect(),
    }
}

fn print(printer: Printer, examined: &[Examined], mended: &Mended) -> Result<(), Failure> {
    for done in &mended.done {
        let word = printer.paint_out(Colour::Green, "fixed");
        printer.line(format!("{word}: {}", terminal::line(done)))?;
    }
    for (one, finding) in findings(examined) {
        let (colour, word) = match finding.level {
            Level::Problem => (Colour::Red, "problem"),
            Level::Warning => (Colour::Yellow, "warning"),
            Level::Note => (Colour::Cyan, "note"),
        };
        printer.line(format!(
            "{}: {}: {}",
            printer.paint_out(colour, word),
            one.check.name,
            terminal::line(&finding.what)
        ))?;
        let part =
            |name: &str, text: &str| printer.line(format!("  {name:<6} {}", terminal::line(text)));
        if let Some(place) = &finding.place {
            part("where", &place.to_string_lossy())?;
        }
        if finding.level > Level::Note {
            part("why", &plain(one.check.matters))?;
        }
        match (&finding.remedy, &finding.repair) {
            (Some(remedy), Some(_)) => part("mend", &format!("{remedy}, or ccm doctor --fix"))?,
            (Some(remedy), None) => part("mend", remedy)?,
            (None, _) => {}
        }
    }
    printer.line(summary(examined))?;
    if mended.unasked > 0 {
        printer.hint(format!(
            "there is no terminal to ask about {} of them; --yes mends them too",
            mended.unasked
        ));
    }
    Ok(())
}

fn summary(examined: &[Examined]) -> String {
    let count = |level| {
        findings(examined)
            .filter(|(_, finding)| finding.level == level)
            .count()
    };
    let told = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts: Vec<String> = [
        told(count(Level::Problem), "problem"),
        told(count(Level::Warning), "warning"),
        told(count(Level::Note), "note"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let checks = examined.len();
    if parts.is_empty() {
        return format!("All is well ({checks} checks).");
    }
    format!("{checks} checks: {}.", parts.join(", "))
}

/// The text without the marks that the documentation has.
fn plain(text: &str) -> String {
    text.replace('`', "")
}
