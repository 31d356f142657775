use ccm_core::id::RunId;
use ccm_core::run::{Run, Stream};
use ccm_core::runtime::Chunk;
use ccm_core::store::{Page, RunQuery};
use ccm_core::{Error, ErrorKind, Noun, Result};

use super::App;

impl App {
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
        let run = self.run(id).await?;
        let output = self.engine().runtime().output(id, stream, offset, limit);
        match output.await {
            // It was claimed a moment ago, and its first byte is still to come.
            Err(error)
                if error.kind() == ErrorKind::NotFound(Noun::Run) && !run.state.is_ended() =>
            {
                Ok(Chunk {
                    bytes: Vec::new(),
                    size: 0,
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Run) => Err(Error::new(
                error.kind(),
                format!("the output of run {id} is no longer kept"),
            )),
            output => output,
        }
    }
}
