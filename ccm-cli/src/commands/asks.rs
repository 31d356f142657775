use std::collections::HashMap;

use ccm_agents::terminal;
use ccm_core::api::{Answer, Ask, AskKind, AskStateName, Machines, OpenAsk};
use ccm_core::id::AskId;
use clap::Args;

use super::{Outcome, select, time};
use crate::client::AskFilter;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// How many lines of what an ask is about are shown.
const SHOWN_LINES: usize = 8;
/// How much of one line of it.
const SHOWN_CHARS: usize = 200;

/// List what agents ask, oldest first
///
/// An agent that asks waits until a person answers with `ccm task answer`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm asks
  ccm asks --project demo --json
  ccm task answer 3f2a9c1b7d4e --allow")]
pub(super) struct Asks {
    /// Also what was answered and what nobody waits for any more
    #[arg(long)]
    all: bool,
    /// Only those of this project
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// At most so many, the newest
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 50,
        allow_negative_numbers = true
    )]
    limit: usize,
}

pub(super) fn run(args: &Asks, context: &Context) -> Outcome {
    let client = context.client()?;
    let (asks, projects) = context.block_on(async {
        let project_id = match &args.project {
            Some(name) => Some(select::project(context, &client, Some(name)).await?.id),
            None => None,
        };
        let filter = AskFilter {
            project_id,
            open: !args.all,
            machine: Some(Machines::All),
            page_size: Some(args.limit.clamp(1, 200) as u32),
            ..AskFilter::default()
        };
        let mut asks = client.asks(&filter).take(args.limit).await?;
        asks.reverse();
        // A project that was removed has no name any more.
        let projects = match asks.is_empty() || context.printer.json {
            true => Vec::new(),
            false => client.projects_of(Machines::All).all().await?,
        };
        Ok((asks, projects))
    })?;
    if context.printer.json {
        context.printer.object(&asks)?;
        return Ok(Code::Done);
    }
    if asks.is_empty() {
        context.printer.note("Nothing is asked.");
        return Ok(Code::Done);
    }
    let names: HashMap<_, _> = projects
        .iter()
        .map(|project| (project.id, select::full_name(project)))
        .collect();
    let rows = asks.iter().map(|ask| {
        let project = names.get(&ask.project_id).cloned();
        let mut row = vec![
            short(ask.id),
            project.unwrap_or_else(|| "-".to_owned()),
            time::age(ask.created_at),
            ask.kind.as_str().to_owned(),
        ];
        if args.all {
            row.push(ask.state.as_str().to_owned());
        }
        row.push(ask.title.clone());
        row
    });
    let headings: &[&str] = match args.all {
        true => &["ID", "PROJECT", "AGE", "KIND", "STATE", "TITLE"],
        false => &["ID", "PROJECT", "AGE", "KIND", "TITLE"],
    };
    let wide = Some(headings.len() - 1);
    let lines = context.printer.table_lines(headings, wide, rows.collect());
    let mut lines = lines.into_iter();
    lines
        .by_ref()
        .take(1)
        .try_for_each(|line| context.printer.line(line))?;
    for (ask, line) in asks.iter().zip(lines) {
        context.printer.line(line)?;
        show(context, ask)?;
    }
    let open: Vec<_> = asks
        .iter()
        .filter(|ask| ask.state == AskStateName::Open && ask.sent_answer.is_none())
        .collect();
    match &open[..] {
        [] => {}
        [only] => context.printer.hint(how(only.id, only.kind)),
        _ => context.printer.hint(
            "answer with `ccm task answer ID` and --allow or --deny for a permission, --text TEXT for a question",
        ),
    }
    Ok(Code::Done)
}

/// The end of an ask's id, which is enough to name it.
pub(super) fn short(id: AskId) -> String {
    let id = id.to_string();
    id.rsplit('-').next().unwrap_or(&id).to_owned()
}

/// How an ask is answered.
pub(super) fn how(id: AskId, kind: AskKind) -> String {
    let command = format!("ccm task answer {}", short(id));
    match kind {
        AskKind::Permission => format!("answer with `{command} --allow`, or --deny"),
        AskKind::Choice | AskKind::Text => format!("answer with `{command} --text TEXT`"),
    }
}

/// Tells how to answer each of these, on standard error.
pub(super) fn tell(context: &Context, who: &str, asks: &[OpenAsk]) {
    for ask in asks {
        let title = terminal::line(&ask.title);
        context
            .printer
            .note(format!("{} asks: {title}", terminal::line(who)));
        context.printer.hint(how(ask.id, ask.kind));
    }
}

