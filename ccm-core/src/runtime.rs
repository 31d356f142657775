//! The contract of running agents: facts about processes, and no decisions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::agent::{AgentFacts, AgentPlace};
use crate::id::{AgentId, RunId, TaskId};
use crate::input::Input;
use crate::project::{AgentProfile, RunLimits};
use crate::run::{Checkpoint, Observation, Reported, Stream};
use crate::task::{Setback, TaskText};
use crate::time::Timestamp;
use crate::transcript::Transcript;
use crate::{Error, ErrorKind, Result};

/// Starts coding agents, finds them again, reads what they say, and ends them.
///
/// # Contract
///
/// - **At most one start**: a run's program is started at most once, whatever is called how often by however many
///   daemons, in whatever order, across kills of the daemon, the runtime's helpers and the machine. The commit point is
///   the runtime's own; afterwards [`inspect`](Self::inspect) tells which side of it the run is on.
/// - **Agents survive the caller**: dropping the runtime, or killing its process, ends no run.
/// - **Facts only**: it reports what is; when to stop, retry or give up is decided elsewhere.
/// - **Everything that belongs to a run** is its *stop set*: the program, its descendants, and every process that still
///   carries the run's mark, also those that left its session or process group; and, where the system keeps such groups,
///   what is in the run's own. Nothing else is ever signalled.
/// - **Memory is bounded**: a run whose stop set takes more than its order allows
///   ([`RunLimits::memory_mb`](crate::project::RunLimits::memory_mb)) is ended, whether the caller lives or not. Its exit
///   record says so, and other runs go on.
///
/// # Cancellation
///
/// Dropping any of these futures leaves a state that `inspect` describes truthfully. Work that had begun may go on.
#[async_trait]
pub trait AgentRuntime: Send + Sync + fmt::Debug {
    /// Gives an agent its place (host, window) and says what is there.
    ///
    /// Idempotent: what is up stays as it is, what is missing is made, a run under way is never disturbed. A host of
    /// another program version is replaced if it is idle.
    ///
    /// # Errors
    /// `Unavailable` when a part can't be made now, with the sentence that tells a person how to mend it.
    async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts>;

    /// Takes an agent's place away: its host and its window. Idempotent; an unknown agent is no error.
    ///
    /// # Errors
    /// `WrongState(Agent)` while it has a run; stop that first.
    async fn stop_agent(&self, agent: AgentId) -> Result<()>;

    /// Takes an agent's place away even if it does not answer: then its host is ended by force, and a run that it had
    /// in hand is cut. One that answers is stopped as [`stop_agent`](Self::stop_agent) does it. Idempotent; an unknown
    /// agent is no error.
    ///
    /// # Errors
    /// `WrongState(Agent)` while it answers and has a run; stop that first.
    async fn kill_agent(&self, agent: AgentId) -> Result<()>;

    /// Every agent of this home that has a host or a window now.
    async fn agents(&self) -> Result<Vec<AgentFacts>>;

    /// The command with which a person joins an agent's terminal in a view of their own. Ending the view ends nothing
    /// else.
    ///
    /// # Errors
    /// `NotFound(Agent)` without a place; `Unsupported` by a runtime without terminals.
    async fn attach_command(&self, agent: AgentId) -> Result<AttachCommand>;

    /// Has a person's own session of the coding CLI in the agent's terminal from now on, instead of the view of its runs. It
    /// outlives the caller, and is there again when the terminal was lost.
    ///
    /// Idempotent: a session that is there stays as it is. [`hand_back`](Self::hand_back), and whatever takes the agent's
    /// place away, ends it.
    ///
    /// # Errors
    /// `Unsupported` by a runtime without terminals, and for a program that nobody can sit with.
    async fn take_over(&self, order: &SittingOrder) -> Result<()>;

    /// Ends everything of a person's session in the agent's terminal, as [`stop`](Self::stop) ends a run, and shows its runs
    /// again. Idempotent; an agent without a session is handed back already.
    async fn hand_back(&self, agent: AgentId, grace: Duration) -> Result<Stopped>;

    /// Starts a run's program, giving the agent its place first if need be. Returns once it is known whether the
    /// program runs.
    ///
    /// Idempotent by run id: a run that was started, even if it is over, answers as [`inspect`](Self::inspect) would.
    ///
    /// # Errors
    /// `Unavailable` when it is not known what happened: ask `inspect`, which settles it. `WrongState(Agent)` when the
    /// agent has another run in hand.
    async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus>;

