//! What an error of the server means for the next try.

use std::time::Duration;

use uuid::Uuid;

use crate::{Error, ErrorKind, Noun};

/// The first pause is up to this long, each further one up to twice the one before.
const FIRST: Duration = Duration::from_secs(1);
/// No pause between tries is longer, before the breaker opens.
const LONGEST: Duration = Duration::from_secs(30);
/// How rarely it is tried with an open breaker.
const PROBE: Duration = Duration::from_secs(60);
/// How rarely it is tried while somebody has to do something first.
const STOPPED: Duration = Duration::from_secs(15 * 60);
/// How soon after a failure a poke may have it tried again.
pub(super) const SOONEST: Duration = Duration::from_secs(1);

/// What is to be done after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// How long to wait, if nobody wants it before.
    pub(super) pause: Duration,
    /// What a person has to do, if it does not pass by itself.
    pub(super) hint: Option<&'static str>,
    /// Whether so many tries failed that it is tried rarely.
    pub(super) breaker_open: bool,
}

impl Trouble {
    /// After the `failures`th try in a row that failed. `chance` is 0 to 1.
    pub(super) fn after(error: &Error, failures: u32, max_retries: u32, chance: f64) -> Self {
        let hint = hint(error);
        let breaker_open = failures > max_retries;
        let pause = if hint.is_some() {
            STOPPED.mul_f64(0.75 + chance / 4.0)
        } else if breaker_open {
            PROBE.mul_f64(0.5 + chance / 2.0)
        } else {
            let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
            // Any time up to the longest: machines that lost the server together don't come back together.
            FIRST.saturating_mul(doubled).min(LONGEST).mul_f64(chance)
        };
        Self {
            pause: pause.max(Duration::from_millis(50)),
            hint,
            breaker_open,
        }
    }
}

/// A number from 0 to 1 that nobody can tell.
pub(super) fn chance() -> f64 {
    // The last 32 bits of such an id are random.
    let random = Uuid::now_v7().as_u128() & 0xffff_ffff;
    random as f64 / f64::from(u32::MAX)
}

/// What a person has to do about it, if it does not pass by itself.
fn hint(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Unauthenticated => Some("sign in again with `ccm supabase connect`"),
        ErrorKind::Revoked => Some(
            "this machine was shut out of the account; `ccm supabase connect` lets it in again",
        ),
        ErrorKind::TooOld => {
            Some("install a newer CCM on this machine; nothing is lost until then")
        }
        ErrorKind::Taken(Noun::System) => Some(
            "this home was copied from another machine, or an older copy of it was put back by hand: put backups back with \
             `ccm restore`, and set a copied machine up with a home of its own",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Error {
        Error::unavailable("no route")
    }

    #[test]
    fn pauses_grow_and_the_breaker_opens_without_an_end() {
        let longest = |failures| Trouble::after(&unavailable(), failures, 8, 1.0);
        let seconds: Vec<u64> = (1..9).map(|n| longest(n).pause.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(!longest(8).breaker_open);
        let open = longest(9);
        assert!(open.breaker_open && open.pause == PROBE && open.hint.is_none());
        assert_eq!(longest(u32::MAX).pause, PROBE);
    }

    #[test]
    fn any_time_up_to_the_longest_is_possible() {
        let at = |chance| Trouble::after(&unavailable(), 4, 5, chance).pause;
        assert_eq!(at(0.0), Duration::from_millis(50));
        assert_eq!(at(0.5), Duration::from_secs(4));
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }

    #[test]
    fn what_needs_a_person_is_said_and_tried_rarely() {
        for kind in [
            ErrorKind::Unauthenticated,
            ErrorKind::Revoked,
            ErrorKind::TooOld,
            ErrorKind::Taken(Noun::System),
        ] {
            let trouble = Trouble::after(&Error::new(kind, "no"), 1, 5, 0.0);
            assert!(trouble.hint.is_some() && trouble.pause > PROBE, "{kind:?}");
        }
    }
}
