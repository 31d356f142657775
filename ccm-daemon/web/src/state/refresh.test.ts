import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Refresh } from "./refresh";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("what is wanted while it is read is read once more, and after a pause", async () => {
  const reads: number[] = [];
  const refresh = new Refresh(async () => {
    reads.push(performance.now());
    await new Promise((done) => setTimeout(done, 10));
  }, 200);
  const begun = performance.now();
  refresh.want();
  for (let times = 0; times < 100; times += 1) refresh.want();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(reads.map((time) => time - begun)).toEqual([0, 210]);

  refresh.want();
  await vi.advanceTimersByTimeAsync(0);
  expect(reads).toHaveLength(3);
});

test("reading takes a fifth of the time at most", async () => {
  let reads = 0;
  const refresh = new Refresh(async () => {
    reads += 1;
    await new Promise((done) => setTimeout(done, 100));
  }, 10);
  const flood = setInterval(() => refresh.want(), 5);
  await vi.advanceTimersByTimeAsync(5_000);
  clearInterval(flood);
  expect(reads).toBeGreaterThanOrEqual(9);
  expect(reads).toBeLessThanOrEqual(11);
});

test("a failure is no end", async () => {
  let reads = 0;
  const refresh = new Refresh(async () => {
    reads += 1;
    throw new Error("away");
  }, 10);
  refresh.want();
  await vi.advanceTimersByTimeAsync(100);
  refresh.want();
  await vi.advanceTimersByTimeAsync(100);
  expect(reads).toBe(2);
});
