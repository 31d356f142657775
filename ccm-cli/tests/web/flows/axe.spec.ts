// What axe finds in every page and state: nothing.

import { violations } from "../harness/axe.ts";
import { question } from "../harness/page.ts";
import { busy } from "../harness/scenes.ts";
import { expect, test } from "../harness/test.ts";

test.use({ kind: { runtime: "tmux" } });
test.describe.configure({ timeout: 300_000 });

const PAGES = ["/", "/asks", "/tasks", "/tasks?state=failed", "/tasks/new", "/events", "/plots", "/sync", "/settings", "/changes"];
const GONE = "00000000-0000-7000-8000-000000000000";

test("axe finds what is wrong", async ({ signedIn: page }) => {
  await page.evaluate(() => document.body.append(document.createElement("button")));
  expect((await violations(page)).join()).toContain("button-name");
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });

    test("a machine at work", async ({ machine, signedIn: page }) => {
      const { tasks, working } = await busy(machine);
      const api = await machine.api();
      const { data } = await api.GET("/api/v1/agents", {});
      const agents = (data?.items ?? []).map((agent) => `/agents/${agent.id}`);
      const pages = [...PAGES, ...Object.values(tasks).map((id) => `/tasks/${id}`), `/projects/${working.id}`, ...agents];
      for (const address of pages) {
        await test.step(address, async () => {
          await page.goto(address);
          await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
          await expect(page.getByText(/^Loading /)).toHaveCount(0);
          expect.soft(await violations(page), address).toEqual([]);
        });
      }
    });

    test("a machine where nothing was done yet", async ({ signedIn: page }) => {
      for (const address of [...PAGES, `/tasks/${GONE}`, `/projects/${GONE}`, `/agents/${GONE}`, "/asks/no/such"]) {
        await test.step(address, async () => {
          await page.goto(address);
          await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
          await expect(page.getByText(/^Loading /)).toHaveCount(0);
          expect.soft(await violations(page), address).toEqual([]);
        });
      }
    });

    test("what comes and goes", async ({ machine, signedIn: page, stranger }) => {
      await busy(machine);
      await page.goto("/");
      await question(page, "Bash: rsync").getByRole("button", { name: "Deny with words" }).click();
      expect.soft(await violations(page), "denying with words").toEqual([]);
      await page.getByRole("heading", { level: 1 }).click();
      await page.keyboard.press("?");
      await expect(page.getByRole("dialog")).toBeVisible();
      expect.soft(await violations(page), "the help about keys").toEqual([]);
      await page.keyboard.press("Escape");
      await page.setViewportSize({ width: 390, height: 844 });
      await page.getByRole("button", { name: "More" }).click();
      expect.soft(await violations(page), "a phone's menu").toEqual([]);
      await machine.stopDaemon();
      await expect(page.getByText("No contact with the daemon")).toBeVisible();
      expect.soft(await violations(page), "the daemon is away").toEqual([]);
      await machine.startDaemon();
      const other = await stranger();
      await other.goto("/");
      await expect(other.getByRole("heading", { level: 1 })).toBeVisible();
      expect.soft(await violations(other), "not signed in").toEqual([]);
    });
  });
}
