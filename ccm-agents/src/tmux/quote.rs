//! Commands for tmux, built so that no text in them can be taken for anything but text.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ccm_core::{Error, Result};

/// One tmux command: a name and its arguments, each of them exactly one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    words: Vec<OsString>,
}

impl Command {
    /// The command `name` without arguments.
    pub fn new(name: &str) -> Self {
        Self {
            words: vec![name.into()],
        }
    }

    /// One argument more.
    #[must_use]
    pub fn arg(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Some arguments more.
    #[must_use]
    pub fn args<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// The command as text for tmux's parser, as control mode takes it, without an end of line.
    ///
    /// # Errors
    /// `Invalid` if a word holds NUL.
    pub fn to_line(&self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                line.push(b' ');
            }
            quote_into(&mut line, word)?;
        }
        Ok(line)
    }

    /// Several commands as the arguments of the program `tmux`.
    pub fn to_argv(commands: &[Self]) -> Vec<OsString> {
        let mut argv = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            if at > 0 {
                argv.push(";".into());
            }
            argv.extend(command.words.iter().map(|word| argument(word)));
        }
        argv
    }
}

/// `word` as one token of tmux's parser.
///
/// # Errors
/// `Invalid` if it holds NUL.
pub fn quote(word: &OsStr) -> Result<Vec<u8>> {
    let mut token = Vec::with_capacity(word.len() + 2);
    quote_into(&mut token, word)?;
    Ok(token)
}

/// Within single quotes everything stands for itself. What can't stand in a line (control characters), or can't be told
/// from an end of file by the parser (0xff), goes as octal within double quotes; adjacent quotes make one token.
fn quote_into(token: &mut Vec<u8>, word: &OsStr) -> Result<()> {
    let mut single = false;
    for &byte in word.as_bytes() {
        if byte == 0 {
            return Err(Error::invalid("a NUL can't be part of a tmux command"));
        }
        let plain = !byte.is_ascii_control() && byte != b'\'' && byte != 0xff;
        if plain {
            if !single {
                token.push(b'\'');
                single = true;
            }
            token.push(byte);
        } else {
            if single {
                token.push(b'\'');
                single = false;
            }
            if byte == b'\'' {
                token.extend_from_slice(b"\"'\"");
            } else {
                token.extend_from_slice(format!("\"\\{byte:03o}\"").as_bytes());
            }
        }
    }
    if single {
        token.push(b'\'');
    } else if word.is_empty() {
        token.extend_from_slice(b"''");
    }
    Ok(())
}

/// `word` as an argument of the program `tmux`, which takes a `;` at an argument's end for the end of a command.
fn argument(word: &OsStr) -> OsString {
    match word.as_bytes().split_last() {
        Some((b';', rest)) => {
            let mut bytes = rest.to_vec();
            bytes.extend_from_slice(b"\\;");
            OsString::from_vec(bytes)
        }
        _ => word.to_owned(),
    }
}

/// `name` without anything that tmux would read as more than a name: separators of targets, formats, styles, patterns,
/// control characters, a sign or number that means an index.
pub(super) fn harmless_name(name: &str) -> String {
    const LONGEST: usize = 64;
    let mut harmless: String = name
        .chars()
        .take(LONGEST)
        .map(|c| match c {
            '-' | '_' | ' ' | '+' | ',' | '(' | ')' => c,
            c if c.is_alphanumeric() => c,
            _ => '_',
        })
        .collect();
    let index_like = harmless.chars().all(|c| c.is_ascii_digit());
    if index_like || harmless.starts_with(['-', '+', ' ']) {
        harmless.insert(0, '_');
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(word: &str) -> String {
        String::from_utf8(quote(OsStr::new(word)).unwrap()).unwrap()
    }

    #[test]
    fn words_are_quoted_as_one_token() {
        assert_eq!(line(""), "''");
        assert_eq!(line("a b;$HOME #{x}"), "'a b;$HOME #{x}'");
        assert_eq!(line("it's"), "'it'\"'\"'s'");
        assert_eq!(line("a\nb"), "'a'\"\\012\"'b'");
        assert!(quote(OsStr::new("a\0b")).is_err());
    }

    #[test]
    fn a_closing_semicolon_of_an_argument_is_escaped() {
        let commands = [Command::new("a").arg("x;"), Command::new("b").arg(";")];
        assert_eq!(
            Command::to_argv(&commands),
            ["a", "x\\;", ";", "b", "\\;"].map(OsString::from)
        );
    }

    #[test]
    fn names_lose_what_tmux_would_interpret() {
        assert_eq!(harmless_name("my.project:1"), "my_project_1");
        assert_eq!(harmless_name("#(reboot)"), "_(reboot)");
        assert_eq!(harmless_name("-t"), "_-t");
        assert_eq!(harmless_name("12"), "_12");
        assert_eq!(harmless_name(""), "_");
        assert_eq!(harmless_name("a\x1b]0;b\x07"), "a__0_b_");
        assert_eq!(harmless_name("größe-中"), "größe-中");
    }
}
