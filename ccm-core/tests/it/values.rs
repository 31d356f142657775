//! Ids, times, texts, errors: what is parsed once and trusted then.

use std::time::Duration;

use ccm_core::event::{Cursor, EventKind};
use ccm_core::id::{LogId, Seq, TaskId};
use ccm_core::task::{MAX_BLOCKERS, MAX_TAGS, MAX_TEXT_BYTES, TaskSpec, TaskText, Title, is_tag};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Retry, chain};
use proptest::prelude::*;

proptest! {
    #[test]
    fn times_are_read_back(micros: i64) {
        let time = Timestamp::from_micros(micros);
        prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        let json = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        prop_assert_eq!(Timestamp::from_micros(time.as_micros()), time);
    }

    #[test]
    fn times_move_without_overflow(micros: i64, by: u64) {
        let time = Timestamp::from_micros(micros);
        let later = time.after(Duration::from_micros(by));
        prop_assert!(later >= time);
        prop_assert!(later.since(time) <= Duration::from_micros(by));
        prop_assert_eq!(time.since(later), Duration::ZERO);
        prop_assert!(time.after(Duration::MAX) >= later);
    }

    #[test]
    fn any_text_is_kept_or_refused(text: String) {
        match TaskText::new(text.clone()) {
            Ok(kept) => {
                prop_assert_eq!(kept.as_str(), text);
                let title = kept.title();
                prop_assert_eq!(Title::new(title.as_str()).unwrap(), title);
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(text.is_empty() || text.contains('\0'));
            }
        }
    }

    #[test]
    fn cursors_are_read_back(seq: u64) {
        let cursor = Cursor { log: LogId::new(), seq: Seq(seq) };
        prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    }

    #[test]
    fn no_text_breaks_a_parser(text: String) {
        let _ = text.parse::<Timestamp>();
        let _ = text.parse::<Cursor>();
        let _ = text.parse::<TaskId>();
        let _ = text.parse::<EventKind>();
        let _ = is_tag(&text);
        let _ = Title::new(text);
    }
}

#[test]
fn far_times_stay_at_the_end() {
    let last = Timestamp::from_micros(i64::MAX);
    let first = Timestamp::from_micros(i64::MIN);
    assert!(last.as_micros() > 200_000_000_000_000_000 && first.as_micros() < 0);
    assert_eq!(last.after(Duration::from_secs(1)), last);
    assert_eq!(Timestamp::from_micros(last.as_micros()), last);
    assert_eq!(Timestamp::from_micros(first.as_micros()), first);
}

#[test]
fn times_are_shown_in_utc() {
    let time: Timestamp = "2026-01-31T12:00:00.000001+02:00".parse().unwrap();
    assert_eq!(time.to_string(), "2026-01-31T10:00:00.000001Z");
    let error = "tomorrow".parse::<Timestamp>().unwrap_err();
    assert!(error.to_string().contains("RFC 3339"), "{error}");
}

#[test]
fn texts_have_limits() {
    let most = "x".repeat(MAX_TEXT_BYTES);
    assert!(TaskText::new(most.clone()).is_ok());
    for (text, word) in [
        (String::new(), "empty"),
        (most + "x", "1 MiB"),
        ("a\0b".to_owned(), "NUL character at byte 1"),
    ] {
        let error = TaskText::new(text).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn a_title_is_the_first_line_that_says_something() {
    let title = |text: &str| TaskText::new(text).unwrap().title().as_str().to_owned();
    assert_eq!(
        title("\n  \n fix\tthe   door \nand the roof"),
        "fix the door"
    );
    assert_eq!(title(" \n\t"), "(blank)");
    assert_eq!(title("\u{7}"), "(blank)");
    let long = title(&"ü".repeat(100));
    assert_eq!((long.chars().count(), long.ends_with('…')), (80, true));
}

#[test]
fn a_spec_has_limits() {
    let spec = || TaskSpec::new(TaskText::new("x").expect("a good text"));
    assert!(spec().validate().is_ok());
    let blocked = TaskSpec {
        blocked_by: vec![TaskId::new(); MAX_BLOCKERS + 1],
        ..spec()
    };
    let tagged = TaskSpec {
        tags: vec!["a".to_owned(); MAX_TAGS + 1],
        ..spec()
    };
    let strange = TaskSpec {
        tags: vec!["a b".to_owned()],
        ..spec()
    };
    let hurried = TaskSpec {
        timeout: Some(Duration::ZERO),
        ..spec()
    };
    for bad in [blocked, tagged, strange, hurried] {
        assert_eq!(bad.validate().unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert!(is_tag("a-b_c.d:e/f1") && !is_tag("") && !is_tag(&"a".repeat(65)));
}

#[test]
fn ids_sort_by_age() {
    let ids: Vec<TaskId> = (0..1_000).map(|_| TaskId::new()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    let text = ids[0].to_string();
    assert_eq!(text.parse::<TaskId>().unwrap(), ids[0]);
    assert!(
        "1234"
            .parse::<TaskId>()
            .unwrap_err()
            .to_string()
            .contains("1234")
    );
}

#[test]
fn event_kinds_are_read_back() {
    for kind in EventKind::ALL {
        assert_eq!(kind.as_str().parse::<EventKind>().unwrap(), *kind);
        assert_eq!(serde_json::json!(kind), kind.as_str());
    }
}

#[test]
fn errors_tell_their_causes_once() {
    let disk = std::io::Error::other("no space left");
    let error = Error::new(ErrorKind::DiskFull, "the task was not kept").with_source(disk);
    assert_eq!(error.to_string(), "the task was not kept");
    assert_eq!(chain(&error), "the task was not kept: no space left");
    assert_eq!(error.retry(), Retry::Transient);
    assert_eq!(Error::invalid("x").retry(), Retry::Permanent);
    let unknown = Error::new(ErrorKind::Unknown, "no answer");
    assert_eq!(
        unknown.retry(),
        Retry::Permanent,
        "the caller must look first"
    );
}
