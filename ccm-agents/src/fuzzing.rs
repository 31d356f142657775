//! What takes in foreign bytes, for `fuzz/`. Each function panics where something does not hold.

use std::fs::File;

use ccm_core::run::Checkpoint;
use ccm_core::runtime::{Exit, RunEnd};
use ccm_core::time::Timestamp;
use serde::de::DeserializeOwned;

use crate::driver::{Driver, Spool};
use crate::{cgroup, record, sys, tmux, wire};

pub use crate::tmux::fuzzing::{control, listings};

/// What a run wrote, read as a driver does: in two parts, before and after the run's end.
pub fn spool(claude: bool, out: File, err: File, sizes: (u64, u64), first: u64) {
    let driver = if claude {
        Driver::Claude
    } else {
        Driver::Command
    };
    let mut spool = Spool {
        out: Some(out),
        err: Some(err),
        out_size: sizes.0.min(first),
        err_size: sizes.1,
    };
    let mut at = Checkpoint::default();
    let exited = RunEnd::Exited(Exit {
        code: Some(0),
        signal: None,
        stopped: false,
        output_cut: false,
        memory_cut: None,
        deadline_cut: false,
        out_bytes: sizes.0,
        err_bytes: sizes.1,
        ended_at: Timestamp::from_micros(0),
    });
    for end in [None, Some(&exited)] {
        loop {
            let Ok(batch) = driver.read(&spool, &at, end) else {
                return;
            };
            let again = driver.read(&spool, &at, end).ok();
            assert_eq!(again.as_ref(), Some(&batch), "a part read twice differs");
            let next = batch.checkpoint;
            assert!(next.out >= at.out && next.out <= spool.out_size);
            assert!(next.err >= at.err && next.err <= spool.err_size);
            let moved = (next.out, next.err) != (at.out, at.err);
            at = next;
            if batch.complete {
                break;
            }
            assert!(moved, "more is promised, and nothing moves");
        }
        spool.out_size = sizes.0;
    }
    assert_eq!((at.out, at.err), sizes, "something was left");
    let mut from = 0;
    loop {
        let Ok(told) = driver.tell(&spool, from, 3, true) else {
            return;
        };
        told.entries.iter().for_each(|entry| drop(entry.render()));
        assert!(told.next >= from);
        if told.complete {
            break;
        }
        assert!(told.next > from, "more is promised, and nothing moves");
        from = told.next;
    }
}

/// What is shown of Claude Code's output as it comes; the same wherever it is cut.
pub fn teller(bytes: &[u8], cut: usize) {
    let (before, after) = bytes.split_at(cut.min(bytes.len()));
    let mut whole = Driver::Claude.teller();
    let mut parts = Driver::Claude.teller();
    let shown = [before, after].map(|part| parts.push(part).unwrap_or_default());
    assert_eq!(whole.push(bytes).unwrap_or_default(), shown.concat());
}

/// Records of runs and agents, and what is said over hosts' sockets.
pub fn records(bytes: &[u8]) {
    again::<record::ExitRecord>(bytes);
    again::<record::Gate>(bytes);
    again::<record::LaunchFile>(bytes);
    again::<record::InputNote>(bytes);
    again::<record::PlaceFile>(bytes);
    again::<record::HostFile>(bytes);
    again::<wire::Request>(bytes);
    again::<wire::Answer>(bytes);
    if let Ok(record) = serde_json::from_slice::<record::ExitRecord>(bytes) {
        let _ = record.into_end();
    }
}

/// What was read can be written and read again.
fn again<T: DeserializeOwned + serde::Serialize>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let written = record::json(&value).expect("it can be written");
        serde_json::from_slice::<T>(&written).expect("it can be read again");
    }
}

/// What the kernel says of processes and groups.
pub fn kernel(bytes: &[u8]) {
    sys::proc::fuzz(bytes);
    let half = bytes.len() / 2;
    for folder in cgroup::folders(&bytes[..half], &bytes[half..]) {
        let climbs = folder
            .components()
            .any(|part| part == std::path::Component::ParentDir);
        let mounts_climb =
            bytes[..half].windows(2).any(|two| two == b"..") || bytes[..half].contains(&b'\\');
        assert!(!climbs || mounts_climb, "{folder:?}");
    }
}

/// What `tmux -V` says.
pub fn version(text: &str) {
    let _ = tmux::is_too_old(text);
}
