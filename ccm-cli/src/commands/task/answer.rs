use ccm_agents::terminal;
use ccm_core::api::{Answer as Given, Ask, AskKind, AskStateName, Choice};
use clap::Args;

use super::super::{Outcome, ask, asks, select};
use crate::context::Context;
use crate::exit::{Code, Failure};

/// Answer what an agent asks
///
/// The first answer counts. Without one on the command line it is asked for at the terminal.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm task answer 3f2a9c1b7d4e --allow
  ccm task answer 3f2a9c1b7d4e --deny --message 'Use the test database'
  ccm task answer 3f2a9c1b7d4e --text 2")]
pub(crate) struct Answer {
    /// The ask's id, or at least its last 4 characters; or those of a task that asks one thing
    id: String,
    /// The agent may do it
    #[arg(long, conflicts_with_all = ["deny", "text"])]
    allow: bool,
    /// The agent may not do it, or gets no answer
    #[arg(long, conflicts_with = "text")]
    deny: bool,
    /// What the agent is told with a denial
    #[arg(long, value_name = "TEXT", requires = "deny", conflicts_with_all = ["allow", "text"])]
    message: Option<String>,
    /// The answer in words, or an option's number (repeatable: one for each question)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Vec<String>,
}

pub(super) fn run(args: Answer, context: &Context) -> Outcome {
    let given = match (args.allow, args.deny) {
        (true, _) => Some(Given::Allow),
        (_, true) => Some(Given::Deny {
            message: args.message,
        }),
        _ if !args.text.is_empty() => Some(Given::Text { text: args.text }),
        _ if context.printer.can_ask() => None,
        _ => {
            return Err(Failure::usage(
                "there is no answer: give --allow, --deny or --text TEXT",
            ));
        }
    };
    let client = context.client()?;
    let asked = context.block_on(select::ask(&client, &args.id))?;
    let given = match given {
        Some(given) => given,
        None => question(context, &asked)?,
    };
    let ask = context.block_on(async { Ok(client.answer(asked.id, &given).await?) })?;
    if context.printer.json {
        context.printer.object(&ask)?;
    } else if let (Some(answer), Some(machine)) = (&ask.sent_answer, &ask.machine) {
        let host = &machine.hostname;
        let told = format!(
            "{}: {} It is sent to {host}, and counts if it is the first answer there.",
            ask.title,
            done(answer)
        );
        context.printer.note(terminal::line(&told));
    } else if let Some(answer) = &ask.answer {
        let told = format!("{}: {}", ask.title, done(answer));
        context.printer.note(terminal::line(&told));
    }
    Ok(Code::Done)
}

fn done(answer: &Given) -> String {
    match answer {
        Given::Allow => "allowed.".to_owned(),
        Given::Deny { message: None } => "denied.".to_owned(),
        Given::Deny {
            message: Some(message),
        } => format!("denied: {message}"),
        Given::Text { text } => format!("answered: {}", text.join("; ")),
    }
}

/// Shows the question to whoever sits at the terminal, and asks it.
fn question(context: &Context, ask: &Ask) -> Result<Given, Failure> {
    let printer = context.printer;
    if ask.state != AskStateName::Open {
        let said = ask.answer.as_ref().map(asks::said);
        let who = ask.answered_by.as_deref().unwrap_or("somebody");
        return Err(Failure::new(
            Code::Refused,
            match said {
                Some(said) => format!("{who} {said}, and the first answer counts"),
                None => "nobody waits for the answer any more".to_owned(),
            },
        ));
    }
    printer.line(terminal::line(&ask.title))?;
    asks::show(context, ask)?;
    match ask.kind {
        AskKind::Permission => permission(context),
        AskKind::Choice | AskKind::Text => {
            let mut text = Vec::new();
            for choice in &ask.questions {
                text.push(words(context, &prompt(choice, ask))?);
            }
            if text.is_empty() {
                text.push(words(context, "Answer: ")?);
            }
            Ok(Given::Text { text })
        }
    }
}

fn permission(context: &Context) -> Result<Given, Failure> {
    loop {
        match &*ask::answer(context, "Allow it? [y/n] ")?.to_ascii_lowercase() {
            "y" | "yes" => return Ok(Given::Allow),
            "n" | "no" => {
                let told = ask::answer(context, "What is the agent told? [nothing] ")?;
                let message = Some(told).filter(|told| !told.is_empty());
                return Ok(Given::Deny { message });
            }
            _ => context.printer.note("Please answer y or n."),
        }
    }
}

fn prompt(choice: &Choice, ask: &Ask) -> String {
    let how = match (choice.options.is_empty(), choice.multiple) {
        (true, _) => "answer",
        (_, false) => "number or words",
        (_, true) => "numbers with commas, or words",
    };
    if ask.questions.len() > 1 {
        format!("{} ({how}): ", terminal::line(&choice.question))
    } else {
        format!("Your choice ({how}): ")
    }
}

fn words(context: &Context, prompt: &str) -> Result<String, Failure> {
    loop {
        let words = ask::answer(context, prompt)?;
        if !words.is_empty() {
            return Ok(words);
        }
        context.printer.note("Please type an answer.");
    }
}
