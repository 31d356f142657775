//! Who signs in, and to which Supabase project: from options, the config, or a person at the terminal.

use std::io::BufRead;

use ccm_core::{ErrorKind, chain};
use ccm_daemon::machine::supabase::{self, Project, Secret, SignIn, SignedIn};
use ccm_daemon::machine::{Config, setup};
use clap::Args;

use super::super::ask;
use crate::context::Context;
use crate::exit::{Code, Failure};

/// How often a wrong password or code is asked for anew.
const TRIES: u32 = 3;
/// No password is longer, in bytes.
const LONGEST_PASSWORD: u64 = 4096;

/// Every answer as an option.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Given {
    /// The Supabase project's address, https://PROJECT.supabase.co
    #[arg(long, value_name = "URL")]
    pub(crate) supabase_url: Option<String>,
    /// The Supabase project's publishable (anon) key, never a secret one
    #[arg(long, value_name = "KEY")]
    pub(crate) supabase_key: Option<String>,
    /// Who signs in
    #[arg(long)]
    pub(crate) email: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Taken only to be refused: a command line is no place for a password.
    #[arg(long, hide = true, value_name = "PASSWORD")]
    password: Option<String>,
    /// The code of the second factor
    #[arg(long, value_name = "CODE")]
    pub(crate) otp: Option<String>,
}

impl Given {
    /// Refuses a password that every user of this machine can see.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.password.is_none() {
            return Ok(());
        }
        Err(Failure::usage(
            "a password on the command line can be seen by every user of this machine",
        )
        .hint("use --password-stdin, or let it be asked for"))
    }

    /// Whether anything was given.
    pub(crate) fn any(&self) -> bool {
        self.supabase_url.is_some()
            || self.supabase_key.is_some()
            || self.email.is_some()
            || self.password_stdin
            || self.otp.is_some()
    }

    /// What is missing with nobody to ask: what it is, and its option.
    pub(crate) fn missing(&self, kept: &Kept) -> Vec<(&'static str, &'static str)> {
        [
            (
                self.supabase_url.is_none() && kept.url.is_none(),
                "the Supabase address",
                "--supabase-url URL",
            ),
            (
                self.supabase_key.is_none() && kept.key.is_none(),
                "the Supabase key",
                "--supabase-key KEY",
            ),
            (self.email.is_none(), "the email", "--email EMAIL"),
            (!self.password_stdin, "the password", "--password-stdin"),
        ]
        .into_iter()
        .filter_map(|(missing, what, option)| missing.then_some((what, option)))
        .collect()
    }
}

/// What the config says of the project already.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) url: Option<String>,
    pub(crate) key: Option<String>,
}

impl Kept {
    /// What `config` says.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            url: config.supabase.url.clone(),
            key: config.supabase.key.clone(),
        }
    }
}

/// Everything that signing in needs, but the code of a second factor.
pub(crate) struct Credentials {
    pub(crate) project: Project,
    pub(crate) url: String,
    pub(crate) key: String,
    email: String,
    password: Secret,
    otp: Option<Secret>,
    /// Whether a person can be asked again.
    asks: bool,
}

impl Credentials {
    /// Asks for what is not given, in the order of the document.
    pub(crate) fn ask(
        given: &Given,
        kept: &Kept,
        asks: bool,
        context: &Context,
    ) -> Result<Self, Failure> {
        if !asks {
            refuse_missing(&given.missing(kept))?;
        }
        let url = match given.supabase_url.clone().or_else(|| kept.url.clone()) {
            Some(url) => url,
            None => ask::until(
                context,
                "Supabase URL? (https://PROJECT.supabase.co) ",
                |text| setup::check_answer("supabase.url", text).map(|()| text.to_owned()),
            )?,
        };
        let key = match given.supabase_key.clone().or_else(|| kept.key.clone()) {
            Some(key) => key,
            None => ask_key(context)?,
        };
        let project = Project::new(&url, &Secret::new(key.clone()))?;
        let email = match &given.email {
            Some(email) => email.clone(),
            None => ask::until(context, "Email? ", email)?,
        };
        let email = self::email(&email).map_err(Failure::usage)?;
        let password = match given.password_stdin {
            true => read_password()?,
            false => ask_password(context)?,
        };
        Ok(Self {
            url: project.url().to_owned(),
            project,
            key,
            email,
            password,
            otp: given.otp.clone().map(Secret::new),
            asks,
        })
    }

    /// Signs in, and asks for the code of a second factor if the account has one. What was typed wrongly is asked for
    /// again. Nothing is kept.
    pub(crate) fn sign_in(&mut self, context: &Context) -> Result<SignedIn, Failure> {
        let mut tries = 1;
        let step = loop {
            let progress = context.printer.progress("Signing in");
            let step = context.block_on(async {
                Ok(supabase::sign_in(&self.project, &self.email, &self.password).await)
            })?;
            drop(progress);
            match step {
                Err(error)
                    if error.kind() == ErrorKind::Unauthenticated && self.asks && tries < TRIES =>
                {
                    tries += 1;
                    context.printer.note(sentence(&chain(&error)));
                    self.password = ask_password(context)?;
                }
                step => break step.map_err(|error| refused(&error, self))?,
            }
        };
        let factor = match step {
            SignIn::Done(signed_in) => return Ok(signed_in),
            SignIn::SecondFactor(factor) => factor,
        };
        let verified = self.verify(&factor, context);
        if verified.is_err() {
            // Only politeness: half a sign-in ends by itself.
            let _ = context.block_on(async { Ok(factor.give_up().await) });
        }
        verified
    }

