import { describe, expect, test } from "vitest";

import type { Schema } from "../api/client";
import { summary } from "./calls";
import { earlier, Grouping, grown, later, newest } from "./transcript";

type Entry = Schema["Entry"];

const use = (id: string, name: string, input: Record<string, unknown>): Entry => ({
  type: "tool_use",
  offset: 0,
  id,
  name,
  input: input as Record<string, never>,
});
const result = (id: string, text: string, is_error = false): Entry => ({
  type: "tool_result",
  offset: 0,
  id,
  text,
  is_error,
});
const of = (...parts: Entry[][]) => {
  const grouping = new Grouping();
  for (const part of parts) grouping.add(part);
  return grouping.items;
};

describe("grouping", () => {
  test("gives a result to its call, also in a later part, and makes it a new object", () => {
    const grouping = new Grouping();
    grouping.add([use("1", "Bash", { command: "a" }), use("2", "Bash", { command: "b" })]);
    const before = grouping.items[0];
    grouping.add([result("2", "of b"), result("1", "of a", true)]);
    expect(grouping.items).toHaveLength(2);
    expect(grouping.items[0]).toMatchObject({ type: "call", at: 0, outcome: { text: "of a", failed: true } });
    expect(grouping.items[1]).toMatchObject({ type: "call", at: 1, outcome: { text: "of b", failed: false } });
    expect(grouping.items[0]).not.toBe(before);
  });

  test("shows a result whose call is not there", () => {
    expect(of([result("?", "left over")])).toMatchObject([{ type: "call", outcome: { text: "left over" } }]);
  });

  test("keeps the places of what was there when something is put before it", () => {
    const text = (text: string): Entry => ({ type: "text", offset: 0, text });
    const later = [result("1", "of the call before"), text("c"), use("2", "Bash", { command: "d" })];
    const end = new Grouping();
    end.add(later);
    const all = Grouping.before(end, [text("a"), use("1", "Read", {}), text("b"), ...later]);
    const places = (items: typeof end.items) => items.map((item) => [item.at, "text" in item ? item.text : item.type]);
    expect(places(end.items)).toEqual([
      [0, "call"],
      [1, "c"],
      [2, "call"],
    ]);
    expect(places(all.items)).toEqual([
      [-2, "a"],
      [-1, "call"],
      [0, "b"],
      [1, "c"],
      [2, "call"],
    ]);
    expect(all.items[1]).toMatchObject({ outcome: { text: "of the call before" } });
    // What comes later goes on from there.
    all.add([result("2", "done"), text("e")]);
    expect(all.items.at(-2)).toMatchObject({ at: 2, outcome: { text: "done" } });
    expect(all.items.at(-1)).toMatchObject({ at: 3, text: "e" });
  });

  test("gives an answer to its question", () => {
    const asked: Entry = { type: "asked", offset: 0, request_id: "r", title: "Bash: rm", choices: [] };
    const answered: Entry = { type: "answered", offset: 0, request_id: "r", answer: "denied" };
    expect(of([asked], [answered])).toMatchObject([{ type: "question", title: "Bash: rm", answer: "denied" }]);
  });

  test("tells a final answer that was said already", () => {
    const usage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 };
    const turn = (text: string): Entry => ({ type: "result", offset: 0, text, is_error: false, usage });
    const items = of([{ type: "text", offset: 0, text: "done" }, turn("done"), turn("other")]);
    expect(items).toMatchObject([{ type: "text" }, { repeats: true }, { repeats: false }]);
  });

  test("knows the lines of a file that was read, and forgets a change that failed", () => {
    const edit = { file_path: "f", old_string: "two", new_string: "2" };
    const items = of([
      use("1", "Read", { file_path: "f" }),
      result("1", "1\tone\n2\ttwo"),
      use("2", "Edit", edit),
      result("2", "denied", true),
      use("3", "Edit", edit),
    ]);
    const at = (item: number) => {
      const call = items[item];
      return call?.type === "call" && call.shown.kind === "change" ? call.shown.pieces[0]?.at : "no change";
    };
    expect([at(1), at(2)]).toEqual([1, undefined]);
  });

  test("takes whatever a tool is given", () => {
    const odd = [{}, { file_path: 1 }, { file_path: "f", edits: [null] }, { file_path: "f", content: [] }];
    for (const input of odd) {
      for (const name of ["Edit", "Write", "MultiEdit", "NotebookEdit", "__proto__"]) {
        expect(of([use("1", name, input)])).toMatchObject([{ shown: { kind: "other" } }]);
      }
    }
  });
});

describe("a call in one line", () => {
  test("is what tells the most", () => {
    expect(summary({ description: "Make it", command: "make\n  all" })).toBe("make all");
    expect(summary({ todos: [1] })).toBe('{"todos":[1]}');
    expect(summary({})).toBe("");
    expect(summary({ command: "x".repeat(1_000_000) })).toHaveLength(161);
  });
});

describe("the window of what is in the page", () => {
  test("never grows, shows the end while it is there, and stays where somebody reads", () => {
    const end = newest(0, 1_000);
    expect(end).toEqual({ from: 940, to: 1_000 });
    expect(grown(end, 0, 1_000, 1_010)).toEqual({ from: 950, to: 1_010 });
    const back = earlier(end, 0, 1_000);
    expect(back).toEqual({ from: 910, to: 970 });
    expect(grown(back, 0, 1_000, 1_010)).toBe(back);
    expect(later(back, 0, 1_010)).toEqual({ from: 940, to: 1_000 });
    expect(earlier({ from: 20, to: 80 }, 0, 1_000)).toEqual({ from: 0, to: 60 });
    expect(newest(0, 5)).toEqual({ from: 0, to: 5 });
  });

  test("stays where it is when something comes before it", () => {
    const all = newest(0, 40);
    expect(grown(all, -200, 40, 40)).toBe(all);
    expect(earlier(all, -200, 40)).toEqual({ from: -30, to: 30 });
    expect(earlier(all, -3, 40)).toEqual({ from: -3, to: 40 });
  });
});
