import { expect, test } from "../harness/test.ts";

test("a browser that is not signed in is told what to do", async ({ machine, page }) => {
  await page.goto(machine.url);
  await expect(page.getByText("not signed in")).toBeVisible();
  await expect(page.getByText("ccm ui").first()).toBeVisible();
});
