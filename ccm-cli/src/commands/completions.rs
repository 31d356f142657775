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
  source <(ccm completions bash)               in ~/.bashrc
  source <(ccm completions zsh)                in ~/.zshrc, after compinit
  ccm completions fish > ~/.config/fish/completions/ccm.fish
  source <(ccm-orchestrator completions bash)  for that name")]
pub(crate) struct Completions {
    /// The shell that reads them
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &Completions, line: clap::Command, context: &Context) -> Outcome {
    let script = script(args.shell, line, context.program);
    if context.printer.json {
        context.printer.object(&serde_json::json!({
            "program": context.program,
            "shell": args.shell.to_string(),
            "script": script,
        }))?;
    } else {
        context.printer.raw(script.as_bytes())?;
    }
    Ok(Code::Done)
}

fn script(shell: Shell, mut line: clap::Command, program: &'static str) -> String {
    // For bash the generator takes a hyphen in the program's name for a subcommand's, so it sees another name, which
    // is only seen again where the script says for which program it is.
    let name = match (shell, program) {
        (Shell::Bash, "ccm-orchestrator") => "ccm_orchestrator",
        _ => program,
    };
    let mut script = Vec::new();
    line = line.name(name);
    clap_complete::generate(shell, &mut line, name, &mut script);
    let script = String::from_utf8_lossy(&script);
    script.replace(&format!(" {name}\n"), &format!(" {program}\n"))
}
