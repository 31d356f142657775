//! What a run is given after its prompt, and what it is told as.

use std::time::Duration;

use ccm_core::id::RunId;
use ccm_core::input::Input;
use ccm_core::runtime::Sent;
use ccm_core::transcript::Transcript;
use ccm_core::{Error, ErrorKind, Result};

use super::connection::{Connection, Greeting};
use super::output::spool;
use super::settle::Evidence;
use super::{Hosts, blocking};
use crate::driver::Driver;
use crate::record::{Noted, RunDir};
use crate::sys::durable;
use crate::wire::{Answer, Request};

/// How long a program may take until it has read an input. One that is busy reads all the same.
const WRITING: Duration = Duration::from_secs(10);

impl Hosts {
    /// See [`AgentRuntime::send`](ccm_core::AgentRuntime::send).
    pub async fn send(&self, run: RunId, input: &Input) -> Result<Sent> {
        let dir = self.run(run);
        let Evidence::Held { socket, .. } = self.evidence(&dir).await? else {
            // Whatever can be known of it is written down.
            return noted(dir, input.number).await;
        };
        let mut host = match Connection::open(&socket, self.config.epoch).await? {
            Greeting::Up(host) if host.status.run == Some(run) => host,
            _ => {
                return Err(Error::unavailable(
                    "the agent's host could not be given an input now",
                ));
            }
        };
        put(dir.clone(), input.clone()).await?;
        let request = Request::Send {
            run,
            number: input.number,
        };
        match host.ask(&request, WRITING).await? {
            Answer::Done => Ok(Sent::Written),
            Answer::TooLate => noted(dir, input.number).await,
            Answer::Refused { message, .. } => Err(Error::unavailable(message)),
            _ => Err(Error::unavailable(
                "the agent's host did not take the input",
            )),
        }
    }

    /// See [`AgentRuntime::can_interrupt`](ccm_core::AgentRuntime::can_interrupt).
    pub async fn can_interrupt(&self, run: RunId) -> Result<bool> {
        let dir = self.run(run);
        blocking(move || {
            let driver = driver_of(&dir)?.ok_or_else(|| Error::no_run(run))?;
            Ok(driver.can_interrupt())
        })
        .await
    }

    /// See [`AgentRuntime::close_input`](ccm_core::AgentRuntime::close_input).
    pub async fn close_input(&self, run: RunId) -> Result<()> {
        let dir = self.run(run);
        let Evidence::Held { socket, .. } = self.evidence(&dir).await? else {
            return Ok(());
        };
        match Connection::open(&socket, self.config.epoch).await? {
            Greeting::Up(mut host) if host.status.run == Some(run) => {
                host.ask(&Request::Close { run }, WRITING).await.map(drop)
            }
            // Let go of just now.
            Greeting::Up(_) => Ok(()),
            Greeting::Silent | Greeting::Nobody => {
                Err(Error::unavailable("the agent's host does not answer now"))
            }
        }
    }

    /// See [`AgentRuntime::transcript`](ccm_core::AgentRuntime::transcript).
    pub async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        limit: u32,
    ) -> Result<Transcript> {
        let dir = self.run(run);
        blocking(move || {
            if !dir.exists() {
                return Err(Error::no_run(run));
            }
            let end = dir.exit()?.map(|record| record.into_end().0);
            let ended = end.is_some();
            match driver_of(&dir)? {
                Some(driver) => {
                    let mut spool = spool(&dir, end.as_ref())?;
                    let cut = to.filter(|to| *to < spool.out_size);
                    spool.out_size = cut.unwrap_or(spool.out_size);
                    driver.tell(&spool, from, limit, ended || cut.is_some())
                }
                None => Ok(Transcript {
                    begin: from,
                    next: from,
                    complete: true,
                    ..Transcript::default()
                }),
            }
        })
        .await
    }
}

fn driver_of(dir: &RunDir) -> Result<Option<Driver>> {
    let launch = dir.launch()?;
    Ok(launch.and_then(|launch| Driver::named(&launch.order.profile.driver).ok()))
}

/// Puts an input where the host finds it.
async fn put(dir: RunDir, input: Input) -> Result<()> {
    blocking(move || {
        let driver = driver_of(&dir)?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the run's order can't be read any more")
        })?;
        let bytes = driver.encode(&input, &spool(&dir, None)?)?;
        let path = dir.input(input.number);
        durable::replace(&path, &bytes).map_err(|error| durable::error("write", &path, error))
    })
    .await
}

/// What is known of an input whose program can be given nothing any more.
async fn noted(dir: RunDir, number: u32) -> Result<Sent> {
    blocking(move || {
        Ok(match dir.noted_of(number)? {
            Some(Noted::Begun | Noted::Delivered) => Sent::Written,
            Some(Noted::TooLate) | None => Sent::TooLate,
        })
    })
    .await
}
