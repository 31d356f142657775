//! Implementations of the contracts in memory, and a clock that tests move.

mod clock;
mod runtime;
mod store;
mod sync;

pub use clock::FakeClock;
pub use runtime::{LaunchFault, MemoryRuntime, Step};
pub use store::MemoryStore;
pub use sync::{MemoryBackup, MemoryServer, MemorySync, SyncFault};
