//! What the service manager is told, if one listens.

use std::convert::Infallible;
use std::future::Future;

use sd_notify::NotifyState;

/// How `systemctl status` and `ccm daemon start` begin to show why the daemon ended.
pub const FAILED: &str = "error: ";

/// Tells why the daemon can't go on, as its last word.
pub(crate) fn failed(message: &str) {
    // A status is one line.
    let line: Vec<_> = message.lines().map(str::trim).collect();
    let status = format!("{FAILED}{}", line.join("; "));
    // A manager that is not there needs no word of it.
    let _ = sd_notify::notify(&[NotifyState::Status(&status)]);
}

/// Tells a manager that watches over this process that it is alive, for as long as `alive` comes to an end in time,
/// whatever that end is. For ever, or not at all if nobody asks for it.
pub(crate) async fn keep_watchdog<T, F: Future<Output = T>>(
    mut alive: impl FnMut() -> F,
) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut rounds = tokio::time::interval(limit / 2);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match tokio::time::timeout(limit / 4, alive()).await {
            Ok(_) => {
                if let Err(error) = sd_notify::notify(&[NotifyState::Watchdog]) {
                    tracing::warn!(%error, "the service manager can't be told that the daemon is alive");
                }
            }
            Err(_) => tracing::error!(
                "the database does not answer; the service manager will start the daemon anew if that lasts"
            ),
        }
    }
}
