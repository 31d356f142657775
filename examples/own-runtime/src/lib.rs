//! A runtime of one's own: [`ShellRuntime`] runs agents with nothing but a shell script around each program.
//!
//! The script, `wrapper.sh`, is what outlives the daemon. It has a session of its own and talks to any daemon, now or
//! later, by files in the run's folder:
//!
//! 1. the daemon writes down what is to be run, and starts the wrapper;
//! 2. the wrapper's child writes who it is and links that to the name `gate`. A name can be linked once, so this is
//!    where it is decided, for good and by the file system, that this process and no other is the run. A daemon that
//!    wants to know whether a run was ever started links a gate of its own: one of the two comes too late and gives up;
//! 3. the child becomes the program; its prompt and its output are files;
//! 4. when it ends, the wrapper writes the exit code and renames that to `exit`.
//!
//! A daemon that starts anew reads those files and adopts what goes on: a process is the one in the gate if number, time
//! of birth, boot and process namespace agree. A gate without an exit and without its wrapper is a run that was cut:
//! what is left of it is ended, and it is `Gone`.
//!
//! Ending a run means its *stop set*: the program, its descendants, and every process with `CCM_RUN_ID` of this run in
//! its environment, wherever it went.
//!
//! What it leaves out, so that it stays small: no terminal to attach to; only the driver `command`, whose programs are given nothing
//! after their prompt; no limits on output
//! or memory; a program outlives a wrapper that was killed until a daemon looks; a file that can be found but not
//! executed is no false start but exit code 126; and a shell can't tell exit code 137 from signal 9. It runs where there
//! is `/proc`. `ccm-agents` does better with a host program of its own. The contract's suite runs over both.

mod files;
mod home;
mod processes;
mod spool;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::agent::{AgentFacts, AgentPlace};
use ccm_core::id::{AgentId, RunId};
use ccm_core::input::Input;
use ccm_core::run::{Checkpoint, Stream};
use ccm_core::runtime::{
    AgentRuntime, AttachCommand, Batch, Chunk, LaunchOrder, Resources, RunEnd, RunStatus, Sent,
    SittingOrder, Stopped,
};
use ccm_core::transcript::Transcript;
use ccm_core::{Error, ErrorKind, Result};

use crate::files::failed;
use crate::home::Home;
use crate::watch::Told;

/// An [`AgentRuntime`] that is files and a shell script. Any number of handles may share a home.
pub struct ShellRuntime {
    home: Arc<Home>,
    told: Told,
}

impl ShellRuntime {
    /// A runtime that keeps its data in this folder.
    ///
    /// # Errors
    /// `Unavailable` when the folder can't be made, or where there is no `/proc`.
    pub fn new(home: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            home: Arc::new(Home::open(&home.into()).map_err(failed)?),
            told: Told::default(),
        })
    }

    /// Does work on files and processes where waiting harms nobody. It goes on to its end even if the caller stops
    /// waiting.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let home = Arc::clone(&self.home);
        let done = tokio::task::spawn_blocking(move || work(&home)).await;
        done.map_err(|error| Error::internal("a thread of the runtime failed").with_source(error))?
    }
}

impl fmt::Debug for ShellRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellRuntime")
            .field("home", &self.home)
            .finish()
    }
}

#[async_trait]
impl AgentRuntime for ShellRuntime {
    async fn start_agent(&self, place: &AgentPlace) -> Result<AgentFacts> {
        let place = place.clone();
        self.work(move |home| home.start_agent(&place)).await
    }

    async fn stop_agent(&self, agent: AgentId) -> Result<()> {
        self.work(move |home| home.stop_agent(agent)).await
    }

    async fn kill_agent(&self, agent: AgentId) -> Result<()> {
        // A folder always answers.
        self.stop_agent(agent).await
    }

    async fn agents(&self) -> Result<Vec<AgentFacts>> {
        self.work(Home::agents).await
    }

    async fn attach_command(&self, _agent: AgentId) -> Result<AttachCommand> {
        let message = "agents have no terminals here";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    async fn take_over(&self, _order: &SittingOrder) -> Result<()> {
        let message = "agents have no terminals here";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    async fn hand_back(&self, _agent: AgentId, _grace: Duration) -> Result<Stopped> {
        Ok(Stopped::Empty)
    }

    async fn launch(&self, order: &LaunchOrder) -> Result<RunStatus> {
        let order = order.clone();
        self.work(move |home| home.launch(&order)).await
    }

    async fn inspect(&self, run: RunId) -> Result<RunStatus> {
        self.work(move |home| home.inspect(run)).await
    }

    async fn runs(&self) -> Result<Vec<RunId>> {
        self.work(Home::runs).await
    }

    async fn read(&self, run: RunId, from: &Checkpoint, end: Option<&RunEnd>) -> Result<Batch> {
        let (from, end) = (from.clone(), end.cloned());
        self.work(move |home| spool::read(&home.run(run), &from, end.as_ref()).map_err(failed))
            .await
    }

    async fn output(&self, run: RunId, stream: Stream, offset: u64, limit: u64) -> Result<Chunk> {
        self.work(move |home| {
            let folder = home.run(run);
            if !folder.join("order").exists() {
                return Err(Error::no_run(run));
            }
            spool::output(&folder, stream, offset, limit).map_err(failed)
        })
        .await
    }

    async fn transcript(
        &self,
        run: RunId,
        from: u64,
        to: Option<u64>,
        _limit: u32,
    ) -> Result<Transcript> {
        self.work(move |home| {
            let folder = home.run(run);
            if !folder.join("order").exists() {
                return Err(Error::no_run(run));
            }
            spool::transcript(&folder, from, to).map_err(failed)
        })
        .await
    }

    async fn send(&self, _run: RunId, _input: &Input) -> Result<Sent> {
        let message = "programs read nothing after their prompt here";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    async fn can_interrupt(&self, run: RunId) -> Result<bool> {
        self.work(move |home| match home.run(run).join("order").exists() {
            true => Ok(false),
            false => Err(Error::no_run(run)),
        })
        .await
    }

    async fn close_input(&self, _run: RunId) -> Result<()> {
        // The prompt is a file, so a program's input is closed from the start.
        Ok(())
    }

    async fn changed(&self, run: RunId) -> Result<()> {
        self.told.changed(run, &self.home.run(run)).await;
        Ok(())
    }

    async fn stop(&self, run: RunId, grace: Duration) -> Result<Stopped> {
        self.work(move |home| home.stop(run, grace)).await
    }

    async fn resources(&self, agent: AgentId) -> Result<Option<Resources>> {
        self.work(move |home| home.resources(agent)).await
    }

    async fn discard(&self, run: RunId) -> Result<()> {
        self.work(move |home| home.discard(run)).await?;
        self.told.forget(run);
        Ok(())
    }
}
