//! What happens in a run, made of its seed: who changes what and when, and what breaks meanwhile.

use std::time::Duration;

use crate::random::Random;

/// How many machines share the queue whose lines are cut.
const MACHINES: usize = 5;
/// How many of them have the same repository.
const CLONES: usize = 2;

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    /// For how long changes are made, in ms.
    pub(crate) lasts: u64,
    /// The longest that a line is cut, in ms.
    pub(crate) longest_cut: u64,
    /// The longest that a daemon or the server is away, in ms.
    pub(crate) longest_absence: u64,
    /// How soon after everything is mended all must hold, in s. What is still in the queues has to be done by then.
    pub(crate) settles: u64,
    /// Whether what fails may be tried again, which is some seconds later.
    pub(crate) tries_again: bool,
}

impl Measure {
    /// For each change that somebody wants to land.
    pub(crate) const SHORT: Self = Self {
        lasts: 3_000,
        longest_cut: 2_500,
        longest_absence: 600,
        settles: 30,
        tries_again: false,
    };
    /// With lines cut for as long as connections take to be given up.
    pub(crate) const LONG: Self = Self {
        lasts: 15_000,
        longest_cut: 10_000,
        longest_absence: 4_000,
        settles: 60,
        tries_again: true,
    };
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    /// How many machines share the queue.
    pub(crate) machines: usize,
    /// The first so many have the same repository.
    pub(crate) clones: usize,
    /// For how long changes are made. After it, everything is mended.
    pub(crate) lasts: Duration,
    /// How soon after that all must hold.
    pub(crate) settles: Duration,
    /// Whether a cut line is only silent, or neighbours are found to be gone as well.
    pub(crate) is_silent: bool,
    /// Whether people are to decide conflicts. Nobody does here, so both edits of each are kept.
    pub(crate) is_manual: bool,
    /// By time.
    pub(crate) changes: Vec<Change>,
    /// By time.
    pub(crate) troubles: Vec<Trouble>,
}

/// Something that a person or program asks a machine for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) machine: usize,
    /// Tells it from all others of the run.
    pub(crate) number: usize,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Create(Create),
    /// An edit of one of the tasks that are known, counted from the newest.
    Edit {
        of: Pick,
        priority: Option<i32>,
    },
    Cancel {
        of: Pick,
    },
    Retry {
        of: Pick,
    },
}

/// A new task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Create {
    pub(crate) target: Target,
    /// For how long its program works.
    pub(crate) works: Duration,
    /// Whether its program ends badly.
    pub(crate) fails: bool,
    /// How many further attempts it may have.
    pub(crate) retries: u32,
    /// It is not to start before so long after it was made; such a task can be edited for that long.
    pub(crate) waits: Option<Duration>,
}

/// Whose task it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The project of this machine.
    Project(usize),
    /// Whichever machine of those with the same repository.
    Shared,
}

/// Which task a change is about. Numbers above what there is begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Counted from the newest.
    Newest(u64),
    /// Counted from the oldest of those that were told to wait.
    Waiting(u64),
}

/// Something that breaks, and is mended later.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) what: Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Line {
        machine: usize,
        way: Way,
    },
    /// Killed at once, and started again.
    Daemon {
        machine: usize,
    },
    /// The same with the server's programs in front of its database.
    Server,
    /// Of so many answers of the server, this many are lost after what was asked for was done.
    Answers {
        lost: u32,
    },
}

/// Which way nothing comes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The machine hears nothing.
    In,
    /// Nobody hears the machine.
    Out,
    Both,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::In, Self::Out, Self::Both];

    pub(crate) const fn cuts_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    pub(crate) const fn cuts_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

impl Script {
    /// What the seed says.
    pub(crate) fn new(seed: u64, measure: Measure) -> Self {
        let mut changes = changes(seed, measure);
        changes.sort_by_key(|change| change.at);
        let mut troubles: Vec<Trouble> = (0..MACHINES)
            .flat_map(|machine| lines(seed, machine, measure))
            .chain((0..MACHINES).flat_map(|machine| daemons(seed, machine, measure)))
            .chain(server(seed, measure))
            .collect();
        troubles.sort_by_key(|trouble| trouble.at);
        Self {
            seed,
            machines: MACHINES,
            clones: CLONES,
            lasts: Duration::from_millis(measure.lasts),
            settles: Duration::from_secs(measure.settles),
            is_silent: Random::part(seed, 1).percent(70),
            is_manual: Random::part(seed, 3).percent(25),
            changes,
            troubles,
        }
    }

