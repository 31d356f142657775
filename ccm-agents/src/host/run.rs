//! One run in the hands of its host, from the launch file to the exit record.
//!
//! ```text
//! start: lock, fork -> gate -> release -> program executes -> prompt -> ... -> program ends
//!                        |                     |                                   |
//!                  (void: child dies)   (error: not_started)        rest is ended, spool synced, exit, reaped
//! ```

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use ccm_core::id::RunId;
use ccm_core::runtime::{Exit, MemoryCut};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use ccm_core::{Error, Reason, Result, barrier};
use nix::sys::stat::Mode;

use super::child::{Failure, Program};
use super::exit;
use super::log::Log;
use super::memory::Memory;
use super::stdin::{Offer, Stdin};
use super::tail::Tail;
use crate::cgroup::{Group, Groups};
use crate::clock;
use crate::deadline::{self, Deadline};
use crate::driver::{Driver, Plan};
use crate::record::{self, ExitRecord, FORMAT, Folder, Gate, LaunchFile, Noted, Passage, RunDir};
use crate::stopset::{Emptier, GRACE, Step, StopSet};
use crate::sys::proc::{Machine, ProcessId};
use crate::sys::{self, Ended, durable};
use crate::terminal;

/// How long a program that was asked to give up may take until it is ended.
const INTERRUPTING: Duration = Duration::from_secs(3);

/// What the host is itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) process: ProcessId,
    pub(crate) machine: Machine,
    /// What a program is given, instead of the host's own strict one.
    pub(crate) umask: Mode,
    /// Where its runs get control groups.
    pub(crate) groups: Groups,
}

/// A run in hand.
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// What every line of the log about it names.
    span: tracing::Span,
    dir: RunDir,
    program: Program,
    child: ProcessId,
    host: ProcessId,
    group: Option<Group>,
    started_at: Timestamp,
    limit: u64,
    /// What bounds its memory, if something does.
    memory: Option<Memory>,
    /// When it is over, if it is a shared task's.
    deadline: Option<Deadline>,
    /// Held for as long as the run is in hand.
    _lock: File,
    spool: [File; 2],
    /// Open until it is known whether the program runs.
    report: Option<PipeReader>,
    failure: Option<Failure>,
    stdin: Option<Stdin>,
    plan: Plan,
    /// The program was asked to give up; if it has not ended by then, it is ended with this grace.
    interrupted: Option<(Instant, Duration)>,
    pub(crate) tail: Tail,
    ended: Option<Ended>,
    ending: Option<Emptier>,
    step_at: Instant,
    stopped: bool,
    output_cut: bool,
    memory_cut: Option<MemoryCut>,
    deadline_cut: bool,
    /// What of it can't be ended.
    pub(crate) unstoppable: Vec<u32>,
    /// The host itself is being ended: no record is true then but its absence.
    pub(crate) abandoned: bool,
    /// Daemons that spoke to the host. One that was started from within the run is no part of it.
    callers: HashSet<ProcessId>,
}

/// What a step of a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Going,
    /// Something of it can't be ended.
    Stuck,
    /// It is over, recorded and reaped.
    Over,
}

