//! Backends that let several machines share one CCM queue.
//!
//! [`NullSync`] is a machine of its own, which shares nothing; [`supabase`] shares through a Supabase project. With
//! [`SwitchableSync`] one takes the place of the other while the engine runs.

mod null;
pub mod supabase;
mod switch;

pub use null::NullSync;
pub use switch::SwitchableSync;
