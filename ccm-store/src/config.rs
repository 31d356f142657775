//! How a database is opened.

use std::time::Duration;

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// The most connections that read at once, beside the one that writes. They are opened when they are needed.
    pub pool_size: u32,
    /// How long to wait for another program that has the database locked, such as a backup.
    pub busy_timeout: Duration,
    /// The most bytes that the database may grow to; writes beyond it fail with
    /// [`DiskFull`](ccm_core::ErrorKind::DiskFull). `None` for as much as the disk holds.
    pub max_bytes: Option<u64>,
    /// Room that a file beside the database (`NAME.reserve`) holds, in bytes. It is given up when the disk is full, so
    /// that runs can still be ended and tasks cancelled; new tasks are refused until it could be taken again. 0 for none.
    pub reserve_bytes: u64,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            pool_size: 4,
            busy_timeout: Duration::from_secs(5),
            max_bytes: None,
            reserve_bytes: 2 * 1024 * 1024,
        }
    }
}
