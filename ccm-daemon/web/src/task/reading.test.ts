import { afterEach, beforeEach, expect, test, vi } from "vitest";

/** A run's transcript: an entry a byte, given out in parts of so many. */
class Run {
  count = 0;
  part = 200;
  requests = 0;

  answer(request: Request): Response {
    this.requests += 1;
    const query = new URL(request.url).searchParams;
    const before = query.get("before");
    const from = Number(query.get("after"));
    const end = before === null ? Math.min(this.count, from + this.part) : Math.min(this.count, Number(before));
    const begin = before === null ? from : Math.max(0, end - this.part);
    const entries = Array.from({ length: end - begin }, (_, at) => ({
      type: "note",
      offset: at,
      text: `${begin + at}`,
    }));
    const body = { entries, begin, next: end, complete: end === this.count };
    return new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } });
  }
}

async function readingOf(run: Run) {
  vi.stubGlobal("location", new URL("http://127.0.0.1:8765/"));
  vi.stubGlobal("localStorage", { getItem: () => "the-secret" });
  vi.stubGlobal("fetch", async (request: Request) => run.answer(request));
  vi.resetModules();
  const { Reading } = await import("./reading.svelte");
  const reading = new Reading("the-run");
  reading.want();
  await settled();
  return reading;
}

const settled = () => vi.advanceTimersByTimeAsync(5_000);
const texts = ({ items }: { items: unknown[] }) => items.map((item) => Number((item as { text: string }).text));

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a long transcript begins at its end, and goes back on demand", async () => {
  const run = Object.assign(new Run(), { count: 20_000 });
  const reading = await readingOf(run);
  expect([run.requests, texts(reading).at(0), texts(reading).at(-1)]).toEqual([1, 19_800, 19_999]);
  expect(await reading.back()).toBe(200);
  expect([texts(reading).at(0), reading.items.at(0)?.at, reading.items.at(-1)?.at]).toEqual([19_600, -200, 199]);
});

test("what comes is added", async () => {
  const run = Object.assign(new Run(), { count: 3 });
  const reading = await readingOf(run);
  run.count = 1_000;
  reading.want();
  await settled();
  expect(texts(reading)).toEqual(Array.from({ length: 1_000 }, (_, at) => at));
});

test("parts that are one long line each are not all there is to see at first", async () => {
  const run = Object.assign(new Run(), { count: 100, part: 1 });
  const reading = await readingOf(run);
  expect(texts(reading)).toEqual(Array.from({ length: 40 }, (_, at) => 60 + at));
});

test("a run that said nothing is no failure", async () => {
  const reading = await readingOf(new Run());
  expect([reading.items, reading.complete, reading.failure]).toEqual([[], true, undefined]);
});
