//! What a process takes, as Linux counts it. Elsewhere these figures are left out.

use std::collections::BTreeMap;

/// What a process has cost so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    /// How often each of its threads was given a processor.
    threads: BTreeMap<String, u64>,
    /// For how long, in seconds, with threads that have ended; a hundredth is the least that is counted.
    cpu: f64,
}

impl Spent {
    /// Wake-ups since `before`, and seconds of a processor. Of a thread that ended only its end is known.
    pub(crate) fn since(&self, before: &Self) -> (u64, f64) {
        let known = |thread| before.threads.get(thread).copied().unwrap_or(0);
        let on = self.threads.iter();
        let woken: u64 = on.map(|(thread, count)| count - known(thread)).sum();
        let ended = before.threads.keys();
        let ended = ended.filter(|thread| !self.threads.contains_key(*thread));
        (woken + ended.count() as u64, self.cpu - before.cpu)
    }
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
    let mut threads = BTreeMap::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .ok()?
        .flatten()
    {
        // Time on a processor, time waited for one, times it was given one.
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let count = text.split_whitespace().nth(2)?.parse().ok()?;
        threads.insert(thread.file_name().to_string_lossy().into_owned(), count);
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have spaces; what follows it begins with the third field, and 14 and 15 are the ticks.
    let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
    Some(Spent {
        threads,
        cpu: (ticks(14)? + ticks(15)?) / 100.0,
    })
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
