//! The command line: one file a command.

mod agent;
mod ask;
mod asks;
mod backup;
mod completions;
mod config;
mod daemon;
mod doctor;
mod editor;
mod info;
mod init;
mod inputs;
mod machines;
mod man;
mod overview;
mod project;
mod restore;
mod select;
mod supabase;
mod sync;
mod tail;
mod task;
mod text;
mod time;
mod typo;
mod ui;
mod uninstall;
mod version;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::context::Context;
use crate::exit::{self, Code, Failure};

/// How a command ended.
type Outcome = Result<Code, Failure>;

/// Runs coding agents off a durable task queue.
#[derive(Debug, Parser)]
#[command(
    disable_version_flag = true,
    disable_help_subcommand = true,
    infer_long_args = true,
    after_help = exit::HELP,
    max_term_width = 100
)]
struct Line<I: Args> {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command<I>>,
}

#[derive(Debug, Args)]
struct Global {
    /// Print the API's own objects
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// The machine's config file; its folder is the machine home
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    config: Option<PathBuf>,
    /// Print the version
    #[arg(long, help_heading = "Global options")]
    version: bool,
}

#[derive(Debug, Subcommand)]
enum Command<I: Args> {
    Init(I),
    /// Folders whose agents work off tasks
    #[command(subcommand)]
    Project(project::Command),
    /// What is to be done
    #[command(subcommand)]
    Task(task::Command),
    /// The workers of projects
    #[command(subcommand)]
    Agent(agent::Command),
    Asks(asks::Asks),
    Machines(machines::Machines),
    /// Settings of this machine and of projects
    #[command(subcommand)]
    Config(config::Command),
    /// The one daemon of this machine
    #[command(subcommand)]
    Daemon(daemon::Command),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Doctor(doctor::Doctor),
    /// The account that your machines share
    #[command(subcommand)]
    Supabase(supabase::Command),
    /// Sharing the queue with your other machines
    #[command(subcommand)]
    Sync(sync::Command),
    /// Show this machine: where things are, what runs
    #[command(after_help = "Examples:\n  ccm info\n  ccm info --json | jq -r .database")]
    Info,
    Ui(ui::Ui),
    Uninstall(uninstall::Uninstall),
    /// Show the version
    #[command(after_help = "Examples:\n  ccm version")]
    Version,
    Completions(completions::Completions),
    Man(man::Man),
}

/// What `init` means by a program's name.
trait Init: Args {
    fn run(self, context: &Context) -> Outcome;
}

impl Init for init::Project {
    fn run(self, context: &Context) -> Outcome {
        init::run(&self, context)
    }
}

impl Init for daemon::init::Machine {
    fn run(self, context: &Context) -> Outcome {
        daemon::init::run(&self, context)
    }
}

const CCM: &str = "ccm";
const ORCHESTRATOR: &str = "ccm-orchestrator";

/// The program `ccm`, where `init` sets up a project, or `ccm-orchestrator`, where it sets up the machine: by the name
/// that it is called by.
pub fn run() -> ExitCode {
    if let Some(code) = ccm_agents::hidden_command(std::env::args_os()) {
        return code;
    }
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_name);
    if name.is_some_and(|name| name == ORCHESTRATOR) {
        main::<daemon::init::Machine>(ORCHESTRATOR)
    } else {
        main::<init::Project>(CCM)
    }
}

fn main<I: Init>(program: &'static str) -> ExitCode {
    let command = line::<I>(program);
    let parsed = command
        .clone()
        .try_get_matches()
        .and_then(|matches| Line::<I>::from_arg_matches(&matches));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => {
            // Help goes to standard output; a reader that went away is no failure.
            let error = typo::with_hint(error, &command);
            let _ = error.print();
            return if error.use_stderr() {
                Code::Usage.into()
            } else {
                Code::Done.into()
            };
        }
    };
    let context = Context::new(program, line.global.json, line.global.config);
    let outcome = if line.global.version {
        version::run(&context)
    } else {
        match line.command {
            Some(command) => carry_out(command, &context),
            None => overview::run(&context),
        }
    };
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            context.printer.failure(&failure);
            failure.code.into()
        }
    }
}

/// A program's whole command line.
fn line<I: Init>(program: &'static str) -> clap::Command {
    Line::<I>::command().name(program).bin_name(program)
}

/// The same for each program that has these commands.
fn lines() -> [clap::Command; 2] {
    [
        line::<init::Project>(CCM),
        line::<daemon::init::Machine>(ORCHESTRATOR),
    ]
}

fn carry_out<I: Init>(command: Command<I>, context: &Context) -> Outcome {
    match command {
        Command::Init(args) => args.run(context),
        Command::Project(command) => project::run(command, context),
        Command::Task(command) => task::run(command, context),
        Command::Agent(command) => agent::run(command, context),
        Command::Asks(args) => asks::run(&args, context),
        Command::Machines(args) => machines::run(&args, context),
        Command::Config(command) => config::run(command, context),
        Command::Daemon(command) => daemon::run(command, context),
        Command::Backup(args) => backup::run(&args, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Restore(args) => restore::run(&args, context),
        Command::Supabase(command) => supabase::run(&command, context),
        Command::Sync(command) => sync::run(&command, context),
        Command::Info => info::run(context),
        Command::Ui(args) => ui::run(&args, context),
        Command::Uninstall(args) => uninstall::run(&args, context),
        Command::Version => version::run(context),
        Command::Completions(args) => completions::run(&args, line::<I>(context.program), context),
        Command::Man(args) => man::run(&args, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        Line::<init::Project>::command().debug_assert();
        Line::<daemon::init::Machine>::command().debug_assert();
    }
}
