// Puts a task in the queue, follows what becomes of it, answers what its agent asks, and prints the result.
//
// CCM_URL and CCM_TOKEN say which daemon; the argument is a project's name. With CCM_EXAMPLE_RESTART set it answers only
// after its event stream was cut once, which is how the tests prove that nothing is lost then.

import { randomUUID } from "node:crypto";

import createClient from "openapi-fetch";

import type { components, paths } from "./generated/ccm.js";

type Event = components["schemas"]["Event"];
type Problem = components["schemas"]["Problem"];

const TASK = [
  '@tool AskUserQuestion {"questions":[{"question":"Which way?","header":"Way","multiSelect":false,' +
    '"options":[{"label":"left","description":""},{"label":"right","description":""}]}]}',
  "@say going right",
].join("\n");

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const client = createClient<paths>({
  baseUrl: setting("CCM_URL"),
  headers: { Authorization: `Bearer ${setting("CCM_TOKEN")}` },
});

/** The answer, or an error with what the daemon says is wrong. */
function ok<T>(reply: { data?: T; error?: Problem | undefined }): T {
  if (reply.error) throw new Error(`${reply.error.code}: ${reply.error.detail}`);
  return reply.data as T;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not as expected: ${what}`);
}

/** A message of an event stream. */
type Message = { id?: string; event?: string; data?: string };

async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const text = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    rest += text.decode(bytes, { stream: true });
    const parts = rest.split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      const fields = part.split("\n").filter((line) => !line.startsWith(":"));
      yield Object.fromEntries(fields.map((line) => line.split(/: (.*)/s).slice(0, 2)));
    }
  }
}

/** Follows a log from a place. It goes on where it was cut, and tells of that by giving nothing once. */
async function* follow(place: string, filter: { task_id?: string }): AsyncGenerator<Event | undefined> {
  for (let cut = false; ; cut = true) {
    try {
      const reply = await client.GET("/api/v1/events", {
        params: { query: filter, header: { "Last-Event-ID": place } },
        parseAs: "stream",
      });
      if (cut) yield undefined;
      for await (const message of messages(ok(reply) as ReadableStream<Uint8Array>)) {
        place = message.id ?? place;
        if (message.event === "resync") throw new Error(`events are gone: ${message.data}`);
        if (message.data) yield JSON.parse(message.data) as Event;
      }
    } catch (error) {
      // What fetch says when nobody listens, or stops doing so.
      if (!(error instanceof TypeError)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function main(name: string): Promise<void> {
  const projects = ok(await client.GET("/api/v1/projects", { params: { query: { name } } }));
  const project = projects.items[0];
  if (!project) throw new Error(`there is no project ${name}`);
  const { log } = ok(await client.GET("/api/v1/status"));
  const begin = `${log.log_id}:${log.seq}`;

  // Sent twice with one key, it is one task.
  const create = (text: string, key: string) =>
    client.POST("/api/v1/tasks", {
      params: { header: { "Idempotency-Key": key, "X-CCM-Client": "example-typescript" } },
      body: { project_id: project.id, text },
    });
  const key = randomUUID();
  const task = ok(await create(TASK, key));
  const again = await create(TASK, key);
  check(ok(again).id === task.id, "the same task for the same key");
  check(again.response.headers.get("idempotency-replayed") === "true", "an answer that is marked as repeated");
  const other = await create("something else", key);
  check(other.error?.code === "idempotency_key_reused", "another body for the same key is refused");

  const seen: number[] = [];
  let cuts = 0;
  let asked: string | undefined;
  for await (const event of follow(begin, { task_id: task.id })) {
    if (event) seen.push(event.seq);
    else cuts += 1;
    if (event?.kind === "ask.created") {
      const open = ok(
        await client.GET("/api/v1/asks", { params: { query: { state: "open", task_id: task.id } } }),
      );
      asked = open.items[0]?.id;
      console.log(`asked: ${open.items[0]?.title}`);
    }
    if (asked && (cuts > 0 || !process.env.CCM_EXAMPLE_RESTART)) {
      const answered = ok(
        await client.POST("/api/v1/asks/{id}/answer", {
          params: { path: { id: asked } },
          body: { answer: "text", text: ["2"] },
        }),
      );
      check(JSON.stringify(answered.answer) === '{"answer":"text","text":["right"]}', "option 2 is right");
      asked = undefined;
    }
    if (event && ["task.succeeded", "task.failed", "task.cancelled"].includes(event.kind)) break;
  }

  const done = ok(await client.GET("/api/v1/tasks/{id}", { params: { path: { id: task.id } } }));
  check(done.state === "succeeded", `the task ${done.state}: ${done.detail}`);

  // The log in one piece says whether anything was missed or came twice.
  const whole: number[] = [];
  for await (const event of follow(begin, { task_id: task.id })) {
    if (event) whole.push(event.seq);
    if (whole.at(-1) === seen.at(-1)) break;
  }
  check(JSON.stringify(whole) === JSON.stringify(seen), `events ${seen} of ${whole}`);
  console.log(`result: ${done.result} (${seen.length} events, the stream was cut ${cuts} times)`);
}

await main(process.argv[2] ?? "");
// The last stream is still open.
process.exit(0);
