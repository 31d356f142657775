// What the browser itself can say about a page.

import type { CDPSession, Page } from "@playwright/test";

export interface Held {
  heap: number;
  nodes: number;
}

/** What the page keeps when everything that can be dropped was. */
export async function held(cdp: CDPSession): Promise<Held> {
  // What is only reachable from something that the first round drops goes in the second.
  await cdp.send("HeapProfiler.collectGarbage");
  await cdp.send("HeapProfiler.collectGarbage");
  const { usedSize } = await cdp.send("Runtime.getHeapUsage");
  const { nodes } = await cdp.send("Memory.getDOMCounters");
  return { heap: usedSize, nodes };
}

/** Begins to note how long each frame takes. */
export async function watchFrames(page: Page): Promise<() => Promise<number[]>> {
  const frames = await page.evaluateHandle(() => {
    const watch = { on: true, gaps: [] as number[] };
    let last = performance.now();
    const next = (now: number): void => {
      watch.gaps.push(now - last);
      last = now;
      if (watch.on) requestAnimationFrame(next);
    };
    requestAnimationFrame((now) => {
      last = now;
      requestAnimationFrame(next);
    });
    return watch;
  });
  return () =>
    frames.evaluate((watch) => {
      watch.on = false;
      return watch.gaps;
    });
}

/** Begins to note the tasks that keep the page from answering, which is what takes over 50 ms. */
export async function watchLongTasks(page: Page): Promise<() => Promise<number[]>> {
  const tasks = await page.evaluateHandle(() => {
    const durations: number[] = [];
    const note = (list: PerformanceObserverEntryList): void => {
      for (const entry of list.getEntries()) durations.push(entry.duration);
    };
    const observer = new PerformanceObserver(note);
    observer.observe({ type: "longtask" });
    return { durations, observer };
  });
  return () => tasks.evaluate(({ durations }) => durations);
}
