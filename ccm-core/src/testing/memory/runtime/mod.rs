//! A runtime without processes, which tests script.

mod contract;
mod programs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use programs::Step;

use crate::id::{AgentId, RunId};
use crate::input::Input;
use crate::run::{Observation, Report, Stream};
use crate::runtime::{Exit, LaunchOrder, MemoryCut, RunEnd, SittingOrder};
use crate::task::Setback;
use crate::time::{Clock, Timestamp};

/// An [`AgentRuntime`](crate::AgentRuntime) in memory.
///
/// Handles made with [`another`](Self::another) share the home, so that dropping one and making another is a daemon
/// that was killed and started again. A profile with the driver `command` runs the program whose name is the first word
/// of its command, any other one the program with the driver's name; programs are made with [`program`](Self::program).
pub struct MemoryRuntime {
    shared: Arc<Shared>,
    /// What [`changed`](crate::AgentRuntime::changed) of this handle has told of each run.
    told: Mutex<HashMap<RunId, u64>>,
}

struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Grows with every change of any run.
    version: watch::Sender<u64>,
}

type Program = dyn Fn(&LaunchOrder) -> Vec<Step> + Send + Sync;

struct State {
    programs: HashMap<String, Arc<Program>>,
    hosts: BTreeMap<AgentId, Host>,
    runs: BTreeMap<RunId, RunData>,
    released: BTreeSet<String>,
    starts: HashMap<String, usize>,
    launch_faults: VecDeque<LaunchFault>,
    next_pid: u32,
    version: u64,
}

struct Host {
    pid: u32,
    window: Option<String>,
    answers: bool,
    run: Option<RunId>,
    watched: bool,
    sits: Option<SittingOrder>,
}

struct RunData {
    agent: AgentId,
    pid: u32,
    started_at: Option<Timestamp>,
    phase: Phase,
    /// What the program has still to do.
    steps: VecDeque<Step>,
    prompt: String,
    /// What it was given after its prompt.
    inputs: Inputs,
    /// What its driver sees in the lines of standard output that end here.
    said: Vec<(u64, Observation)>,
    /// How it says that it went.
    report: Option<Report>,
    /// Whether it says itself how it went, so that output alone is no report.
    reports: bool,
    out: Vec<u8>,
    err: Vec<u8>,
    /// Processes of the run beside its program.
    family: Vec<u32>,
    /// Those that no stop ends.
    unstoppable: Vec<u32>,
    /// The most memory that it may take, and what it takes, in MiB.
    limit_mb: Option<u64>,
    memory_mb: u64,
    launches: usize,
    changed: u64,
}

/// The input of a program after its prompt.
#[derive(Default)]
struct Inputs {
    /// Whether the program reads it at all.
    read: bool,
    /// Whether there is nothing more to come.
    closed: bool,
    /// What was written and not read yet.
    unread: VecDeque<Input>,
    /// What the program has read.
    taken: Vec<Input>,
    /// The numbers of what was written.
    written: BTreeSet<u32>,
}

enum Phase {
    /// Under way.
    Alive,
    /// Over.
    Ended(RunEnd),
    /// Its data were discarded; only what must not happen again is still known.
    Discarded(RunEnd),
}

/// How a launch goes wrong on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchFault {
    /// The answer is `Unavailable`, and the program was not started: a later launch or an inspection settles it.
    BeforeCommit,
    /// The answer is `Unavailable`, and the program was started.
    AfterCommit,
    /// The program can't be started.
    NeverStarts(Setback),
}

