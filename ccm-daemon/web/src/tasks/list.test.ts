import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { read } from "./filter";

/** A daemon with tasks, the newest first; each is its number. */
class Daemon {
  tasks: number[];
  requests: URLSearchParams[] = [];

  constructor(count: number) {
    this.tasks = Array.from({ length: count }, (_, at) => count - at);
  }

  create(): void {
    this.tasks.unshift((this.tasks[0] ?? 0) + 1);
  }

  answer(request: Request): Response {
    const query = new URL(request.url).searchParams;
    this.requests.push(query);
    const skip = Number(query.get("skip"));
    const items = this.tasks.slice(skip, skip + Number(query.get("page_size"))).map((id) => ({ id: String(id) }));
    const total = query.get("count") === "true" ? { total: this.tasks.length } : {};
    return new Response(JSON.stringify({ items, ...total }), { headers: { "content-type": "application/json" } });
  }
}

async function listOf(daemon: Daemon, query = "") {
  vi.stubGlobal("location", new URL("http://127.0.0.1:8765/"));
  vi.stubGlobal("localStorage", { getItem: () => "the-secret" });
  vi.stubGlobal("fetch", async (request: Request) => daemon.answer(request));
  vi.resetModules();
  const { TaskList } = await import("./list.svelte");
  const list = new TaskList(read(new URLSearchParams(query)));
  list.again();
  await settled();
  return list;
}

const settled = () => vi.advanceTimersByTimeAsync(5_000);
const created = [{ kind: "task.created", project_id: "p" }] as never;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("only what is looked at is read", async () => {
  const daemon = new Daemon(100_000);
  const list = await listOf(daemon);
  expect(list.total).toBe(100_000);
  expect(list.get(0)?.id).toBe("100000");
  expect(list.get(70_000)).toBeUndefined();
  list.look(70_000, 70_040, false);
  await settled();
  expect(list.get(70_000)?.id).toBe("30000");
  expect(daemon.requests).toHaveLength(2);
  expect(daemon.requests.every((query) => query.get("text_limit") !== null)).toBe(true);
});

test("at the top new tasks come in at once", async () => {
  const daemon = new Daemon(500);
  const list = await listOf(daemon);
  daemon.create();
  list.take(created);
  await settled();
  expect([list.get(0)?.id, list.total, list.fresh]).toEqual(["501", 501, 0]);
});

test("further down they wait above, and the rows stay where they are", async () => {
  const daemon = new Daemon(500);
  const list = await listOf(daemon);
  list.look(150, 190, false);
  await settled();
  expect(list.get(150)?.id).toBe("350");
  for (let more = 0; more < 3; more += 1) daemon.create();
  list.take(created);
  await settled();
  expect([list.get(150)?.id, list.total, list.fresh]).toEqual(["350", 500, 3]);
  list.showFresh();
  list.look(0, 40, true);
  await settled();
  expect([list.get(0)?.id, list.total, list.fresh]).toEqual(["503", 503, 0]);
});

test("with a filter by state rows come and go anywhere, so all of them are read as they are", async () => {
  const daemon = new Daemon(500);
  const list = await listOf(daemon, "state=failed");
  list.look(150, 190, false);
  daemon.create();
  list.take(created);
  await settled();
  expect([list.get(150)?.id, list.total, list.fresh]).toEqual(["351", 501, 0]);
});

test("events of another project are none of a project's list", async () => {
  const daemon = new Daemon(5);
  const list = await listOf(daemon, "project=other");
  const before = daemon.requests.length;
  list.take(created);
  await settled();
  expect(daemon.requests).toHaveLength(before);
});

test("a failure keeps what is known, and the next reading ends it", async () => {
  const daemon = new Daemon(5);
  const list = await listOf(daemon);
  const answer = daemon.answer.bind(daemon);
  daemon.answer = () => new Response("{}", { status: 503 });
  list.again();
  await settled();
  expect(list.failure).toMatchObject({ status: 503 });
  expect(list.get(0)?.id).toBe("5");
  daemon.answer = answer;
  list.again();
  await settled();
  expect(list.failure).toBeUndefined();
});
