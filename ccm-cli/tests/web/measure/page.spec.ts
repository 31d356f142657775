// What the page costs: to load, to scroll, and to keep up with a machine that is busy.
//
// No test fails by a time. The figures go to `ccm-bench`, which shows them with what they are held against.

import type { CDPSession, Page } from "@playwright/test";

import { computed, type Held, held, type Load, load, watchFrames, watchLongTasks } from "../harness/browser.ts";
import { makeEvents } from "../harness/events.ts";
import type { Api, Project } from "../harness/machine.ts";
import { expect, test } from "../harness/test.ts";
import { median, percentile, report } from "./figures.ts";

const TASKS = 100_000;
const LOADS = 15;
const SECONDS = Number(process.env["CCM_SECONDS"] ?? 60);

test.use({ kind: { model: false } });
test.describe.configure({ mode: "default", timeout: 600_000 });

/** A project whose queue stands still. */
async function paused(machine: { commandProject(name: string, command: string[]): Promise<Project> }) {
  const project = await machine.commandProject("shop", ["cat"]);
  await project.pause();
  return project;
}

test("the first load", async ({ machine, signedIn, browser }) => {
  await paused(machine);
  const storageState = await signedIn.context().storageState();
  const alone = async (url: string, sign: string): Promise<Load> => {
    const context = await browser.newContext({ storageState });
    const loaded = await load(await context.newPage(), url, sign);
    await context.close();
    return loaded;
  };
  const ours: Load[] = [];
  const bare: Load[] = [];
  for (let turn = 0; turn < LOADS; turn += 1) {
    ours.push(await alone(`${machine.url}/`, "shop"));
    bare.push(await alone(`${machine.url}/health`, "status"));
  }
  const ready = (loads: Load[]): number => median(loads.map((load) => load.ready));
  report(
    {
      figure: "the page's first load, all files as sent",
      value: Math.max(...ours.map((load) => load.files)) / 1000,
      unit: "kB",
      at_most: 150,
    },
    {
      figure: "the page's first load, what the API says to it",
      value: Math.max(...ours.map((load) => load.answers)) / 1000,
      unit: "kB",
    },
    {
      figure: "navigation until the page shows its board",
      value: ready(ours),
      unit: "ms",
      beside: { figure: "a page of one line from the same server", value: ready(bare) },
    },
  );
});

/** Scrolls with a wheel for some seconds; how long each frame took. */
async function scroll(page: Page, cdp: CDPSession): Promise<number[]> {
  const frames = await watchFrames(page);
  for (const direction of [-1, 1]) {
    await cdp.send("Input.synthesizeScrollGesture", {
      x: 600,
      y: 400,
      yDistance: direction * 12_000,
      speed: 4000,
      gestureSourceType: "mouse",
    });
  }
  return frames();
}

/** The share of frames that came late, with a millisecond for the timer's own grain. */
function late(frames: number[]): number {
  return (100 * frames.filter((gap) => gap > 17.7).length) / frames.length;
}

test("a list of 100,000 tasks scrolls", async ({ machine, signedIn: page }) => {
  const project = await paused(machine);
  await project.tasks(TASKS, (number) => ({ text: `Task ${number}`, title: `Task ${number}` }));
  await page.goto("/tasks");
  await expect(page.getByText(`Task ${TASKS - 1}`).first()).toBeVisible();
  const other = await page.context().newPage();
  await other.setContent(`<div style="height: ${TASKS * 32}px">nothing</div>`);
  const frames = { list: [] as number[], bare: [] as number[] };
  for (const [name, tab] of [["bare", other], ["list", page], ["bare", other], ["list", page]] as const) {
    await tab.bringToFront();
    const cdp = await tab.context().newCDPSession(tab);
    frames[name].push(...(await scroll(tab, cdp)));
    await cdp.detach();
  }
  report(
    { figure: "100,000 tasks scrolled: frames that came late", value: late(frames.list), unit: "%" },
    { figure: "an empty page scrolled: frames that came late", value: late(frames.bare), unit: "%" },
    {
      figure: "100,000 tasks scrolled: time of a frame, 95th of 100",
      value: percentile(frames.list, 0.95),
      unit: "ms",
      beside: { figure: "an empty page", value: percentile(frames.bare, 0.95) },
      at_most: 1.5,
    },
  );
});

