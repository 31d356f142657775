//! Runs: how they are kept, and claims.

mod progress;

use ccm_core::event::EventKind;
use ccm_core::id::{AgentId, FencingToken, ProjectId, RunId, SystemId, TaskId};
use ccm_core::run::{Checkpoint, Inputs, ParserState, Run, RunState, Usage, Waits};
use ccm_core::store::{Claim, Claimed};
use ccm_core::task::{Task, TaskState};
use ccm_core::time::Timestamp;
use ccm_core::{Error, ErrorKind, Noun, Result};
use sea_orm::{FromQueryResult, QueryResult};
use serde_json::json;

use crate::agents::decide;
use crate::entity::run;
use crate::error::{corrupt, from_db};
use crate::tasks::{ending, enter, not_ready};
use crate::values::{
    Id, column, count, date, from_json, length, length_micros, micros, reason, required_date,
    small, to_json,
};
use crate::writer::{About, Change, Needs, Tracked, Work};

pub(crate) use progress::{End, MarkHeld, MarkStarted, MarkStopping, Renew, TakeIn, held_by};

/// From a row of the table.
pub(crate) fn read(row: &QueryResult) -> Result<Run> {
    let model = run::Model::from_query_result(row, "").map_err(from_db)?;
    let parser = match (model.parser_version, &model.parser_data) {
        (Some(version), Some(data)) => Some(ParserState {
            version: small(version)?,
            data: data.clone(),
        }),
        _ => None,
    };
    Ok(Run {
        id: RunId::read(&model.id)?,
        task_id: TaskId::read(&model.task_id)?,
        project_id: ProjectId::read(&model.project_id)?,
        agent_id: AgentId::read(&model.agent_id)?,
        system_id: SystemId::read(&model.system_id)?,
        attempt: small(model.attempt)?,
        token: FencingToken(count(model.token)?),
        lease_until: date(model.lease_until),
        state: read_state(&model)?,
        stop: model
            .stop
            .as_deref()
            .map(|stop| from_json(stop, "decision to stop"))
            .transpose()?,
        checkpoint: Checkpoint {
            out: count(model.out_offset)?,
            err: count(model.err_offset)?,
            parser,
        },
        session_id: model.session_id,
        usage: Usage {
            input_tokens: count(model.input_tokens)?,
            output_tokens: count(model.output_tokens)?,
            cache_read_tokens: count(model.cache_read_tokens)?,
            cache_write_tokens: count(model.cache_write_tokens)?,
        },
        cost_usd: model.cost_usd,
        waits: Waits {
            open_asks: small(model.open_asks)?,
            interrupted: model
                .interrupted
                .as_deref()
                .map(|by| from_json(by, "interruption of a run"))
                .transpose()?,
            since: date(model.asked_since),
            before: length(model.waited)?,
            parked: model
                .parked
                .as_deref()
                .map(|parked| from_json(parked, "reason to wait"))
                .transpose()?,
        },
        inputs: Inputs {
            last: small(model.last_input)?,
            closed: model.inputs_closed,
        },
        claimed_at: Timestamp::from_micros(model.claimed_at),
    })
}

fn read_state(model: &run::Model) -> Result<RunState> {
    Ok(match model.state.as_str() {
        "launching" => RunState::Launching,
        "running" => RunState::Running {
            started_at: required_date(model.started_at)?,
            held: reason(model.held.as_ref())?,
        },
        "ended" => RunState::Ended {
            started_at: date(model.started_at),
            finished_at: required_date(model.finished_at)?,
            outcome: from_json(
                model
                    .outcome
                    .as_deref()
                    .ok_or_else(|| corrupt("outcome of a run"))?,
                "outcome of a run",
            )?,
        },
        _ => return Err(corrupt("state of a run")),
    })
}