/// Prints what is needed to decide, in lines that are indented.
pub(super) fn show(context: &Context, ask: &Ask) -> Result<(), Failure> {
    for line in details(ask) {
        context.printer.line(format!("  {line}").trim_end())?;
    }
    Ok(())
}

fn details(ask: &Ask) -> Vec<String> {
    let text = terminal::plain(&ask.detail);
    let mut text = text.trim_end().lines();
    let mut lines: Vec<String> = text.by_ref().take(SHOWN_LINES).map(shortened).collect();
    if lines[..] == [terminal::line(&ask.title)] {
        lines.clear();
    }
    match text.count() {
        0 => {}
        more => lines.push(format!("(and {more} more lines; --json shows all)")),
    }
    for question in &ask.questions {
        if question.question != ask.title {
            lines.push(shortened(&terminal::line(&question.question)));
        }
        for (at, option) in question.options.iter().enumerate() {
            let mut line = format!("{}. {}", at + 1, option.label);
            if !option.description.is_empty() {
                line.push_str(&format!(" ({})", option.description));
            }
            lines.push(shortened(&terminal::line(&line)));
        }
    }
    if let (Some(answer), Some(machine)) = (&ask.sent_answer, &ask.machine) {
        let sent = format!("sent to {}: {}", machine.hostname, said(answer));
        lines.push(terminal::line(&sent));
    }
    match (&ask.answer, &ask.answered_by) {
        (Some(answer), Some(by)) => lines.push(terminal::line(&format!("{by} {}", said(answer)))),
        (Some(answer), None) => lines.push(terminal::line(&said(answer))),
        (None, _) => {}
    }
    lines
}

/// An answer in words that follow who gave it.
pub(super) fn said(answer: &Answer) -> String {
    match answer {
        Answer::Allow => "allowed it".to_owned(),
        Answer::Deny { message: None } => "denied it".to_owned(),
        Answer::Deny {
            message: Some(message),
        } => format!("denied it: {message}"),
        Answer::Text { text } => format!("answered: {}", text.join("; ")),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ccm_core::api::{Choice, ChoiceOption};
    use ccm_core::id::{AgentId, ProjectId, RunId, TaskId};

    use super::*;

    fn ask(title: &str, detail: &str) -> Ask {
        Ask {
            id: "019aa7a0-0000-7000-8000-3f2a9c1b7d4e".parse().unwrap(),
            run_id: RunId::new(),
            task_id: TaskId::new(),
            project_id: ProjectId::new(),
            agent_id: AgentId::new(),
            kind: AskKind::Permission,
            title: title.to_owned(),
            detail: detail.to_owned(),
            options: Vec::new(),
            questions: Vec::new(),
            state: AskStateName::Open,
            answer: None,
            answered_by: None,
            created_at: time::now(),
            answered_at: None,
            machine: None,
            sent_answer: None,
        }
    }

    #[test]
    fn what_is_asked_can_do_nothing_to_the_terminal_and_is_not_endless() {
        let long = format!("\u{1b}]0;x\u{7}\u{1b}[2Jrm -rf\n{}\n", "a\n".repeat(20));
        let lines = details(&ask("Bash", &long));
        assert_eq!(lines[0], "rm -rf");
        assert_eq!(lines.len(), SHOWN_LINES + 1);
        assert_eq!(lines[SHOWN_LINES], "(and 13 more lines; --json shows all)");
        assert_eq!(details(&ask("Which?", "Which?\n")), [""; 0]);
        let wide = details(&ask("Bash", &"ö".repeat(1000)));
        assert_eq!(wide[0].chars().count(), SHOWN_CHARS + 1);
    }

    #[test]
    fn options_are_numbered_and_an_answer_says_whose_it_is() {
        let mut ask = ask("Which?", "");
        let option = |label: &str, description: &str| ChoiceOption {
            label: label.to_owned(),
            description: description.to_owned(),
        };
        ask.questions = vec![Choice {
            question: "Which?".to_owned(),
            header: String::new(),
            options: vec![option("red", "warm"), option("blue", "")],
            multiple: false,
        }];
        ask.answer = Some(Answer::Text {
            text: vec!["red".to_owned()],
        });
        ask.answered_by = Some("cli".to_owned());
        let lines = ["1. red (warm)", "2. blue", "cli answered: red"];
        assert_eq!(details(&ask), lines);
    }

    #[test]
    fn the_way_to_answer_fits_the_kind() {
        let ask = ask("Bash", "");
        let told = how(ask.id, AskKind::Permission);
        assert!(
            told.contains("`ccm task answer 3f2a9c1b7d4e --allow`"),
            "{told}"
        );
        assert!(how(ask.id, AskKind::Choice).ends_with("3f2a9c1b7d4e --text TEXT`"));
    }
}
