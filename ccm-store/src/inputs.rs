//! Inputs: how they are kept, accepted and settled.

use ccm_core::event::EventKind;
use ccm_core::id::{FencingToken, InputId, RunId, TaskId};
use ccm_core::input::{Input, InputBody, InputState};
use ccm_core::store::{Interrupt, Interrupted, Message};
use ccm_core::task::{TaskState, TaskText};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::entity::input;
use crate::error::{corrupt, from_db};
use crate::runs::held_by;
use crate::values::{Id, from_json, small, to_json};
use crate::writer::{About, Change, Needs, Tracked, Work};

/// From a row of the table.
pub(crate) fn read(row: &QueryResult) -> Result<Input> {
    let model = input::Model::from_query_result(row, "").map_err(from_db)?;
    Ok(Input {
        id: InputId::read(&model.id)?,
        run_id: RunId::read(&model.run_id)?,
        number: small(model.number)?,
        body: from_json(&model.body, "input")?,
        state: model
            .state
            .parse()
            .map_err(|_| corrupt("state of an input"))?,
        by: model.sent_by,
        created_at: Timestamp::from_micros(model.created_at),
    })
}

/// For a row of the table.
pub(crate) fn model(input: &Input) -> input::Model {
    input::Model {
        id: input.id.bytes(),
        run_id: input.run_id.bytes(),
        number: i64::from(input.number),
        state: input.state.as_str().to_owned(),
        sent_by: input.by.clone(),
        created_at: input.created_at.as_micros(),
        body: to_json(&input.body),
    }
}

/// Something to accept.
pub(crate) struct New {
    pub(crate) id: InputId,
    pub(crate) body: InputBody,
    pub(crate) by: String,
    pub(crate) now: Timestamp,
}

/// Gives an input the run's next number.
pub(crate) fn accept(work: &mut Work, run: RunId, new: New) -> Result<Input> {
    let row = work.run(run)?.change();
    row.inputs.last += 1;
    row.waits.accept(&new.body, &new.by, new.now);
    let about = About::run(row);
    let input = Input {
        id: new.id,
        run_id: run,
        number: row.inputs.last,
        body: new.body,
        state: InputState::Accepted,
        by: new.by,
        created_at: new.now,
    };
    let data = json!({
        "input_id": input.id, "number": input.number, "kind": input.body.kind(), "by": input.by,
    });
    work.inputs.insert(input.id, Tracked::new(input.clone()));
    work.event(new.now, EventKind::InputAccepted, about, &data);
    Ok(input)
}

/// Keeps what became of the run's input that `which` picks. Those of which more can become known must be there.
pub(crate) fn learn(
    work: &mut Work,
    run: RunId,
    state: InputState,
    now: Timestamp,
    which: impl Fn(&Input) -> bool,
) -> Result<()> {
    let about = About::run(work.run(run)?.get());
    let mut rows = work.inputs.values_mut();
    let Some(row) = rows.find(|row| row.get().run_id == run && which(row.get())) else {
        return Ok(());
    };
    let next = row.get().state.then(state);
    if next == row.get().state {
        return Ok(());
    }
    let input = row.change();
    input.state = next;
    let data = json!({ "input_id": input.id, "number": input.number, "state": next });
    let missed = next == InputState::TooLate && matches!(input.body, InputBody::Interrupt { .. });
    if missed {
        work.run(run)?.change().waits.go_on(now);
    }
    work.event(now, EventKind::InputUpdated, about, &data);
    Ok(())
}

/// Nothing more can be learned of what the run was given.
pub(crate) fn end_all(work: &mut Work, run: RunId, now: Timestamp) -> Result<()> {
    let mut open: Vec<(u32, InputState)> = work
        .inputs
        .values()
        .map(Tracked::get)
        .filter(|input| input.run_id == run)
        .map(|input| (input.number, input.state.at_end()))
        .collect();
    open.sort_unstable_by_key(|(number, _)| *number);
    for (number, state) in open {
        learn(work, run, state, now, |input| input.number == number)?;
    }
    Ok(())
}

/// Accepts a message for the run that works on a task.
pub(crate) struct SendMessage(pub(crate) Message);

impl Change for SendMessage {
    type Answer = Input;
    const GROWS: bool = true;

    fn weight(&self) -> usize {
        1 + self.0.text.as_str().len() / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.input(self.0.id);
        needs.task(self.0.task);
    }

