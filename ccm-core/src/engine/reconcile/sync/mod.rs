//! Shares what is here with the user's other machines, and does here what they ask for.

mod state;

pub(in crate::engine) use state::{Facts, NotHeld, SyncState};

use std::sync::Arc;

use super::Shared;
use crate::Result;

/// Learns which tasks are shared ones before anything is started.
pub(super) async fn know_leases(_shared: &Arc<Shared>) -> Result<()> {
    Ok(())
}

pub(super) fn start(_shared: &Arc<Shared>) {}