/// For a row of the table.
pub(crate) fn model(run: &Run) -> run::Model {
    let parser = run.checkpoint.parser.as_ref();
    let mut model = run::Model {
        id: run.id.bytes(),
        task_id: run.task_id.bytes(),
        project_id: run.project_id.bytes(),
        agent_id: run.agent_id.bytes(),
        system_id: run.system_id.bytes(),
        attempt: i64::from(run.attempt),
        token: column(run.token.0),
        lease_until: micros(run.lease_until),
        state: String::new(),
        claimed_at: run.claimed_at.as_micros(),
        started_at: None,
        finished_at: None,
        held: None,
        stop: run.stop.as_ref().map(to_json),
        out_offset: column(run.checkpoint.out),
        err_offset: column(run.checkpoint.err),
        parser_version: parser.map(|parser| i64::from(parser.version)),
        parser_data: parser.map(|parser| parser.data.clone()),
        session_id: run.session_id.clone(),
        input_tokens: column(run.usage.input_tokens),
        output_tokens: column(run.usage.output_tokens),
        cache_read_tokens: column(run.usage.cache_read_tokens),
        cache_write_tokens: column(run.usage.cache_write_tokens),
        cost_usd: run.cost_usd,
        outcome: None,
        open_asks: i64::from(run.waits.open_asks),
        interrupted: run.waits.interrupted.as_ref().map(to_json),
        asked_since: micros(run.waits.since),
        waited: length_micros(run.waits.before),
        parked: run.waits.parked.as_ref().map(to_json),
        last_input: i64::from(run.inputs.last),
        inputs_closed: run.inputs.closed,
    };
    model.state = match &run.state {
        RunState::Launching => "launching",
        RunState::Running { started_at, held } => {
            model.started_at = Some(started_at.as_micros());
            model.held = held.map(|reason| reason.as_str().to_owned());
            "running"
        }
        RunState::Ended {
            started_at,
            finished_at,
            outcome,
        } => {
            model.started_at = micros(*started_at);
            model.finished_at = Some(finished_at.as_micros());
            model.outcome = Some(to_json(outcome));
            "ended"
        }
    }
    .to_owned();
    model
}

/// Hands a task out.
pub(crate) struct Take(pub(crate) Claim);

impl Change for Take {
    type Answer = Claimed;

    fn needs(&self, needs: &mut Needs) {
        needs.task(self.0.task);
        needs.known_run(self.0.run);
        needs.agent(self.0.agent);
    }

    fn apply(&self, work: &mut Work) -> Result<Claimed> {
        let claim = &self.0;
        let record = work.task(claim.task)?.get();
        let next = record.task.state.claim(claim.run)?;
        if let Some(error) = not_ready(record, claim.now) {
            return Err(error);
        }
        let agent = work.agents.get(&claim.agent).map(Tracked::get);
        let wish = agent.map(|agent| agent.claim(format!("task {}", claim.task), claim.now));
        let wish = wish.transpose()?.flatten();
        if !work.known_runs.insert(claim.run) {
            return Err(Error::new(
                ErrorKind::Taken(Noun::Run),
                format!("there is a run {} already", claim.run),
            ));
        }
        let mut token = FencingToken(0);
        let task = enter(work, claim.task, next, claim.now, |record| {
            record.token.0 += 1;
            token = record.token;
            record.task.due_at = None;
            record.task.attempts += 1;
            record.task.latest_run = Some(claim.run);
        })?;
        let run = Run {
            id: claim.run,
            task_id: task.id,
            project_id: task.project_id,
            agent_id: claim.agent,
            system_id: claim.system,
            attempt: task.attempts,
            token,
            lease_until: claim.lease_until,
            state: RunState::Launching,
            stop: None,
            checkpoint: Checkpoint::default(),
            session_id: None,
            usage: Usage::default(),
            cost_usd: None,
            waits: Waits::default(),
            inputs: Inputs::default(),
            claimed_at: claim.now,
        };
        work.runs.insert(run.id, Tracked::new(run.clone()));
        work.started(task.project_id, claim.now);
        if let Some(wish) = wish {
            decide(work, claim.agent, wish)?;
        }
        let data = json!({ "attempt": run.attempt });
        let about = About::run(&run);
        work.event(claim.now, EventKind::RunCreated, about, &data);
        work.event(claim.now, EventKind::TaskStarted, about, &data);
        Ok(Claimed { task, run })
    }
}

/// Notes a decision to end a run, on the task and on the run.
pub(crate) fn note_stop(
    work: &mut Work,
    task: TaskId,
    next: TaskState,
    now: Timestamp,
) -> Result<Task> {
    let TaskState::Running { run, stop } = &next else {
        return Err(Error::internal("a stop led out of running"));
    };
    if work.task(task)?.get().task.state == next {
        return Ok(work.task(task)?.get().task.clone());
    }
    work.run(*run)?.change().stop.clone_from(stop);
    let about = About::run(work.run(*run)?.get());
    let task = enter(work, task, next, now, |_| {})?;
    let (kind, data) = ending(&task);
    work.event(now, kind, about, &data);
    Ok(task)
}