impl Run {
    /// Brings a run past its gate; `None` if somebody else has settled that it starts elsewhere or never.
    pub(crate) fn start(
        dir: RunDir,
        launch: LaunchFile,
        me: &Identity,
        log: &mut Log,
    ) -> Result<Option<Self>> {
        let trace = launch.traceparent.as_deref();
        let span = tracing::error_span!("run", run = %dir.run, task = %launch.order.task, trace);
        let _entered = span.clone().entered();
        if launch.format != FORMAT {
            return Err(Error::unavailable(format!(
                "run {} was ordered by another version ({}); restart the daemon",
                dir.run, launch.format
            )));
        }
        let order = launch.order;
        let planned = Driver::named(&order.profile.driver)
            .and_then(|driver| Ok((driver, driver.plan(&order, dir.path())?)));
        let (driver, mut plan) = match planned {
            Ok(planned) => planned,
            Err(cause) => return dir.void(cause).map(|_| None),
        };
        let failed = |error: io::Error| durable::error("prepare", dir.path(), error);
        let deadline = order
            .deadline
            .map(|at| Deadline::new(&dir, &me.machine, at));
        if deadline.as_ref().is_some_and(Deadline::has_come) {
            let why = "the lease of the shared task ended before its program was started";
            return dir
                .void(Setback::new(Reason::NotStarted, why))
                .map(|_| None);
        }
        let Some(lock) = record::take_lock(&dir.file("lock")).map_err(failed)? else {
            return Ok(None);
        };
        let spool = [
            append(&dir, "spool.out").map_err(failed)?,
            append(&dir, "spool.err").map_err(failed)?,
        ];
        let tail = Tail::new(&dir, driver.teller()).map_err(failed)?;
        exit::reserve(&dir).map_err(failed)?;
        append(&dir, "inputs").map_err(failed)?;
        driver.prepare(&order, dir.path()).map_err(failed)?;
        let given = &launch.environment;
        let program = Program::new(
            driver,
            &order,
            given,
            &plan.argv,
            dir_home(&dir),
            me.umask,
            trace,
        )
        .map_err(failed)?;

        let groups = launch.cgroups.then_some((&me.groups, dir.run));
        let waiting = program.fork(groups, &spool[0], &spool[1]).map_err(failed)?;
        barrier!("launch.3.forked");
        let started_at = clock::now();
        let Some(child) = ProcessId::of(waiting.pid) else {
            waiting.dismiss();
            return Err(Error::unavailable("the forked child is not to be seen"));
        };
        let gate = Gate::Passed(Passage {
            child,
            host: me.process,
            machine: me.machine.clone(),
            at: started_at,
            up: Some(clock::up()),
            folder: Folder::at(dir.path()).ok(),
            group: waiting.group.clone(),
        });
        match dir.pass(&gate) {
            Ok(true) => {}
            Ok(false) => {
                waiting.dismiss();
                return Ok(None);
            }
            Err(error) => {
                waiting.dismiss();
                // It may be linked and only not be synced; then it must not say that the child runs.
                return match dir.gate() {
                    Ok(None) => Err(error),
                    _ => exit::unstarted(&dir, &error).map(|()| None),
                };
            }
        }
        barrier!("launch.4.gated");
        log.begin(&order.place.folder);
        log.line(&format!(
            "\x1b[1m▶ {} {}\x1b[m",
            clock::to_second(started_at),
            terminal::line(order.prompt.title().as_str())
        ));
        let group = waiting.group.clone();
        let memory = Memory::new(&order.limits, group.as_ref());
        // If the child is gone its end is seen like any other.
        let released = waiting.release().ok();
        barrier!("launch.5.released");
        let prompt = std::mem::take(&mut plan.first_input);
        let (report, stdin) = released.map_or((None, None), |released| {
            let stdin = Stdin::new(dir.clone(), released.stdin, prompt, plan.then_close);
            (Some(released.report), Some(stdin))
        });
        tracing::info!(
            pid = child.pid,
            driver = order.profile.driver,
            "past its gate"
        );
        Ok(Some(Self {
            id: dir.run,
            span,
            dir,
            program,
            child,
            host: me.process,
            group,
            started_at,
            limit: launch.output_limit,
            memory,
            deadline,
            _lock: lock,
            spool,
            report,
            failure: None,
            stdin,
            plan,
            interrupted: None,
            tail,
            ended: None,
            ending: None,
            step_at: Instant::now(),
            stopped: false,
            output_cut: false,
            deadline_cut: false,
            memory_cut: None,
            unstoppable: Vec::new(),
            abandoned: false,
            callers: HashSet::new(),
        }))
    }

    /// Has what is logged from here on name the run.
    pub(crate) fn enter(&self) -> tracing::span::EnteredSpan {
        self.span.clone().entered()
    }

    /// What tells whether the program runs, while that is open.
    pub(crate) fn report(&self) -> Option<&PipeReader> {
        self.report.as_ref()
    }

    /// The program's standard input, while there is something to write to it.
    pub(crate) fn stdin(&self) -> Option<&PipeWriter> {
        let stdin = self.stdin.as_ref().filter(|_| self.report.is_none());
        stdin.and_then(Stdin::pipe)
    }

    /// Reads the child's report. True if the program runs, known just now.
    pub(crate) fn read_report(&mut self) -> bool {
        let Some(report) = &mut self.report else {
            return false;
        };
        let mut bytes = [0; 5];
        match report.read(&mut bytes) {
            Ok(0) => {
                self.report = None;
                tracing::info!("its program runs");
                self.write_input();
                true
            }
            Ok(count) => {
                self.failure = Failure::from_bytes(&bytes[..count]);
                self.report = None;
                if let Some(stdin) = &mut self.stdin {
                    stdin.end();
                }
                false
            }
            Err(_) => false,
        }
    }

