//! Tasks of which a step is held.

use std::io::Write;
use std::process::{Child, Stdio};

use ccm_cli::client::TaskFilter;

use super::{Machine, Project, block_on};

/// A request for a task. While a step of the daemon's own is held it may not answer.
pub(crate) struct Asked<'a> {
    machine: &'a Machine,
    child: Child,
}

impl Project<'_> {
    /// Asks for a task, and waits until a program comes to a step that is held.
    pub(crate) fn task_up_to(&self, step: &str, text: &str) -> Asked<'_> {
        let mut child = self
            .machine
            .command("ccm", &["task", "create"])
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        self.machine.reached(step);
        Asked {
            machine: self.machine,
            child,
        }
    }
}

impl Asked<'_> {
    /// The task. The step was released or its program killed, and with it perhaps the answer.
    pub(crate) fn id(mut self) -> String {
        self.child.wait().unwrap();
        let tasks = block_on(async {
            let client = self.machine.client();
            client.tasks(&TaskFilter::default()).all().await.unwrap()
        });
        // Ids grow with time.
        let newest = tasks.iter().map(|task| task.id).max();
        newest.unwrap().to_string()
    }
}