interface Endured {
  rate: number;
  /** How long each task was that took over 50 ms, by the clock: on a busy machine that counts the waiting, too. */
  long: number[];
  /** The share of the time in which the page's thread computed. */
  busy: number;
  before: Held;
  after: Held;
}

/** What a page is like while the machine is busy. */
async function endure(page: Page, api: Api, project: Project, seconds: number): Promise<Endured> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Performance.enable");
  // What is loaded when it is used first is loaded now.
  await makeEvents(api, project, 3);
  const before = await held(cdp);
  const longTasks = await watchLongTasks(page);
  const [begun, computedBefore] = [performance.now(), await computed(cdp)];
  const made = await makeEvents(api, project, seconds);
  const took = (performance.now() - begun) / 1000;
  const busy = (await computed(cdp)) - computedBefore;
  const long = await longTasks();
  const after = await held(cdp);
  await cdp.detach();
  return { rate: made / took, long, busy: busy / took, before, after };
}

/** A page that reads the events and does nothing with them. */
async function readOnly(page: Page): Promise<void> {
  const key = await page.evaluate(() => Object.entries(localStorage));
  const csrf = key.find(([name]) => name.includes("csrf"))?.[1] ?? "";
  await page.goto("/health");
  await page.evaluate(async (csrf) => {
    const answer = await fetch("/api/v1/events", { headers: { "X-CCM-CSRF": csrf } });
    if (!answer.ok || answer.body === null) throw new Error(`the events can't be read: ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const read = async (): Promise<void> => {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        for (const line of next.value.split("\n")) if (line.startsWith("data: {") && line.endsWith("}")) JSON.parse(line.slice(6));
      }
    };
    void read();
  }, csrf);
}

for (const [name, path] of [
  ["the board", "/"],
  ["the list of tasks", "/tasks"],
  ["the log of events", "/events"],
] as const) {
  test(`${name} keeps up with a busy machine`, async ({ machine, signedIn: page, elsewhere }) => {
    const project = await paused(machine);
    await project.tasks(1000, (number) => ({ text: "early", title: `Early ${number}` }));
    const api = await machine.api();
    await page.goto(path);
    await expect(page.getByRole("main").getByText("shop").filter({ visible: true }).first()).toBeVisible();
    const ours = await endure(page, api, project, SECONDS);
    await page.close();
    await readOnly(elsewhere);
    const bare = await endure(elsewhere, api, project, Math.ceil(SECONDS / 4));
    const what = `${name} with events`;
    const beside = "a page that only reads them";
    report(
      { figure: `${what}: made`, value: ours.rate, unit: "a second" },
      { figure: `${what}: tasks over 50 ms`, value: ours.long.length, unit: "" },
      { figure: `${what}: the longest task`, value: Math.max(0, ...ours.long), unit: "ms", at_most: 50 },
      {
        figure: `${what}: its thread computes`,
        value: 100 * ours.busy,
        unit: "%",
        beside: { figure: beside, value: 100 * bare.busy },
      },
      {
        figure: `${what}: memory at the end`,
        value: ours.after.heap / 1e6,
        unit: "MB",
        beside: { figure: "at the beginning", value: ours.before.heap / 1e6 },
        at_most: 1.2,
      },
      {
        figure: `${what}: nodes at the end`,
        value: ours.after.nodes,
        unit: "",
        beside: { figure: "at the beginning", value: ours.before.nodes },
        at_most: 1.2,
      },
    );
  });
}
