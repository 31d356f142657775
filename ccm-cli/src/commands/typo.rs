//! What was most likely meant by a command that does not exist.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// Of more there is no telling which was meant.
const FEW: usize = 4;

/// Names the commands of other families with the name that was typed: `ccm create` was meant to be `ccm task create`.
pub(super) fn with_hint(mut error: Error, command: &Command) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let found = named(typed, command);
    // What is spelled like another command was not typed by mistake.
    if found.is_empty() || found.len() > FEW {
        return error;
    }
    let found = ContextValue::Strings(found);
    error.insert(ContextKind::SuggestedSubcommand, found);
    error
}

/// The commands two words long whose last word is `name`, without the program.
fn named(name: &str, command: &Command) -> Vec<String> {
    command
        .get_subcommands()
        .flat_map(|family| {
            let members = family.get_subcommands();
            members
                .filter(|member| member.get_name() == name && !member.is_hide_set())
                .map(|member| format!("{} {}", family.get_name(), member.get_name()))
        })
        .collect()
}
