import type { Change } from "../task/diff";

/** A line of one of two texts; nothing where the other one has a line that this one has not. */
export interface Cell {
  text: string;
  /** Its number in its text. */
  number: number | undefined;
  changed: boolean;
}

/** Two texts side by side, a row a line. A folded row stands for so many that are the same. */
export type Row = { folded: number; at: number } | { left: Cell | undefined; right: Cell | undefined };

/** A change as rows: what one side has in place of what the other one has stands beside it. */
export function beside({ parts }: Change, unfolded: ReadonlySet<number>): Row[] {
  const rows: Row[] = [];
  parts.forEach(({ folded, lines }, at) => {
    if (folded && !unfolded.has(at)) {
      rows.push({ folded: lines.length, at });
      return;
    }
    let left: Cell[] = [];
    let right: Cell[] = [];
    const flush = () => {
      for (let row = 0; row < Math.max(left.length, right.length); row += 1) {
        rows.push({ left: left[row], right: right[row] });
      }
      [left, right] = [[], []];
    };
    for (const { mark, text, old, new: now } of lines) {
      if (mark === "-") left.push({ text, number: old, changed: true });
      else if (mark === "+") right.push({ text, number: now, changed: true });
      else {
        flush();
        rows.push({
          left: { text, number: old, changed: false },
          right: { text, number: now, changed: false },
        });
      }
    }
    flush();
  });
  return rows;
}