impl MemoryRuntime {
    /// A runtime with an empty home, whose times are those of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            programs: HashMap::new(),
            hosts: BTreeMap::new(),
            runs: BTreeMap::new(),
            released: BTreeSet::new(),
            starts: HashMap::new(),
            launch_faults: VecDeque::new(),
            next_pid: 1_000,
            version: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                clock,
                version: watch::Sender::new(0),
            }),
            told: Mutex::default(),
        }
    }

    /// Another handle on the same home.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            told: Mutex::default(),
        }
    }

    /// Makes a program: what it does when it is started with an order.
    pub fn program<F>(&self, name: &str, steps: F)
    where
        F: Fn(&LaunchOrder) -> Vec<Step> + Send + Sync + 'static,
    {
        self.lock()
            .programs
            .insert(name.to_owned(), Arc::new(steps));
    }

    /// Lets every [`Step::Wait`] for `name` go on, those to come as well.
    pub fn release(&self, name: &str) {
        let mut state = self.lock();
        state.released.insert(name.to_owned());
        let runs: Vec<RunId> = state.runs.keys().copied().collect();
        for run in runs {
            self.advance(&mut state, run);
        }
    }

    /// How often a program said with [`Step::Started`] that it started under this name.
    pub fn starts(&self, name: &str) -> usize {
        self.lock().starts.get(name).copied().unwrap_or(0)
    }

    /// How often a run's program was started: at most once, if the runtime keeps its word.
    pub fn launches(&self, run: RunId) -> usize {
        self.lock().runs.get(&run).map_or(0, |run| run.launches)
    }

    /// Makes the next launch that is not the repetition of an earlier one go wrong. Several are kept in order.
    pub fn fail_launch(&self, fault: LaunchFault) {
        self.lock().launch_faults.push_back(fault);
    }

    /// Kills an agent's host, and with it the program it owns: its run is over without a record.
    pub fn kill_host(&self, agent: AgentId) {
        let mut state = self.lock();
        if let Some(run) = state.hosts.remove(&agent).and_then(|host| host.run) {
            self.end(&mut state, run, RunEnd::Gone);
        }
    }

    /// The machine is switched off and on: every host and every run is cut.
    pub fn reboot(&self) {
        let agents: Vec<AgentId> = self.lock().hosts.keys().copied().collect();
        for agent in agents {
            self.kill_host(agent);
        }
    }

    /// Whether an agent's host answers, if it has one.
    pub fn set_answers(&self, agent: AgentId, answers: bool) {
        let mut state = self.lock();
        if let Some(host) = state.hosts.get_mut(&agent) {
            host.answers = answers;
            let run = host.run;
            self.touch(&mut state, run);
        }
    }

    /// Whether a person looks at an agent's terminal, if it has a host.
    pub fn set_watched(&self, agent: AgentId, watched: bool) {
        if let Some(host) = self.lock().hosts.get_mut(&agent) {
            host.watched = watched;
        }
    }

    /// The session with which a person sits in an agent's place.
    pub fn sitting(&self, agent: AgentId) -> Option<SittingOrder> {
        self.lock().hosts.get(&agent)?.sits.clone()
    }

    /// Gives a run processes that no stop ends; an empty list lets them end.
    pub fn set_unstoppable(&self, run: RunId, pids: Vec<u32>) {
        let mut state = self.lock();
        if let Some(data) = state.runs.get_mut(&run) {
            data.unstoppable = pids;
        }
        self.touch(&mut state, Some(run));
    }

    /// What a run's program has read of its inputs: each at most once, if the runtime keeps its word.
    pub fn taken(&self, run: RunId) -> Vec<Input> {
        let state = self.lock();
        let data = state.runs.get(&run);
        data.map_or_else(Vec::new, |run| run.inputs.taken.clone())
    }

    /// Has a run's program write.
    pub fn write(&self, run: RunId, stream: Stream, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some(data) = state.runs.get_mut(&run)
            && matches!(data.phase, Phase::Alive)
        {
            data.spool_mut(stream).extend_from_slice(bytes);
            self.touch(&mut state, Some(run));
        }
    }

    /// Has a run's program end by itself, wherever it is.
    pub fn exit(&self, run: RunId, code: i32) {
        let mut state = self.lock();
        self.end_with(&mut state, run, Some(code), None, false);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that there is something new about a run, and wakes who waits for it.
    fn touch(&self, state: &mut State, run: Option<RunId>) {
        state.version += 1;
        let version = state.version;
        if let Some(data) = run.and_then(|run| state.runs.get_mut(&run)) {
            data.changed = version;
        }
        self.shared.version.send_replace(version);
    }

    fn end_with(
        &self,
        state: &mut State,
        run: RunId,
        code: Option<i32>,
        signal: Option<i32>,
        stopped: bool,
    ) {
        let Some(data) = state.runs.get(&run) else {
            return;
        };
        let exit = Exit {
            code,
            signal,
            stopped,
            ..self.killed(data)
        };
        self.end(state, run, RunEnd::Exited(exit));
    }

    /// Ends a run that took more memory than it may.
    fn cut(&self, state: &mut State, run: RunId, cut: MemoryCut) {
        let Some(data) = state.runs.get(&run) else {
            return;
        };
        let exit = Exit {
            memory_cut: Some(cut),
            ..self.killed(data)
        };
        self.end(state, run, RunEnd::Exited(exit));
    }

    fn killed(&self, data: &RunData) -> Exit {
        Exit {
            code: None,
            signal: Some(9),
            stopped: false,
            output_cut: false,
            memory_cut: None,
            deadline_cut: false,
            out_bytes: data.out.len() as u64,
            err_bytes: data.err.len() as u64,
            ended_at: self.shared.clock.now(),
        }
    }

    fn end(&self, state: &mut State, run: RunId, end: RunEnd) {
        let Some(data) = state.runs.get_mut(&run) else {
            return;
        };
        if !matches!(data.phase, Phase::Alive) {
            return;
        }
        data.phase = Phase::Ended(end);
        data.family.clear();
        data.steps.clear();
        if let Some(host) = state.hosts.get_mut(&data.agent) {
            host.run = None;
        }
        self.touch(state, Some(run));
    }
}

impl RunData {
    fn spool(&self, stream: Stream) -> &Vec<u8> {
        match stream {
            Stream::Out => &self.out,
            Stream::Err => &self.err,
        }
    }

    fn spool_mut(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }
}

impl State {
    fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }
}

impl fmt::Debug for MemoryRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRuntime").finish_non_exhaustive()
    }
}
