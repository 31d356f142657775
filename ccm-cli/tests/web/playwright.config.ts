import path from "node:path";

import { defineConfig } from "@playwright/test";

import { BROWSER_FLAGS, chromium, TARGET } from "./harness/programs.ts";

export default defineConfig({
  // Each test has a machine of its own, so none knows of another.
  fullyParallel: true,
  workers: 2,
  forbidOnly: true,
  timeout: 180_000,
  expect: { timeout: 30_000 },
  reporter: [["list"]],
  outputDir: path.join(TARGET, "web/results"),
  use: {
    actionTimeout: 30_000,
    locale: "en-GB",
    timezoneId: "UTC",
    trace: "retain-on-failure",
    screenshot: "only-on-failure",
    launchOptions: { executablePath: chromium(), args: BROWSER_FLAGS, chromiumSandbox: false },
  },
  projects: [
    { name: "flows", testDir: "flows" },
    { name: "screenshots", testDir: "screenshots" },
    { name: "measure", testDir: "measure", use: { trace: "off", screenshot: "off" } },
  ],
});
