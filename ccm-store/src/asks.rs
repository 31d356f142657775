//! Asks: how they are kept, and their beginning and end.

use ccm_core::ask::{Ask, AskState, Question};
use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, AskId, ProjectId, RunId, TaskId};
use ccm_core::input::InputBody;
use ccm_core::run::Run;
use ccm_core::store::{Reply, ReplyEffect};
use ccm_core::time::Timestamp;
use ccm_core::{Error, Result};
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::entity::ask;
use crate::error::{corrupt, from_db};
use crate::inputs::{New, accept};
use crate::values::{Id, from_json, required_date, to_json};
use crate::writer::{About, Change, Needs, Tracked, Work};

/// From a row of the table.
pub(crate) fn read(row: &QueryResult) -> Result<Ask> {
    let model = ask::Model::from_query_result(row, "").map_err(from_db)?;
    Ok(Ask {
        id: AskId::read(&model.id)?,
        run_id: RunId::read(&model.run_id)?,
        task_id: TaskId::read(&model.task_id)?,
        project_id: ProjectId::read(&model.project_id)?,
        agent_id: AgentId::read(&model.agent_id)?,
        question: from_json(&model.question, "question")?,
        state: read_state(&model)?,
        request_id: model.request_id,
        created_at: Timestamp::from_micros(model.created_at),
    })
}

fn read_state(model: &ask::Model) -> Result<AskState> {
    Ok(match model.state.as_str() {
        "open" => AskState::Open,
        "answered" => AskState::Answered {
            answer: from_json(
                model.answer.as_deref().ok_or_else(|| corrupt("answer"))?,
                "answer",
            )?,
            by: model.answered_by.clone().unwrap_or_default(),
            at: required_date(model.ended_at)?,
        },
        "void" => AskState::Void {
            at: required_date(model.ended_at)?,
        },
        _ => return Err(corrupt("state of an ask")),
    })
}

/// For a row of the table.
pub(crate) fn model(ask: &Ask) -> ask::Model {
    let mut model = ask::Model {
        id: ask.id.bytes(),
        run_id: ask.run_id.bytes(),
        task_id: ask.task_id.bytes(),
        project_id: ask.project_id.bytes(),
        agent_id: ask.agent_id.bytes(),
        request_id: ask.request_id.clone(),
        state: String::new(),
        created_at: ask.created_at.as_micros(),
        ended_at: None,
        answered_by: None,
        answer: None,
        question: to_json(&ask.question),
    };
    model.state = match &ask.state {
        AskState::Open => "open",
        AskState::Answered { answer, by, at } => {
            model.ended_at = Some(at.as_micros());
            model.answered_by = Some(by.clone());
            model.answer = Some(to_json(answer));
            "answered"
        }
        AskState::Void { at } => {
            model.ended_at = Some(at.as_micros());
            "void"
        }
    }
    .to_owned();
    model
}

/// Asks a person, unless the run's request was seen before. The request must have been looked for.
pub(crate) fn open(
    work: &mut Work,
    run: &Run,
    id: AskId,
    (request_id, question): (&str, &Question),
    now: Timestamp,
) -> Result<()> {
    let mut known = work.asks.values().map(Tracked::get);
    if known.any(|ask| ask.run_id == run.id && ask.request_id == request_id) {
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
    work.asks.insert(id, Tracked::new(ask));
    work.run(run.id)?.change().waits.open(now);
    let data = json!({ "ask_id": id, "kind": question.kind, "title": question.title });
    work.event(now, EventKind::AskCreated, About::run(run), &data);
    Ok(())
}

/// No answer is wanted any more to those of a run's open asks that `which` picks.
pub(crate) fn void(
    work: &mut Work,
    run: RunId,
    now: Timestamp,
    which: impl Fn(&Ask) -> bool,
) -> Result<()> {
    let about = About::run(work.run(run)?.get());
    let open: Vec<AskId> = work
        .asks
        .values()
        .map(Tracked::get)
        .filter(|ask| ask.run_id == run && ask.state.is_open() && which(ask))
        .map(|ask| ask.id)
        .collect();
    for id in open {
        let ask = work.ask(id)?.change();
        ask.state = ask.state.void(now);
        work.run(run)?.change().waits.close(1, now);
        let data = json!({ "ask_id": id });
        work.event(now, EventKind::AskVoided, about, &data);
    }
    Ok(())
}

/// Answers an ask.
pub(crate) struct AnswerAsk {
    pub(crate) id: AskId,
    pub(crate) reply: Reply,
}

impl Change for AnswerAsk {
    type Answer = (Ask, ReplyEffect);

    fn weight(&self) -> usize {
        1 + to_json(&self.reply.answer).len() / 1024
    }

    fn needs(&self, needs: &mut Needs) {
        needs.ask(self.id);
        needs.input(self.reply.input_id);
    }

    fn apply(&self, work: &mut Work) -> Result<(Ask, ReplyEffect)> {
        let Reply {
            answer,
            by,
            input_id,
            now,
        } = &self.reply;
        let ask = work.ask(self.id)?.get();
        let answer = ask.question.resolve(answer.clone())?;
        let next = ask.state.answer(answer.clone(), by, *now)?;
        if next == ask.state {
            return Ok((ask.clone(), ReplyEffect::Unchanged));
        }
        if work.inputs.contains_key(input_id) {
            return Err(Error::invalid(format!(
                "there is an input {input_id} already"
            )));
        }
        let ask = work.ask(self.id)?.change();
        ask.state = next;
        let ask = ask.clone();
        let run = work.run(ask.run_id)?.change();
        run.waits.close(1, *now);
        let about = About::run(run);
        let data = json!({ "ask_id": ask.id, "answer": answer, "by": by });
        work.event(*now, EventKind::AskAnswered, about, &data);
        let body = InputBody::Answer {
            ask_id: ask.id,
            request_id: ask.request_id.clone(),
            payload: ask.question.payload.clone(),
            answer,
        };
        let new = New {
            id: *input_id,
            body,
            by: by.clone(),
            now: *now,
        };
        accept(work, ask.run_id, new)?;
        Ok((ask, ReplyEffect::Answered))
    }
}
