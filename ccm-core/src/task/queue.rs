//! A task's place among those that wait.

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::time::Timestamp;

/// Where a task stands among those of its project and priority: the lower is next.
///
/// A rank is a moment, finer than clocks are. A task begins with the moment at which it was accepted, and counts as
/// waiting since the moment of its rank. So a task that is moved ages like those that it was moved between, and no
/// scheduler that looks at age undoes a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(i64);

/// How many ranks a microsecond has.
const PER_MICROSECOND: i64 = 1024;
/// How far from its neighbour a moved task is put, if there is room: far enough for some more in between, near enough
/// not to count as older or younger.
const STEP: i64 = 16_000 * PER_MICROSECOND;
/// How near to each other those are put at least that make room: far enough for some more in between, and much nearer
/// than `STEP`, so that few have to.
const TIGHT: i64 = PER_MICROSECOND;
/// How many make room at least.
const FEWEST: usize = 8;

impl Rank {
    /// The rank of a task that was accepted at `moment`.
    pub fn of(moment: Timestamp) -> Self {
        Self(moment.as_micros().saturating_mul(PER_MICROSECOND))
    }

    /// The rank as a number, for storing it. Later moments have greater ones.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// The number that [`from_number`](Self::from_number) takes.
    pub const fn as_number(self) -> i64 {
        self.0
    }

    /// Since when the task counts as waiting.
    pub fn moment(self) -> Timestamp {
        Timestamp::from_micros(self.0.div_euclid(PER_MICROSECOND))
    }

    const fn plus(self, by: i64) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// Where a waiting task is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Just before this one, which gives it its priority.
    Before(TaskId),
    /// Just after this one, which gives it its priority.
    After(TaskId),
    /// Before all of its project, with the highest priority among them.
    First,
    /// After all of its project, with the lowest priority among them.
    Last,
}

impl Place {
    /// The task that it is next to, and the name of that in a request as a JSON pointer.
    pub const fn neighbour(self) -> Option<(TaskId, &'static str)> {
        match self {
            Self::Before(task) => Some((task, "/before")),
            Self::After(task) => Some((task, "/after")),
            Self::First | Self::Last => None,
        }
    }
}

/// A waiting task's place in the queue of its project. The lesser is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// Its priority.
    pub priority: i32,
    /// Its rank among those of that priority.
    pub rank: Rank,
    /// The task.
    pub task: TaskId,
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |spot: &Self| (std::cmp::Reverse(spot.priority), spot.rank, spot.task);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The gap that a task is moved into: between two neighbours of one priority, the task itself left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The priority there.
    pub priority: i32,
    /// Who is before the gap, if there is anybody.
    pub low: Option<Spot>,
    /// Those after the gap in their order, as many as were looked up.
    pub high: Vec<Spot>,
    /// Whether there are no more after those.
    pub complete: bool,
    /// What the task is to be near to.
    pub side: Side,
}

/// What a moved task is to be near to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one before the gap.
    Low,
    /// The one after the gap.
    High,
    /// Nobody: it is to be first of all, also before the lowest rank that is ready, whose age counts too.
    First(Option<Rank>),
    /// Nobody: it is to be last of all that wait at this moment.
    Last(Timestamp),
}

/// How a task fits into a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The task's rank.
    pub rank: Rank,
    /// Those after the gap that make room, with their new ranks. Mostly none.
    pub shifted: Vec<(TaskId, Rank)>,
}

impl Gap {
    /// Whether a task is in it already.
    pub fn holds(&self, spot: Spot) -> bool {
        let first = match self.side {
            Side::First(Some(oldest)) => spot.rank <= oldest,
            _ => true,
        };
        first
            && spot.priority == self.priority
            && self.low.is_none_or(|low| low < spot)
            && self.high.first().is_none_or(|high| spot < *high)
    }

    /// Fits a task in. `None` when more of what comes after has to be looked up.
    ///
    /// Each making of room leaves room for several moves, so that many moves cost few shifts each, wherever they go.
    pub fn fit(&self) -> Option<Fit> {
        let high = self.high.first().map(|high| high.rank);
        let low = self.low.map(|low| low.rank);
        let rank = match (self.side, low, high) {
            // No farther than needed: what is accepted in a moment comes after it.
            (Side::Last(now), Some(low), None) => low.plus(1).max(Rank::of(now)),
            (Side::First(oldest), None, Some(high)) => high.min(oldest.unwrap_or(high)).plus(-STEP),
            (_, None, Some(high)) => high.plus(-STEP),
            (_, Some(low), None) if self.complete => low.plus(STEP),
            (side, Some(low), Some(high)) => {
                let room = high.0.saturating_sub(low.0);
                if room < 2 {
                    return self.make_room(low);
                }
                let off = (room / 2).min(STEP);
                match side {
                    Side::Low => low.plus(off),
                    _ => high.plus(-off),
                }
            }
            _ => return None,
        };
        Some(Fit {
            rank,
            shifted: Vec::new(),
        })
    }

