//! Whether somebody set the machine's clock.

use std::time::Duration;

use ccm_core::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

use super::Finding;

/// Less than this is what keeps a clock right.
const DRIFT: Duration = Duration::from_secs(5);

/// The time of day, and the time that passed besides.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    last: Option<(Timestamp, Duration)>,
}

impl ClockWatch {
    /// Compares how far both went since the last look.
    pub(super) fn look(&mut self, wall: Timestamp, up: Duration) -> Finding {
        let Some((last_wall, last_up)) = self.last.replace((wall, up)) else {
            return Finding::ok("the first look");
        };
        let expected = last_wall.after(up.saturating_sub(last_up));
        let (ahead, behind) = (wall.since(expected), expected.since(wall));
        let off = ahead.max(behind);
        if off <= DRIFT {
            return Finding::ok(format!("{:.1} s off at most", off.as_secs_f64()));
        }
        Finding::warning(format!(
            "the machine's clock was set {} by {} s since the last check; dates that tasks wait for follow it",
            if ahead > behind { "forward" } else { "back" },
            off.as_secs()
        ))
    }
}

/// For how long the machine has been up, with the time that it was suspended: nobody sets this.
pub(super) fn up() -> Duration {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    // Both are there on every system that this is built for.
    clock_gettime(CLOCK).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use ccm_core::api::CheckStatus::{Ok, Warning};

    use super::*;

    #[test]
    fn a_jump_in_either_direction_is_told_once() {
        let mut watch = ClockWatch::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let up = Duration::from_secs;
        for (wall, up, status, word) in [
            (1_000, up(10), Ok, ""),
            (1_060, up(70), Ok, ""),
            // A clock that is kept right.
            (1_122, up(130), Ok, ""),
            (4_722, up(190), Warning, "forward by 3540 s"),
            (4_782, up(250), Ok, ""),
            (4_000, up(310), Warning, "back by 842 s"),
            // Suspended for a day: both went on.
            (90_400, up(86_710), Ok, ""),
        ] {
            let found = watch.look(at(wall), up);
            assert_eq!(found.status, status, "{found:?}");
            assert!(found.detail.contains(word), "{found:?}");
        }
    }

    #[test]
    fn the_time_that_passed_does_not_go_back() {
        let first = up();
        assert!(first > Duration::ZERO && up() >= first);
    }
}