    /// Writes what the program takes without waiting for it.
    pub(crate) fn write_input(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            stdin.write();
        }
    }

    /// Takes an input for the program, whose bytes a daemon has put into the run's folder.
    pub(crate) fn send(&mut self, number: u32) -> Result<Offer> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(Offer::TooLate);
        };
        let path = self.dir.input(number);
        let offer = stdin.offer(number, || {
            std::fs::read(&path).map_err(|error| durable::error("read", &path, error))
        })?;
        // It was read, or is not wanted.
        let _ = std::fs::remove_file(&path);
        Ok(offer)
    }

    /// Nothing more comes for the program.
    pub(crate) fn close_input(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            stdin.close();
        }
    }

    /// What became of inputs since the last call.
    pub(crate) fn settled_inputs(&mut self) -> Vec<(u32, Noted)> {
        self.stdin.as_mut().map(Stdin::settled).unwrap_or_default()
    }

    /// Looks whether the program has ended.
    pub(crate) fn look_for_end(&mut self) {
        if self.ended.is_some() {
            return;
        }
        if let Ok(Some(ended)) = sys::ended_child(Some(self.child.pid)) {
            self.read_report();
            barrier!("launch.7.ended");
            self.ended = Some(ended);
            self.interrupted = None;
            if let Some(stdin) = &mut self.stdin {
                stdin.end();
            }
            if self.ending.is_none() {
                self.ending = Some(Emptier::terminate(self.stop_set(), GRACE));
            }
            self.step_at = Instant::now();
        }
    }

    /// Begins to end everything of the run, on somebody's wish. A program that can be asked to give up, and say what it
    /// has done, is asked first.
    pub(crate) fn stop(&mut self, grace: Duration) {
        self.look_for_end();
        if self.ended.is_none() {
            self.stopped = true;
            tracing::info!(?grace, "is to stop");
            if let (Some(words), Some(stdin)) = (self.plan.interrupt.take(), &mut self.stdin)
                && self.ending.is_none()
                && !grace.is_zero()
                && stdin.interrupt(words)
            {
                self.interrupted = Some((Instant::now() + INTERRUPTING, grace));
            }
        }
        if self.interrupted.is_none() || grace.is_zero() {
            self.interrupted = None;
            self.end_all(grace);
        }
    }

    fn end_all(&mut self, grace: Duration) {
        match &mut self.ending {
            Some(ending) => ending.hurry(grace),
            None => self.ending = Some(Emptier::interrupt(self.stop_set(), grace)),
        }
        self.step_at = Instant::now();
    }

    /// A daemon speaks to the host.
    pub(crate) fn spare(&mut self, caller: ProcessId) {
        self.callers.insert(caller);
        if let Some(ending) = &mut self.ending {
            ending.spare(caller);
        }
    }

    fn stop_set(&self) -> StopSet {
        let mut set = StopSet::new(
            dir_home(&self.dir),
            self.id,
            Some(self.host),
            Some(self.child),
        )
        .within(self.group.clone());
        self.callers.iter().for_each(|caller| set.spare(*caller));
        set
    }

    /// When the host must come back to it without being woken.
    pub(crate) fn due(&self) -> Option<Instant> {
        let step = self.ending.as_ref().map(|_| self.step_at);
        let interrupted = self.interrupted.map(|(until, _)| until);
        let memory = self.bounded_memory().and_then(Memory::due);
        let deadline = self.kept_deadline().map(Deadline::due);
        [step, interrupted, memory, deadline, self.tail.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What bounds its memory, while that is to be looked after: what is being ended takes no more.
    fn bounded_memory(&self) -> Option<&Memory> {
        self.memory.as_ref().filter(|_| self.ending.is_none())
    }

    /// When it is over, while that is to be looked after.
    fn kept_deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref().filter(|_| self.ending.is_none())
    }

    /// Shows new output, and ends a run that takes or wrote too much, or whose time has come.
    pub(crate) fn look(&mut self, log: &mut Log) {
        self.look_at_deadline();
        self.look_at_memory();
        self.look_at_output(log);
    }

    fn look_at_deadline(&mut self) {
        let going = self.ending.is_none();
        let deadline = self.deadline.as_mut().filter(|_| going);
        if !deadline.is_some_and(Deadline::look) {
            return;
        }
        self.look_for_end();
        if self.ended.is_none() && self.ending.is_none() {
            tracing::warn!("the lease of its task has ended");
            self.deadline_cut = true;
            self.end_all(deadline::GRACE);
        }
    }

    fn look_at_memory(&mut self) {
        if self.bounded_memory().is_none() {
            return;
        }
        let mut memory = self.memory.take();
        let cut = memory
            .as_mut()
            .and_then(|memory| memory.look(|| self.stop_set()));
        self.memory = memory;
        if cut.is_none() {
            return;
        }
        self.look_for_end();
        if self.ended.is_none() && self.ending.is_none() {
            self.memory_cut = cut;
            // At once: it would take more while it is asked to stop.
            self.end_all(Duration::ZERO);
        }
    }

    fn look_at_output(&mut self, log: &mut Log) {
        if self.tail.due().is_none_or(|due| due > Instant::now()) {
            return;
        }
        if let Err(error) = self.tail.look(log) {
            tracing::warn!(%error, "could not follow its output");
        }
        let written = self.tail.sizes().unwrap_or_default();
        if written.iter().sum::<u64>() > self.limit && !self.output_cut {
            self.look_for_end();
            if self.ended.is_none() && self.ending.is_none() {
                self.output_cut = true;
                // At once: what floods the disk would go on while it is asked to stop.
                self.end_all(Duration::ZERO);
            }
        }
    }

    /// Goes on with ending the run, if that is due.
    pub(crate) fn step(&mut self, log: &mut Log) -> Progress {
        if let Some((until, grace)) = self.interrupted
            && Instant::now() >= until
        {
            self.interrupted = None;
            self.end_all(grace);
        }
        let Some(ending) = &mut self.ending else {
            return Progress::Going;
        };
        if Instant::now() < self.step_at {
            return Progress::Going;
        }
        let step = ending.step();
        let (pause, progress) = match step {
            Step::Again(pause) => (pause, Progress::Going),
            Step::Unstoppable(pids) => {
                self.unstoppable = pids;
                (Duration::from_secs(1), Progress::Stuck)
            }
            Step::Empty => {
                self.unstoppable.clear();
                self.look_for_end();
                match self.ended {
                    Some(ended) => match self.finish(ended, log) {
                        Ok(()) => return Progress::Over,
                        Err(error) => {
                            // Without its record the run can't be over: a full disk may get room again.
                            tracing::warn!(
                                error = ccm_core::chain(&error),
                                "its end can't be recorded yet"
                            );
                            (Duration::from_secs(1), Progress::Going)
                        }
                    },
                    None => (Duration::from_millis(5), Progress::Going),
                }
            }
        };
        self.step_at = Instant::now() + pause;
        progress
    }

    /// Syncs the spool, writes the record, and only then lets go of the process.
    fn finish(&mut self, ended: Ended, log: &mut Log) -> Result<()> {
        if self.abandoned {
            self.let_go();
            log.line("the agent's host was ended, and the run with it");
            return Ok(());
        }
        let ended_at = clock::now();
        for file in &self.spool {
            file.sync_all()
                .map_err(|error| durable::error("sync the spool in", self.dir.path(), error))?;
        }
        let [out_bytes, err_bytes] = self
            .tail
            .sizes()
            .map_err(|error| durable::error("look at the spool in", self.dir.path(), error))?;
        let exit = Exit {
            code: ended.code,
            signal: ended.signal,
            stopped: self.stopped,
            output_cut: self.output_cut,
            memory_cut: self
                .memory_cut
                .or_else(|| self.memory.as_ref().and_then(Memory::at_end)),
            deadline_cut: self.deadline_cut,
            out_bytes,
            err_bytes,
            ended_at,
        };
        let (record, words) = match self.failure {
            Some(failure) => {
                let cause = self.program.setback(failure);
                let words = format!("not started: {}", cause.detail.as_deref().unwrap_or(""));
                let record = ExitRecord::NotStarted {
                    cause,
                    errno: Some(failure.errno),
                    at: ended_at,
                };
                (record, words)
            }
            None => {
                let words = describe(&exit, ended_at.since(self.started_at));
                let record = ExitRecord::Exited {
                    started_at: self.started_at,
                    exit,
                };
                (record, words)
            }
        };
        if !self.dir.exists() {
            // Somebody deleted it in mid-run; how the run ended is still to be told.
            self.dir.create()?;
        }
        exit::write(&self.dir, &record)?;
        tracing::info!(how = words, "over");
        barrier!("launch.7.recorded");
        self.let_go();
        let _ = self.tail.look(log);
        log.line(&format!(
            "\x1b[1m■ {} {}\x1b[m",
            clock::to_second(ended_at),
            terminal::line(&words)
        ));
        Ok(())
    }

    fn let_go(&self) {
        sys::reap(self.child.pid);
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    /// Reaps what was left to the host by processes that ended, but never the program itself.
    pub(crate) fn reap_orphans(program: Option<&Self>) {
        while let Ok(Some(ended)) = sys::ended_child(None) {
            if program.is_some_and(|run| run.child.pid == ended.pid) {
                return;
            }
            sys::reap(ended.pid);
        }
    }
}

fn describe(exit: &Exit, took: Duration) -> String {
    let how = match (exit.code, exit.signal) {
        _ if exit.memory_cut.is_some() => {
            "ended because it took more memory than it may".to_owned()
        }
        _ if exit.deadline_cut => "ended because the lease of its task has ended".to_owned(),
        _ if exit.output_cut => "ended because it wrote more output than it may".to_owned(),
        _ if exit.stopped => "stopped".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    format!("{how} after {:.1} s", took.as_secs_f64())
}

fn dir_home(dir: &RunDir) -> &std::path::Path {
    let home = dir.path().parent().and_then(std::path::Path::parent);
    home.unwrap_or(std::path::Path::new("/"))
}

fn append(dir: &RunDir, name: &str) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(dir.file(name))
}
