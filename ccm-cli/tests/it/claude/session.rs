//! A process of Claude Code that is talked to in lines of JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{PATIENCE, until};

/// Ended when it is dropped.
pub(crate) struct Session {
    id: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Every line so far.
    seen: Vec<Value>,
}

impl Session {
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command, id: &str) -> Self {
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            id: id.to_owned(),
            child,
            stdin,
            lines,
            seen: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Every line that it wrote and that was waited for or passed over.
    pub(crate) fn seen(&self) -> &[Value] {
        &self.seen
    }

    /// Sends a message of the user, and returns its id.
    pub(crate) fn say(&mut self, text: &str) -> String {
        let id = Uuid::now_v7().to_string();
        let message = json!({"role": "user", "content": text});
        self.send(&json!({"type": "user", "message": message, "uuid": id}));
        id
    }

    /// Allows what a permission request asks for.
    pub(crate) fn allow(&mut self, request: &Value) {
        let input = &request["request"]["input"];
        self.answer(
            request,
            &json!({"behavior": "allow", "updatedInput": input}),
        );
    }

    /// Denies what a permission request asks for.
    pub(crate) fn deny(&mut self, request: &Value, message: &str) {
        self.answer(request, &json!({"behavior": "deny", "message": message}));
    }

    /// Asks it to stop what it does.
    pub(crate) fn interrupt(&mut self) {
        let id = Uuid::now_v7().to_string();
        self.send(&json!({
            "type": "control_request", "request_id": id, "request": {"subtype": "interrupt"},
        }));
    }

    fn answer(&mut self, request: &Value, answer: &Value) {
        self.send(&json!({
            "type": "control_response",
            "response": {"subtype": "success", "request_id": request["request_id"], "response": answer},
        }));
    }

    fn send(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line of this type, and subtype if one is given.
    #[track_caller]
    pub(crate) fn line(&mut self, kind: &str, subtype: &str) -> Value {
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
                panic!(
                    "never: a line {kind} {subtype}\n{said}\nseen: {:#?}",
                    self.seen
                );
            };
            self.seen.push(line.clone());
            let sub = [&line["subtype"], &line["request"]["subtype"]];
            if line["type"] == kind && (subtype.is_empty() || sub.iter().any(|sub| *sub == subtype))
            {
                return line;
            }
        }
    }

    /// The next end of a turn.
    #[track_caller]
    pub(crate) fn result(&mut self) -> Value {
        self.line("result", "")
    }

    /// The next request for permission.
    #[track_caller]
    pub(crate) fn ask(&mut self) -> Value {
        self.line("control_request", "can_use_tool")
    }

    /// Sends a message and waits for the end of its turn.
    #[track_caller]
    pub(crate) fn turn(&mut self, text: &str) -> Value {
        self.say(text);
        self.result()
    }

    /// Closes its input.
    pub(crate) fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Closes its input and waits for its end. Returns the exit code, or -1 if a signal ended it.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        self.close();
        let mut status = None;
        until("Claude Code ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        while let Ok(line) = self.lines.recv() {
            self.seen.push(line);
        }
        status.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// How many of the lines seen are of this type and subtype.
    pub(crate) fn count(&self, kind: &str, subtype: &str) -> usize {
        let is = |line: &&Value| line["type"] == kind && line["subtype"] == subtype;
        self.seen.iter().filter(is).count()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
