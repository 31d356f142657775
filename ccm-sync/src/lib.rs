//! Backends that let several machines share one CCM queue.
//!
//! [`NullSync`] is a machine of its own, which shares nothing.

mod null;

pub use null::NullSync;
