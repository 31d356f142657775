//! Questions to whoever sits at the terminal. Asked on standard error, because standard output is for data.

use std::io::{BufRead, stdin};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use inquire::error::InquireResult;
use inquire::ui::RenderConfig;
use inquire::{InquireError, Password, PasswordDisplayMode, Text};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::printer::Printer;

/// The most characters of a question that has its reason on the same line.
const WIDE: usize = 60;

/// Whether the answer is yes. Without an answer it is `default`.
pub(super) fn yes(context: &Context, question: &str, default: bool) -> Result<bool, Failure> {
    let choice = if default { "[Y/n]" } else { "[y/N]" };
    // A prompt that is wider than the terminal is hard to read; what leads to the question stands above it then.
    let question = match question.rsplit_once(". ") {
        Some((reason, asked)) if question.chars().count() > WIDE => {
            context.printer.note(format!("{reason}."));
            asked
        }
        _ => question,
    };
    truth(context, &format!("{question} {choice} "), default)
}

/// The same in the words of set-up: `Start daemon now? (y/n) [y]`.
pub(super) fn yes_or_no(context: &Context, question: &str, default: bool) -> Result<bool, Failure> {
    let usual = if default { "y" } else { "n" };
    truth(context, &format!("{question} (y/n) [{usual}] "), default)
}

fn truth(context: &Context, question: &str, default: bool) -> Result<bool, Failure> {
    until(context, question, |answer| {
        match &*answer.to_ascii_lowercase() {
            "" => Ok(default),
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("Please answer y or n.".to_owned()),
        }
    })
}

/// Which of the numbered `options` is meant: its place, by its number or the beginning of its first word. Without an
/// answer it is the first one.
pub(super) fn choice(
    context: &Context,
    question: &str,
    options: &[&str],
) -> Result<usize, Failure> {
    for (n, option) in options.iter().enumerate() {
        context.printer.note(format!("  [{}] {option}", n + 1));
    }
    until(context, &format!("{question} [1] "), |answer| {
        let word = answer.to_lowercase();
        if word.is_empty() {
            return Ok(0);
        }
        let by_number = word.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        let by_word = || {
            let mut those =
                (0..options.len()).filter(|n| options[*n].to_lowercase().starts_with(&word));
            those.next().filter(|_| those.next().is_none())
        };
        by_number
            .filter(|n| *n < options.len())
            .or_else(by_word)
            .ok_or_else(|| format!("Please answer with a number from 1 to {}.", options.len()))
    })
}

/// Asks until `parse` takes the answer; what it says otherwise is shown.
pub(super) fn until<T>(
    context: &Context,
    question: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    loop {
        match parse(&answer(context, question)?) {
            Ok(value) => return Ok(value),
            Err(why) => context.printer.note(why),
        }
    }
}

/// A line, without spaces around it.
pub(super) fn answer(context: &Context, question: &str) -> Result<String, Failure> {
    if context.printer.is_dumb() {
        return plain(context, question);
    }
    let answer = asked(|| {
        Text::new(question.trim_end())
            .with_render_config(look(context.printer))
            .prompt()
    })?;
    Ok(answer.trim().to_owned())
}

/// A line that is not shown while it is typed.
pub(super) fn secret(context: &Context, question: &str) -> Result<String, Failure> {
    if context.printer.is_dumb() {
        return Err(Failure::usage(
            "this terminal can't hide what is typed, so it is not asked for a secret",
        ));
    }
    asked(|| {
        Password::new(question)
            .with_display_mode(PasswordDisplayMode::Masked)
            .without_confirmation()
            .with_render_config(look(context.printer))
            .prompt()
    })
}

/// Whether a question waits for its answer, and whether the terminal is gone.
static ASKING: AtomicBool = AtomicBool::new(false);
static GONE: AtomicBool = AtomicBool::new(false);

/// Asks a question at a terminal that may go away. The prompts would look for keys for ever then, and not every process
/// is told of it by a signal.
fn asked(prompt: impl FnOnce() -> InquireResult<String>) -> Result<String, Failure> {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| drop(std::thread::spawn(watch)));
    ASKING.store(true, Ordering::SeqCst);
    let answer = if GONE.load(Ordering::SeqCst) {
        Err(InquireError::OperationCanceled)
    } else {
        prompt()
    };
    ASKING.store(false, Ordering::SeqCst);
    answer.map_err(|error| unanswered(&error))
}

/// Ends the program when the terminal goes away under a question. Costs nothing until then.
fn watch() {
    let input = stdin();
    let mut terminal = [PollFd::new(input.as_fd(), PollFlags::empty())];
    let polled = loop {
        match poll(&mut terminal, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            polled => break polled,
        }
    };
    let seen = terminal[0].revents().unwrap_or(PollFlags::empty());
    if polled.is_ok() && seen.contains(PollFlags::POLLHUP) {
        GONE.store(true, Ordering::SeqCst);
        if ASKING.load(Ordering::SeqCst) {
            std::process::exit(HUNG_UP);
        }
    }
}

/// What a shell reports for a program that a hangup ended.
const HUNG_UP: i32 = 129;

/// A question on a terminal that can only print, such as an editor's shell window.
fn plain(context: &Context, question: &str) -> Result<String, Failure> {
    context.printer.question(question);
    let mut line = String::new();
    match stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => {
            context.printer.note("");
            Err(Failure::new(Code::Failed, NO_ANSWER))
        }
        Ok(_) => Ok(line.trim().to_owned()),
    }
}

const NO_ANSWER: &str = "there was no answer";

fn look(printer: Printer) -> RenderConfig<'static> {
    if printer.asks_in_colours() {
        RenderConfig::default_colored()
    } else {
        RenderConfig::empty()
    }
}

fn unanswered(error: &InquireError) -> Failure {
    match error {
        InquireError::OperationInterrupted => Failure::new(Code::Interrupted, "interrupted"),
        InquireError::OperationCanceled => Failure::new(Code::Failed, NO_ANSWER),
        other => Failure::new(Code::Failed, format!("{NO_ANSWER}: {other}")),
    }
}
