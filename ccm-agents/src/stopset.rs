//! Everything that belongs to a run, and ending it.
//!
//! | a process of the run that | is found by | while the host lives | after it was killed |
//! | --- | --- | --- | --- |
//! | descends from the program, or is in its session | descent, session | yes | while the program lives |
//! | was left by its parent | descent: the host is its subreaper | yes | no |
//! | kept `CCM_RUN_ID` in its environment | the mark | yes | yes |
//! | did what it wanted, where runs have a control group | the group, and those in it | yes | yes |
//!
//! So without control groups one thing can't be found: a process that was left by its parent *and* cleared its
//! environment, once the host is gone. With them it is what left its group, too: one that was given to somebody else's
//! (a container, a unit of its own), or moved itself, as the right to make groups includes.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use ccm_core::id::RunId;
use nix::sys::signal::Signal;

use crate::cgroup::Group;
use crate::record::AgentDir;
use crate::sys::proc::{self, Machine, Process, ProcessId};

/// How long an interrupt may work before TERM follows, at most.
const INTERRUPT: Duration = Duration::from_secs(1);
/// How long KILL may take to work before what is left counts as unstoppable.
const KILL: Duration = Duration::from_secs(5);
/// The usual time between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The name of the variable that marks a run's processes.
pub(crate) const RUN_MARK: &str = "CCM_RUN_ID";

/// The processes of a run: by descent, by the mark in their environment, and by their control group.
#[derive(Debug)]
pub(crate) struct StopSet {
    mark: String,
    /// Processes whose descendants belong to the run though they themselves don't: its host.
    hosts: Vec<ProcessId>,
    /// Processes that belong to the run: its program.
    programs: Vec<ProcessId>,
    /// Never touched, nor what descends from them.
    spared: HashSet<ProcessId>,
    /// The run's control group, if it has one.
    group: Option<Group>,
}

/// What of a stop set is alive.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) alive: Vec<ProcessId>,
    /// What they take together, in bytes; what they share counts for each.
    pub(crate) resident: u64,
    /// Who was in the group and could not be told: mostly what was just being started or ended.
    unclear: Vec<u32>,
    /// Somebody is in the group who is to be left alone.
    mixed: bool,
}

impl Scan {
    pub(crate) fn is_empty(&self) -> bool {
        self.alive.is_empty() && self.unclear.is_empty()
    }
}

impl StopSet {
    /// The stop set of `run`, whose host and program are or were these.
    pub(crate) fn new(
        home: &Path,
        run: RunId,
        host: Option<ProcessId>,
        program: Option<ProcessId>,
    ) -> Self {
        let mut spared: HashSet<ProcessId> = ccm_processes(home).into_iter().collect();
        spared.extend(host);
        spared.extend(ProcessId::of(std::process::id()));
        Self {
            mark: format!("{RUN_MARK}={run}"),
            hosts: host.into_iter().collect(),
            programs: program.into_iter().collect(),
            spared,
            group: None,
        }
    }

    /// With all that is in the run's control group, if it has one.
    pub(crate) fn within(mut self, group: Option<Group>) -> Self {
        self.group = group;
        self
    }

    /// Never touches `process`.
    pub(crate) fn spare(&mut self, process: ProcessId) {
        self.spared.insert(process);
    }

    /// What of it is alive now.
    pub(crate) fn scan(&self) -> std::io::Result<Scan> {
        let mut all = proc::all()?;
        let (members, mut scan) = self.members(&mut all)?;
        let mut children: HashMap<u32, Vec<&Process>> = HashMap::new();
        for process in &all {
            children.entry(process.parent).or_default().push(process);
        }
        let mut found = HashSet::new();
        let mut open: Vec<&Process> = Vec::new();
        for process in &all {
            if self.hosts.contains(&process.id) {
                open.extend(children.get(&process.id.pid).into_iter().flatten());
            } else if self.programs.contains(&process.id)
                || members.contains(&process.id)
                || self.in_session(process, &all)
                || (self.may_carry(process) && proc::carries(process.id.pid, &self.mark))
            {
                open.push(process);
            }
        }
        while let Some(process) = open.pop() {
            let pid = process.id.pid;
            if pid <= 1 || self.spared.contains(&process.id) || !found.insert(process.id) {
                continue;
            }
            open.extend(children.get(&pid).into_iter().flatten());
        }
        let alive = all
            .iter()
            .filter(|process| !process.gone && found.contains(&process.id));
        for process in alive {
            scan.alive.push(process.id);
            scan.resident += process.resident;
        }
        Ok(scan)
    }

