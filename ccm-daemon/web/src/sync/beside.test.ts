import { expect, test } from "vitest";

import { change } from "../task/diff";
import { beside, type Row } from "./beside";

const rows = (before: string, after: string, unfolded: number[] = []) =>
  beside(change([{ before, after, at: 1 }]), new Set(unfolded));
const texts = (all: Row[]) =>
  all.map((row) => ("folded" in row ? row.folded : [row.left?.text ?? null, row.right?.text ?? null]));

test("what one text has in place of what the other has stands beside it", () => {
  expect(texts(rows("a\nb\nc", "a\nx\ny\nc"))).toEqual([
    ["a", "a"],
    ["b", "x"],
    [null, "y"],
    ["c", "c"],
  ]);
});

test("each line has the number that it has in its own text", () => {
  const last = rows("a\nb", "a\nx\ny\nb").at(-1);
  expect(last).toMatchObject({ left: { text: "b", number: 2 }, right: { text: "b", number: 4 } });
});

test("far from what differs lines are folded, until somebody wants them", () => {
  const same = Array.from({ length: 20 }, (_, at) => `line ${at}`).join("\n");
  const folded = rows(`${same}\nend`, `${same}\nother`);
  expect(texts(folded).slice(0, 2)).toEqual([17, ["line 17", "line 17"]]);
  expect(rows(`${same}\nend`, `${same}\nother`, [0])).toHaveLength(21);
});

test("an empty text has nothing beside the other", () => {
  expect(texts(rows("", "a\nb"))).toEqual([
    [null, "a"],
    [null, "b"],
  ]);
});
