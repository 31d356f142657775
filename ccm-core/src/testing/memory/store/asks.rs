//! Asks and inputs.

use serde_json::json;

use super::{About, State};
use crate::ask::{Ask, AskState, Question};
use crate::event::EventKind;
use crate::id::{AskId, FencingToken, InputId, RunId, TaskId};
use crate::input::{Input, InputBody, InputState};
use crate::run::{Observation, Run};
use crate::store::{AskQuery, Intake, Interrupt, Interrupted, Message, Page, Reply, ReplyEffect};
use crate::task::TaskState;
use crate::time::Timestamp;
use crate::{Error, ErrorKind, Noun, Result};

impl State {
    pub(super) fn ask(&self, id: AskId) -> Result<Ask> {
        let ask = self.asks.get(&id).cloned();
        ask.ok_or_else(|| Error::no_ask(id))
    }

    pub(super) fn asks(&self, query: &AskQuery) -> Page<Ask> {
        let matching = self.asks.values().rev().filter(|ask| {
            query.project.is_none_or(|id| id == ask.project_id)
                && query.task.is_none_or(|id| id == ask.task_id)
                && query.run.is_none_or(|id| id == ask.run_id)
                && query.state.is_none_or(|state| state == ask.state.kind())
                && query.before.is_none_or(|before| ask.id < before)
        });
        let limit = query.limit as usize;
        let mut items: Vec<Ask> = matching.take(limit + 1).cloned().collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Page { items, more }
    }

    pub(super) fn inputs(&self, run: RunId) -> Vec<Input> {
        let of_run = self.inputs.values().filter(|input| input.run_id == run);
        let mut inputs: Vec<Input> = of_run.cloned().collect();
        inputs.sort_by_key(|input| input.number);
        inputs
    }

    pub(super) fn answer(&mut self, id: AskId, reply: Reply) -> Result<(Ask, ReplyEffect)> {
        let ask = self.ask(id)?;
        let answer = ask.question.resolve(reply.answer)?;
        let next = ask.state.answer(answer.clone(), &reply.by, reply.now)?;
        if next == ask.state {
            return Ok((ask, ReplyEffect::Unchanged));
        }
        if self.inputs.contains_key(&reply.input_id) {
            return Err(Error::invalid(format!(
                "there is an input {} already",
                reply.input_id
            )));
        }
        let body = InputBody::Answer {
            ask_id: id,
            request_id: ask.request_id.clone(),
            payload: ask.question.payload.clone(),
            answer: answer.clone(),
        };
        let ask = Ask { state: next, ..ask };
        self.asks.insert(id, ask.clone());
        let run = self.run_row(ask.run_id)?;
        run.waits.close(1, reply.now);
        let about = About::run(run);
        let data = json!({ "ask_id": id, "answer": answer, "by": reply.by });
        self.event(reply.now, EventKind::AskAnswered, about, data);
        self.accept(ask.run_id, reply.input_id, body, reply.by, reply.now)?;
        Ok((ask, ReplyEffect::Answered))
    }

    pub(super) fn send(&mut self, message: Message) -> Result<Input> {
        if let Some(known) = self.inputs.get(&message.id) {
            let task = self.runs.get(&known.run_id).map(|run| run.task_id);
            let same = task == Some(message.task)
                && matches!(&known.body, InputBody::Message { text } if *text == message.text);
            return match same {
                true => Ok(known.clone()),
                false => Err(Error::new(
                    ErrorKind::KeyReused,
                    "the message's id was used for another message",
                )),
            };
        }
        let run = self.listening(message.task)?;
        let body = InputBody::Message { text: message.text };
        self.accept(run, message.id, body, message.by, message.now)
    }

    pub(super) fn interrupt(&mut self, wish: Interrupt) -> Result<Interrupted> {
        let then = wish.then.as_ref().map(|(id, _)| *id);
        let known_message = then.and_then(|id| self.inputs.get(&id)).cloned();
        if let Some(known) = self.inputs.get(&wish.id).cloned() {
            let task = self.run_row(known.run_id)?.task_id;
            return wish.replayed(&known, task, known_message.as_ref());
        }
        let run = self.listening(wish.task)?;
        if let Some(id) = then.filter(|id| *id == wish.id || known_message.is_some()) {
            return Err(Error::invalid(format!("there is an input {id} already")));
        }
        let interrupt = self.accept(run, wish.id, wish.body(), wish.by.clone(), wish.now)?;
        let message = match wish.then {
            Some((id, text)) => {
                let body = InputBody::Message { text };
                Some(self.accept(run, id, body, wish.by, wish.now)?)
            }
            None => None,
        };
        Ok(Interrupted { interrupt, message })
    }

    /// The run that works on a task and takes what it is given.
    fn listening(&mut self, task: TaskId) -> Result<RunId> {
        let TaskState::Running { run, stop } = &self.task_row(task)?.task.state else {
            return Err(deaf("no run works on the task now"));
        };
        if stop.is_some() {
            return Err(deaf("the task is being stopped"));
        }
        let run = *run;
        if self.run_row(run)?.inputs.closed {
            return Err(deaf("the task's run takes no more input"));
        }
        Ok(run)
    }

