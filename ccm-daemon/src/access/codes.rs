//! One-time codes that sign a browser in.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use subtle::ConstantTimeEq;

use crate::machine::random_hex;

/// How long a code may be used.
pub(crate) const VALID: Duration = Duration::from_secs(10 * 60);
/// How many codes there may be at once; a further one takes the place of the oldest.
const MOST: usize = 16;
/// After so many wrong ones every code is void: whoever guesses ends what they guess at.
const MOST_WRONG: u32 = 10;

/// A code that was just made.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) code: String,
    pub(crate) expires_at: Timestamp,
}

/// The codes that may still be used. They are in memory alone: a daemon that restarts voids them.
#[derive(Default)]
pub(crate) struct Codes(Mutex<Open>);

#[derive(Default)]
struct Open {
    codes: Vec<Code>,
    wrong: u32,
}

impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codes(...)")
    }
}

impl Codes {
    /// A new code.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn make(&self, now: Timestamp) -> Result<Code> {
        let code = random_hex(16)
            .map_err(|e| Error::internal("the system has no random bytes").with_source(e))?;
        let code = Code {
            code,
            expires_at: now.after(VALID),
        };
        let mut open = self.lock();
        open.codes.retain(|code| now < code.expires_at);
        if open.codes.len() == MOST {
            open.codes.remove(0);
        }
        open.codes.push(code.clone());
        Ok(code)
    }

    /// Uses a code up. Whether it was one.
    pub(crate) fn take(&self, given: &str, now: Timestamp) -> bool {
        let mut open = self.lock();
        open.codes.retain(|code| now < code.expires_at);
        let is = |code: &Code| bool::from(code.code.as_bytes().ct_eq(given.as_bytes()));
        // Each is looked at, so that the time says nothing about which one it was.
        let found = open.codes.iter().rposition(is);
        if let Some(at) = found {
            open.codes.remove(at);
            open.wrong = 0;
            return true;
        }
        open.wrong += 1;
        if open.wrong >= MOST_WRONG {
            open.codes.clear();
            open.wrong = 0;
        }
        false
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_code_counts_once_and_not_for_long() {
        let codes = Codes::default();
        let (first, second) = (codes.make(NOW).unwrap(), codes.make(NOW).unwrap());
        assert!(codes.take(&first.code, NOW));
        assert!(!codes.take(&first.code, NOW), "used");
        assert!(!codes.take(&second.code, NOW.after(VALID)), "too old");
        assert!(!codes.take("", NOW));
    }

    #[test]
    fn whoever_guesses_voids_the_codes() {
        let codes = Codes::default();
        let code = codes.make(NOW).unwrap().code;
        for _ in 1..MOST_WRONG {
            assert!(!codes.take("0", NOW));
        }
        assert!(codes.take(&code, NOW), "a few mistakes do no harm");
        let code = codes.make(NOW).unwrap().code;
        for _ in 0..MOST_WRONG {
            assert!(!codes.take("0", NOW));
        }
        assert!(!codes.take(&code, NOW));
    }

    #[test]
    fn codes_that_nobody_uses_do_not_pile_up() {
        let codes = Codes::default();
        let made: Vec<_> = (0..=MOST).map(|_| codes.make(NOW).unwrap().code).collect();
        assert_eq!(codes.lock().codes.len(), MOST);
        assert!(!codes.take(&made[0], NOW));
        assert!(codes.take(&made[MOST], NOW));
    }
}
