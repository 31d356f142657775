//! Implementations of the contracts in memory.

mod store;

pub use store::MemoryStore;