    fn apply(&self, work: &mut Work) -> Result<Input> {
        let message = &self.0;
        if let Some(known) = work.inputs.get(&message.id) {
            let known = known.get().clone();
            let same = matches!(&known.body, InputBody::Message { text } if *text == message.text)
                && work.run(known.run_id)?.get().task_id == message.task;
            return match same {
                true => Ok(known),
                false => Err(Error::new(
                    ErrorKind::KeyReused,
                    "the message's id was used for another message",
                )),
            };
        }
        let run = listening(work, message.task)?;
        let new = New {
            id: message.id,
            body: InputBody::Message {
                text: message.text.clone(),
            },
            by: message.by.clone(),
            now: message.now,
        };
        accept(work, run, new)
    }
}

/// Accepts an interrupt for the run that works on a task, and the message that follows it.
pub(crate) struct InterruptRun(pub(crate) Interrupt);

impl Change for InterruptRun {
    type Answer = Interrupted;
    const GROWS: bool = true;

    fn weight(&self) -> usize {
        let text = |(_, text): &(InputId, TaskText)| text.as_str().len();
        1 + self.0.then.as_ref().map_or(0, text) / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.input(self.0.id);
        if let Some((id, _)) = &self.0.then {
            needs.input(*id);
        }
        needs.task(self.0.task);
    }

    fn apply(&self, work: &mut Work) -> Result<Interrupted> {
        let wish = &self.0;
        let input = |id| work.inputs.get(&id).map(Tracked::get).cloned();
        let then = wish.then.as_ref().map(|(id, _)| *id);
        let known_message = then.and_then(input);
        if let Some(known) = input(wish.id) {
            let task = work.run(known.run_id)?.get().task_id;
            return wish.replayed(&known, task, known_message.as_ref());
        }
        let run = listening(work, wish.task)?;
        if let Some(id) = then.filter(|id| *id == wish.id || known_message.is_some()) {
            return Err(Error::invalid(format!("there is an input {id} already")));
        }
        let new = |id, body| New {
            id,
            body,
            by: wish.by.clone(),
            now: wish.now,
        };
        let interrupt = accept(work, run, new(wish.id, wish.body()))?;
        let message = match &wish.then {
            Some((id, text)) => {
                let text = text.clone();
                Some(accept(work, run, new(*id, InputBody::Message { text }))?)
            }
            None => None,
        };
        Ok(Interrupted { interrupt, message })
    }
}

/// The run that works on a task and takes what it is given.
fn listening(work: &mut Work, task: TaskId) -> Result<RunId> {
    let TaskState::Running { run, stop } = &work.task(task)?.get().task.state else {
        return Err(deaf("no run works on the task now"));
    };
    if stop.is_some() {
        return Err(deaf("the task is being stopped"));
    }
    let run = *run;
    if work.run(run)?.get().inputs.closed {
        return Err(deaf("the task's run takes no more input"));
    }
    Ok(run)
}

fn deaf(why: &str) -> Error {
    Error::new(ErrorKind::WrongState(Noun::Task), why)
}

/// Notes what became of an input.
pub(crate) struct Settle {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
    pub(crate) number: u32,
    pub(crate) state: InputState,
    pub(crate) now: Timestamp,
}

impl Change for Settle {
    type Answer = ();

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
        needs.open_inputs_of(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<()> {
        held_by(work, self.run, self.token)?;
        let number = self.number;
        learn(work, self.run, self.state, self.now, |input| {
            input.number == number
        })
    }
}

/// Takes no more input for a run, if nothing is on its way.
pub(crate) struct Close {
    pub(crate) run: RunId,
    pub(crate) token: FencingToken,
}

impl Change for Close {
    type Answer = bool;

    fn needs(&self, needs: &mut Needs) {
        needs.run(self.run);
        needs.open_inputs_of(self.run);
    }

    fn apply(&self, work: &mut Work) -> Result<bool> {
        let run = held_by(work, self.run, self.token)?.get();
        if run.inputs.closed {
            return Ok(true);
        }
        let for_person = run.waits.are_for_person();
        let on_its_way =
            |input: &Input| input.run_id == self.run && input.state == InputState::Accepted;
        if for_person || work.inputs.values().any(|row| on_its_way(row.get())) {
            return Ok(false);
        }
        work.run(self.run)?.change().inputs.closed = true;
        Ok(true)
    }
}
