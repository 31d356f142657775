// Pictures of every page, in light, dark and on a phone, for people to look at. They are in target/web/screenshots.

import path from "node:path";

import type { Page } from "@playwright/test";

import type { Machine } from "../harness/machine.ts";
import { TARGET } from "../harness/programs.ts";
import { approve, asks, busy, conflict, knows, state } from "../harness/scenes.ts";
import { bash, say, script } from "../harness/scripts.ts";
import { expect, test } from "../harness/test.ts";

const FOLDER = path.join(TARGET, "web/screenshots");
const DESK = { width: 1280, height: 800 };
const TALLEST = 2400;
const PHONE = { width: 390, height: 844 };
const LOOKS = [
  { look: "light", colorScheme: "light", viewport: DESK },
  { look: "dark", colorScheme: "dark", viewport: DESK },
  { look: "phone", colorScheme: "light", viewport: PHONE },
] as const;

test.describe.configure({ timeout: 600_000 });
test.use({ kind: { runtime: "tmux", hostname: "workbench" } });

/** Takes the page as it is, in all three looks. */
async function shoot(page: Page, name: string): Promise<void> {
  for (const { look, colorScheme, viewport } of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize(viewport);
    await expect(page.getByText(/^Loading /)).toHaveCount(0);
    // As tall as what there is, so that what stands beside it stands beside all of it.
    const { width, height } = viewport;
    const tall = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width, height: Math.min(Math.max(tall, height), TALLEST) });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect.soft(wide, `${name}, ${look}: sticks out to the right`).toBeLessThanOrEqual(0);
    await page.screenshot({ path: path.join(FOLDER, `${name}.${look}.png`), animations: "disabled" });
  }
  await page.setViewportSize(DESK);
}

/** Opens an address and takes it once its heading is there. */
async function visit(page: Page, address: string, name: string): Promise<void> {
  await page.goto(address);
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  // Who is not signed in has no menu; with one, its machine's name comes with all else that is known of it.
  const menu = page.getByRole("navigation", { name: "Main" });
  if (await menu.count()) await expect(menu).toContainText("workbench");
  await shoot(page, name);
}

const PAGES: [address: string, name: string][] = [
  ["/", "board"],
  ["/asks", "questions"],
  ["/tasks", "tasks"],
  ["/tasks/new", "new-task"],
  ["/events", "events"],
  ["/plots", "plots"],
  ["/sync", "sync"],
  ["/settings", "settings"],
  ["/changes", "changes"],
];

test("a machine where nothing was done yet", async ({ signedIn: page }) => {
  for (const [address, name] of PAGES) await visit(page, address, `empty-${name}`);
});

test("three projects at work", async ({ machine, signedIn: page }) => {
  const { tasks, working, waiting } = await busy(machine);
  for (const [address, name] of PAGES) await visit(page, address, `busy-${name}`);
  for (const [name, id] of Object.entries(tasks)) await visit(page, `/tasks/${id}`, `task-${name}`);
  for (const project of [working, waiting]) {
    await visit(page, `/projects/${project.id}`, `project-${project.name}`);
    await visit(page, `/agents/${await agentOf(machine, project.id)}`, `terminal-${project.name}`);
  }
  await page.goto("/tasks/new");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await page.keyboard.press("?");
  await page.goto("/");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toBeVisible();
  await shoot(page, "keys");
});

async function agentOf(machine: Machine, project: string): Promise<string> {
  const api = await machine.api();
  const { data } = await api.GET("/api/v1/agents", { params: { query: { project_id: project } } });
  const agent = data?.items[0];
  if (agent === undefined) throw new Error("the project has no agent");
  return agent.id;
}

