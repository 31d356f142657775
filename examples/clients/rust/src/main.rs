//! Puts a task in the queue, follows what becomes of it, answers what its agent asks, and prints the result.
//!
//! `CCM_URL` and `CCM_TOKEN` say which daemon; the argument is a project's name. With `CCM_EXAMPLE_RESTART` set it
//! answers only after its event stream was cut once, which is how the tests prove that nothing is lost then.

use std::collections::VecDeque;
use std::error::Error;
use std::time::Duration;

use ccm::types::{
    Answer, AnswerText, AnswerTextAnswer, CreateTask, Event, EventKind, ProblemCode, TaskStateName,
};
use ccm::{ByteStream, Client};
use futures_util::StreamExt;
use uuid::Uuid;

/// What is generated from the description of the API.
mod ccm {
    progenitor::generate_api!(spec = "generated/openapi-3.0.json", interface = Builder,);
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TASK: &str = r#"@tool AskUserQuestion {"questions":[{"question":"Which way?","header":"Way","multiSelect":false,"options":[{"label":"left","description":""},{"label":"right","description":""}]}]}
@say going right"#;

/// A stream of the events of one task, which goes on where it was cut.
struct Events<'a> {
    client: &'a Client,
    task: Uuid,
    place: String,
    body: Option<ByteStream>,
    text: Vec<u8>,
    ready: VecDeque<Event>,
    cuts: u32,
}

impl<'a> Events<'a> {
    fn after(client: &'a Client, task: Uuid, place: &str) -> Self {
        Self {
            client,
            task,
            place: place.to_owned(),
            body: None,
            text: Vec::new(),
            ready: VecDeque::new(),
            cuts: 0,
        }
    }

    /// The next event; nothing when the stream was cut and goes on.
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(body) = &mut self.body else {
                if self.connect().await? && self.cuts > 0 {
                    return Ok(None);
                }
                continue;
            };
            match body.next().await {
                Some(Ok(bytes)) => {
                    self.text.extend_from_slice(&bytes);
                    self.take_messages()?;
                }
                // The daemon ended, or the connection.
                Some(Err(_)) | None => {
                    self.body = None;
                    self.text.clear();
                    self.cuts += 1;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<bool> {
        let request = self.client.stream_events().task_id(self.task);
        match request.last_event_id(self.place.clone()).send().await {
            Ok(reply) => {
                self.body = Some(reply.into_inner());
                Ok(true)
            }
            // Nobody listens yet.
            Err(ccm::Error::CommunicationError(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn take_messages(&mut self) -> Result<()> {
        while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
            let message: Vec<u8> = self.text.drain(..end + 2).collect();
            let message = String::from_utf8(message)?;
            let field = |name: &str| {
                let mut lines = message.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            if let Some(place) = field("id") {
                self.place = place.to_owned();
            }
            if field("event") == Some("resync") {
                return Err(format!("events are gone: {message}").into());
            }
            if let Some(data) = field("data") {
                self.ready.push_back(serde_json::from_str(data)?);
            }
        }
        Ok(())
    }
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

fn check(holds: bool, what: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(format!("not as expected: {what}").into())
    }
}

fn client() -> Result<Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    let token = format!("Bearer {}", setting("CCM_TOKEN")?);
    headers.insert(reqwest::header::AUTHORIZATION, token.parse()?);
    let http = reqwest::Client::builder()
        .default_headers(headers)
        .build()?;
    Ok(Client::new_with_client(&setting("CCM_URL")?, http))
}

#[tokio::main]
async fn main() -> Result<()> {
    let name = std::env::args().nth(1).ok_or("name a project")?;
    let client = client()?;
    let projects = client.list_projects().name(name.as_str()).send().await?;
    let project = projects
        .items
        .first()
        .ok_or_else(|| format!("there is no project {name}"))?;
    let log = client.get_status().send().await?.into_inner().log;
    let begin = format!("{}:{}", *log.log_id, *log.seq);

    // Sent twice with one key, it is one task.
    let key = Uuid::now_v7().to_string();
    let create = |text: &str| {
        let body = CreateTask::builder()
            .project_id(project.id.clone())
            .text(text);
        let request = client
            .create_task()
            .idempotency_key(key.clone())
            .x_ccm_client("example-rust");
        request.body(body).send()
    };
    let task = create(TASK).await?.into_inner();
    let again = create(TASK).await?;
    check(*again.id == *task.id, "the same task for the same key")?;
    check(
        again.headers().get("idempotency-replayed").is_some(),
        "an answer that is marked as repeated",
    )?;
    match create("something else").await {
        Err(ccm::Error::ErrorResponse(problem)) => {
            check(
                problem.code == ProblemCode::IdempotencyKeyReused,
                "another body for the same key is refused",
            )?;
        }
        other => return Err(format!("another body for the same key: {other:?}").into()),
    }

    let restarted = std::env::var_os("CCM_EXAMPLE_RESTART").is_some();
    let mut events = Events::after(&client, *task.id, &begin);
    let mut seen = Vec::new();
    let mut asked = None;
    loop {
        let event = events.next().await?;
        if let Some(event) = &event {
            seen.push(*event.seq);
            if event.kind == EventKind::AskCreated {
                let asks = client
                    .list_asks()
                    .state("open")
                    .task_id(*task.id)
                    .send()
                    .await?;
                let ask = asks.items.first().ok_or("nothing is asked")?;
                println!("asked: {}", ask.title);
                asked = Some(ask.id.clone());
            }
        }
        if (events.cuts > 0 || !restarted)
            && let Some(id) = asked.take()
        {
            let text = vec!["2".parse()?];
            let answer = Answer::from(AnswerText {
                answer: AnswerTextAnswer::Text,
                text,
            });
            let answered = client.answer_ask().id(id).body(answer).send().await?;
            let answer = serde_json::to_value(&answered.answer)?;
            check(answer["text"][0] == "right", "option 2 is right")?;
        }
        let ends = [
            EventKind::TaskSucceeded,
            EventKind::TaskFailed,
            EventKind::TaskCancelled,
        ];
        if event.is_some_and(|event| ends.contains(&event.kind)) {
            break;
        }
    }

    let done = client
        .get_task()
        .id(task.id.clone())
        .send()
        .await?
        .into_inner();
    check(
        done.state == TaskStateName::Succeeded,
        &format!("the task {:?}: {:?}", done.state, done.detail),
    )?;

    // The log in one piece says whether anything was missed or came twice.
    let mut whole = Vec::new();
    let mut again = Events::after(&client, *task.id, &begin);
    while whole.last() != seen.last() {
        whole.extend(again.next().await?.map(|event| *event.seq));
    }
    check(whole == seen, &format!("events {seen:?} of {whole:?}"))?;
    let result = done.result.map(|text| text.to_string()).unwrap_or_default();
    println!(
        "result: {result} ({} events, the stream was cut {} times)",
        seen.len(),
        events.cuts
    );
    Ok(())
}