    /// Nothing breaks, and four machines with the same repository take from as many tasks as fast as they can.
    pub(crate) fn claims(seed: u64) -> Self {
        const MACHINES: usize = 4;
        const TASKS: usize = 400;
        let create = Create {
            target: Target::Shared,
            works: Duration::ZERO,
            fails: false,
            retries: 0,
            waits: None,
        };
        let changes = (0..TASKS).map(|number| Change {
            at: Duration::ZERO,
            machine: number % MACHINES,
            number,
            what: What::Create(create.clone()),
        });
        Self {
            seed,
            machines: MACHINES,
            clones: MACHINES,
            lasts: Duration::ZERO,
            settles: Duration::from_secs(120),
            is_silent: true,
            is_manual: false,
            changes: changes.collect(),
            troubles: Vec::new(),
        }
    }
}

fn changes(seed: u64, measure: Measure) -> Vec<Change> {
    let mut random = Random::part(seed, 2);
    // A second, on all machines together.
    let rate = random.between(10, 40);
    let count = measure.lasts * rate / 1000;
    (0..count)
        .map(|number| {
            let is_early = number < EDITED;
            let (at, what) = match is_early {
                true => (measure.lasts / 20, edited(&mut random, measure)),
                false => (measure.lasts, what(&mut random, measure)),
            };
            Change {
                at: Duration::from_millis(random.below(at)),
                machine: random.below(MACHINES as u64) as usize,
                number: number as usize,
                what,
            }
        })
        .collect()
}

/// How many tasks there are that wait until the end, and that everybody edits.
const EDITED: u64 = 5;

fn edited(random: &mut Random, measure: Measure) -> What {
    let waits = measure.lasts + random.below(500);
    What::Create(Create {
        retries: 0,
        waits: Some(Duration::from_millis(waits)),
        ..create(random, measure)
    })
}

fn what(random: &mut Random, measure: Measure) -> What {
    match random.below(100) {
        0..55 => What::Create(create(random, measure)),
        55..80 => What::Edit {
            of: pick(random, 85),
            priority: random.percent(30).then(|| random.below(7) as i32 - 3),
        },
        80..90 => What::Cancel {
            of: pick(random, 15),
        },
        _ => What::Retry {
            of: pick(random, 30),
        },
    }
}

fn create(random: &mut Random, measure: Measure) -> Create {
    let target = match random.below(100) {
        0..70 => Target::Project(random.below(MACHINES as u64) as usize),
        _ => Target::Shared,
    };
    let fails = random.percent(15);
    let retries = u32::from(random.percent(20));
    Create {
        target,
        works: Duration::from_millis(random.below(80)),
        fails,
        retries: if fails && !measure.tries_again {
            0
        } else {
            retries
        },
        waits: random
            .percent(35)
            .then(|| Duration::from_millis(random.between(500, measure.lasts))),
    }
}

fn pick(random: &mut Random, of_waiting: u64) -> Pick {
    // Few, so that several machines take the same one.
    match random.percent(of_waiting) {
        true => Pick::Waiting(random.below(EDITED)),
        false => Pick::Newest(random.below(6)),
    }
}

/// Cuts of one line, one after the other.
fn lines(seed: u64, machine: usize, measure: Measure) -> Vec<Trouble> {
    let mut random = Random::part(seed, 100 + machine as u64);
    let mut cuts = Vec::new();
    // Some lines stay whole.
    if random.percent(25) {
        return cuts;
    }
    let mut at = random.below(measure.lasts / 2);
    while at < measure.lasts {
        let lasts = random.between(0, measure.longest_cut);
        cuts.push(Trouble {
            at: Duration::from_millis(at),
            lasts: Duration::from_millis(lasts),
            what: Broken::Line {
                machine,
                way: Way::ALL[random.below(3) as usize],
            },
        });
        at += lasts + random.between(100, measure.lasts / 2);
    }
    cuts
}

