//! The domain, the four contracts and the engine of CCM.
//!
//! An embedder implements or chooses a [`Store`], an [`AgentRuntime`], a [`Scheduler`] and a [`SyncBackend`], and
//! composes them with [`engine::Engine::builder`]. Nothing here knows a database, a server, a terminal or a home
//! directory.

pub mod agent;
pub mod api;
pub mod ask;
pub mod engine;
mod error;
pub mod event;
pub mod id;
pub mod input;
pub mod project;
mod reason;
pub mod run;
pub mod runtime;
pub mod schedule;
pub mod scheduler;
pub mod stats;
pub mod store;
pub mod sync;
pub mod system;
pub mod task;
pub mod testing;
pub mod time;
pub mod transcript;

pub use error::{Error, ErrorKind, Noun, Result, Retry, chain};
pub use reason::Reason;
pub use runtime::AgentRuntime;
pub use scheduler::Scheduler;
pub use store::Store;
pub use sync::SyncBackend;

/// Holds the program at a place that a test named, if it was built with the feature `barriers`.
#[macro_export]
macro_rules! barrier {
    ($name:expr) => {
        #[cfg(feature = "barriers")]
        $crate::testing::barrier::wait($name);
    };
}
