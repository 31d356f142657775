//! Starting a run, as far as that is the daemon's part.

use std::path::Path;
use std::time::Duration;

use ccm_core::id::RunId;
use ccm_core::runtime::{LaunchOrder, RunStatus};
use ccm_core::task::Setback;
use ccm_core::{Error, ErrorKind, Noun, Reason, Result, barrier, chain};

use super::agents::{busy, no_answer};
use super::{Hosts, blocking};
use crate::deadline;
use crate::driver::Driver;
use crate::record::{self, FORMAT, LaunchFile, RunDir, socket_path};
use crate::sys::durable;
use crate::wire::{Answer, Request};

/// How long a host may take until the program runs: it syncs files, and the program may be on a slow disk.
const LAUNCHING: Duration = Duration::from_secs(60);

impl Hosts {
    /// See [`AgentRuntime::launch`](ccm_core::AgentRuntime::launch).
    ///
    /// What can be seen to be impossible before (no such driver, no folder, no host) settles the run as never started,
    /// with the sentence that says why.
    pub async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        let dir = self.run(order.run);
        let (settled, checked) = {
            let (dir, order) = (dir.clone(), order.clone());
            blocking(move || {
                let settled = dir.gate()?.is_some() || dir.exit()?.is_some();
                Ok((settled, check(&order, dir.path())))
            })
            .await?
        };
        if settled {
            return self.inspect(order.run).await;
        }
        if let Err(cause) = checked {
            return self.give_up(dir, cause).await;
        }
        self.write_launch(&dir, order).await?;

        let (facts, host) = match self.ensure_host(&order.place).await {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Superseded => return Err(error),
            Err(error) => return self.give_up(dir, not_started(chain(&error))).await,
        };
        let Some(mut host) = host else {
            let error = no_answer(facts.pid.unwrap_or(0));
            return self.give_up(dir, not_started(chain(&error))).await;
        };
        let answer = host
            .ask(&Request::Launch { run: order.run }, LAUNCHING)
            .await?;
        match answer {
            Answer::Busy { run } => Err(busy(run)),
            Answer::Refused { message, .. } => self.give_up(dir, not_started(message)).await,
            _ => self.inspect(order.run).await,
        }
    }

    /// See [`AgentRuntime::set_deadline`](ccm_core::AgentRuntime::set_deadline).
    pub async fn set_deadline(&self, run: RunId, at: Duration) -> Result<()> {
        let dir = self.run(run);
        blocking(move || deadline::set(&dir, at)).await
    }

    async fn write_launch(&self, dir: &RunDir, order: &LaunchOrder) -> Result<()> {
        let file = LaunchFile {
            format: FORMAT,
            epoch: self.config.epoch,
            socket: socket_path(&self.config.home, order.place.id),
            output_limit: self.config.output_limit,
            cgroups: self.config.cgroups,
            environment: self.config.environment.of(order),
            traceparent: self.config.trace_context.and_then(|context| context()),
            order: order.clone(),
        };
        let dir = dir.clone();
        blocking(move || {
            dir.create()?;
            let path = dir.file("launch");
            durable::replace(&path, &record::json(&file)?)
                .map_err(|error| durable::error("write", &path, error))?;
            barrier!("launch.2.written");
            Ok(())
        })
        .await
    }

    /// Settles that the run never starts, unless it was settled otherwise meanwhile.
    async fn give_up(&self, dir: RunDir, cause: Setback) -> Result<RunStatus> {
        let run = dir.run;
        blocking(move || {
            dir.create()?;
            dir.void(cause)
        })
        .await?;
        self.inspect(run).await
    }
}

/// What can be known of an order without trying it.
fn check(order: &LaunchOrder, run_folder: &Path) -> std::result::Result<(), Setback> {
    Driver::named(&order.profile.driver)?.plan(order, run_folder)?;
    let folder = &order.place.folder;
    if !folder.is_dir() {
        return Err(Setback::new(
            Reason::ProjectMissing,
            format!("the folder {} is not there", folder.display()),
        ));
    }
    Ok(())
}

fn not_started(detail: String) -> Setback {
    Setback::new(Reason::NotStarted, detail)
}

/// The error for a run that is alive.
pub(super) fn alive(dir: &RunDir) -> Error {
    Error::new(
        ErrorKind::WrongState(Noun::Run),
        format!("run {} is alive; stop it first", dir.run),
    )
}
