// What an agent asks is seen everywhere and answered once.

import { note, question, questions } from "../harness/page.ts";
import { bash, choices, say, script } from "../harness/scripts.ts";
import { expect, signIn, test } from "../harness/test.ts";

test("a permission is given, and the agent goes on", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await expect(page).toHaveTitle("Board · CCM");
  await project.task(script(bash("touch made"), say("it is made")));
  const ask = question(page, "Bash: touch made");
  await expect(ask).toContainText("shop");
  await expect(ask.getByLabel("What it wants to do")).toContainText("touch made");
  await expect(page).toHaveTitle("(1) Board · CCM");
  await ask.getByRole("button", { name: "Allow" }).click();
  await expect(note(page, /shop: allowed by/)).toBeVisible();
  await expect(ask).toBeHidden();
  await expect(page).toHaveTitle("Board · CCM");
  await expect.poll(() => machine.stub.toolResults()).toMatchObject([{ isError: false }]);
  expect(await project.read("made")).toBeDefined();
});

test("a permission is denied with words, which the agent is told", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.task(script(bash("touch made"), say("then not")));
  const ask = question(page, "Bash: touch made");
  await ask.getByRole("button", { name: "Deny with words" }).click();
  await ask.getByLabel("What the agent is told").fill("Not on a Friday");
  await ask.getByRole("button", { name: "Deny and tell it" }).click();
  await expect(note(page, /shop: denied \(“Not on a Friday”\)/)).toBeVisible();
  await expect.poll(() => machine.stub.toolResults()).toHaveLength(1);
  const [result] = machine.stub.toolResults();
  expect(result?.isError).toBe(true);
  expect(result?.text).toContain("Not on a Friday");
  expect(await project.read("made")).toBeUndefined();
});

test("questions with options are answered together", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  const way = { question: "Which way?", options: ["left", "right"] };
  const tools = { question: "With what?", options: ["hammer", "saw", "glue"], multiple: true };
  await project.task(script(choices(way, tools), say("going")));
  const ask = questions(page).first();
  const answer = ask.getByRole("button", { name: "Answer", exact: true });
  await expect(answer).toBeDisabled();
  await ask.getByRole("group", { name: "Which way?" }).getByLabel("right").check();
  await expect(answer).toBeDisabled();
  const second = ask.getByRole("group", { name: "With what?" });
  await second.getByLabel("hammer").check();
  await second.getByLabel("glue").check();
  await answer.click();
  await expect(ask).toBeHidden();
  await expect.poll(() => machine.stub.toolResults()).toHaveLength(1);
  const [result] = machine.stub.toolResults();
  for (const word of ["right", "hammer", "glue"]) expect(result?.text).toContain(word);
  expect(result?.text).not.toContain("saw");
});

test("a question is answered in words of one's own", async ({ machine, signedIn: page }) => {
  const project = await machine.project("shop");
  await project.task(script(choices({ question: "Which way?", options: ["left", "right"] }), say("going")));
  const ask = questions(page).first();
  await ask.getByLabel("right").check();
  await ask.getByLabel("Something else for: Which way?").fill("straight on");
  await expect(ask.getByLabel("right")).not.toBeChecked();
  await ask.getByRole("button", { name: "Answer", exact: true }).click();
  await expect.poll(() => machine.stub.toolResults()).toHaveLength(1);
  expect(machine.stub.toolResults()[0]?.text).toContain("straight on");
});

test("two browsers see a question, and one answers it", async ({ machine, signedIn: page, elsewhere }) => {
  const project = await machine.project("shop");
  await project.task(script(bash("touch made"), say("it is made")));
  await expect(question(elsewhere, "Bash: touch made")).toBeVisible();
  await question(page, "Bash: touch made").getByRole("button", { name: "Allow" }).click();
  await expect(question(elsewhere, "Bash: touch made")).toBeHidden();
  await expect(note(elsewhere, /shop: “Bash: touch made” was allowed by/)).toBeVisible();
});

test("who answers too late is told what somebody else said", async ({ machine, signedIn: page, elsewhere }) => {
  const project = await machine.project("shop");
  await project.task(script(bash("touch made"), say("it is made")));
  const late = question(elsewhere, "Bash: touch made");
  await expect(late).toBeVisible();
  // Its news are on the way for as long as the test wants.
  let arrive = (): void => {};
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  await elsewhere.route(/\/api\/v1\/asks\?/, async (route) => {
    await arrived;
    await route.continue();
  });
  await question(page, "Bash: touch made").getByRole("button", { name: "Allow" }).click();
  await expect.poll(() => project.read("made")).toBeDefined();
  await late.getByRole("button", { name: "Deny", exact: true }).click();
  await expect(note(elsewhere, /Too late: this was allowed by/)).toBeVisible();
  arrive();
  await expect(late).toBeHidden();
});

test("a phone answers a question", async ({ machine, stranger }) => {
  const page = await stranger({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await signIn(page, machine);
  const project = await machine.project("shop");
  await project.task(script(bash("touch made"), say("it is made")));
  const ask = question(page, "Bash: touch made");
  const allow = ask.getByRole("button", { name: "Allow" });
  await expect(allow).toBeInViewport();
  const sticksOut = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  expect(sticksOut, "the page is wider than the phone").toBe(false);
  await allow.tap();
  await expect(ask).toBeHidden();
  await expect.poll(() => project.read("made")).toBeDefined();
});
