//! Browsers that are signed in. They outlive the daemon, in a file that holds no secret: only digests of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::keys::{Key, Keys, hex};
use crate::machine::files::{self, Links};
use crate::machine::random_hex;

/// How long a browser stays signed in.
pub(crate) const VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many browsers may be signed in; a further one signs the oldest out.
const MOST: usize = 32;
/// The most characters that are kept of what a browser calls itself.
const MOST_NAME: usize = 200;

/// The name of a session, which is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionId(u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let id = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        id.map(Self)
            .ok_or_else(|| Error::invalid(format!("{text:?} is not the id of a session")))
    }
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The digest of what its cookie holds.
    secret: String,
    /// What the browser called itself.
    pub(crate) browser: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// What a browser gets when it is signed in.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) id: SessionId,
    /// What its cookie is to hold.
    pub(crate) cookie: String,
    /// What the page has to send besides.
    pub(crate) csrf: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    sessions: Vec<Session>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Sessions {
    file: PathBuf,
    csrf: Key,
    open: Mutex<Vec<Session>>,
    changed: watch::Sender<()>,
}

impl Sessions {
    /// Those in `file`. One that can't be read is as good as none: everybody signs in again.
    pub(super) fn load(file: PathBuf, keys: &Keys<'_>) -> Self {
        let open = match read(&file) {
            Ok(kept) => kept.sessions,
            Err(error) => {
                tracing::warn!(
                    file = %file.display(),
                    %error,
                    "browsers have to sign in again, because their sessions can't be read"
                );
                Vec::new()
            }
        };
        Self {
            file,
            csrf: keys.key("csrf v1"),
            open: Mutex::new(open),
            changed: watch::Sender::default(),
        }
    }

    /// Begins a session. Writes a file.
    pub(super) fn begin(&self, browser: &str, now: Timestamp) -> Result<SignedIn> {
        let random = |bytes| {
            random_hex(bytes)
                .map_err(|e| Error::internal("the system has no random bytes").with_source(e))
        };
        let cookie = random(32)?;
        let id: SessionId = random(8)?.parse()?;
        let browser = browser.chars().filter(|c| !c.is_control());
        let session = Session {
            id,
            secret: digest(&cookie),
            browser: browser.take(MOST_NAME).collect(),
            created_at: now,
            expires_at: now.after(VALID),
        };
        self.change(|open| {
            open.retain(|session| now < session.expires_at);
            if open.len() >= MOST {
                open.remove(0);
            }
            open.push(session);
        })?;
        Ok(SignedIn {
            id,
            csrf: self.csrf_of(&cookie),
            cookie,
        })
    }

    /// Ends a session. Returns whether there was one. Writes a file.
    pub(super) fn end(&self, id: SessionId) -> Result<bool> {
        let mut ended = false;
        self.change(|open| {
            let before = open.len();
            open.retain(|session| session.id != id);
            ended = open.len() < before;
        })?;
        Ok(ended)
    }

    /// The session whose cookie this is.
    pub(crate) fn of_cookie(&self, cookie: &str, now: Timestamp) -> Option<SessionId> {
        let given = digest(cookie);
        let is = |session: &&Session| {
            now < session.expires_at
                && bool::from(session.secret.as_bytes().ct_eq(given.as_bytes()))
        };
        self.lock().iter().find(is).map(|session| session.id)
    }

    /// Whether the page that sent `csrf` is the one that was signed in with `cookie`.
    pub(crate) fn is_csrf(&self, cookie: &str, csrf: &str) -> bool {
        self.csrf.is_signature(cookie.as_bytes(), csrf)
    }

    /// For how long the session is still open; `None` if it has ended.
    pub(crate) fn left(&self, id: SessionId, now: Timestamp) -> Option<Duration> {
        let open = self.lock();
        let session = open.iter().find(|session| session.id == id)?;
        Some(session.expires_at.since(now)).filter(|left| !left.is_zero())
    }

    /// Notice whenever a session begins or ends.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Those that are open, oldest first.
    pub(crate) fn open(&self, now: Timestamp) -> Vec<Session> {
        let open = self.lock();
        open.iter()
            .filter(|session| now < session.expires_at)
            .cloned()
            .collect()
    }

    fn csrf_of(&self, cookie: &str) -> String {
        self.csrf.sign(cookie.as_bytes())
    }

    /// Makes a change that counts once it is written down.
    fn change(&self, change: impl FnOnce(&mut Vec<Session>)) -> Result<()> {
        let mut open = self.lock();
        let mut sessions = open.clone();
        change(&mut sessions);
        let kept = Kept { sessions };
        let text = serde_json::to_vec_pretty(&kept).unwrap_or_default();
        files::replace(&self.file, files::SECRET, &text).map_err(|e| {
            Error::internal(format!("{} can't be written", self.file.display())).with_source(e)
        })?;
        *open = kept.sessions;
        self.changed.send_replace(());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> std::io::Result<Kept> {
    match files::read_text(file, Links::Refused) {
        Ok(text) => serde_json::from_str(&text).map_err(std::io::Error::other),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(error),
    }
}

fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Token;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn load(file: &Path) -> Sessions {
        let token = Token::parse(&"a".repeat(64)).unwrap();
        Sessions::load(file.to_owned(), &Keys::of(&token))
    }

    #[test]
    fn a_session_outlives_the_daemon_and_its_file_holds_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sessions.json");
        let one = load(&file).begin("Browser\n\u{1b}[2J", NOW).unwrap();
        let next = load(&file);
        assert_eq!(next.of_cookie(&one.cookie, NOW), Some(one.id));
        assert!(next.is_csrf(&one.cookie, &one.csrf));
        assert_eq!(
            next.of_cookie(&one.cookie, NOW.after(VALID)),
            None,
            "too old"
        );
        assert_eq!(next.open(NOW)[0].browser, "Browser[2J");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&one.cookie) && !text.contains(&one.csrf));

        let two = next.begin("", NOW).unwrap();
        assert!(!next.is_csrf(&two.cookie, &one.csrf), "of another session");
        assert!(next.end(one.id).unwrap());
        assert!(!next.end(one.id).unwrap());
        assert_eq!(load(&file).of_cookie(&one.cookie, NOW), None);
        assert_eq!(load(&file).of_cookie(&two.cookie, NOW), Some(two.id));
        for wrong in ["", "0", &one.csrf] {
            assert_eq!(next.of_cookie(wrong, NOW), None);
        }
    }

    #[test]
    fn only_so_many_browsers_are_signed_in() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = load(&dir.path().join("sessions.json"));
        let first = sessions.begin("", NOW).unwrap();
        for _ in 0..MOST {
            sessions.begin("", NOW).unwrap();
        }
        assert_eq!(sessions.open(NOW).len(), MOST);
        assert_eq!(sessions.of_cookie(&first.cookie, NOW), None);
        assert!(sessions.open(NOW.after(VALID)).is_empty());
    }

    #[test]
    fn a_file_that_can_not_be_read_signs_everybody_out_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sessions.json");
        let one = load(&file).begin("", NOW).unwrap();
        let moved = dir.path().join("elsewhere");
        std::fs::rename(&file, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &file).unwrap();
        assert_eq!(load(&file).of_cookie(&one.cookie, NOW), None);
        load(&file).begin("", NOW).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "{").unwrap();
        let sessions = load(&file);
        assert!(sessions.open(NOW).is_empty());
        sessions.begin("", NOW).unwrap();
        assert_eq!(load(&file).open(NOW).len(), 1);
    }
}
