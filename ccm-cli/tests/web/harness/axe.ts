// What axe finds in a page: WCAG 2.2 AA, and what axe calls good practice.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import type { Page } from "@playwright/test";
import type { AxeResults, RunOptions } from "axe-core";

const SOURCE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** Every violation, with the elements that have it. */
export async function violations(page: Page): Promise<string[]> {
  // By the debugger's way, which the page's own rules about scripts don't reach.
  await page.evaluate(SOURCE);
  const options: RunOptions = {
    runOnly: { type: "tag", values: TAGS },
    rules: { "target-size": { enabled: true } },
    resultTypes: ["violations"],
  };
  const results = await page.evaluate(
    (options) => (window as unknown as { axe: { run(options: RunOptions): Promise<AxeResults> } }).axe.run(options),
    options,
  );
  return results.violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}\n  ${node.html}\n  ${node.failureSummary ?? ""}`),
  );
}
