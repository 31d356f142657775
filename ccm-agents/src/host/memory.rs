//! The memory of a run: the system bounds it where the run's control group has the memory controller, else the host
//! looks at what its stop set takes.

use std::time::{Duration, Instant};

use ccm_core::project::RunLimits;
use ccm_core::runtime::MemoryCut;

use crate::cgroup::Group;
use crate::stopset::StopSet;
use crate::sys::proc;

/// How fast a run is expected to grow at most, in bytes a second: about what one processor fills.
const GROWTH: u64 = 2 << 30;
/// The shortest and the longest time between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// A look that takes long is followed by a pause of so many times as long.
const COST: u32 = 20;

/// What bounds the memory of a run.
#[derive(Debug)]
pub(super) struct Memory {
    limit_mb: u64,
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    /// The system ends all of the group that wants more.
    System(Group),
    /// The host looks.
    Watched {
        due: Instant,
        /// The last look found too much. One alone may have seen something twice: what just forks shares its memory
        /// with its child until that is another program.
        suspected: bool,
    },
}

impl Memory {
    /// What bounds a run with these limits, whose program waits in `group`, if it has one. None without a limit.
    pub(super) fn new(limits: &RunLimits, group: Option<&Group>) -> Option<Self> {
        let limit_mb = limits.memory_mb?;
        let limit = bytes(limit_mb);
        let bounded = group.filter(|group| group.bound_memory(limit).is_ok());
        Some(Self {
            limit_mb,
            bound: match bounded {
                Some(group) => Bound::System(group.clone()),
                None => Bound::Watched {
                    due: Instant::now() + pause(limit, Duration::ZERO),
                    suspected: false,
                },
            },
        })
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.bound {
            Bound::System(_) => None,
            Bound::Watched { due, .. } => Some(due),
        }
    }

    /// Looks, if that is due, whether the run has to be ended.
    pub(super) fn look(&mut self, set: impl FnOnce() -> StopSet) -> Option<MemoryCut> {
        let limit_mb = self.limit_mb;
        let Bound::Watched { due, suspected } = &mut self.bound else {
            return None;
        };
        let began = Instant::now();
        if *due > began {
            return None;
        }
        let limit = bytes(limit_mb);
        // Without a look at the processes nothing is known.
        let used = used_by(&set(), limit).unwrap_or(0);
        let room = limit.saturating_sub(used);
        *due = began + pause(room, began.elapsed());
        let before = std::mem::replace(suspected, used > limit);
        (before && used > limit).then(|| MemoryCut {
            used_mb: used.div_ceil(1 << 20),
            limit_mb,
        })
    }

    /// Whether the system ended the run that is over now.
    pub(super) fn at_end(&self) -> Option<MemoryCut> {
        match &self.bound {
            Bound::System(group) if group.was_out_of_memory() => Some(MemoryCut {
                used_mb: self.limit_mb,
                limit_mb: self.limit_mb,
            }),
            _ => None,
        }
    }
}

/// What a stop set takes. What its processes share counts once if that decides whether it is more than `limit`.
fn used_by(set: &StopSet, limit: u64) -> std::io::Result<u64> {
    let scan = set.scan()?;
    // Cheap to know, and never less.
    if scan.resident <= limit {
        return Ok(scan.resident);
    }
    Ok(scan.alive.iter().filter_map(|id| proc::memory(*id)).sum())
}

fn bytes(mb: u64) -> u64 {
    mb.saturating_mul(1 << 20)
}

/// How long nothing can go wrong while there is so much room.
fn pause(room: u64, look_took: Duration) -> Duration {
    let filled = Duration::from_micros(room.saturating_mul(1_000) / (GROWTH / 1_000));
    filled
        .clamp(PAUSES.0, PAUSES.1)
        .max(look_took.saturating_mul(COST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_closer_as_room_gets_less_and_cost_little() {
        let pauses: Vec<Duration> = [64 << 30, 1 << 30, 256 << 20, 0]
            .map(|room| pause(room, Duration::ZERO))
            .into();
        assert!(pauses.is_sorted_by(|a, b| a >= b), "{pauses:?}");
        assert_eq!((pauses[0], pauses[3]), (PAUSES.1, PAUSES.0));
        assert!(pauses[2] > PAUSES.0 && pauses[1] < PAUSES.1, "{pauses:?}");
        let slow = Duration::from_millis(100);
        assert_eq!(pause(0, slow), slow * COST);
    }

    #[test]
    fn without_a_limit_nothing_is_bounded() {
        assert!(Memory::new(&RunLimits::default(), None).is_none());
        let limits = RunLimits {
            memory_mb: Some(u64::MAX),
            ..RunLimits::default()
        };
        assert!(Memory::new(&limits, None).unwrap().due().is_some());
    }
}
