import { describe, expect, test } from "vitest";

import { change, Files } from "./diff";

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => `line ${from + at}`).join("\n");
const lines = (pieces: Parameters<typeof change>[0]) =>
  change(pieces).parts.flatMap(({ lines }) =>
    lines.map(({ mark, text, old, new: now }) => `${mark}${old ?? ""}|${now ?? ""} ${text}`),
  );

describe("a change", () => {
  test("has lines with their numbers, where they are known", () => {
    const before = "one\ntwo\nthree\n";
    const after = "one\nTWO\n2½\nthree\n";
    expect(lines([{ before, after, at: 7 }])).toEqual([" 7|7 one", "-8| two", "+|8 TWO", "+|9 2½", " 9|10 three"]);
    expect(lines([{ before, after }])).toEqual([" | one", "-| two", "+| TWO", "+| 2½", " | three"]);
  });

  test("counts what came and went", () => {
    expect(change([{ before: "a\nb", after: "b\nc\nd" }])).toMatchObject({ added: 2, removed: 1 });
    expect(change([{ before: "", after: "x\n" }])).toMatchObject({ added: 1, removed: 0 });
    expect(change([{ before: "x", after: "" }])).toMatchObject({ added: 0, removed: 1 });
  });

  test("folds what is far from it, and nothing that is not worth it", () => {
    const before = numbered(1, 40);
    const { parts } = change([{ before, after: before.replace("line 20", "LINE 20"), at: 1 }]);
    expect(parts.map(({ folded, lines }) => [folded, lines.length])).toEqual([
      [true, 16],
      [false, 8],
      [true, 17],
    ]);
    const short = numbered(1, 9);
    const near = change([{ before: short, after: short.replace("line 6", "LINE 6"), at: 1 }]);
    expect(near.parts.map(({ folded }) => folded)).toEqual([false]);
  });

  test("of texts that share nothing ends soon", () => {
    const many = (of: string) => Array.from({ length: 20_000 }, (_, at) => `${of} ${at}`).join("\n");
    expect(change([{ before: many("a"), after: many("b") }])).toMatchObject({ added: 20_000, removed: 20_000 });
  });
});

describe("what is known of files", () => {
  test("a read one gives edits their numbers and whole lines", () => {
    const files = new Files();
    files.read("f", "10\tfirst line\n11\tsecond line\n12\tthird line\n");
    const pieces = files.edit("f", [{ old_string: "second", new_string: "2nd", replace_all: false }]);
    expect(lines(pieces)).toEqual([" 10|10 first line", "-11| second line", "+|11 2nd line", " 12|12 third line"]);
    const again = files.edit("f", [{ old_string: "2nd line\n", new_string: "", replace_all: false }]);
    expect(lines(again)).toEqual([" 10|10 first line", "-11| 2nd line", " 12|11 third line"]);
  });

  test("a written one is compared with what was there", () => {
    const files = new Files();
    expect(lines(files.write("f", "a\nb\n"))).toEqual(["+|1 a", "+|2 b"]);
    expect(lines(files.write("f", "a\nc\n"))).toEqual([" 1|1 a", "-2| b", "+|2 c"]);
  });

  test("a long one is kept around the change alone", () => {
    const files = new Files();
    files.write("f", numbered(1, 1_000));
    const [piece] = files.edit("f", [{ old_string: "line 500", new_string: "five\nhundred", replace_all: false }]);
    expect(piece?.before.split("\n")).toHaveLength(25);
    expect(piece?.at).toBe(488);
    expect(lines(files.edit("f", [{ old_string: "line 999", new_string: "x", replace_all: false }])).at(-2)).toBe(
      "+|1000 x",
    );
  });

  test("an edit of something else is shown as it is", () => {
    const files = new Files();
    files.read("f", "1→one\n2→two");
    const edit = { old_string: "not there", new_string: "$& here", replace_all: false };
    expect(lines(files.edit("f", [edit]))).toEqual(["-| not there", "+| $& here"]);
    // Its numbers can't be told any more.
    expect(files.edit("f", [{ old_string: "one", new_string: "1", replace_all: false }])[0]?.at).toBeUndefined();
  });

  test("a replacement is no pattern", () => {
    const files = new Files();
    files.write("f", "a.a.a");
    expect(lines(files.edit("f", [{ old_string: "a.", new_string: "$1", replace_all: true }]))).toEqual([
      "-1| a.a.a",
      "+|1 $1$1a",
    ]);
  });
});
