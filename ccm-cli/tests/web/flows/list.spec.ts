// The list of tasks: found, filtered, and as long as it may be.

import { expect, test } from "../harness/test.ts";

test.use({ kind: { model: false } });

test("filters are in the address, and the browser's arrows go through them", async ({ machine, signedIn: page }) => {
  const shop = await machine.commandProject("shop", ["cat"]);
  const site = await machine.commandProject("site", ["false"]);
  await site.task("Look at the links", { title: "Look at the links" });
  await shop.pause();
  await shop.task("Add prices", { title: "Add prices" });
  await shop.task("Mend the links", { title: "Mend the links" });
  await page.goto("/tasks");
  const rows = page.getByRole("grid", { name: "Tasks" }).getByRole("row");
  const link = (name: string) => page.getByRole("grid", { name: "Tasks" }).getByRole("link", { name });
  await expect(link("Add prices")).toBeVisible();
  await page.getByRole("searchbox").fill("links");
  await expect(link("Add prices")).toBeHidden();
  await expect(link("Mend the links")).toBeVisible();
  await expect(page).toHaveURL(/q=links/);
  await page.getByRole("checkbox", { name: "failed" }).check();
  await expect(rows).toHaveCount(2);
  await expect(link("Look at the links")).toBeVisible();
  await link("Look at the links").click();
  await expect(page.getByRole("heading", { level: 1, name: "Look at the links" })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole("searchbox")).toHaveValue("links");
  await expect(rows).toHaveCount(2);
  await page.getByRole("searchbox").fill("nothing like that");
  await expect(page.getByText("No task is like that")).toBeVisible();
  await page.getByRole("button", { name: "Clear the filters" }).last().click();
  await expect(rows).toHaveCount(4);
});

test("a long list is walked through by keyboard", async ({ machine, signedIn: page }) => {
  const project = await machine.commandProject("shop", ["cat"]);
  await project.pause();
  await project.tasks(3000, (number) => ({ text: "x", title: `Task ${number}` }));
  await page.goto("/tasks");
  const grid = page.getByRole("grid", { name: "Tasks" });
  await expect(grid).toHaveAttribute("aria-rowcount", "3001");
  await expect(grid.getByRole("link", { name: "Task 2999" })).toBeVisible();
  await page.keyboard.press("j");
  await expect(grid).toBeFocused();
  await page.keyboard.press("End");
  await expect(grid.getByRole("link", { name: "Task 0", exact: true })).toBeInViewport();
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Task 1" })).toBeVisible();
  await page.goBack();
  await expect(grid).toBeVisible();
});

test("new tasks don't push away what somebody reads", async ({ machine, signedIn: page }) => {
  const project = await machine.commandProject("shop", ["cat"]);
  await project.pause();
  await project.tasks(500, (number) => ({ text: "x", title: `Task ${number}` }));
  await page.goto("/tasks");
  const grid = page.getByRole("grid", { name: "Tasks" });
  await expect(grid.getByRole("link", { name: "Task 499" })).toBeVisible();
  await grid.hover();
  await page.mouse.wheel(0, 44 * 100);
  const read = grid.getByRole("link", { name: "Task 390", exact: true });
  await expect(read).toBeInViewport();
  const place = await read.boundingBox();
  await project.tasks(3, (number) => ({ text: "x", title: `New ${number}` }));
  await expect(page.getByRole("button", { name: "3 new tasks" })).toBeVisible();
  expect(await read.boundingBox()).toEqual(place);
  await page.getByRole("button", { name: "3 new tasks" }).click();
  await expect(grid.getByRole("link", { name: "New 2" })).toBeInViewport();
});

test("several tasks are called off at once, and tried again", async ({ machine, signedIn: page }) => {
  const project = await machine.commandProject("shop", ["cat"]);
  await project.pause();
  for (const title of ["One", "Two", "Three"]) await project.task("x", { title });
  await page.goto("/tasks");
  const grid = page.getByRole("grid", { name: "Tasks" });
  await grid.getByRole("checkbox", { name: "Choose One" }).check();
  await grid.getByRole("checkbox", { name: "Choose Two" }).check();
  await page.getByRole("button", { name: "Cancel them" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Call them off" }).click();
  await expect(grid.getByRole("row", { name: /One/ })).toContainText("cancelled");
  await expect(grid.getByRole("row", { name: /Two/ })).toContainText("cancelled");
  await expect(grid.getByRole("row", { name: /Three/ })).toContainText("waits");
});
