//! Taking the database over.

use ccm_core::event::EventKind;
use ccm_core::id::Epoch;
use ccm_core::sync::local::system_document;
use ccm_core::system::System;
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use serde_json::json;

use crate::entity::system;
use crate::values::{Id, to_json};
use crate::writer::{About, Change, Needs, Tracked, Work};

/// Writes something that is gone before it is committed.
pub(crate) struct Check;

impl Change for Check {
    type Answer = ();
    // It speaks for what wants to come in.
    const GROWS: bool = true;

    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, work: &mut Work) -> Result<()> {
        work.probe();
        Ok(())
    }
}

/// Raises the epoch.
pub(crate) struct Begin {
    pub(crate) system: System,
    pub(crate) now: Timestamp,
}

impl Change for Begin {
    type Answer = Epoch;
    const TAKES_OVER: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.system();
    }

    fn apply(&self, work: &mut Work) -> Result<Epoch> {
        let model = system::Model {
            id: self.system.id.bytes(),
            hostname: self.system.hostname.clone(),
            kind: self.system.kind.as_str().to_owned(),
            tags: to_json(&self.system.tags),
        };
        match &mut work.system {
            Some(row) if row.get().id != model.id => {
                return Err(Error::new(
                    ErrorKind::Taken(Noun::System),
                    "this database belongs to another system; give this machine its old id back or start with a new \
                     database",
                ));
            }
            Some(row) if *row.get() == model => {}
            Some(row) => *row.change() = model,
            none => *none = Some(Tracked::new(model)),
        }
        work.meta.epoch += 1;
        let epoch = Epoch(work.meta.epoch.unsigned_abs());
        work.event(
            self.now,
            EventKind::DaemonStarted,
            About::default(),
            &json!({ "epoch": epoch }),
        );
        work.leave(system_document(self.system.id), self.now);
        Ok(epoch)
    }
}
