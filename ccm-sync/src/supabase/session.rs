//! A sign-in: its tokens and whose they are.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{KeyStorage, Secret};

/// Seconds since 1970 UTC by this machine's clock.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// The tokens of a sign-in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// The project's address.
    pub(super) url: String,
    pub(super) user: Uuid,
    pub(super) email: String,
    pub(super) access: Secret,
    pub(super) refresh: Secret,
    /// When the access token ends by this machine's clock, which may be a wrong one: in seconds since 1970 UTC, counted
    /// from when it came.
    pub(super) expires: i64,
    /// `aal1`, or `aal2` after a second factor.
    pub(super) aal: String,
    /// The server's id of the sign-in.
    pub(super) id: Option<Uuid>,
    /// When somebody signed in, in seconds since 1970 UTC.
    pub(super) began: i64,
}

/// What can be told of a kept sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// The project's address.
    pub url: String,
    /// Whose account it is.
    pub email: String,
    /// The account.
    pub user: Uuid,
    /// How sure the server was of who it is: `aal1`, or `aal2` after a second factor.
    pub aal: String,
    /// When they signed in.
    pub signed_in_at: Timestamp,
    /// When the daemon needs a new token. It gets one by itself.
    pub expires_at: Timestamp,
    /// Where the key of the kept sign-in is.
    pub key: KeyStorage,
}

/// What is encrypted in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    user: Uuid,
    email: String,
    access: Zeroizing<String>,
    refresh: Zeroizing<String>,
    expires: i64,
    aal: String,
    #[serde(default)]
    id: Option<Uuid>,
    began: i64,
}

impl Session {
    /// For how many seconds the access token is still good; negative once it is not.
    pub(super) fn left(&self) -> i64 {
        self.expires.saturating_sub(now())
    }

    pub(super) fn info(&self, key: KeyStorage) -> SessionInfo {
        SessionInfo {
            url: self.url.clone(),
            email: self.email.clone(),
            user: self.user,
            aal: self.aal.clone(),
            signed_in_at: seconds(self.began),
            expires_at: seconds(self.expires),
            key,
        }
    }

    /// As it is kept, before it is encrypted.
    pub(super) fn write(&self) -> Result<Zeroizing<Vec<u8>>> {
        let copy = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
        let kept = Kept {
            url: self.url.clone(),
            user: self.user,
            email: self.email.clone(),
            access: copy(&self.access),
            refresh: copy(&self.refresh),
            expires: self.expires,
            aal: self.aal.clone(),
            id: self.id,
            began: self.began,
        };
        serde_json::to_vec(&kept)
            .map(Zeroizing::new)
            .map_err(|_| Error::internal("the sign-in can't be written"))
    }

    /// What [`write`](Self::write) made; `None` for anything else.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = serde_json::from_slice(bytes).ok()?;
        Some(Self {
            url: kept.url,
            user: kept.user,
            email: kept.email,
            access: Secret::new(kept.access.as_str()),
            refresh: Secret::new(kept.refresh.as_str()),
            expires: kept.expires,
            aal: kept.aal,
            id: kept.id,
            began: kept.began,
        })
    }
}

fn seconds(since: i64) -> Timestamp {
    Timestamp::from_micros(since.saturating_mul(1_000_000))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("aal", &self.aal)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sign-in whose tokens nobody gave.
    pub(in crate::supabase) fn session(text: &str) -> Session {
        // One for all, so that two of one text are equal whenever they were made.
        static EXPIRES: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
        Session {
            url: "https://a.supabase.co".to_owned(),
            user: Uuid::from_u128(7),
            email: "me@example.org".to_owned(),
            access: Secret::new(format!("access {text}")),
            refresh: Secret::new(format!("refresh {text}")),
            expires: *EXPIRES.get_or_init(|| now() + 3600),
            aal: "aal1".to_owned(),
            id: Some(Uuid::from_u128(8)),
            began: 1_800_000_000,
        }
    }

    #[test]
    fn it_is_written_and_read_and_never_shown() {
        let session = session("hunter2");
        let written = session.write().unwrap();
        assert_eq!(Session::read(&written), Some(session.clone()));
        assert_eq!(Session::read(b"{}"), None);
        let shown = format!("{session:?} {:?}", session.info(KeyStorage::File));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(session.left() > 3500);
        let began = session.info(KeyStorage::File).signed_in_at;
        assert_eq!(began.as_micros(), 1_800_000_000_000_000);
    }
}
