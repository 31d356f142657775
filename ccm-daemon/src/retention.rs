//! Data of runs that ended long ago: what they wrote is deleted, what became of them stays in the database.

use std::sync::Arc;
use std::time::Duration;

use ccm_core::engine::Engine;
use ccm_core::run::RunState;
use ccm_core::time::{Clock, SystemClock, Timestamp};
use ccm_core::{ErrorKind, Noun, Result, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::machine::Config;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Deletes what is older than the config says, now, once a day and whenever that changes, until it is stopped.
pub(crate) async fn keep(
    engine: &Engine,
    mut config: watch::Receiver<Arc<Config>>,
    stopping: CancellationToken,
) {
    loop {
        let days = config.borrow_and_update().retention.days;
        let swept = tokio::select! {
            () = stopping.cancelled() => return,
            swept = sweep(engine, DAY * days) => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, days, "deleted what old runs wrote"),
            // The next day is soon enough.
            Err(error) => tracing::warn!(error = chain(&error), "old runs can't be looked through"),
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(DAY) => {}
            Ok(_) = config.wait_for(|config| config.retention.days != days) => {}
        }
    }
}

/// Deletes the data of the runs that ended longer than `age` ago. Returns how many they were.
async fn sweep(engine: &Engine, age: Duration) -> Result<u64> {
    let now = SystemClock.now();
    let mut count = 0;
    for id in engine.runtime().runs().await? {
        let run = match engine.store().run(id).await {
            Ok(run) => run,
            // Not ours to judge: perhaps an older database was restored.
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => continue,
            Err(error) => return Err(error),
        };
        if !is_old(&run.state, now, age) {
            continue;
        }
        match engine.runtime().discard(id).await {
            Ok(()) => count += 1,
            Err(error) => tracing::warn!(run = %id, error = chain(&error), "an old run stays"),
        }
    }
    Ok(count)
}

fn is_old(state: &RunState, now: Timestamp, age: Duration) -> bool {
    match state {
        RunState::Ended { finished_at, .. } => now.since(*finished_at) > age,
        _ => false,
    }
}
