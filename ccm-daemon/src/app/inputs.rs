use ccm_core::id::{InputId, RunId, TaskId};
use ccm_core::input::Input;
use ccm_core::store::Interrupted;
use ccm_core::{Error, ErrorKind, Noun, Result};
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::App;
use crate::http::Keyed;

impl App {
    /// What a run was given after its prompt, in its order.
    pub(crate) async fn inputs(&self, run: RunId) -> Result<Vec<Input>> {
        let store = self.engine().store();
        if let Err(error) = store.run(run).await {
            return Err(self
                .not_this_run(error, run, "what it was given is told")
                .await);
        }
        store.inputs(run).await
    }

    /// Gives the run that works on a task a further message.
    pub(crate) async fn send_message(
        &self,
        task: TaskId,
        text: String,
        by: &str,
        key: Option<Keyed>,
    ) -> Result<Input> {
        let route = format!("POST /api/v1/tasks/{task}/messages");
        let id = self.input_id(&route, key.as_ref());
        let sent = self.engine().send_message(task, id, text, by).await;
        let sent = match sent {
            Err(error) if error.kind() == ErrorKind::NotFound(Noun::Task) => {
                let how = "its agent is told something";
                return Err(self.not_this_task(error, task, how).await);
            }
            sent => sent,
        };
        sent.map_err(|error| match error.kind() {
            ErrorKind::WrongState(Noun::Task) => Error::new(
                error.kind(),
                format!(
                    "{error}; create a task with `session` set to `continue` to go on in the agent's conversation"
                ),
            ),
            ErrorKind::KeyReused => Error::new(
                error.kind(),
                "the idempotency key was used for another message",
            ),
            _ => error,
        })
    }

    /// Has the run that works on a task stop what it does, and go on with `text`.
    pub(crate) async fn interrupt_task(
        &self,
        task: TaskId,
        text: Option<String>,
        by: &str,
        key: Option<Keyed>,
    ) -> Result<Interrupted> {
        let route = format!("POST /api/v1/tasks/{task}/interrupt");
        let id = self.input_id(&route, key.as_ref());
        let of_message = self.input_id(&format!("{route} text"), key.as_ref());
        let then = text.map(|text| (of_message, text));
        let done = self.engine().interrupt_task(task, id, then, by).await;
        let done = match done {
            Err(error) => Err(self
                .not_this_task(error, task, "its agent is interrupted")
                .await),
            done => done,
        };
        done.map_err(|error| match error.kind() {
            ErrorKind::KeyReused => Error::new(
                error.kind(),
                "the idempotency key was used for another interrupt",
            ),
            _ => error,
        })
    }

    /// The id of the input that a caller names so: the same request always means the same input.
    fn input_id(&self, route: &str, key: Option<&Keyed>) -> InputId {
        let Some(key) = key else {
            return InputId::new();
        };
        let principal = self.owner_of(key);
        let digest = Sha256::digest(format!("{principal}\n{route}\n{}", key.key));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        InputId::from_uuid(Builder::from_custom_bytes(bytes).into_uuid())
    }
}
