// The page's files from a folder instead of from the daemon, for whoever changes the page and does not want to build the
// daemon for each look: `vite build` in ccm-daemon/web, then CCM_PAGE=$PWD/dist. What the daemon says about its files
// (kinds, caching, what scripts may do) is left out, so this replaces no run without it.

import { existsSync, statSync } from "node:fs";
import path from "node:path";

import type { BrowserContext, Page } from "@playwright/test";

const FOLDER = process.env["CCM_PAGE"];
const OF_THE_DAEMON = /^\/(api|sign-in|problems|health|ready|metrics)(\/|$)/;

export async function takePageFromFolder(context: BrowserContext): Promise<void> {
  if (FOLDER === undefined) return;
  // To the browser, files from nowhere are from the internet, and those may not ask this machine.
  await context.grantPermissions(["local-network-access"]);
  await context.route(
    (url) => !OF_THE_DAEMON.test(url.pathname),
    async (route) => {
      const file = path.join(FOLDER, new URL(route.request().url()).pathname);
      const isFile = existsSync(file) && statSync(file).isFile();
      const isView = route.request().resourceType() === "document";
      if (isFile || isView) await route.fulfill({ path: isFile ? file : path.join(FOLDER, "index.html") });
      else await route.continue();
    },
  );
}

/** What follows a redirection comes from the daemon, so the page has to be opened again. */
export async function openAgainFromFolder(page: Page): Promise<void> {
  if (FOLDER === undefined) return;
  await page.waitForFunction(() => location.hash === "" && localStorage.length > 0);
  await page.goto("/");
}
