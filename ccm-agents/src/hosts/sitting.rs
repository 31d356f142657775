//! A person's own session in an agent's place: written down, and ended.

use std::ffi::OsString;
use std::time::Duration;

use ccm_core::id::AgentId;
use ccm_core::runtime::{SittingOrder, Stopped};
use ccm_core::{Error, ErrorKind, Result};

use super::{Hosts, blocking};
use crate::driver::Driver;
use crate::record;
use crate::stopset::{Emptier, Step, StopSet};
use crate::sys::durable;

impl Hosts {
    /// What an agent's terminal is to show: a person's session, if there is one, else the view of its runs.
    pub fn terminal_command(&self, agent: AgentId) -> Vec<OsString> {
        match self.agent(agent).sitting_file().exists() {
            true => self.hidden(crate::SIT_ARGUMENT, agent),
            false => self.view_command(agent),
        }
    }

    /// Writes down with what a person sits in an agent's place, unless somebody does already.
    ///
    /// # Errors
    /// `Unsupported` for a program that nobody can sit with.
    pub async fn sit_down(&self, order: &SittingOrder) -> Result<()> {
        let (dir, order) = (self.agent(order.place.id), order.clone());
        blocking(move || {
            let driver = Driver::named(&order.profile.driver).map_err(|cause| {
                let why = cause.detail.unwrap_or_else(|| cause.reason.to_string());
                Error::new(ErrorKind::Unsupported, why)
            })?;
            driver.sit(&order.profile, None)?;
            let path = dir.sitting_file();
            if dir.sitting()?.is_some() {
                return Ok(());
            }
            let order = record::json(&order)?;
            durable::make_dir(dir.path())
                .and_then(|()| durable::replace(&path, &order))
                .map_err(|error| durable::error("write", &path, error))
        })
        .await
    }

    /// Ends everything of a person's session in an agent's place, and forgets it once nothing is left. The terminal must
    /// not start it anew any more.
    pub async fn stand_up(&self, agent: AgentId, grace: Duration) -> Result<Stopped> {
        let (home, dir) = (self.config.home.clone(), self.agent(agent));
        blocking(move || {
            let Some(order) = dir.sitting()? else {
                return Ok(Stopped::Empty);
            };
            let set = StopSet::new(&home, order.id, None, None);
            let mut emptier = Emptier::interrupt(set, grace);
            loop {
                match emptier.step() {
                    Step::Again(pause) => std::thread::sleep(pause),
                    Step::Unstoppable(pids) => return Ok(Stopped::Unstoppable(pids)),
                    Step::Empty => break,
                }
            }
            // Who has it starts nothing, and finds nothing to start afterwards.
            let lock = dir.sitting_lock();
            let taken = record::take_lock(&lock).map_err(|e| durable::error("lock", &lock, e))?;
            let Some(_held) = taken else {
                // Whoever it is can't be found, and may go on with the conversation.
                return Err(Error::unavailable(
                    "something that the session started does not end; end it yourself and try again",
                ));
            };
            let path = dir.sitting_file();
            std::fs::remove_file(&path).map_err(|error| durable::error("remove", &path, error))?;
            Ok(Stopped::Empty)
        })
        .await
    }
}