fn daemons(seed: u64, machine: usize, measure: Measure) -> Option<Trouble> {
    let mut random = Random::part(seed, 200 + machine as u64);
    random.percent(20).then(|| Trouble {
        at: Duration::from_millis(random.below(measure.lasts)),
        lasts: Duration::from_millis(random.below(measure.longest_absence)),
        what: Broken::Daemon { machine },
    })
}

fn server(seed: u64, measure: Measure) -> Vec<Trouble> {
    let mut random = Random::part(seed, 300);
    let mut troubles = Vec::new();
    if random.percent(25) {
        troubles.push(Trouble {
            at: Duration::from_millis(random.below(measure.lasts)),
            lasts: Duration::from_millis(random.below(measure.longest_absence)),
            what: Broken::Server,
        });
    }
    for _ in 0..random.below(4) {
        troubles.push(Trouble {
            at: Duration::from_millis(random.below(measure.lasts)),
            lasts: Duration::ZERO,
            what: Broken::Answers {
                lost: random.between(1, 3) as u32,
            },
        });
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_the_same_each_time_and_another_one_something_else() {
        for seed in 0..50 {
            let script = Script::new(seed, Measure::SHORT);
            assert_eq!(script, Script::new(seed, Measure::SHORT));
            assert_ne!(
                script.changes,
                Script::new(seed + 1, Measure::SHORT).changes
            );
        }
    }

    #[test]
    fn changes_come_at_the_rate_that_is_promised_and_in_order() {
        for measure in [Measure::SHORT, Measure::LONG] {
            for seed in 0..200 {
                let script = Script::new(seed, measure);
                let rate = script.changes.len() as f64 / script.lasts.as_secs_f64();
                assert!((9.5..=40.0).contains(&rate), "{seed}: {rate}");
                assert!(script.changes.is_sorted_by_key(|change| change.at));
                assert!(script.troubles.is_sorted_by_key(|trouble| trouble.at));
                assert!(script.changes.iter().all(|change| change.at < script.lasts));
            }
        }
    }

    #[test]
    fn cuts_of_one_line_never_overlap_and_keep_to_their_limit() {
        for seed in 0..500 {
            for machine in 0..MACHINES {
                let cuts = lines(seed, machine, Measure::LONG);
                for pair in cuts.windows(2) {
                    assert!(pair[0].at + pair[0].lasts < pair[1].at);
                }
                let longest = Duration::from_millis(Measure::LONG.longest_cut);
                assert!(cuts.iter().all(|cut| cut.lasts <= longest));
            }
        }
    }

    #[test]
    fn twenty_seeds_have_some_of_everything() {
        let scripts: Vec<_> = (1..=20)
            .map(|seed| Script::new(seed, Measure::SHORT))
            .collect();
        let any = |has: &dyn Fn(&Broken) -> bool| {
            scripts
                .iter()
                .flat_map(|script| &script.troubles)
                .any(|trouble| has(&trouble.what))
        };
        for wanted in Way::ALL {
            assert!(any(
                &|what| matches!(what, Broken::Line { way, .. } if *way == wanted)
            ));
        }
        assert!(any(&|what| matches!(what, Broken::Daemon { .. })));
        assert!(any(&|what| *what == Broken::Server));
        assert!(any(&|what| matches!(what, Broken::Answers { .. })));
        let mut changes = scripts.iter().flat_map(|script| &script.changes);
        let elsewhere = |change: &Change| match &change.what {
            What::Create(create) => match create.target {
                Target::Project(project) => project != change.machine,
                Target::Shared => false,
            },
            _ => false,
        };
        assert!(changes.any(elsewhere));
        assert!(scripts.iter().any(|script| script.is_silent));
        assert!(scripts.iter().any(|script| !script.is_silent));
        assert!(scripts.iter().any(|script| script.is_manual));
        assert!(scripts.iter().any(|script| !script.is_manual));
    }
}
