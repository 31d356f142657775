//! Named places where a test can hold a program.
//!
//! With `CCM_BARRIERS=DIR` in its environment, a program that comes to the barrier `NAME` while `DIR/NAME.hold` exists
//! writes `DIR/NAME.reached` (its process id) and waits until the hold is deleted.

use std::path::PathBuf;
use std::time::Duration;

/// Waits at the barrier `name` for as long as a test holds it. Blocks the thread.
pub fn wait(name: &str) {
    let Some(dir) = std::env::var_os("CCM_BARRIERS").map(PathBuf::from) else {
        return;
    };
    let hold = dir.join(format!("{name}.hold"));
    if !hold.exists() {
        return;
    }
    let reached = dir.join(format!("{name}.reached"));
    // A test that can't be told would wait for ever, so this is no place for a quiet failure.
    std::fs::write(&reached, std::process::id().to_string())
        .unwrap_or_else(|error| panic!("barrier {}: {error}", reached.display()));
    while hold.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}
