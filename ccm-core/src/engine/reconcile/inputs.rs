//! Giving a run its inputs, and letting it end when there are no more.

use super::runs::Actor;
use crate::input::{Input, InputBody, InputState, PROMPT};
use crate::runtime::Sent;
use crate::{ErrorKind, Result, chain};

impl Actor {
    /// Sends what was accepted and is not known to be written.
    ///
    /// After the run's end the runtime still knows what it wrote, so the same calls settle what a daemon that was
    /// killed in between left open.
    pub(super) async fn deliver(&self) -> Result<()> {
        if self.run.inputs.last == PROMPT {
            return Ok(());
        }
        let parts = &self.shared.parts;
        for input in parts.store.inputs(self.run.id).await? {
            if input.state != InputState::Accepted {
                continue;
            }
            crate::barrier!("input.accepted");
            let state = match parts.runtime.send(self.run.id, &input).await {
                Ok(Sent::Written) => InputState::Written,
                Ok(Sent::TooLate) => InputState::TooLate,
                // What can't be told to this program will not be later either.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Corrupt) =>
                {
                    tracing::info!(error = chain(&error), "an input is refused");
                    InputState::TooLate
                }
                Err(error) => return Err(error),
            };
            crate::barrier!("input.sent");
            parts
                .store
                .settle_input(
                    self.run.id,
                    self.run.token,
                    input.number,
                    state,
                    parts.clock.now(),
                )
                .await?;
        }
        Ok(())
    }

    async fn has_message_under_way(&self) -> Result<bool> {
        if self.run.inputs.last == PROMPT {
            return Ok(false);
        }
        let inputs = self.shared.parts.store.inputs(self.run.id).await?;
        let is_message = |input: &Input| matches!(input.body, InputBody::Message { .. });
        Ok(inputs
            .iter()
            .any(|input| is_message(input) && !input.state.is_final()))
    }

    /// Lets a program that has reported, and that nobody wants anything of any more, come to its end.
    ///
    /// A message that was written and not taken yet is about to start another turn, which may ask for something.
    pub(super) async fn let_end(&mut self) -> Result<()> {
        if self.input_closed || self.has_message_under_way().await? {
            return Ok(());
        }
        let parts = &self.shared.parts;
        if parts
            .store
            .close_inputs(self.run.id, self.run.token)
            .await?
        {
            crate::barrier!("input.closing");
            parts.runtime.close_input(self.run.id).await?;
            self.input_closed = true;
        }
        Ok(())
    }
}
