use clap::Args;
use clap_complete::Shell;

use super::Outcome;
use crate::context::Context;
use crate::exit::Code;

/// Print the completions for a shell
///
/// They complete commands and options of the program that printed them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(ccm completions bash)                                      in ~/.bashrc
  ccm completions zsh > ~/.zfunc/_ccm                                 with fpath+=~/.zfunc before compinit
  ccm completions fish > ~/.config/fish/completions/ccm.fish
  ccm-orchestrator completions bash                                   for that name")]
pub(crate) struct Completions {
    /// The shell that reads them
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &Completions, mut line: clap::Command, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut line, context.program, &mut script);
    if context.printer.json {
        context.printer.object(&serde_json::json!({
            "program": context.program,
            "shell": args.shell.to_string(),
            "script": String::from_utf8_lossy(&script),
        }))?;
    } else {
        context.printer.raw(&script)?;
    }
    Ok(Code::Done)
}
