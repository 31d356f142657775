//! Times and durations as people write and read them.

use std::time::Duration;

use ccm_core::time::{Clock, SystemClock, Timestamp};

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// `90`, `90s`, `5m`, `1h30m`, `2d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("expected a duration such as 90s, 5m, 1h30m or 2d, found {text:?}");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let unit = match after.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        total = number
            .checked_mul(unit)
            .and_then(|seconds| total.checked_add(seconds))
            .ok_or_else(bad)?;
        rest = &after[1..];
    }
    if text.is_empty() {
        return Err(bad());
    }
    Ok(Duration::from_secs(total))
}

/// An RFC 3339 time, or a duration from now with a plus sign before it.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(rest) = text.strip_prefix('+') {
        return Ok(now().after(duration(rest)?));
    }
    text.parse()
        .map_err(|_| format!("expected a time such as 2026-01-31T12:00:00Z or +2h, found {text:?}"))
}

/// A period in its one or two largest units: `3d 4h`, `5m`, `12s`.
pub(super) fn period(period: Duration) -> String {
    let seconds = period.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m"),
        (0, h, 0) => format!("{h}h"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, 0, _) => format!("{d}d"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// How long ago a moment was.
pub(super) fn age(of: Timestamp) -> String {
    period(now().since(of))
}

/// A moment soon as a clock on the wall shows it: `22:53`, or with its day if that is another one.
pub(super) fn clock(at: Timestamp) -> String {
    let local = |at: Timestamp| {
        let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
        at.to_zoned(jiff::tz::TimeZone::system())
    };
    let (now, at) = (local(now()), local(at));
    if now.date() == at.date() {
        at.strftime("%H:%M").to_string()
    } else {
        at.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

/// Bytes in the largest unit that leaves at least one.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes / 1_048_576),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "m",
            "5x",
            "5m3",
            "-1",
            "1.5h",
            "5 m",
            "99999999999999999999s",
            "999999999999999999d",
            "5ö",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for (seconds, text) in [
            (0, "0s"),
            (61, "1m"),
            (3600, "1h"),
            (5400, "1h 30m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(period(Duration::from_secs(seconds)), text);
        }
        assert_eq!(size(12 * 1024 * 1024), "12 MiB");
    }

    #[test]
    fn a_moment_of_another_day_has_its_day() {
        assert_eq!(clock(now()).len(), 5);
        let later = clock(now().after(Duration::from_secs(72 * 3600)));
        assert_eq!(later.len(), 16);
    }

    #[test]
    fn moments_are_absolute_or_from_now() {
        assert_eq!(
            moment("2026-01-31T12:00:00+01:00").unwrap().to_string(),
            "2026-01-31T11:00:00Z"
        );
        let later = moment("+2h").unwrap();
        assert!(later.since(now()) > Duration::from_secs(7000));
        assert!(moment("tomorrow").is_err());
    }
}
