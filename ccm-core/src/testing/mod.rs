//! What tests of CCM and of others' implementations need.

#[cfg(feature = "barriers")]
pub mod barrier;
