// What was measured, as `ccm-bench` reads it.

import { appendFileSync } from "node:fs";

export interface Figure {
  figure: string;
  value: number;
  unit: string;
  /** What it is held against, of the same run. */
  beside?: { figure: string; value: number };
  /** Of the ratio if there is something beside it, else of the value. */
  at_most?: number;
}

/** Writes down what was measured. */
export function report(...figures: Figure[]): void {
  const file = process.env["CCM_FIGURES"];
  if (file === undefined) console.table(figures);
  else figures.forEach((figure) => appendFileSync(file, `${JSON.stringify(figure)}\n`));
}

/** The middle one. There is at least one. */
export function median(values: number[]): number {
  return percentile(values, 0.5);
}

/** The one below which this share of them is. There is at least one. */
export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  if (found === undefined) throw new Error("nothing was measured");
  return found;
}