    /// What is known of a run, settling what is open: a run that has not passed its commit point when this returns
    /// [`RunEnd::NeverStarted`] never will.
    ///
    /// For a run that is over with no record of how, the stop set is emptied before the answer.
    async fn inspect(&self, run: RunId) -> Result<RunStatus>;

    /// Every run of this home of which the runtime has data, known to the caller or not.
    async fn runs(&self) -> Result<Vec<RunId>>;

    /// The next part of a run's output after `from`, at most about 1 MiB, in whole lines. Empty when there is nothing
    /// new. Reading the same place twice gives the same answer.
    ///
    /// `end` is what `inspect` said, once the run is over: then an unterminated last line counts, and the batch that
    /// reaches the end says what the program reported.
    async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch>;

    /// Bytes of a run's output from `offset`, at most `limit`, as they were written.
    ///
    /// # Errors
    /// `NotFound(Run)` when the run has no data, or no longer.
    async fn output(&self, run: RunId, stream: Stream, offset: u64, limit: u64) -> Result<Chunk>;

    /// What the agent said and did after a place, told in its own terms, at most about `limit` entries.
    ///
    /// With `to`, which is where a line ended, what comes after that place is as if it were not there.
    ///
    /// Made from the output as it is now, so it may be asked for while the run goes on and after it.
    ///
    /// # Errors
    /// `NotFound(Run)` when the run has no data, or no longer.
    async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        limit: u32,
    ) -> Result<Transcript>;

    /// Gives a run's program an input after its prompt. Returns once the program's input has taken it, or never will.
    ///
    /// Idempotent by the input's number, also across daemons and after the run's end: it is written at most once.
    ///
    /// # Errors
    /// `Unavailable` when it is not known what happened: send it again. `Unsupported` when the program takes nothing
    /// after its prompt.
    async fn send(&self, run: RunId, input: &Input) -> Result<Sent>;

    /// Whether a run's program can be interrupted: it stops what it does and waits for its next input, without coming to
    /// its end.
    ///
    /// # Errors
    /// `NotFound(Run)` when the run has no data, or no longer.
    async fn can_interrupt(&self, run: RunId) -> Result<bool>;

    /// Lets a run's program know that nothing more will come, once what was sent is written. Idempotent; a run that is
    /// over, or unknown, is closed already.
    async fn close_input(&self, run: RunId) -> Result<()>;

    /// Returns when [`read`](Self::read) or [`inspect`](Self::inspect) may have something new since the call began to
    /// wait, and now and then without reason. Never polls faster than once a second.
    async fn changed(&self, run: RunId) -> Result<()>;

    /// Ends everything in the run's stop set: interrupt (in the program's own terms, if it has some), then TERM, then
    /// after `grace` KILL, until it was seen empty twice. Idempotent; a run that is over, or unknown, is stopped already.
    async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped>;

    /// What an agent uses now: its host, and everything that belongs to its run. `None` without a process.
    async fn resources(&self, agent: AgentId) -> Result<Option<Resources>>;

    /// Moves the time at which a run is ended if nobody moves it further ([`LaunchOrder::deadline`]). Idempotent; a run that
    /// is over, or unknown, has none.
    ///
    /// # Errors
    /// `Unsupported` by a runtime that can't end a run while nobody is there to tell it to, which is what it does by
    /// default: then a shared task that runs while the caller is dead goes on until the caller is back.
    async fn set_deadline(&self, _run: RunId, _deadline: Duration) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "this runtime keeps no deadlines",
        ))
    }

    /// Deletes a run's data. Idempotent.
    ///
    /// # Errors
    /// `WrongState(Run)` while it is alive.
    async fn discard(&self, run: RunId) -> Result<()>;
}

/// Everything needed to start a run's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchOrder {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: TaskId,
    /// Whose place it runs in.
    pub place: AgentPlace,
    /// Which program.
    pub profile: AgentProfile,
    /// What bounds it.
    pub limits: RunLimits,
    /// What the agent is to do.
    pub prompt: TaskText,
    /// The conversation to go on with.
    pub resume: Option<Resume>,
    /// When the run is ended, whether the caller lives or not, unless [`AgentRuntime::set_deadline`] moves it; `None` for
    /// never. In the time since the machine was booted, with the time that it was suspended
    /// ([`Clock::since_boot`](crate::time::Clock::since_boot)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// Everything needed to let a person sit with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SittingOrder {
    /// Marks every process of it, as a run's id does those of a run.
    pub id: RunId,
    /// In whose place.
    pub place: AgentPlace,
    /// Which program.
    pub profile: AgentProfile,
    /// The coding CLI's name for the conversation to go on with; a new one without.
    pub session_id: Option<String>,
}

