import { afterEach, beforeEach, expect, test, vi } from "vitest";

/** The daemon, as far as the stream needs it: what it answers to each request, in order. */
type Answer = (request: Request) => Response | Promise<Response>;

const LOG = "01a0000000000000000000000000000a";
const event = (seq: number) =>
  `id: ${LOG}:${seq}\nevent: task.created\ndata: ${JSON.stringify({ seq, kind: "task.created" })}\n\n`;
const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
const status: Answer = () => json({ log: { log_id: LOG, seq: 4 } });

/** A stream of these parts, which then breaks off. */
const stream =
  (...parts: string[]): Answer =>
  () =>
    new Response(
      new ReadableStream({
        start(controller) {
          for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
          controller.close();
        },
      }),
    );
/** One that stays open. */
const open: Answer = () => new Response(new ReadableStream({}));

async function live(...answers: Answer[]) {
  const requests: Request[] = [];
  vi.stubGlobal("location", new URL("http://127.0.0.1:8765/"));
  vi.stubGlobal("localStorage", { getItem: () => "the-secret" });
  vi.stubGlobal("document", { addEventListener: () => undefined });
  vi.stubGlobal("addEventListener", () => undefined);
  const RealRequest = Request;
  vi.stubGlobal(
    "Request",
    class extends RealRequest {
      constructor(input: RequestInfo | URL, init?: RequestInit) {
        super(typeof input === "string" ? new URL(input, "http://127.0.0.1:8765") : input, init);
      }
    },
  );
  vi.stubGlobal("fetch", async (request: Request) => {
    requests.push(request);
    const answer = answers.shift();
    if (!answer) throw new TypeError("nobody is there");
    return answer(request);
  });
  vi.resetModules();
  const module = await import("./live.svelte");
  return { live: module.live, requests };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("it begins where the state was read, and resumes after what it saw", async () => {
  const { live: stream1, requests } = await live(status, stream(event(5), event(6).slice(0, 20)), open);
  const seen: number[] = [];
  let loads = 0;
  stream1.listen((events) => seen.push(...events.map((one) => Number(one.seq))));
  stream1.onReload(async () => (loads += 1));
  stream1.start();
  await vi.advanceTimersByTimeAsync(2_000);
  const places = requests.map((request) => request.headers.get("last-event-id"));
  expect(places).toEqual([null, `${LOG}:4`, `${LOG}:5`]);
  expect(seen).toEqual([5]);
  expect(loads).toBe(1);
  expect(requests.every((request) => request.headers.get("x-ccm-csrf") === "the-secret")).toBe(true);
  expect(stream1.contact).toBe("live");
  expect(stream1.lostAt).toBeUndefined();
});

test("many events are one part", async () => {
  const many = Array.from({ length: 200 }, (_, at) => event(5 + at)).join("");
  const { live: stream1 } = await live(status, stream(many), open);
  const parts: number[] = [];
  stream1.listen((events) => parts.push(events.length));
  stream1.start();
  await vi.advanceTimersByTimeAsync(2_000);
  expect(parts).toEqual([200]);
});

test("a place that is gone is read anew", async () => {
  const gone = () => json({ code: "gone", detail: "this place is gone", status: 410 }, 410);
  const { live: stream1, requests } = await live(
    status,
    gone,
    status,
    stream("event: resync\ndata: {}\n\n"),
    status,
    open,
  );
  let loads = 0;
  stream1.onReload(async () => (loads += 1));
  stream1.start();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(loads).toBe(3);
  expect(requests).toHaveLength(6);
  expect(stream1.contact).toBe("live");
});

test("a daemon that is away is tried again, and is said to be away since it was lost", async () => {
  const away: Answer = () => Promise.reject(new TypeError("refused"));
  const { live: stream1, requests } = await live(
    status,
    stream(event(5)),
    ...Array.from({ length: 4 }, () => away),
    open,
  );
  stream1.start();
  await vi.advanceTimersByTimeAsync(500);
  const lost = stream1.lostAt;
  expect(stream1.contact).toBe("lost");
  expect(lost).toBeDefined();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(stream1.lostAt).toBe(lost);
  await vi.advanceTimersByTimeAsync(20_000);
  expect(stream1.contact).toBe("live");
  expect(requests).toHaveLength(7);
});

test("a stream that is silent for too long is given up", async () => {
  const held: Answer = (request) =>
    new Response(
      new ReadableStream({
        start(controller) {
          request.signal.addEventListener("abort", () => controller.error(new DOMException("over", "AbortError")));
        },
      }),
    );
  const { live: stream1, requests } = await live(status, held, open);
  stream1.start();
  await vi.advanceTimersByTimeAsync(39_000);
  expect(requests).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(requests).toHaveLength(3);
});

test("a browser that was signed out asks no more", async () => {
  const { live: stream1, requests } = await live(status, () => json({ code: "unauthorized", detail: "no" }, 401), open);
  const { onSignedOut } = await import("../api/client");
  onSignedOut(() => stream1.signedOut());
  stream1.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(requests).toHaveLength(2);
  expect(stream1.contact).toBe("signed-out");
});
