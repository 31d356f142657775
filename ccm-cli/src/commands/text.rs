//! Texts for agents, from the command line or standard input.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, stdin};

use ccm_core::task::{MAX_TEXT_BYTES, TaskText};

use crate::context::Context;
use crate::exit::{Code, Failure};

/// The `words` with spaces in between; without any, what standard input has. `what` it is stands in messages.
pub(super) fn text(words: Vec<OsString>, what: &str, context: &Context) -> Result<String, Failure> {
    checked(given(words, what, context)?)
}

/// The same, before it is known whether an agent can get it.
pub(super) fn given(
    words: Vec<OsString>,
    what: &str,
    context: &Context,
) -> Result<String, Failure> {
    let bytes = if words.is_empty() {
        read(what, context)?
    } else {
        let joined = words.join(std::ffi::OsStr::new(" "));
        std::os::unix::ffi::OsStringExt::into_vec(joined)
    };
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::usage(format!(
            "the {what} text is not UTF-8: byte {at} begins no character"
        ))
    })
}

/// `text` if an agent can get it.
pub(super) fn checked(text: String) -> Result<String, Failure> {
    let text = TaskText::new(text).map_err(|e| {
        let failure = Failure::from(e);
        Failure::usage(failure.message)
    })?;
    Ok(text.into())
}

fn read(what: &str, context: &Context) -> Result<Vec<u8>, Failure> {
    if stdin().is_terminal() {
        context
            .printer
            .note(format!("Type the {what}, then Ctrl-D on an empty line."));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know.
    stdin()
        .lock()
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new(Code::Failed, format!("standard input can't be read: {e}")))?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(Failure::usage(format!(
            "the {what} text has more than {MAX_TEXT_BYTES} bytes (1 MiB)"
        ))
        .hint(format!(
            "put it in a file in the project and let the {what} name that file"
        )));
    }
    Ok(bytes)
}
