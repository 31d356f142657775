//! What a run is given after its prompt.

use ccm_core::id::RunId;
use ccm_core::input::Input;
use ccm_core::runtime::Sent;
use ccm_core::transcript::Transcript;
use ccm_core::{Error, ErrorKind, Result};

use super::Hosts;

impl Hosts {
    /// See [`AgentRuntime::send`](ccm_core::AgentRuntime::send).
    pub async fn send(&self, _run: RunId, _input: &Input) -> Result<Sent> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "the program takes nothing after its prompt",
        ))
    }

    /// See [`AgentRuntime::close_input`](ccm_core::AgentRuntime::close_input).
    pub async fn close_input(&self, _run: RunId) -> Result<()> {
        Ok(())
    }

    /// See [`AgentRuntime::transcript`](ccm_core::AgentRuntime::transcript).
    pub async fn transcript(&self, _run: RunId, _from: u64, _limit: u32) -> Result<Transcript> {
        Ok(Transcript::default())
    }
}
