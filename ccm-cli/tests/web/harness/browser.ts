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

/** How long the page's own thread has computed so far, in seconds: not how long it waited for a processor. */
export async function computed(cdp: CDPSession): Promise<number> {
  const { metrics } = await cdp.send("Performance.getMetrics");
  const found = metrics.find((metric) => metric.name === "ThreadTime");
  if (found === undefined) throw new Error("this browser does not tell ThreadTime");
  return found.value;
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

export interface Load {
  /** Until the page shows what the machine has, and a frame with it was made. */
  ready: number;
  files: number;
  answers: number;
}

/** Loads a page with nothing in the browser's cache and waits for `sign` to be in it. */
export async function load(page: Page, url: string, sign: string): Promise<Load> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Network.enable");
  const sent = { files: 0, answers: 0 };
  const isFile = new Map<string, boolean>();
  cdp.on("Network.requestWillBeSent", ({ requestId, request }) => {
    isFile.set(requestId, !new URL(request.url).pathname.startsWith("/api/"));
  });
  cdp.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    sent[isFile.get(requestId) === true ? "files" : "answers"] += encodedDataLength;
  });
  await page.addInitScript((sign) => {
    const shown = new Promise<number>((resolve) => {
      const look = (): void => {
        if (document.body?.innerText.includes(sign)) {
          // The frame after the one that shows it.
          requestAnimationFrame(() => requestAnimationFrame(resolve));
        } else requestAnimationFrame(look);
      };
      look();
    });
    Object.assign(window, { shown });
  }, sign);
  await page.goto(url);
  const ready = await page.evaluate(() => (window as unknown as { shown: Promise<number> }).shown);
  await page.waitForLoadState("load");
  await cdp.detach();
  return { ready, ...sent };
}
