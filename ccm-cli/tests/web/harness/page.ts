// The page as people read it.

import type { Locator, Page } from "@playwright/test";

/** The open questions on top of every page. */
export function questions(page: Page): Locator {
  return page.getByRole("region", { name: "Open questions" }).getByRole("article");
}

/** The open question with these words in its title. */
export function question(page: Page, title: string): Locator {
  return page.getByRole("article", { name: title });
}

/** What the page says about what just happened. */
export function note(page: Page, text: string | RegExp): Locator {
  return page.getByRole("status").getByText(text);
}
