"""Puts a task in the queue, follows what becomes of it, answers what its agent asks, and prints the result.

CCM_URL and CCM_TOKEN say which daemon; the argument is a project's name. With CCM_EXAMPLE_RESTART set it answers only
after its event stream was cut once, which is how the tests prove that nothing is lost then.
"""

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import TypeVar

import httpx

from generated.ccm_client.api.asks import answer_ask, list_asks
from generated.ccm_client.api.daemon import get_status
from generated.ccm_client.api.events import stream_events
from generated.ccm_client.api.projects import list_projects
from generated.ccm_client.api.tasks import create_task, get_task
from generated.ccm_client.client import AuthenticatedClient
from generated.ccm_client.models.answer_text import AnswerText
from generated.ccm_client.models.answer_text_answer import AnswerTextAnswer
from generated.ccm_client.models.create_task import CreateTask
from generated.ccm_client.models.event import Event
from generated.ccm_client.models.event_kind import EventKind
from generated.ccm_client.models.list_asks_state import ListAsksState
from generated.ccm_client.models.problem import Problem
from generated.ccm_client.models.problem_code import ProblemCode
from generated.ccm_client.models.task import Task
from generated.ccm_client.models.task_state_name import TaskStateName
from generated.ccm_client.types import Response

OPTIONS = [{"label": "left", "description": ""}, {"label": "right", "description": ""}]
QUESTION = {"question": "Which way?", "header": "Way", "multiSelect": False, "options": OPTIONS}
TASK = f"@tool AskUserQuestion {json.dumps({'questions': [QUESTION]})}\n@say going right"
ENDS = (EventKind.TASK_SUCCEEDED, EventKind.TASK_FAILED, EventKind.TASK_CANCELLED)

client = AuthenticatedClient(base_url=os.environ["CCM_URL"], token=os.environ["CCM_TOKEN"])
T = TypeVar("T")


def ok(reply: T | Problem | None) -> T:
    """The answer, or an error with what the daemon says is wrong."""
    if reply is None or isinstance(reply, Problem):
        raise RuntimeError(f"{reply.code}: {reply.detail}" if reply else "an answer that is not described")
    return reply


def check(holds: bool, what: str) -> None:
    if not holds:
        raise RuntimeError(f"not as expected: {what}")


def messages(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The messages of an event stream."""
    message: dict[str, str] = {}
    for line in lines:
        if not line:
            yield message
            message = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            message[name] = value


def follow(place: str, task: uuid.UUID) -> Iterator[Event | None]:
    """Follows a log from a place. It goes on where it was cut, and tells of that by giving nothing once."""
    cut = False
    while True:
        # The generated function waits for the end of the answer, which a stream has not; its arguments are what counts.
        request = stream_events._get_kwargs(task_id=task, last_event_id=place)
        try:
            with client.get_httpx_client().stream(**request, timeout=httpx.Timeout(5, read=60)) as reply:
                reply.raise_for_status()
                if cut:
                    yield None
                for message in messages(reply.iter_lines()):
                    place = message.get("id", place)
                    if message.get("event") == "resync":
                        raise RuntimeError(f"events are gone: {message['data']}")
                    if "data" in message:
                        yield Event.from_dict(json.loads(message["data"]))
        except httpx.TransportError:
            # Nobody listens, or stopped doing so.
            time.sleep(0.1)
        cut = True


def create(project: uuid.UUID, text: str, key: str) -> Response[Problem | Task]:
    body = CreateTask(project_id=project, text=text)
    return create_task.sync_detailed(
        client=client, body=body, idempotency_key=key, x_ccm_client="example-python"
    )


def main(name: str) -> None:
    projects = ok(list_projects.sync(client=client, name=name)).items
    if not projects:
        raise RuntimeError(f"there is no project {name}")
    project = projects[0].id
    log = ok(get_status.sync(client=client)).log
    begin = f"{log.log_id}:{log.seq}"

    # Sent twice with one key, it is one task.
    key = str(uuid.uuid4())
    task = ok(create(project, TASK, key).parsed)
    again = create(project, TASK, key)
    check(ok(again.parsed).id == task.id, "the same task for the same key")
    check(again.headers["idempotency-replayed"] == "true", "an answer that is marked as repeated")
    other = create(project, "something else", key).parsed
    check(
        isinstance(other, Problem) and other.code == ProblemCode.IDEMPOTENCY_KEY_REUSED,
        "another body for the same key is refused",
    )

    seen: list[int] = []
    cuts = 0
    asked: uuid.UUID | None = None
    for event in follow(begin, task.id):
        if event is None:
            cuts += 1
        else:
            seen.append(event.seq)
        if event and event.kind == EventKind.ASK_CREATED:
            ask = ok(list_asks.sync(client=client, state=ListAsksState.OPEN, task_id=task.id)).items[0]
            asked = ask.id
            print(f"asked: {ask.title}", flush=True)
        if asked and (cuts or not os.environ.get("CCM_EXAMPLE_RESTART")):
            answer = AnswerText(answer=AnswerTextAnswer.TEXT, text=["2"])
            answered = ok(answer_ask.sync(asked, client=client, body=answer)).answer
            check(isinstance(answered, AnswerText) and answered.text == ["right"], "option 2 is right")
            asked = None
        if event and event.kind in ENDS:
            break

    done = ok(get_task.sync(task.id, client=client))
    check(done.state == TaskStateName.SUCCEEDED, f"the task {done.state}: {done.detail}")

    # The log in one piece says whether anything was missed or came twice.
    whole: list[int] = []
    for event in follow(begin, task.id):
        if event:
            whole.append(event.seq)
        if whole and whole[-1] == seen[-1]:
            break
    check(whole == seen, f"events {seen} of {whole}")
    print(f"result: {done.result} ({len(seen)} events, the stream was cut {cuts} times)")


main(sys.argv[1])