    /// Those in the run's group that belong to the run. What was started after `all` were listed is added there.
    fn members(&self, all: &mut Vec<Process>) -> std::io::Result<(HashSet<ProcessId>, Scan)> {
        let mut scan = Scan::default();
        let Some(group) = &self.group else {
            return Ok((HashSet::new(), scan));
        };
        let pids: HashSet<u32> = group.members()?.into_iter().collect();
        if pids.is_empty() {
            return Ok((HashSet::new(), scan));
        }
        let known: HashSet<ProcessId> = all.iter().map(|process| process.id).collect();
        // Looked at after the group: who was there before it as well, and is there still, is whom it means.
        let seen: Vec<Process> = pids.iter().filter_map(|pid| proc::look(*pid)).collect();
        let (old, new): (Vec<_>, Vec<_>) =
            seen.iter().partition(|process| known.contains(&process.id));
        let mut sure: Vec<Process> = old;
        if !new.is_empty() {
            // Its number may have been another's a moment ago: then the group does not name it again.
            let again: HashSet<u32> = group.members()?.into_iter().collect();
            let new = new
                .into_iter()
                .filter(|process| again.contains(&process.id.pid));
            for process in new {
                all.retain(|other| other.id.pid != process.id.pid);
                all.push(process);
                sure.push(process);
            }
        }
        // Number 0 stands for a process that can't be seen from here, and so is not of this run.
        scan.mixed = pids.contains(&0);
        let parents: HashMap<u32, &Process> = all
            .iter()
            .map(|process| (process.id.pid, process))
            .collect();
        let sits: HashSet<ProcessId> = sure.iter().map(|process| process.id).collect();
        let told: HashSet<u32> = sits.iter().map(|id| id.pid).collect();
        scan.unclear = pids
            .into_iter()
            .filter(|pid| *pid != 0 && !told.contains(pid))
            .collect();
        let mut members = HashSet::new();
        for process in &sure {
            if self.is_apart(process, &sits, &parents) {
                scan.mixed = true;
            } else {
                members.insert(process.id);
            }
        }
        Ok((members, scan))
    }

    /// Whether a member of the group is spared, or of the family of one that is and sits in the group with it: a daemon
    /// that a run started, its hosts, and their runs, whose groups are in this one.
    ///
    /// One that is spared and sits elsewhere tells nothing: what lost its parent may have been given to it.
    fn is_apart(
        &self,
        process: &Process,
        sits: &HashSet<ProcessId>,
        parents: &HashMap<u32, &Process>,
    ) -> bool {
        let mut at = Some(process);
        // A list that was made while processes came and went might have a circle in it.
        for _ in 0..parents.len() {
            let Some(process) = at else { return false };
            if self.spared.contains(&process.id) && sits.contains(&process.id) {
                return true;
            }
            if self.programs.contains(&process.id) || self.hosts.contains(&process.id) {
                return false;
            }
            at = parents.get(&process.parent).copied();
        }
        false
    }

    /// Whether it is worth a look at a process's environment: what was there before the program was not started by it.
    fn may_carry(&self, process: &Process) -> bool {
        let is_older =
            |program: &ProcessId| proc::STARTS_ARE_ORDERED && process.id.start < program.start;
        !process.gone && !self.programs.iter().any(is_older)
    }

    /// Whether a process is in the session that the run's program leads. Without the leader its number says nothing.
    fn in_session(&self, process: &Process, all: &[Process]) -> bool {
        self.programs.iter().any(|program| {
            process.session == program.pid && all.iter().any(|other| other.id == *program)
        })
    }
}