    fn accept(
        &mut self,
        run: RunId,
        id: InputId,
        body: InputBody,
        by: String,
        now: Timestamp,
    ) -> Result<Input> {
        let row = self.run_row(run)?;
        row.inputs.last += 1;
        row.waits.accept(&body, &by, now);
        let input = Input {
            id,
            run_id: run,
            number: row.inputs.last,
            body,
            state: InputState::Accepted,
            by,
            created_at: now,
        };
        let about = About::run(row);
        let data = json!({
            "input_id": id, "number": input.number, "kind": input.body.kind(), "by": input.by,
        });
        self.inputs.insert(id, input.clone());
        self.event(now, EventKind::InputAccepted, about, data);
        Ok(input)
    }

    pub(super) fn settle(
        &mut self,
        run: RunId,
        token: FencingToken,
        number: u32,
        state: InputState,
        now: Timestamp,
    ) -> Result<()> {
        self.current(run, token)?;
        self.learn(run, state, now, |input| input.number == number);
        Ok(())
    }

    pub(super) fn close_inputs(&mut self, run: RunId, token: FencingToken) -> Result<bool> {
        let row = self.current(run, token)?;
        if row.inputs.closed {
            return Ok(true);
        }
        let open = row.waits.are_for_person();
        let on_its_way = self
            .inputs(run)
            .iter()
            .any(|input| input.state == InputState::Accepted);
        if open || on_its_way {
            return Ok(false);
        }
        self.current(run, token)?.inputs.closed = true;
        Ok(true)
    }

    /// What an observation means for the run's asks and inputs.
    pub(super) fn observe_run(&mut self, run: &Run, intake: &Intake, now: Timestamp) -> Result<()> {
        let mut ids = intake.ask_ids.iter();
        for seen in &intake.observations {
            match seen {
                Observation::Asked {
                    request_id,
                    question,
                } => {
                    let id = ids.next().copied().ok_or_else(|| {
                        Error::invalid("a part of the output has fewer ask ids than asks")
                    })?;
                    self.asked(run, id, request_id, question, now)?;
                }
                Observation::Withdrawn { request_id } => {
                    self.void(run.id, now, |ask| ask.request_id == *request_id)?;
                }
                Observation::MessageTaken { input_id } => {
                    let id = *input_id;
                    self.learn(run.id, InputState::Delivered, now, |input| input.id == id);
                }
                Observation::AnswerTaken { request_id: taken } => {
                    self.learn(run.id, InputState::Delivered, now, |input| {
                        matches!(&input.body, InputBody::Answer { request_id, .. } if request_id == taken)
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn asked(
        &mut self,
        run: &Run,
        id: AskId,
        request_id: &str,
        question: &Question,
        now: Timestamp,
    ) -> Result<()> {
        let known = |ask: &Ask| ask.run_id == run.id && ask.request_id == request_id;
        if self.asks.values().any(known) {
            return Ok(());
        }
        let ask = Ask {
            id,
            run_id: run.id,
            task_id: run.task_id,
            project_id: run.project_id,
            agent_id: run.agent_id,
            request_id: request_id.to_owned(),
            question: question.clone(),
            state: AskState::Open,
            created_at: now,
        };
        self.asks.insert(id, ask);
        self.run_row(run.id)?.waits.open(now);
        let data = json!({ "ask_id": id, "kind": question.kind, "title": question.title });
        self.event(now, EventKind::AskCreated, About::run(run), data);
        Ok(())
    }

    /// Voids open asks of a run.
    pub(super) fn void(
        &mut self,
        run: RunId,
        now: Timestamp,
        which: impl Fn(&Ask) -> bool,
    ) -> Result<()> {
        let open = self
            .asks
            .values_mut()
            .filter(|ask| ask.run_id == run && ask.state.is_open() && which(ask));
        let mut voided = Vec::new();
        for ask in open {
            ask.state = ask.state.void(now);
            voided.push(ask.id);
        }
        for id in voided {
            let row = self.run_row(run)?;
            row.waits.close(1, now);
            let about = About::run(row);
            self.event(now, EventKind::AskVoided, about, json!({ "ask_id": id }));
        }
        Ok(())
    }

    /// Ends what a run still asks and what it was still to be given.
    pub(super) fn end_asks_and_inputs(&mut self, run: RunId, now: Timestamp) -> Result<()> {
        self.void(run, now, |_| true)?;
        for input in self.inputs(run) {
            let (number, end) = (input.number, input.state.at_end());
            self.learn(run, end, now, |input| input.number == number);
        }
        Ok(())
    }

    fn learn(
        &mut self,
        run: RunId,
        state: InputState,
        now: Timestamp,
        which: impl Fn(&Input) -> bool,
    ) {
        let Some(row) = self.runs.get(&run) else {
            return;
        };
        let about = About::run(row);
        let found = self.inputs.values_mut();
        let Some(input) = found
            .into_iter()
            .find(|input| input.run_id == run && which(input))
        else {
            return;
        };
        let next = input.state.then(state);
        if next == input.state {
            return;
        }
        input.state = next;
        let is_interrupt = matches!(input.body, InputBody::Interrupt { .. });
        let data = json!({ "input_id": input.id, "number": input.number, "state": next });
        if let Some(row) = self.runs.get_mut(&run)
            && is_interrupt
            && next == InputState::TooLate
        {
            row.waits.go_on(now);
        }
        self.event(now, EventKind::InputUpdated, about, data);
    }

    fn run_row(&mut self, id: RunId) -> Result<&mut Run> {
        self.runs.get_mut(&id).ok_or_else(|| Error::no_run(id))
    }
}

fn deaf(why: &str) -> Error {
    Error::new(ErrorKind::WrongState(Noun::Task), why)
}
