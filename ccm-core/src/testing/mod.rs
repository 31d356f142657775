//! What tests of CCM and of others' implementations need.
//!
//! With the feature `conformance`: [`conformance`] has the suites that every implementation of a contract runs, and
//! [`memory`] has implementations of all contracts that need no disk, no process, no network and no waiting.

#[cfg(feature = "barriers")]
pub mod barrier;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "conformance")]
pub mod memory;
