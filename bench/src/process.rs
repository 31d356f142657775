//! What a process takes, as Linux counts it. Elsewhere these figures are left out.

/// What a process has cost so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// How often one of its threads was given a processor.
    pub(crate) wakeups: u64,
    /// For how long, in seconds.
    pub(crate) cpu: f64,
}

/// What a process holds, in MB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// All that is resident.
    pub(crate) rss: f64,
    /// The same with what is shared divided by those who share it.
    pub(crate) pss: f64,
    /// What is its own, and would not be there without it: no pages of files.
    pub(crate) own: f64,
}

pub(crate) fn spent(pid: u32) -> Option<Spent> {
    let mut spent = Spent {
        wakeups: 0,
        cpu: 0.0,
    };
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
    {
        // Time on a processor in ns, time waited for one, times it was given one.
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let mut words = text.split_whitespace();
        spent.cpu += words.next()?.parse::<f64>().ok()? / 1e9;
        spent.wakeups += words.nth(1)?.parse::<u64>().ok()?;
    }
    Some(spent)
}

pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kb = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(number * 1024.0 / 1e6)
    };
    Some(Memory {
        rss: kb("Rss:")?,
        pss: kb("Pss:")?,
        own: kb("Anonymous:")?,
    })
}
