//! The config that is in force: what the daemon started with, and what was reloaded since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ccm_core::api::{ConfigChange, Reload};
use serde_json::Value;
use tokio::sync::watch;

use crate::machine::config::{self, Config, Unknown};
use crate::machine::schema::{Applied, Key, MACHINE};
use crate::machine::{ConfigErrors, Home, Problem};

/// The config in force. Clones are the same one.
///
/// **Invariant:** a key that needs a restart never changes here, so nobody who looks later sees half of such a change.
#[derive(Debug, Clone)]
pub struct Settings {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    home: Home,
    /// The value of each key. Held over a whole reload, so that two don't mix.
    values: Mutex<BTreeMap<&'static str, Value>>,
    config: watch::Sender<Arc<Config>>,
}

impl Settings {
    /// The config of `home` as its file is now, and what is odd about the file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn load(home: &Home) -> Result<(Self, Vec<Problem>), ConfigErrors> {
        let text = config::read(home)?;
        let (loaded, checked) = Config::checked(home, &text, Unknown::Warned)?;
        let keys = MACHINE.keys.iter();
        let values = keys.map(|key| (key.path, checked.get(key.path))).collect();
        let inner = Inner {
            home: home.clone(),
            values: Mutex::new(values),
            config: watch::Sender::new(Arc::new(loaded.config)),
        };
        let settings = Self {
            inner: Arc::new(inner),
        };
        Ok((settings, loaded.warnings))
    }

    /// What counts now.
    pub fn current(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.borrow())
    }

    /// What counts now, and notice whenever that changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Config>> {
        self.inner.config.subscribe()
    }

    /// Takes in that the daemon itself wrote `key` into the file.
    pub(crate) fn wrote(&self, key: &'static str, value: Value) {
        let mut values = self.lock();
        values.insert(key, value);
    }

    /// Reads the file again. What can change in a running daemon does, and `apply` is called with the result before
    /// anybody is told; what can't is named. A file with errors changes nothing.
    ///
    /// Reads a file, so it is not for the async runtime's own threads.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn reload(&self, apply: impl FnOnce(&Config)) -> Result<Reload, ConfigErrors> {
        let mut values = self.lock();
        let home = &self.inner.home;
        let text = config::read(home)?;
        let (loaded, checked) = Config::checked(home, &text, Unknown::Warned)?;
        let mut report = Reload {
            applied: Vec::new(),
            restart: Vec::new(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        };
        let mut now = values.clone();
        for key in MACHINE.keys {
            let new = checked.get(key.path);
            let old = now.get(key.path).cloned().unwrap_or_default();
            if new == old {
                continue;
            }
            match key.applied {
                Applied::Restart => report.restart.push(change(key, old, new)),
                Applied::Reload => {
                    now.insert(key.path, new.clone());
                    report.applied.push(change(key, old, new));
                }
                // Nothing in the daemon looks at these.
                Applied::NextRun | Applied::NextTask | Applied::Registration | Applied::NotYet => {
                    now.insert(key.path, new);
                }
            }
        }
        let config = Config::of_values(home, |key| now.get(key).cloned().unwrap_or_default())?;
        apply(&config);
        self.inner.config.send_replace(Arc::new(config));
        *values = now;
        Ok(report)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Value>> {
        let values = &self.inner.values;
        values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn change(key: &Key, from: Value, to: Value) -> ConfigChange {
    let shown = |value| if key.secret { Value::Null } else { value };
    ConfigChange {
        key: key.path.to_owned(),
        from: shown(from),
        to: shown(to),
    }
}