/// A conversation to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The coding CLI's name for it.
    pub session_id: String,
    /// Whether it broke off in the middle of this very task. The agent is told, so that it looks at what is done.
    pub cut: bool,
}

/// What became of an input that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It was written to the program, now or earlier.
    Written,
    /// The program takes no more.
    TooLate,
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunStatus {
    /// Its program was started and is not known to have ended.
    Running(RunProcess),
    /// It is over and nothing of it is left.
    Ended {
        /// How it ended.
        end: RunEnd,
        /// When its program had been started, if it was and that is known.
        started_at: Option<Timestamp>,
    },
    /// It is over, but these processes of it can't be ended.
    Unstoppable(Vec<u32>),
}

/// A run's program. Two looks at the same one are equal, whatever its age is by then.
#[derive(Debug, Clone)]
pub struct RunProcess {
    /// Its process id.
    pub pid: u32,
    /// When it passed the commit point, as the clock was then.
    pub started_at: Timestamp,
    /// How long ago that was, by a clock that nobody sets; `None` where there is none.
    pub age: Option<Duration>,
    /// Whether its host answered just now. If not, only its end, a stop or a timeout ends the run.
    pub answers: bool,
}

impl PartialEq for RunProcess {
    fn eq(&self, other: &Self) -> bool {
        (self.pid, self.started_at, self.answers) == (other.pid, other.started_at, other.answers)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEnd {
    /// No program was started, and none will be.
    NeverStarted(Setback),
    /// There is a record of its end.
    Exited(Exit),
    /// It was cut without a record: its host or the machine died.
    Gone,
}

/// The record of a program's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether a stop had been sent to it before it ended.
    pub stopped: bool,
    /// Whether it was ended because it wrote more output than it may.
    pub output_cut: bool,
    /// If it was ended because it took more memory than it may: how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_cut: Option<MemoryCut>,
    /// Whether it was ended because its deadline came.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deadline_cut: bool,
    /// Final size of standard output. Later bytes are of grandchildren and don't count.
    pub out_bytes: u64,
    /// Final size of standard error.
    pub err_bytes: u64,
    /// When it ended.
    pub ended_at: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "that is how serde asks")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a run took when it was ended for taking too much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCut {
    /// What its program and everything that belongs to it took together, in MiB. Where the system itself refuses more,
    /// it is no more than the limit.
    pub used_mb: u64,
    /// What it was allowed, in MiB.
    pub limit_mb: u64,
}

/// What became of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The stop set is empty.
    Empty,
    /// These processes did not end.
    Unstoppable(Vec<u32>),
}

/// A part of a run's output, as its driver reads it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// What was seen, in order.
    pub observations: Vec<Observation>,
    /// Where the next read goes on; equal to where this one began if there was nothing.
    pub checkpoint: Checkpoint,
    /// What the program reported, in the batch that reaches the end.
    pub reported: Reported,
    /// The last line of standard error, in the batch that reaches the end.
    pub last_words: Option<String>,
    /// Whether the program has reported, has nothing under way and only waits for more input; or will never report,
    /// because what it wrote was cut.
    pub resting: bool,
    /// Whether this read reached everything that is there now.
    pub complete: bool,
}

/// Bytes of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many there are in all, now.
    pub size: u64,
}

/// A program for a person to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttachCommand {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Environment on top of the caller's.
    pub env: BTreeMap<String, String>,
    /// What to run instead for a caller who sits in that terminal server already, where a view can't be nested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<InsideCommand>,
}

/// How a terminal that belongs to the agents' own terminal server joins an agent: it switches over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InsideCommand {
    /// The server's socket. A caller sits in this server if their variable `TMUX` holds this path before its first
    /// comma.
    pub socket: String,
    /// The program and its arguments, run with the caller's environment.
    pub argv: Vec<String>,
}

/// What a process tree uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Resources {
    /// Memory of the whole tree. What several of its processes share counts once, where the system tells.
    pub memory_bytes: u64,
    /// Processor time used so far by the whole tree.
    pub cpu_time: Duration,
    /// How many processes it has.
    pub processes: u32,
}
