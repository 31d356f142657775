// Several machines, one queue: what the page shows of it and what is done from it. Two real daemons share by a Supabase project
// of the test's own.

import { violations } from "../harness/axe.ts";
import { until } from "../harness/machine.ts";
import { note, question } from "../harness/page.ts";
import { approve, conflict, knows, state } from "../harness/scenes.ts";
import { bash, say, script } from "../harness/scripts.ts";
import { expect, signIn, test } from "../harness/test.ts";

test.describe.configure({ timeout: 300_000 });

/** What other machines write for such a project counts without anybody's leave. */
const ALLOW = { remote_tasks: "allow" };

test("a machine that shares nothing says so, and how to begin", async ({ signedIn: page }) => {
  await page.goto("/sync");
  const how = page.getByRole("region", { name: "How the queue is shared" });
  await expect(how).toContainText("off");
  await expect(how).toContainText("nothing leaves this machine");
  await expect(how.getByText("ccm supabase connect")).toBeVisible();
  await expect(how.getByRole("button", { name: "Sync now" })).toHaveCount(0);
  await expect(page.locator("input[type=password]"), "no password is asked for").toHaveCount(0);
  await expect(page.getByText("No conflicts")).toBeVisible();
  await page.goto("/tasks");
  await expect(page.getByLabel("Machine"), "there is no other one to choose").toHaveCount(0);
});

test.describe("with another machine", () => {
  test.use({ kind: { hostname: "laptop" }, otherKind: { hostname: "server" } });

  test("the page says how sharing is, and goes on saying it when the service is away", async ({
    other,
    place,
    machine,
    signedIn: page,
  }) => {
    const shop = await other.project("shop");
    await page.goto("/sync");
    const how = page.getByRole("region", { name: "How the queue is shared" });
    await expect(how).toContainText("up to date");
    await expect(how).toContainText(place.email);
    const machines = page.getByRole("region", { name: "Machines" });
    await expect(machines).toContainText("laptop");
    await expect(machines.getByRole("link", { name: "shop" }), "a project of the other machine").toBeVisible();
    await how.getByRole("button", { name: "Sync now" }).click();
    await expect(how.getByText(/nothing new|received/i)).toBeVisible();
    expect.soft(await violations(page), "connected").toEqual([]);

    await place.cut();
    await page.goto(`/tasks/new?project=${shop.id}`);
    await page.getByLabel("What the agent is to do").fill(say("done when it is back"));
    await page.getByRole("button", { name: "Create the task" }).click();
    const there = page.getByRole("region", { name: "On another machine" });
    await expect(there).toContainText("It waits for server to hear of it. What was done here is not sent yet.");
    const id = new URL(page.url()).pathname.split("/").at(-1) ?? "";
    await page.goto("/sync");
    await how.getByRole("button", { name: "Sync now" }).click();
    await expect(how.getByRole("alert")).toContainText("What waits is kept");
    await expect(how).toContainText("waiting");
    await expect(how).toContainText(/Waits to be sent\s*1 change/);
    expect.soft(await violations(page), "the service is away").toEqual([]);

    await place.mend();
    await how.getByRole("button", { name: "Sync now" }).click();
    await expect(how).toContainText("up to date");
    await approve(other, id);
    await state(machine, id, "succeeded");
  });

  test("a task for the other machine is written here, and seen through to its result", async ({
    other,
    machine,
    signedIn: page,
  }) => {
    const shop = await other.project("shop");
    await knows(machine, shop);
    await page.goto("/");
    const card = page.getByRole("article", { name: "shop on server" });
    await expect(card).toBeVisible();
    await expect(page.getByRole("region", { name: "On server" })).toContainText(/as it said/);
    await card.getByRole("link", { name: "New task" }).click();
    await expect(page.getByText("It runs on server")).toBeVisible();
    const text = script(bash("touch made"), say("The shelves are tidy."));
    await page.getByLabel("What the agent is to do").fill(text);
    await page.getByRole("textbox", { name: "Title" }).fill("Tidy the shelves");
    await page.getByRole("button", { name: "Create the task" }).click();
    await expect(note(page, "The task is on its way to server.")).toBeVisible();
    await expect(page.getByRole("heading", { level: 1, name: "Tidy the shelves" })).toBeVisible();
    const id = new URL(page.url()).pathname.split("/").at(-1) ?? "";
    const there = page.getByRole("region", { name: "On another machine" });
    await expect(there.getByText(`ccm task approve ${id}`), "its project asks first").toBeVisible();

    // On the other machine somebody lets it run, at the top of that machine's page.
    await approve(other, id);
    // Its agent asks, and is answered from here.
    const ask = question(page, "Bash: touch made");
    await expect(ask).toContainText("on server");
    await ask.getByRole("button", { name: "Allow" }).click();
    await expect(note(page, "shop: allowed, sent to server.")).toBeVisible();
    await expect(note(page, /server has an answer to “Bash: touch made”: allowed/)).toBeVisible();
    await expect(page.getByRole("region", { name: "Result" })).toContainText("The shelves are tidy.");
    await expect(there).toContainText("It was done on server.");
    await expect(page.getByRole("region", { name: "Transcript" })).toContainText("The shelves are tidy.");
    await expect(page.getByRole("link", { name: "Terminal" })).toHaveCount(0);
    expect(await shop.read("made")).toBeDefined();

    await page.goto("/tasks");
    const row = page.getByRole("row").filter({ hasText: "Tidy the shelves" });
    await expect(row).toContainText("on server");
    await page.getByLabel("Machine").selectOption("Only here");
    await expect(row).toHaveCount(0);
    await page.getByLabel("Machine").selectOption("On server");
    await expect(row).toBeVisible();
    expect.soft(await violations(page), "tasks of another machine").toEqual([]);
  });

  test("a task that waits for leave is told on top of every page, and refused", async ({ other, machine, stranger }) => {
    const shop = await other.project("shop");
    await knows(machine, shop);
    const page = await stranger({ baseURL: other.url });
    await signIn(page, other);
    const api = await machine.api();
    const body = { project_id: shop.id, text: "@say no", title: "Burn the shelves" };
    const { data } = await api.POST("/api/v1/tasks", { body });
    const ask = question(page, "May this run here? Burn the shelves");
    await expect(ask).toContainText("from laptop");
    await expect(page).toHaveTitle("(1) Board · CCM");
    expect.soft(await violations(page), "a task that waits for leave").toEqual([]);
    await ask.focus();
    await page.keyboard.press("d");
    await expect(ask).toBeHidden();
    await expect(page).toHaveTitle("Board · CCM");
    await state(machine, data?.id ?? "", "cancelled");
  });

  test("a task of the other machine is called off from here", async ({ other, machine, signedIn: page }) => {
    const shop = await other.project("shop");
    await shop.pause();
    await knows(machine, shop);
    const id = await shop.task(say("never"), { title: "Never mind" });
    await until("the task is known here", async () => {
      const { data } = await (await machine.api()).GET("/api/v1/tasks/{id}", { params: { path: { id } } });
      return data !== undefined;
    });
    await page.goto(`/tasks/${id}`);
    await page.getByRole("button", { name: "Cancel …" }).click();
    await page.getByRole("button", { name: "Call it off" }).click();
    await expect(note(page, "Sent to server: it is to be called off.")).toBeVisible();
    await expect(page.getByRole("region", { name: "On another machine" })).toContainText("It was called off on server.");
    await state(other, id, "cancelled");
  });

  test("a machine is shut out", async ({ other, signedIn: page }) => {
    const shop = await other.project("shop");
    await page.goto("/sync");
    const row = page.getByRole("region", { name: "Machines" }).getByRole("listitem").filter({ hasText: "server" });
    await row.getByRole("button", { name: "Shut out" }).click();
    const dialog = page.getByRole("dialog", { name: "Shut server out?" });
    expect.soft(await violations(page), "asking before a machine is shut out").toEqual([]);
    await dialog.getByRole("button", { name: "Shut it out" }).click();
    await expect(note(page, "server is shut out.")).toBeVisible();
    await expect(row).toContainText(/shut out (just now|\d+ s ago)/);
    await expect(row.getByRole("button", { name: "Shut out" })).toHaveCount(0);
    expect(shop.id).toBeDefined();

    // The machine that was shut out says so on its own page, everywhere.
    await page.goto(await other.signInAddress());
    await expect(page.getByText(/Other machines hear nothing of this one/)).toBeVisible();
  });
});

