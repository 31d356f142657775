// An agent's pane, live, with whatever is in it.

import type { Machine } from "../harness/machine.ts";
import { until } from "../harness/machine.ts";
import { expect, test } from "../harness/test.ts";

test.use({ kind: { runtime: "tmux" }, permissions: ["clipboard-read", "clipboard-write"] });

// A title, the clipboard written and read, a device asked for its answer, a title reported as if typed, a link, another
// screen, tmux's way through, an application's command and a privacy message, a bell; then what may be seen.
const HOSTILE = [
  "\\033]0;PWNED\\007\\033]2;PWNED\\033\\\\\\033kPWNED\\033\\\\",
  "\\033]52;c;UFdORUQ=\\007\\033]52;c;?\\007",
  "\\033[c\\033[6n\\033[21t\\033]10;?\\007",
  "\\033]8;;https://evil.example/\\033\\\\click\\033]8;;\\033\\\\ ",
  "\\033Ptmux;\\033\\033]52;c;UFdORUQ=\\007\\033\\\\\\033_evil\\033\\\\\\033^evil\\033\\\\\\007",
  "<img src=x onerror=\"document.title=1\"> ",
  "\\033[31mred words\\033[m ready",
].join("");

/** A project whose pane runs a script itself, and not CCM's view, which would filter what it shows a first time. */
async function pane(machine: Machine, script: string): Promise<string> {
  await machine.commandProject("demo", ["cat"]);
  const api = await machine.api();
  const agent = await until("the agent is up", async () => {
    const { data } = await api.GET("/api/v1/agents", {});
    return data?.items.find((agent) => agent.state === "idle" && agent.window);
  });
  const target = (await machine.tmux(["list-panes", "-a", "-F", "#{pane_id}"])).trim();
  await machine.tmux(["respawn-pane", "-k", "-t", target, `stty raw -echo; ${script}`]);
  await until("the script runs", async () => (await machine.tmux(["capture-pane", "-p", "-t", target])).includes("ready"));
  return agent.id;
}

test("hostile output is shown and does nothing", async ({ machine, signedIn: page }) => {
  const id = await pane(machine, `printf '${HOSTILE}'; exec cat`);
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("dialog", (dialog) => asked.push(`dialog: ${dialog.message()}`));
  await page.goto(`/agents/${id}`);
  await expect(page.getByText("red words ready").first()).toBeVisible();
  await expect(page.getByText("<img src=x").first()).toBeVisible();
  await expect(page).not.toHaveTitle(/PWNED|^1$/);
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe("mine");
  await expect(page.getByRole("link", { name: "click" })).toHaveCount(0);
  expect(asked.filter((url) => !url.startsWith(machine.url) && !url.startsWith("data:"))).toEqual([]);
});

test("what the pane prints later comes by itself", async ({ machine, signedIn: page }) => {
  const go = machine.path("go");
  const id = await pane(machine, `printf ready; while [ ! -e ${go} ]; do sleep 0.05; done; printf ' and later'; exec cat`);
  await page.goto(`/agents/${id}`);
  await expect(page.getByText("ready").first()).toBeVisible();
  await machine.write("go", "");
  await expect(page.getByText("ready and later").first()).toBeVisible();
});

test("an agent is taken over in its terminal, and handed back", async ({ machine, signedIn: page }) => {
  await machine.project("shop");
  const api = await machine.api();
  const agent = await until("the agent is up", async () => {
    const { data } = await api.GET("/api/v1/agents", {});
    return data?.items.find((agent) => agent.state === "idle" && agent.window);
  });
  await page.goto(`/agents/${agent.id}`);
  await page.getByRole("button", { name: "Take over" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Take it over" }).click();
  const shown = page.getByRole("region", { name: /^What the terminal of/ });
  await expect(shown).toContainText("Claude Code");
  await page.getByRole("button", { name: "Hand back" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Hand it back" }).click();
  await expect(page.getByRole("button", { name: "Take over" })).toBeVisible();
  await expect(shown).toContainText("waiting for a task");
});
