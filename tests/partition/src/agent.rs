//! What the machines' agents run: it works for as long as the task says, and leaves a line outside at each end.
//!
//! While it works it holds a lock that is the task's, wherever in the world that runs, so two at once can't go unseen.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The file of the lines.
pub(crate) const LOG: &str = "log";

/// What the task's text tells the agent.
pub(crate) fn text(name: &str, works: Duration, fails: bool) -> String {
    let end = if fails { "fail" } else { "succeed" };
    format!("work {} {end}\n{name}\n", works.as_millis())
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) what: Mark,
    pub(crate) task: String,
    pub(crate) run: String,
    pub(crate) machine: usize,
    /// When, in ms since 1970: for people, because all machines have the one clock.
    pub(crate) at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Begin,
    /// The task was being worked on elsewhere.
    Twice,
    Succeeded,
    Failed,
}

impl Mark {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Begin, "begin"),
        (Self::Twice, "twice"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
    ];

    fn as_str(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(mark, _)| *mark == self);
        found.map_or("", |(_, name)| name)
    }
}

/// Reads the log.
pub(crate) fn lines(folder: &Path) -> Result<Vec<Line>, String> {
    let text = match std::fs::read_to_string(folder.join(LOG)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("the log of the agents can't be read: {error}")),
    };
    text.lines()
        .map(|line| parse(line).ok_or_else(|| format!("no line of an agent: {line}")))
        .collect()
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let what = words.next()?;
    let (what, _) = Mark::ALL.into_iter().find(|(_, name)| *name == what)?;
    Some(Line {
        what,
        task: words.next()?.to_owned(),
        run: words.next()?.to_owned(),
        machine: words.next()?.parse().ok()?,
        at: words.next()?.parse().ok()?,
    })
}

/// The agent itself. Returns how it ends.
pub(crate) fn work(folder: &Path, machine: usize) -> Result<u8, String> {
    let told = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (task, run) = (told("CCM_TASK_ID")?, told("CCM_RUN_ID")?);
    let mut text = String::new();
    let failed = |error: std::io::Error| error.to_string();
    std::io::stdin().read_to_string(&mut text).map_err(failed)?;
    let mut words = text.lines().next().unwrap_or_default().split(' ').skip(1);
    let works: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let fails = words.next() == Some("fail");

    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(LOG))
        .map_err(failed)?;
    // One write each, so lines of several never mix.
    let mut say = |what: Mark| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis();
        let line = format!("{} {task} {run} {machine} {now}\n", what.as_str());
        log.write_all(line.as_bytes()).map_err(failed)
    };
    let lock = File::create(folder.join(&task)).map_err(failed)?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    if let Err((_, Errno::EWOULDBLOCK)) = lock {
        say(Mark::Twice)?;
    }
    say(Mark::Begin)?;
    std::thread::sleep(Duration::from_millis(works));
    say(if fails { Mark::Failed } else { Mark::Succeeded })?;
    println!(
        "done by machine {machine}: {}",
        text.lines().nth(1).unwrap_or_default()
    );
    drop(lock);
    Ok(u8::from(fails))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_written_can_be_read() {
        for (what, name) in Mark::ALL {
            let line = Line {
                what,
                task: "t".to_owned(),
                run: "r".to_owned(),
                machine: 3,
                at: 5,
            };
            assert_eq!(parse(&format!("{name} t r 3 5")), Some(line));
        }
        assert_eq!(parse("begin t r 3"), None);
        assert_eq!(parse("began t r 3 5"), None);
    }
}
