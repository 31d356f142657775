//! A person's editor.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::exit::{Code, Failure};

/// Editors that are there more often than not, the gentlest first.
const USUAL: &[&str] = &["sensible-editor", "editor", "nano", "vim", "vi"];

/// The editor as a shell would start it.
pub(super) fn name() -> Result<String, Failure> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(editor) = set("VISUAL").or_else(|| set("EDITOR")) {
        return editor
            .into_string()
            .map_err(|_| Failure::usage("VISUAL or EDITOR is no UTF-8 text"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&&str| {
        std::env::split_paths(&path).any(|folder: PathBuf| folder.join(name).is_file())
    };
    let found = USUAL.iter().find(there);
    found.map(|name| (*name).to_owned()).ok_or_else(|| {
        Failure::usage("there is no editor").hint("set VISUAL or EDITOR to the one that you like")
    })
}

/// From here on what is typed for the editor is not for this program: git leaves Ctrl-C to the editor in the same way.
pub(super) fn leave_interrupts_to_it(context: &Context) -> Result<(), Failure> {
    context.block_on(async {
        signal(SignalKind::interrupt())
            .map(drop)
            .map_err(|e| Failure::new(Code::Failed, format!("signals can't be listened to: {e}")))
    })
}

/// Has `editor` edit a file.
pub(super) fn edit(editor: &str, path: &Path) -> Result<ExitStatus, Failure> {
    // As git does it: the variable may hold arguments and quotes.
    Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$@\""))
        .arg(editor)
        .arg(path)
        .status()
        .map_err(|e| Failure::new(Code::Failed, format!("no shell can be started: {e}")))
}
