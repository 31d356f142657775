//! The engine: what an embedder gets instead of a daemon.
//!
//! It composes the four contracts and keeps them moving with a few reconcilers:
//!
//! - dispatch looks at what is ready, asks the scheduler, claims, and hands each claimed run to an actor;
//! - one actor a run launches or adopts it, takes its output in, stops it when someone decided so, and commits its
//!   outcome;
//! - the agents' reconciler gives every project's agent its place and keeps what is known of it true;
//! - the idle reconciler takes the place of an agent that has been idle for long;
//! - the sync reconciler shares what is here with the user's other machines, and does here what they ask for.
//!
//! Each is idempotent, works from what the store and the runtime say *now*, and is woken by a signal; a timer runs only
//! while something is due. Signals carry no truth, so a lost one costs time and nothing else.
//!
//! **Invariant:** everything an engine knows is in the store or can be asked of the runtime. Dropping it at any moment
//! loses nothing; the next one adopts what goes on.

mod agents;
mod builder;
mod handle;
mod reconcile;
mod sync;
mod tasks;

pub use agents::Cleanup;
pub use builder::EngineBuilder;
pub use handle::Engine;
pub use sync::{DefineTask, OpenConflict};

use std::time::Duration;

use crate::sync::ConflictRule;

/// How an engine shares its queue with other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncLimits {
    /// How long it takes at most until something new is looked for. Stretched while the server says so by itself.
    pub interval: Duration,
    /// After how many tries in a row that failed it is tried rarely. Nothing is ever dropped because of it.
    pub max_retries: u32,
    /// What happens to an edit of a task that another machine edited at the same time.
    pub rule: ConflictRule,
    /// How long a shared task stays this machine's when the server can't be reached any more. A run of it is ended in that
    /// time, and another machine may have it then.
    pub lease: Duration,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            max_retries: 5,
            rule: ConflictRule::LastWriteWins,
            lease: Duration::from_secs(300),
        }
    }
}

/// What bounds an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// The most runs at once.
    pub max_running: u32,
    /// The most tasks that may wait.
    pub max_queued: u64,
    /// How long a run that is being stopped may take after TERM before it gets KILL.
    pub stop_grace: Duration,
    /// How long an agent may be idle before it gives its place back; `None` for ever.
    pub max_idle: Option<Duration>,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            max_running: 10,
            max_queued: 1000,
            stop_grace: Duration::from_secs(5),
            max_idle: None,
        }
    }
}
