// A new task, from a template and without.

import { question } from "../harness/page.ts";
import { bash, say, script } from "../harness/scripts.ts";
import { expect, test } from "../harness/test.ts";

const REVIEW = "# Review {{file}}\n\nList {{what=mistakes}} in {{file}}, worst first.\n\n{{input=}}\n";

test("a task is made from a template, and done", async ({ machine, signedIn: page }) => {
  await machine.project("website");
  const project = await machine.project("shop");
  await project.write(".ccm/prompts/review.md", REVIEW);
  await page.getByRole("link", { name: "New task", exact: true }).click();
  await page.getByLabel("Project").selectOption("shop");
  await page.getByLabel("Template").selectOption({ label: "review – Review {{file}}" });
  const create = page.getByRole("button", { name: "Create the task" });
  await create.click();
  const file = page.getByRole("textbox", { name: "file" });
  await expect(file, "it needs a value").toBeFocused();
  await file.fill("src/parser.rs");
  await expect(page.getByRole("textbox", { name: "what" })).toHaveValue("mistakes");
  await page.getByLabel("Text that goes into the template").fill("@say Two mistakes.");
  await page.getByRole("button", { name: "Show what it comes to" }).click();
  const preview = page.getByRole("region", { name: "What the template comes to" });
  await expect(preview).toContainText("List mistakes in src/parser.rs, worst first.");
  await create.click();
  await expect(page).toHaveURL(/\/tasks\/[0-9a-f-]{36}$/);
  await expect(page.getByRole("region", { name: "Prompt" })).toContainText("List mistakes in src/parser.rs, worst first.");
  await expect(page.getByRole("region", { name: "Result" })).toContainText("Two mistakes.");
});

test("a task with priority, time, order and limits has them", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.pause();
  const before = await project.task(say("first"), { title: "Come first" });
  await page.goto(`/tasks/new?project=${project.id}`);
  await page.getByLabel("What the agent is to do").fill("@say last");
  await page.getByRole("textbox", { name: "Title" }).fill("Come last");
  await page.getByText("Priority, schedule, order and limits").click();
  await page.getByRole("textbox", { name: "Priority" }).fill("much");
  await page.getByRole("button", { name: "Create the task" }).click();
  await expect(page.getByRole("textbox", { name: "Priority" })).toBeFocused();
  await page.getByRole("textbox", { name: "Priority" }).fill("-3");
  await page.getByLabel("Not before").fill("2099-01-02T03:04");
  await page.getByRole("textbox", { name: "Timeout in minutes" }).fill("90");
  await page.getByRole("textbox", { name: "Further attempts" }).fill("2");
  await page.getByRole("button", { name: "Create the task" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Come last" })).toBeVisible();
  const id = new URL(page.url()).pathname.split("/").at(-1) ?? "";
  const api = await machine.api();
  const { data } = await api.GET("/api/v1/tasks/{id}", { params: { path: { id } } });
  expect(data).toMatchObject({
    priority: -3,
    not_before: "2099-01-02T03:04:00Z",
    timeout_s: 5400,
    max_retries: 2,
  });
  expect(before).not.toBe(id);
});

test("what was typed outlasts a daemon that is away, and is sent once", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.pause();
  await page.goto("/tasks/new");
  await page.getByLabel("What the agent is to do").fill("@say once");
  await machine.stopDaemon();
  await page.getByRole("button", { name: "Create the task" }).click();
  await expect(page.getByRole("alert")).toContainText("Nothing that you typed is lost");
  await machine.startDaemon();
  await expect(page.getByLabel("What the agent is to do")).toHaveValue("@say once");
  await page.getByRole("button", { name: "Create the task" }).click();
  await expect(page).toHaveURL(/\/tasks\/[0-9a-f-]{36}$/);
  const api = await machine.api();
  const { data } = await api.GET("/api/v1/tasks", {});
  expect(data?.items).toHaveLength(1);
  await page.goto("/tasks/new");
  await expect(page.getByLabel("What the agent is to do"), "the next form is empty").toHaveValue("");
});

test("a task that was just made asks at once, on its own page", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await page.goto("/tasks/new");
  await page.getByLabel("What the agent is to do").fill(script(bash("touch made"), say("it is made")));
  await page.getByRole("button", { name: "Create the task" }).click();
  await question(page, "Bash: touch made").getByRole("button", { name: "Allow" }).click();
  await expect(page.getByRole("region", { name: "Result" })).toContainText("it is made");
  expect(await project.read("made")).toBeDefined();
});
