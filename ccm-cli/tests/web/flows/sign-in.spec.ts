// How a browser comes to be trusted.

import { expect, test } from "../harness/test.ts";

test("a browser that is not signed in is told what to do", async ({ page }) => {
  await page.goto("/");
  await expect(page.getByText("not signed in")).toBeVisible();
  await expect(page.getByText("ccm ui").first()).toBeVisible();
});

test("a code signs one browser in, once, and it stays so", async ({ machine, page, stranger }) => {
  const address = await machine.signInAddress();
  await page.goto(address);
  await expect(page.getByText("not signed in")).toBeHidden();
  await expect(page).toHaveURL(`${machine.url}/`);
  await expect(page.getByText("testbox").first()).toBeVisible();
  await page.goto("/");
  await expect(page.getByText("testbox").first()).toBeVisible();
  const other = await stranger();
  await other.goto(address);
  await expect(other.getByText("used already")).toBeVisible();
  await expect(other.getByText("ccm ui").first()).toBeVisible();
});
