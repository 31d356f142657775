// What the page weighs. What it takes in time is measured by `make bench BENCH="--only page"`.

import { held, load } from "../harness/browser.ts";
import { makeEvents } from "../harness/events.ts";
import { expect, test } from "../harness/test.ts";

test.use({ kind: { model: false } });

test("the first load is under 150 kB", async ({ machine, signedIn, stranger }) => {
  test.skip(process.env["CCM_PAGE"] !== undefined, "the files are not the daemon's");
  await machine.commandProject("shop", ["cat"]);
  const storageState = await signedIn.context().storageState();
  const page = await stranger({ storageState });
  const { files } = await load(page, "/", "shop");
  expect(files).toBeGreaterThan(5_000);
  expect(files).toBeLessThan(150_000);
});

for (const [name, address] of [["the board", "/"], ["the list of tasks", "/tasks"], ["the log of events", "/events"]] as const) {
  test(`${name} keeps nothing of what has passed`, async ({ machine, signedIn: page }) => {
    const project = await machine.commandProject("shop", ["cat"]);
    await project.pause();
    await project.tasks(500, (number) => ({ text: "early", title: `Early ${number}` }));
    await page.goto(address);
    await expect(page.getByRole("main").getByText("shop").filter({ visible: true }).first()).toBeVisible();
    const api = await machine.api();
    const cdp = await page.context().newCDPSession(page);
    // As much as it ever keeps.
    await makeEvents(api, project, 4);
    const before = await held(cdp);
    await makeEvents(api, project, 12);
    const after = await held(cdp);
    expect(after.heap / before.heap, "memory").toBeLessThan(1.3);
    expect(after.nodes / before.nodes, "nodes").toBeLessThan(1.3);
  });
}
