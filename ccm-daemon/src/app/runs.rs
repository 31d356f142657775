use ccm_core::id::RunId;
use ccm_core::run::{Run, Stream};
use ccm_core::runtime::Chunk;
use ccm_core::store::{Page, RunQuery};
use ccm_core::transcript::Transcript;
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::App;

impl App {
    /// The run, as long as it goes on.
    pub(crate) async fn open_run(&self, id: RunId) -> Result<Option<Run>> {
        match self.run(id).await {
            Ok(run) => Ok(Some(run).filter(|run| !run.state.is_ended())),
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn run(&self, id: RunId) -> Result<Run> {
        self.engine().store().run(id).await
    }

    pub(crate) async fn runs(&self, query: &RunQuery) -> Result<Page<Run>> {
        self.engine().store().runs(query).await
    }

    /// A part of what a run wrote.
    pub(crate) async fn run_log(
        &self,
        id: RunId,
        stream: Stream,
        offset: u64,
        limit: u64,
    ) -> Result<Chunk> {
        let run = match self.run(id).await {
            Ok(run) => run,
            Err(error) => return Err(self.not_this_run(error, id, "its output is kept").await),
        };
        let output = self.engine().runtime().output(id, stream, offset, limit);
        let none = Chunk {
            bytes: Vec::new(),
            size: 0,
        };
        kept(&run, output.await, none)
    }

    /// The last bytes of what a run wrote, and where they begin.
    pub(crate) async fn run_log_end(
        &self,
        id: RunId,
        stream: Stream,
        bytes: u64,
    ) -> Result<(u64, Chunk)> {
        let size = self.run_log(id, stream, 0, 1).await?.size;
        let offset = size.saturating_sub(bytes);
        Ok((offset, self.run_log(id, stream, offset, bytes).await?))
    }

    /// A part of what a run's agent said and did.
    pub(crate) async fn transcript(&self, id: RunId, after: u64, limit: u32) -> Result<Transcript> {
        let run = self.run(id).await?;
        let transcript = self.engine().runtime().transcript(id, after, None, limit);
        let none = Transcript {
            entries: Vec::new(),
            begin: after,
            next: after,
            complete: true,
        };
        kept(&run, transcript.await, none)
    }
}

/// What the runtime has of a run; `none` for one that was claimed a moment ago and whose first byte is still to come.
pub(super) fn kept<T>(run: &Run, found: Result<T>, none: T) -> Result<T> {
    match found {
        Err(error) if error.kind() != ErrorKind::NotFound(Noun::Run) => Err(error),
        Err(_) if !run.state.is_ended() => Ok(none),
        Err(error) => Err(Error::new(
            error.kind(),
            format!("the output of run {} is no longer kept", run.id),
        )),
        found => found,
    }
}
