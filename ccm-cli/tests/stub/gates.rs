//! Places where an answer waits for the test.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<HashMap<String, Gate>>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    open: watch::Sender<bool>,
    waiting: usize,
}

impl Gates {
    /// Lets go on what waits at the gate, and whatever comes to it later.
    pub(crate) fn open(&self, name: &str) {
        let mut gates = self.gates.lock().unwrap();
        let gate = gates.entry(name.to_owned()).or_default();
        gate.open.send_replace(true);
    }

    /// Waits until the gate is open.
    pub(crate) async fn pass(&self, name: &str) {
        let mut open = {
            let mut gates = self.gates.lock().unwrap();
            let gate = gates.entry(name.to_owned()).or_default();
            gate.waiting += 1;
            gate.open.subscribe()
        };
        self.changed.notify_all();
        let _waiting = Waiting { gates: self, name };
        // The gate is never removed, so the other end is there.
        let _ = open.wait_for(|open| *open).await;
    }

    /// Waits until something waits at the gate. `false` if nothing came in time.
    pub(crate) fn await_waiting(&self, name: &str, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut gates = self.gates.lock().unwrap();
        while gates.get(name).is_none_or(|gate| gate.waiting == 0) {
            let Some(left) = patience.checked_sub(begun.elapsed()) else {
                return false;
            };
            gates = self.changed.wait_timeout(gates, left).unwrap().0;
        }
        true
    }
}

/// A request at a gate. The client may leave it there.
struct Waiting<'a> {
    gates: &'a Gates,
    name: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut gates = self.gates.gates.lock().unwrap();
        if let Some(gate) = gates.get_mut(self.name) {
            gate.waiting -= 1;
        }
    }
}