test.describe("when both change the same task", () => {
  test.use({ kind: { hostname: "laptop" }, otherKind: { hostname: "server" } });

  test("a person decides field by field", async ({ other, place, machine, signedIn: page }) => {
    for (const one of [machine, other]) {
      await one.set("sync.conflict_resolution", "manual");
      await one.ccm(["daemon", "reload"]);
    }
    const id = await conflict(machine, other, place, await other.project("shop", ALLOW), [
      { text: "Sort the shelves.\nThen paint them.", title: "Sort and paint" },
      { text: "Sort the shelves.\nThen burn them.", priority: 7 },
    ]);

    await expect(page).toHaveTitle("(1) Board · CCM");
    await page.getByRole("link", { name: "Decide which counts" }).click();
    const card = page.getByRole("article").filter({ hasText: "counts until somebody decides" });
    const text = card.getByRole("region", { name: "Text" });
    await expect(text).toContainText("Then paint them.");
    await expect(text).toContainText("Then burn them.");
    const merge = card.getByRole("button", { name: "Merge both" });
    await expect(merge, "both changed the text").toBeDisabled();
    await text.getByLabel("laptop").check();
    expect.soft(await violations(page), "a conflict").toEqual([]);
    await merge.click();
    await expect(note(page, "Both edits count now.")).toBeVisible();
    await expect(card).toBeHidden();
    await expect(page).toHaveTitle("Sync · CCM");
    await expect(page.getByRole("region", { name: "Decided before" })).toContainText("both edits count");
    for (const one of [machine, other]) {
      await until("both machines have the same", async () => {
        const { data } = await (await one.api()).GET("/api/v1/tasks/{id}", { params: { path: { id } } });
        return data?.text.includes("paint") && data.title === "Sort and paint" && data.priority === 7;
      });
    }
  });

  test("the edit that lost is kept, and brought back", async ({ other, place, machine, signedIn: page }) => {
    const edits = [{ text: "Paint the shelves." }, { text: "Burn the shelves." }] as const;
    const id = await conflict(machine, other, place, await other.project("shop", ALLOW), edits);
    await page.goto("/sync");
    const lost = page.getByRole("region", { name: "Edits that did not count" });
    await expect(lost).toContainText("the edit of server counts, that of laptop does not");
    await lost.getByRole("button", { name: "Look at both" }).click();
    await expect(lost).toContainText("Paint the shelves.");
    await lost.getByRole("button", { name: "Bring the edit of laptop back" }).click();
    await expect(note(page, "The edit of laptop counts now.")).toBeVisible();
    for (const one of [machine, other]) {
      await until("both machines have it", async () => {
        const { data } = await (await one.api()).GET("/api/v1/tasks/{id}", { params: { path: { id } } });
        return data?.text === "Paint the shelves.";
      });
    }
  });
});
