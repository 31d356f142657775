// What every test is given: a machine of its own, and browsers that are signed in to it.

import { type Page, test as base } from "@playwright/test";

import { takePageFromFolder } from "./files.ts";
import { Machine, type MachineOptions } from "./machine.ts";

export { expect } from "@playwright/test";

interface Fixtures {
  /** What the machine is to be like. */
  kind: MachineOptions;
  machine: Machine;
  /** The page, signed in, at the board. */
  signedIn: Page;
  /** Another browser that is signed in: another person, or the same one elsewhere. */
  elsewhere: Page;
}

export const test = base.extend<Fixtures>({
  kind: [{}, { option: true }],

  machine: async ({ kind }, use) => {
    const machine = await Machine.start(kind);
    await use(machine);
    await machine.end();
  },

  baseURL: async ({ machine }, use) => {
    await use(machine.url);
  },

  context: async ({ context }, use) => {
    await takePageFromFolder(context);
    await use(context);
  },

  signedIn: async ({ machine, page }, use) => {
    await page.goto(await machine.signInAddress());
    await use(page);
  },

  elsewhere: async ({ machine, browser, contextOptions }, use) => {
    const context = await browser.newContext(contextOptions);
    await takePageFromFolder(context);
    const page = await context.newPage();
    await page.goto(await machine.signInAddress());
    await use(page);
    await context.close();
  },
});
