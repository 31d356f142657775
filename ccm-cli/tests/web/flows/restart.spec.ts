// The daemon goes and comes back, and the page keeps its place.

import { note, question } from "../harness/page.ts";
import { bash, hold, say, script } from "../harness/scripts.ts";
import { expect, test } from "../harness/test.ts";

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`after ${signal} the page goes on where it was`, async ({ machine, signedIn: page }) => {
    const shop = await machine.project("shop");
    const website = await machine.project("website");
    await shop.task(script(bash("touch made"), say("it is made")));
    await website.task(script(hold("go"), bash("touch later"), say("done")));
    const ask = question(page, "Bash: touch made");
    await ask.getByRole("button", { name: "Deny with words" }).click();
    const words = ask.getByLabel("What the agent is told");
    await words.fill("Not on a Friday");
    await page.evaluate(() => Object.assign(window, { sameDocument: true }));

    await machine.stopDaemon(signal);
    await expect(note(page, "No contact with the daemon since")).toBeVisible();
    await expect(ask).toBeVisible();
    // Nothing was heard of this while it happened.
    machine.stub.open("go");
    await machine.startDaemon();
    await expect(note(page, "No contact with the daemon")).toBeHidden();

    await expect(question(page, "Bash: touch later")).toBeVisible();
    await expect(words).toHaveValue("Not on a Friday");
    await ask.getByRole("button", { name: "Deny and tell it" }).click();
    await expect(ask).toBeHidden();
    await question(page, "Bash: touch later").getByRole("button", { name: "Allow" }).click();
    await expect.poll(() => website.read("later")).toBeDefined();
    expect(await shop.read("made")).toBeUndefined();
    const denied = () => machine.stub.toolResults().find((result) => result.isError)?.text;
    await expect.poll(denied).toContain("Not on a Friday");
    expect(await page.evaluate(() => "sameDocument" in window), "the page was not loaded anew").toBe(true);
  });
}

test("an answer that could not be sent is not lost", async ({ machine, signedIn: page }) => {
  const shop = await machine.project("shop");
  await shop.task(script(bash("touch made"), say("it is made")));
  const ask = question(page, "Bash: touch made");
  await expect(ask).toBeVisible();
  await machine.stopDaemon();
  await ask.getByRole("button", { name: "Allow" }).click();
  await expect(ask.getByRole("alert")).toContainText("The answer was not taken");
  await machine.startDaemon();
  await ask.getByRole("button", { name: "Allow" }).click();
  await expect(ask).toBeHidden();
  await expect.poll(() => shop.read("made")).toBeDefined();
});

test("every view opens while the daemon is away", async ({ machine, signedIn: page }) => {
  // The last of the views to be loaded.
  const loaded = () => page.evaluate(() => performance.getEntriesByType("resource").some(({ name }) => name.includes("/assets/Settings-")));
  await expect.poll(loaded).toBe(true);
  await machine.stopDaemon();
  await expect(note(page, "No contact with the daemon since")).toBeVisible();
  for (const name of ["Tasks", "Events", "Settings", "Board"]) {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name, exact: true }).click();
    await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
  }
  await machine.startDaemon();
  await expect(note(page, "No contact with the daemon")).toBeHidden();
});
