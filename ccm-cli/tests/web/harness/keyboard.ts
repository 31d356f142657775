// A person who has nothing but a keyboard.

import type { Locator, Page } from "@playwright/test";

import { expect } from "./test.ts";

/** Presses Tab (or Shift+Tab) until the focus is there; every stop on the way can be seen. */
export async function tabTo(page: Page, target: Locator, key: "Tab" | "Shift+Tab" = "Tab"): Promise<void> {
  await expect(target).toBeVisible();
  for (let stops = 0; stops < 150; stops += 1) {
    const there = await target.evaluate((element) => element === document.activeElement);
    if (there) return;
    await page.keyboard.press(key);
    await expectVisibleFocus(page);
  }
  throw new Error(`no ${key} leads to ${target}`);
}

/** The focus is on something, in view, and drawn. */
export async function expectVisibleFocus(page: Page): Promise<void> {
  const focus = await page.evaluate(() => {
    let element = document.activeElement;
    // Beyond the last stop the browser's own surroundings have it.
    if (element === null || element === document.body) return undefined;
    const box = element.getBoundingClientRect();
    const isDrawn = (one: Element): boolean => {
      const style = getComputedStyle(one);
      return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
    };
    const inView = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return { what: element.outerHTML.slice(0, 200), drawn: isDrawn(element), inView };
  });
  if (focus === undefined) return;
  expect(focus.drawn, `the focus can be seen on ${focus.what}`).toBe(true);
  expect(focus.inView, `the focus is in view on ${focus.what}`).toBe(true);
}
