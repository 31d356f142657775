//! What was most likely meant by a command that does not exist.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// Names the commands of other families with the name that was typed: `ccm create` was meant to be `ccm task create`.
pub(super) fn with_hint(mut error: Error, command: &Command) -> Error {
    let unknown = error.kind() == ErrorKind::InvalidSubcommand;
    if !unknown || error.get(ContextKind::SuggestedSubcommand).is_some() {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let mut found = named(typed, command);
    if found.is_empty() {
        return error;
    }
    found.truncate(3);
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
