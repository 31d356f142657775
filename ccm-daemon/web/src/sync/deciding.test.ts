import { describe, expect, test } from "vitest";

import { canMerge, type Conflict, decidedWords, disputed, hosts, isLong, mergeOf, valueWords } from "./deciding";

const side = (hostname: string | null, more: object = {}) => ({
  system_id: "00000000-0000-7000-8000-00000000000a",
  hostname,
  this: false,
  changed_at: "2026-11-26T10:00:00Z",
  deleted: false,
  ...more,
});

const field = (name: string, changed_by: "local" | "remote" | null) => ({
  name,
  base: "a",
  local: "b",
  remote: "c",
  changed_by,
});

const CONFLICT: Conflict = {
  id: "1",
  task_id: "2",
  title: "Mend it",
  state: "open",
  rule: "manual",
  found_at: "2026-11-26T10:00:00Z",
  local: side("laptop", { this: true }),
  remote: side("server"),
  counts: "remote",
  fields: [field("title", "local"), field("text", null), field("priority", null)],
  mergeable: false,
};

describe("a merge", () => {
  test("needs a choice for each field that both changed, and for no other", () => {
    expect(disputed(CONFLICT).map(({ name }) => name)).toEqual(["text", "priority"]);
    expect(mergeOf(CONFLICT, {})).toBeUndefined();
    expect(mergeOf(CONFLICT, { text: "remote" })).toBeUndefined();
    expect(mergeOf(CONFLICT, { text: "remote", priority: "local", title: "remote" })).toEqual({
      keep: "merge",
      fields: [
        { name: "text", keep: "remote" },
        { name: "priority", keep: "local" },
      ],
    });
  });

  test("of different fields needs none", () => {
    expect(mergeOf({ fields: [field("title", "local"), field("text", "remote")] }, {})).toEqual({
      keep: "merge",
      fields: [],
    });
  });

  test("is not there with an edit that deleted the task, or where nothing differs", () => {
    expect(canMerge(CONFLICT)).toBe(true);
    expect(canMerge({ ...CONFLICT, remote: side("server", { deleted: true }) })).toBe(false);
    expect(canMerge({ ...CONFLICT, fields: [] })).toBe(false);
  });
});

test("machines of the same name, or of none, are told apart", () => {
  expect(hosts(CONFLICT)).toEqual({ local: "laptop", remote: "server" });
  const alike = hosts({ local: side("box", { this: true }), remote: side("box") });
  expect(alike.local).not.toBe(alike.remote);
  expect(hosts({ local: side(null), remote: side("server") }).local).toBe("machine 00000000000a");
});

test("values are shown as people know them", () => {
  expect(valueWords("timeout_s", 5400)).toBe("1 h 30 min");
  expect(valueWords("tags", ["gpu", "eu:west"])).toBe("gpu, eu:west");
  expect(valueWords("tags", [])).toBe("nothing");
  expect(valueWords("any_machine", false)).toBe("no");
  expect(valueWords("priority", 0)).toBe("0");
  expect(valueWords("later", { a: 1 })).toBe('{"a":1}');
});

test("short values are one line, longer ones are compared line by line", () => {
  expect(isLong({ ...field("title", null), local: "short" })).toBe(false);
  expect(isLong({ ...field("text", null), remote: "two\nlines" })).toBe(true);
  expect(isLong({ ...field("text", null), local: "x".repeat(100) })).toBe(true);
});

test("a decision says who made it and whose edit counts", () => {
  const at = "2026-11-26T11:00:00Z";
  expect(decidedWords({ ...CONFLICT, resolution: { keep: "local", by: "web", at } })).toBe(
    "web decided: the edit of laptop counts",
  );
  expect(decidedWords({ ...CONFLICT, resolution: { keep: "merge", by: "cli", at } })).toBe(
    "cli decided: both edits count",
  );
});
