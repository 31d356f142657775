//! The engine: what an embedder gets instead of a daemon.
//!
//! It composes the four contracts and keeps them moving with a few reconcilers:
//!
//! - dispatch looks at what is ready, asks the scheduler, claims, and hands each claimed run to an actor;
//! - one actor a run launches or adopts it, takes its output in, stops it when someone decided so, and commits its
//!   outcome;
//! - the agents' reconciler gives every project's agent its place and keeps what is known of it true;
//! - the idle reconciler takes the place of an agent that has been idle for long.
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
mod tasks;

pub use agents::Cleanup;
pub use builder::EngineBuilder;
pub use handle::Engine;

use std::time::Duration;

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