    fn verify(
        &self,
        factor: &supabase::SecondFactor,
        context: &Context,
    ) -> Result<SignedIn, Failure> {
        let mut given = self.otp.clone();
        let mut tries = 0;
        loop {
            let code = match given.take() {
                Some(code) => code,
                None if self.asks => ask_code(context)?,
                None => {
                    return Err(Failure::usage(
                        "this account has a second factor, and there is no terminal to ask for its code",
                    )
                    .hint("give --otp CODE"));
                }
            };
            tries += 1;
            let progress = context.printer.progress("Verifying the code");
            let verified = context.block_on(async { Ok(factor.verify(&code).await) })?;
            drop(progress);
            match verified {
                Ok(signed_in) => return Ok(signed_in),
                Err(error)
                    if error.kind() == ErrorKind::Unauthenticated && self.asks && tries < TRIES =>
                {
                    context.printer.note(sentence(&chain(&error)));
                }
                Err(error) => return Err(refused(&error, self)),
            }
        }
    }
}

/// With nobody to ask, all that is missing is named at once.
fn refuse_missing(missing: &[(&str, &str)]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let (what, options): (Vec<_>, Vec<_>) = missing.iter().copied().unzip();
    Err(Failure::usage(format!(
        "there is no terminal to ask for {}",
        what.join(", ")
    ))
    .hint(format!("give {}", options.join(", "))))
}

/// The failure of a sign-in.
pub(crate) fn refused(error: &ccm_core::Error, with: &Credentials) -> Failure {
    let failure = Failure::new(of_kind(error.kind()), chain(error));
    match error.kind() {
        ErrorKind::Unauthenticated => {
            failure.hint("check email and password; they are those of a user of that Supabase project")
        }
        ErrorKind::Unavailable => failure.hint(format!(
            "check that {} is the project's address and that this machine can reach it, then try again",
            with.url
        )),
        _ => failure,
    }
}

/// How a command ends with such an error.
pub(crate) const fn of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Unauthenticated => Code::Unauthorized,
        ErrorKind::Invalid => Code::Usage,
        ErrorKind::Revoked
        | ErrorKind::TooOld
        | ErrorKind::Taken(_)
        | ErrorKind::WrongState(_)
        | ErrorKind::Unsupported => Code::Refused,
        _ => Code::Failed,
    }
}

/// A fragment as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{}{}{end}", first.unwrap_or_default(), letters.as_str())
}

fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    let parts = text.split_once('@');
    let fits = parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if fits && text.len() <= 320 && !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no email address, such as ada@example.com"
    ))
}

fn ask_key(context: &Context) -> Result<String, Failure> {
    loop {
        let key = ask::secret(context, "Supabase publishable key?")?;
        match setup::check_answer("supabase.key", &key) {
            Ok(()) => return Ok(key),
            Err(why) => context.printer.note(why),
        }
    }
}

fn ask_password(context: &Context) -> Result<Secret, Failure> {
    loop {
        let password = ask::secret(context, "Password?")?;
        if !password.is_empty() {
            return Ok(Secret::new(password));
        }
        context.printer.note("Please type an answer.");
    }
}

fn ask_code(context: &Context) -> Result<Secret, Failure> {
    ask::until(context, "2FA code? ", |text| {
        let code: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let fits = (6..=10).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
        match fits {
            true => Ok(Secret::new(code)),
            false => {
                Err("Please type the code that the authenticator shows, six digits.".to_owned())
            }
        }
    })
}

/// The first line of standard input.
fn read_password() -> Result<Secret, Failure> {
    use std::io::Read;
    let mut line = String::new();
    let read = std::io::stdin()
        .lock()
        .take(LONGEST_PASSWORD + 2)
        .read_line(&mut line);
    let password = line.trim_end_matches(['\r', '\n']);
    match read {
        Ok(_) if password.is_empty() => Err(Failure::usage(
            "there is no password on standard input, which --password-stdin reads",
        )),
        Ok(_) if password.len() as u64 > LONGEST_PASSWORD => Err(Failure::usage(
            "the first line of standard input is too long for a password",
        )),
        Ok(_) => Ok(Secret::new(password)),
        Err(_) => Err(Failure::usage("standard input can't be read as a password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_one_and_no_more() {
        for good in ["ada@example.com", " a@b ", "a+b@c.d"] {
            assert!(email(good).is_ok(), "{good}");
        }
        for bad in ["", "ada", "@b", "a@", "a b@c", "a@b\u{7}"] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let given = Given {
            email: Some("a@b".to_owned()),
            ..Given::default()
        };
        let told = refuse_missing(&given.missing(&Kept::default())).unwrap_err();
        let hint = told.hint.unwrap();
        assert_eq!(
            hint,
            "give --supabase-url URL, --supabase-key KEY, --password-stdin"
        );
        let kept = Kept {
            url: Some("https://a.b".to_owned()),
            key: Some("k".to_owned()),
        };
        let given = Given {
            password_stdin: true,
            ..given
        };
        assert!(refuse_missing(&given.missing(&kept)).is_ok());
    }
}