    fn make_room(&self, low: Rank) -> Option<Fit> {
        let mut count = FEWEST;
        loop {
            // One step to the task, one to each that is shifted, and one to the next that is not.
            let steps = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(2);
            let step = match self.high.get(count) {
                Some(end) => (end.rank.0.saturating_sub(low.0) / steps).min(STEP),
                None if self.complete => STEP,
                None => return None,
            };
            // The more make room, the more of it each has to get: else a crowd would be spread just enough to be spread
            // again a few moves later, all of it.
            let enough = TIGHT * (steps / 8).isqrt().max(1);
            if step >= enough {
                let ranks = (2..).map(|place: i64| low.plus(place.saturating_mul(step)));
                // Who is beyond its new rank already stays there, and so do all after it.
                let shifted = self.high.iter().take(count).zip(ranks);
                let shifted = shifted.take_while(|(spot, rank)| spot.rank < *rank);
                return Some(Fit {
                    rank: low.plus(step),
                    shifted: shifted.map(|(spot, rank)| (spot.task, rank)).collect(),
                });
            }
            count *= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(rank: i64) -> Spot {
        Spot {
            priority: 0,
            rank: Rank(rank),
            task: TaskId::new(),
        }
    }

    fn gap(low: i64, high: &[i64], complete: bool) -> Gap {
        Gap {
            priority: 0,
            low: Some(spot(low)),
            high: high.iter().copied().map(spot).collect(),
            complete,
            side: Side::High,
        }
    }

    #[test]
    fn a_task_goes_next_to_its_neighbour() {
        let wide = gap(0, &[100 * STEP], true);
        assert_eq!(wide.fit().unwrap().rank, Rank(99 * STEP));
        let after = Gap {
            side: Side::Low,
            ..wide
        };
        assert_eq!(after.fit().unwrap().rank, Rank(STEP));
        assert_eq!(gap(0, &[2], true).fit().unwrap().rank, Rank(1));
        assert_eq!(gap(7, &[], true).fit().unwrap().rank, Rank(7 + STEP));
        assert_eq!(gap(7, &[], false).fit(), None);
    }

    #[test]
    fn those_after_a_full_gap_make_room() {
        let gap_of_ties = gap(5, &[5; 20], true);
        let ties = gap_of_ties.fit().unwrap();
        assert!(ties.rank > Rank(5));
        let order: Vec<TaskId> = ties.shifted.iter().map(|(task, _)| *task).collect();
        let high: Vec<TaskId> = gap_of_ties.high.iter().map(|spot| spot.task).collect();
        assert_eq!(order, high, "they are all equal");
        assert!(ties.shifted.is_sorted_by(|(_, a), (_, b)| a < b));
        assert!(ties.shifted[0].1 > ties.rank);
        assert_eq!(gap(5, &[5, 5, 6, 100 * STEP], false).fit(), None);
        let high: Vec<i64> = (0..100).map(|n| 5 + n * STEP).collect();
        let near = gap(5, &high, false).fit().unwrap();
        let (_, last) = near.shifted[near.shifted.len() - 1];
        assert!(near.shifted.len() <= FEWEST && last < Rank(high[near.shifted.len()]));
        let far = gap(5, &[5, 5, 900 * STEP, 901 * STEP], true).fit().unwrap();
        assert_eq!(far.shifted.len(), 2, "nobody is made older than it is");
    }

    /// Whatever is moved in front of the same task again and again, the order is kept, and a move shifts few others.
    #[test]
    fn many_moves_into_one_gap_shift_few() {
        let at = 500;
        let mut line: Vec<Spot> = (0..1000).map(|_| spot(0)).collect();
        let (mut shifts, mut most) = (0, 0);
        for _ in 0..5_000 {
            let gap = Gap {
                priority: 0,
                low: Some(line[at - 1]),
                high: line[at..].to_vec(),
                complete: true,
                side: Side::High,
            };
            let fit = gap.fit().unwrap();
            shifts += fit.shifted.len();
            most = most.max(fit.shifted.len());
            for (spot, (task, rank)) in line[at..].iter_mut().zip(fit.shifted) {
                assert_eq!(spot.task, task);
                spot.rank = rank;
            }
            line.insert(at, spot(fit.rank.0));
            assert!(line[at - 1].rank < line[at].rank && line[at].rank < line[at + 1].rank);
        }
        assert!(line.is_sorted(), "the ids of the first half decide there");
        assert!(shifts < 50_000, "{shifts} shifts, at most {most} at once");
    }
}
