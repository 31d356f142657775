//! Questions to whoever sits at the terminal.

use std::io::{BufRead, stdin};

use crate::context::Context;
use crate::exit::{Code, Failure};

/// Whether the answer is yes. Without an answer it is `default`.
pub(super) fn yes(context: &Context, question: &str, default: bool) -> Result<bool, Failure> {
    let choice = if default { "[Y/n]" } else { "[y/N]" };
    loop {
        match &*answer(context, &format!("{question} {choice} "))?.to_ascii_lowercase() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" => return Ok(false),
            _ => context.printer.note("Please answer y or n."),
        }
    }
}

/// A line, without spaces around it.
pub(super) fn answer(context: &Context, question: &str) -> Result<String, Failure> {
    context.printer.question(question);
    let mut line = String::new();
    match stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => {
            context.printer.note("");
            Err(Failure::new(Code::Failed, "there was no answer"))
        }
        Ok(_) => Ok(line.trim().to_owned()),
    }
}
