//! For tests: a Supabase project on this machine.
//!
//! [`Database`] is a PostgreSQL with the roles, schemas and privileges of a project and with CCM's migration;
//! [`Supabase`] has the double of the other parts in front of it (`ccm-sync/tests/double`), on a port of its own. Both
//! run in folders of their own, are nobody else's, and end when the last handle is dropped, or with this process, however
//! it ends.
//!
//! Whatever goes wrong here panics: it fails the test. `scripts/tools postgresql supabase-double` installs what is needed.

mod caller;
mod cluster;
mod faults;
mod place;
mod sql;
mod template;

pub use caller::{Caller, Refusal};
pub use cluster::Durability;
pub use faults::{Fault, Pokes, Wrong};
pub use place::{Options, Snapshot, Supabase};
pub use sql::{Database, Sql};

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of the double.
fn double() -> PathBuf {
    root().join("ccm-sync/tests/double")
}

/// Lets blocking work run beside a runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