test("two machines, one queue", async ({ machine, other, place, signedIn: page }) => {
  for (const one of [machine, other]) {
    await one.set("sync.conflict_resolution", "manual");
    await one.ccm(["daemon", "reload"]);
  }
  const [shop, own] = [await other.project("shop"), await machine.project("website")];
  await knows(machine, shop);
  await knows(other, own);
  const api = await machine.api();
  const create = async (title: string, ...text: string[]): Promise<string> => {
    const body = { project_id: shop.id, text: script(...text), title };
    const { data } = await api.POST("/api/v1/tasks", { body });
    return data?.id ?? "";
  };
  const done = await create("Say what the shop sells", say("Hammers, saws and glue."));
  await approve(other, done);
  await state(machine, done, "succeeded");
  const asking = await create("Publish the prices", bash("rsync public/ www@example.org:/srv/www/"), say("It is out."));
  await approve(other, asking);
  await asks(machine, 1);
  const waiting = await create("Sort the tools", say("sorted"));
  const back = { project_id: own.id, text: "Burn the website.\n\nThen say so.", title: "Burn the website" };
  await (await other.api()).POST("/api/v1/tasks", { body: back });
  const garden = await other.project("garden", { remote_tasks: "allow" });
  const both = await conflict(machine, other, place, garden, [
    { text: "Sort the shelves.\nThen paint them.", title: "Sort and paint" },
    { text: "Sort the shelves.\nThen burn them.", priority: 7 },
  ]);
  for (const [address, name] of PAGES) await visit(page, address, `shared-${name}`);
  for (const [name, id] of Object.entries({ done, asking, waiting, both })) {
    await visit(page, `/tasks/${id}`, `shared-task-${name}`);
  }
  await visit(page, `/projects/${shop.id}`, "shared-project");
  await visit(page, `/tasks/new?project=${shop.id}`, "shared-new-task");
  await place.cut();
  await (await machine.api()).POST("/api/v1/sync/now");
  await visit(page, "/sync", "shared-sync-cut");
  await visit(page, "/", "shared-board-cut");
});

test("what is not there, and who may not look", async ({ signedIn: page, stranger }) => {
  await visit(page, "/tasks/00000000-0000-7000-8000-000000000000", "gone-task");
  await visit(page, "/projects/00000000-0000-7000-8000-000000000000", "gone-project");
  await visit(page, "/agents/00000000-0000-7000-8000-000000000000", "gone-agent");
  await visit(page, "/tasks/nonsense", "nonsense-task");
  await visit(page, "/asks/nothing/here", "no-such-page");
  const other = await stranger();
  await visit(other, "/", "signed-out");
  await visit(other, `/sign-in?code=${"0".repeat(32)}`, "code-refused");
});

test("the daemon is away", async ({ machine, signedIn: page }) => {
  const { tasks } = await busy(machine);
  for (const [address, name] of [["/", "board"], [`/tasks/${tasks.working}`, "task"], ["/tasks", "tasks"]] as const) {
    await page.goto(address);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    await expect(page.getByText(/^Loading /)).toHaveCount(0);
    await machine.stopDaemon();
    await expect(page.getByText("No contact with the daemon")).toBeVisible();
    await shoot(page, `away-${name}`);
    await machine.startDaemon();
    await expect(page.getByText("No contact with the daemon")).toBeHidden();
  }
});

test("long names and many questions", async ({ machine, signedIn: page }) => {
  const name = `a-project-whose-name-has-no-end-${"and-goes-on-".repeat(2)}`;
  const title = "A".repeat(120);
  const path = `${"deep/".repeat(30)}file.txt`;
  const first = await machine.project(name);
  const id = await first.task(script(bash(`mkdir -p ${path} && echo ${"x".repeat(300)}`), say("done")), { title });
  for (let number = 1; number <= 6; number += 1) {
    const project = await machine.project(`service-${number}`);
    await project.task(script(bash(`make deploy-${number}`), say("done")), { title: `Deploy service ${number}` });
  }
  await asks(machine, 7);
  for (const [address, name] of PAGES.slice(0, 4)) await visit(page, address, `long-${name}`);
  await visit(page, `/tasks/${id}`, "long-task");
  await visit(page, `/projects/${first.id}`, "long-project");
});

test("100,000 tasks", async ({ machine, signedIn: page }) => {
  const project = await machine.commandProject("shop", ["cat"]);
  await project.pause();
  await project.tasks(100_000, (number) => ({ text: `Task ${number}`, title: `Task ${number}` }));
  await visit(page, "/", "many-board");
  await visit(page, "/tasks", "many-tasks");
  await visit(page, `/projects/${project.id}`, "many-project");
});

test("a log of 10 MB", async ({ machine, signedIn: page }) => {
  const line = "building the parts of the shop that nobody has looked at for a while, one after another";
  const count = Math.ceil(10_000_000 / (line.length + 8));
  const noisy = await machine.commandProject("noisy", ["sh", "-c", `cat; seq -f '%06g ${line}' ${count}`]);
  const log = await noisy.task("Build everything", { title: "Build everything" });
  const talker = await machine.project("talker");
  const talk = await talker.task("@big 10000000", { title: "Tell everything" });
  await state(machine, log, "succeeded");
  await state(machine, talk, "succeeded");
  await visit(page, `/tasks/${log}`, "huge-log");
  await visit(page, `/tasks/${talk}`, "huge-transcript");
});