/// The hosts and the daemon of a home.
fn ccm_processes(home: &Path) -> Vec<ProcessId> {
    let here = Machine::here().ok();
    let mut found: Vec<ProcessId> = std::fs::read_dir(home.join("agents"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| AgentDir::at(entry.path()).host().ok().flatten())
        .filter(|host| Some(&host.machine) == here.as_ref())
        .map(|host| host.process)
        .collect();
    let daemon = std::fs::read(home.join("run/daemon.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|daemon| u32::try_from(daemon.get("pid")?.as_u64()?).ok())
        .and_then(ProcessId::of);
    found.extend(daemon);
    found
}

/// Ends a stop set step by step, so that a single-threaded host can do other things in between.
#[derive(Debug)]
pub(crate) struct Emptier {
    set: StopSet,
    phase: Phase,
    until: Instant,
    grace: Duration,
    signalled: HashSet<ProcessId>,
    seen_empty: bool,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Interrupt,
    Terminate,
    Kill,
    Stuck,
}

/// What a step of ending found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not yet; step again after this long.
    Again(Duration),
    /// Nothing is left, seen twice.
    Empty,
    /// These can't be ended. Stepping on goes on trying.
    Unstoppable(Vec<u32>),
}

impl Emptier {
    /// Ends `set` from the interrupt on.
    pub(crate) fn interrupt(set: StopSet, grace: Duration) -> Self {
        Self::new(set, Phase::Interrupt, INTERRUPT.min(grace), grace)
    }

    /// Ends `set` from TERM on: what a program left behind has nothing to be interrupted in.
    pub(crate) fn terminate(set: StopSet, grace: Duration) -> Self {
        Self::new(set, Phase::Terminate, grace, grace)
    }

    fn new(set: StopSet, phase: Phase, first: Duration, grace: Duration) -> Self {
        Self {
            set,
            phase,
            until: Instant::now() + first,
            grace,
            signalled: HashSet::new(),
            seen_empty: false,
            pause: Duration::from_millis(2),
        }
    }

    /// Takes no longer than `grace` from now until KILL.
    pub(crate) fn hurry(&mut self, grace: Duration) {
        self.grace = self.grace.min(grace);
        self.until = self.until.min(Instant::now() + grace);
    }

    /// Never touches `process`.
    pub(crate) fn spare(&mut self, process: ProcessId) {
        self.set.spare(process);
    }

    /// Looks, signals, and says what is left.
    pub(crate) fn step(&mut self) -> Step {
        // Without a look at the processes nothing is known, and "empty" would be a guess.
        let Ok(scan) = self.set.scan() else {
            return Step::Again(Duration::from_secs(1));
        };
        if scan.is_empty() {
            if self.seen_empty {
                return Step::Empty;
            }
            self.seen_empty = true;
            return Step::Again(Duration::from_millis(1));
        }
        self.seen_empty = false;
        self.advance();
        let kills = matches!(self.phase, Phase::Kill | Phase::Stuck);
        // All at once, which what starts itself anew does not escape. Then each, which may not be in the group.
        if let Some(group) = self.set.group.as_ref().filter(|_| kills && !scan.mixed) {
            group.kill();
        }
        for process in &scan.alive {
            // TERM and INT are said once; KILL is said until it is heard.
            let first = self.signalled.insert(*process);
            let _ = match self.phase {
                Phase::Interrupt if first => process.signal(Signal::SIGINT),
                Phase::Terminate if first => process
                    .signal(Signal::SIGTERM)
                    .and_then(|()| process.signal(Signal::SIGCONT)),
                Phase::Kill | Phase::Stuck => process.signal(Signal::SIGKILL),
                Phase::Interrupt | Phase::Terminate => Ok(()),
            };
        }
        if self.phase == Phase::Stuck {
            let alive = scan.alive.iter().map(|process| process.pid);
            return Step::Unstoppable(alive.chain(scan.unclear).collect());
        }
        self.pause = (self.pause * 2).min(Duration::from_millis(100));
        Step::Again(self.pause)
    }

    fn advance(&mut self) {
        while Instant::now() >= self.until && self.phase != Phase::Stuck {
            let (next, lasts) = match self.phase {
                Phase::Interrupt => (Phase::Terminate, self.grace),
                Phase::Terminate => (Phase::Kill, KILL),
                Phase::Kill | Phase::Stuck => (Phase::Stuck, Duration::ZERO),
            };
            self.phase = next;
            self.until = Instant::now() + lasts;
            self.signalled.clear();
            self.pause = Duration::from_millis(2);
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A shell with a child, both marked, that ignore what can be ignored.
    struct Family {
        shell: Child,
        pids: Vec<u32>,
    }

    impl Family {
        fn of(run: RunId) -> Self {
            let script = "trap '' INT TERM; sleep 1000 & echo $!; wait; wait";
            let mut shell = Command::new("sh")
                .args(["-c", script])
                .env(RUN_MARK, run.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let stdout = shell.stdout.take().unwrap();
            BufReader::new(stdout).read_line(&mut line).unwrap();
            let pids = vec![shell.id(), line.trim().parse().unwrap()];
            Self { shell, pids }
        }

        fn alive(&self) -> usize {
            let ids = self.pids.iter().filter_map(|pid| ProcessId::of(*pid));
            ids.filter(|id| id.is_alive()).count()
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            for id in self.pids.iter().filter_map(|pid| ProcessId::of(*pid)) {
                let _ = id.signal(Signal::SIGKILL);
            }
            let _ = self.shell.wait();
        }
    }

    fn empty(mut emptier: Emptier) -> Step {
        loop {
            match emptier.step() {
                Step::Again(pause) => std::thread::sleep(pause),
                step => return step,
            }
        }
    }

    #[test]
    fn what_carries_the_mark_is_ended_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (RunId::new(), RunId::new());
        let (mine, theirs) = (Family::of(one), Family::of(other));
        let set = StopSet::new(home.path(), one, None, None);
        assert_eq!(set.scan().unwrap().alive.len(), 2);
        let grace = Duration::from_millis(50);
        assert_eq!(empty(Emptier::interrupt(set, grace)), Step::Empty);
        assert_eq!((mine.alive(), theirs.alive()), (0, 2));
    }

    #[test]
    fn a_daemon_that_a_run_started_is_spared_with_its_family() {
        let home = tempfile::tempdir().unwrap();
        let run = RunId::new();
        let family = Family::of(run);
        std::fs::create_dir(home.path().join("run")).unwrap();
        let daemon = format!("{{\"pid\":{}}}", family.pids[0]);
        std::fs::write(home.path().join("run/daemon.json"), daemon).unwrap();
        let set = StopSet::new(home.path(), run, None, None);
        let found: Vec<u32> = set.scan().unwrap().alive.iter().map(|id| id.pid).collect();
        // Its child carries the mark by itself; what does not is not reached through it.
        assert!(!found.contains(&family.pids[0]), "{found:?}");
    }

    #[test]
    fn descent_tells_without_a_mark_and_a_number_alone_does_not() {
        let home = tempfile::tempdir().unwrap();
        let family = Family::of(RunId::new());
        let program = ProcessId::of(family.pids[0]).unwrap();
        let run = RunId::new();
        let set = StopSet::new(home.path(), run, None, Some(program));
        assert_eq!(set.scan().unwrap().alive.len(), 2);
        let earlier = ProcessId {
            start: program.start - 1,
            ..program
        };
        let set = StopSet::new(home.path(), run, None, Some(earlier));
        assert_eq!(set.scan().unwrap().alive, []);
        let mut set = StopSet::new(home.path(), run, None, Some(program));
        set.spare(program);
        assert_eq!(set.scan().unwrap().alive, []);
    }

    #[test]
    fn a_mark_counts_without_descent_if_it_is_no_older_than_the_program() {
        let home = tempfile::tempdir().unwrap();
        let run = RunId::new();
        let program = ProcessId::of(std::process::id()).unwrap();
        let family = Family::of(run);
        let set = StopSet::new(home.path(), run, None, Some(program));
        let found: Vec<u32> = set.scan().unwrap().alive.iter().map(|id| id.pid).collect();
        assert!(
            family.pids.iter().all(|pid| found.contains(pid)),
            "{found:?}"
        );
    }

    #[test]
    fn nobody_ends_himself() {
        let home = tempfile::tempdir().unwrap();
        let me = ProcessId::of(std::process::id()).unwrap();
        let set = StopSet::new(home.path(), RunId::new(), None, Some(me));
        assert!(!set.scan().unwrap().alive.contains(&me));
    }
}
