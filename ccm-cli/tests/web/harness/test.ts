// What every test is given: a machine of its own, and browsers that are signed in to it.

import { type BrowserContext, type BrowserContextOptions, type Page, test as base } from "@playwright/test";

import { openAgainFromFolder, takePageFromFolder } from "./files.ts";
import { Machine, type MachineOptions } from "./machine.ts";
import { Supabase } from "./supabase.ts";

export { expect } from "@playwright/test";

interface Fixtures {
  /** What the machine is to be like. */
  kind: MachineOptions;
  machine: Machine;
  /** Opens a browser that has never been there. */
  stranger: (options?: BrowserContextOptions) => Promise<Page>;
  /** The page, signed in, at the board. */
  signedIn: Page;
  /** A Supabase project that machines can share by. */
  place: Supabase;
  /** Another machine, which shares with the first by the project; what it is like. */
  otherKind: MachineOptions;
  other: Machine;
  /** Another browser that is signed in: another person, or the same one elsewhere. */
  elsewhere: Page;
}

/** Signs a browser in, as `ccm ui` does. */
export async function signIn(page: Page, machine: Machine): Promise<void> {
  await page.goto(await machine.signInAddress());
  await openAgainFromFolder(page);
}

export const test = base.extend<Fixtures>({
  kind: [{}, { option: true }],

  machine: async ({ kind }, use) => {
    const machine = await Machine.start(kind);
    await use(machine);
    await machine.end();
  },

  place: async ({}, use) => {
    const place = await Supabase.start();
    await use(place);
    await place.end();
  },

  otherKind: [{}, { option: true }],

  other: async ({ machine, place, otherKind }, use) => {
    const other = await Machine.start({ hostname: "server", ...otherKind });
    await machine.connect(place);
    await other.connect(place);
    await use(other);
    await other.end();
  },

  baseURL: async ({ machine }, use) => {
    await use(machine.url);
  },

  context: async ({ context }, use) => {
    await takePageFromFolder(context);
    await use(context);
  },

  stranger: async ({ browser, contextOptions, baseURL }, use) => {
    const contexts: BrowserContext[] = [];
    await use(async (options = {}) => {
      const address = baseURL === undefined ? {} : { baseURL };
      const context = await browser.newContext({ ...contextOptions, ...address, ...options });
      contexts.push(context);
      await takePageFromFolder(context);
      return context.newPage();
    });
    for (const context of contexts) await context.close();
  },

  signedIn: async ({ machine, page }, use) => {
    await signIn(page, machine);
    await use(page);
  },

  elsewhere: async ({ machine, stranger }, use) => {
    const page = await stranger();
    await signIn(page, machine);
    await use(page);
  },
});
