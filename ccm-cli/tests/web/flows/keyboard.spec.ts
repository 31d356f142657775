// Everything without a mouse.

import { expectVisibleFocus, tabTo } from "../harness/keyboard.ts";
import { question } from "../harness/page.ts";
import { bash, hold, say, script } from "../harness/scripts.ts";
import { expect, test } from "../harness/test.ts";

test("single keys find a question and answer it", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.task(script(bash("touch one"), bash("touch two"), say("done")));
  await expect(question(page, "Bash: touch one")).toBeVisible();
  await page.keyboard.press("q");
  await expect(question(page, "Bash: touch one")).toBeFocused();
  await expectVisibleFocus(page);
  await page.keyboard.press("a");
  await expect(question(page, "Bash: touch two")).toBeVisible();
  await page.keyboard.press("q");
  await page.keyboard.press("d");
  await expect(question(page, "Bash: touch two")).toBeHidden();
  await expect.poll(() => machine.stub.toolResults()).toHaveLength(2);
  expect(await project.read("one")).toBeDefined();
  expect(await project.read("two")).toBeUndefined();
});

test("the same without single keys, by Tab alone", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.task(script(bash("touch one"), say("done")));
  const ask = question(page, "Bash: touch one");
  await tabTo(page, ask.getByRole("button", { name: "Deny with words" }));
  await page.keyboard.press("Enter");
  await tabTo(page, ask.getByLabel("What the agent is told"), "Shift+Tab");
  // What is written is no command.
  await page.keyboard.type("and a quiet day");
  await tabTo(page, ask.getByRole("button", { name: "Deny and tell it" }));
  await page.keyboard.press("Space");
  await expect(ask).toBeHidden();
  await expect.poll(() => machine.stub.toolResults()).toHaveLength(1);
  expect(machine.stub.toolResults()[0]?.text).toContain("and a quiet day");
});

test("a whole day's work without a mouse", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.write(".ccm/prompts/greet.md", "Greet {{whom=everybody}}.\n\n{{input=}}\n");
  await expect(page.getByRole("heading", { level: 1, name: "Board" })).toBeVisible();

  // A new task, from a template.
  await page.keyboard.press("n");
  await expect(page.getByRole("heading", { level: 1, name: "New task" })).toBeFocused();
  await tabTo(page, page.getByLabel("Template"));
  await expect(page.getByLabel("Template")).toBeEnabled();
  await page.keyboard.type("greet");
  await tabTo(page, page.getByRole("textbox", { name: "whom" }));
  await page.keyboard.press("Control+A");
  await page.keyboard.type("the neighbours");
  await tabTo(page, page.getByLabel("Text that goes into the template"));
  await page.keyboard.insertText(script(hold("go"), bash("touch greeted"), say("they were greeted")));
  await page.keyboard.press("Control+Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Greet the neighbours." })).toBeFocused();

  // More to say while it works, and its question.
  const more = page.getByLabel("Tell the agent more");
  await tabTo(page, more);
  await page.keyboard.type("and their cat");
  await page.keyboard.press("Control+Enter");
  await expect(more).toHaveValue("");
  await expect(page.getByRole("region", { name: "Messages" })).toContainText("and their cat");
  machine.stub.open("go");
  await expect(question(page, "Bash: touch greeted")).toBeVisible();
  await tabTo(page, question(page, "Bash: touch greeted"), "Shift+Tab");
  await page.keyboard.press("a");
  await expect.poll(() => project.read("greeted")).toBeDefined();

  // Away to the list and back by it.
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await expect(page.getByRole("heading", { level: 1, name: "Tasks" })).toBeFocused();
  const grid = page.getByRole("grid", { name: "Tasks" });
  await expect(grid.getByRole("link", { name: "Greet the neighbours." })).toBeVisible();
  await page.keyboard.press("j");
  await expect(grid).toBeFocused();
  await expectVisibleFocus(page);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Greet the neighbours." })).toBeFocused();
});

test("keys lead to every page, and each begins at its heading", async ({ signedIn: page }) => {
  const ways = [["g q", "Questions"], ["g t", "Tasks"], ["g p", "Plots"], ["g e", "Events"], ["g y", "Sync"], ["g s", "Settings"], ["n", "New task"], ["g b", "Board"]] as const;
  await expect(page.getByRole("heading", { level: 1, name: "Board" })).toBeVisible();
  for (const [keys, name] of ways) {
    for (const key of keys.split(" ")) await page.keyboard.press(key);
    const heading = page.getByRole("heading", { level: 1, name });
    await expect(heading).toBeVisible();
    await expect(heading).toBeFocused();
  }
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeHidden();
});

test("the way past the menu is the first stop", async ({ signedIn: page }) => {
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: /^Skip to/ })).toBeFocused();
  await expectVisibleFocus(page);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
});
