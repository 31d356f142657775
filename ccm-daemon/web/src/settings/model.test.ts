import { describe, expect, it } from "vitest";

import { blamed, changes, differences, grouped, type Key, noted, text, widget, yaml } from "./model";

const SCHEMA = {
  properties: {
    profile: { enum: ["full", "minimal", null] },
    agents: { properties: { max: { type: ["integer", "null"], minimum: 1, maximum: 9 } } },
    web_ui: { properties: { hosts: { type: ["array", "null"] }, on: { type: ["boolean", "null"] } } },
    log: { type: ["string", "number", "boolean", "null"] },
  },
};

function key(name: string, value: unknown, more: Partial<Key> = {}): Key {
  return { key: name, value, origin: "default", doc: "", allowed: "", applied: "now", secret: false, ...more };
}

describe("widget", () => {
  it("is what the schema says of the key", () => {
    expect(widget(SCHEMA, key("profile", "full"))).toEqual({ is: "choice", options: ["full", "minimal"] });
    expect(widget(SCHEMA, key("agents.max", 3))).toEqual({ is: "number", min: 1, max: 9 });
    expect(widget(SCHEMA, key("web_ui.hosts", []))).toEqual({ is: "list" });
    expect(widget(SCHEMA, key("web_ui.on", true))).toEqual({ is: "switch" });
    expect(widget(SCHEMA, key("log", "a"))).toEqual({ is: "text" });
  });

  it("goes by the value where no schema is", () => {
    expect(widget(undefined, key("a.b", true))).toEqual({ is: "switch" });
    expect(widget(undefined, key("a.b", { A: 1 }))).toEqual({ is: "yaml" });
    expect(widget(undefined, key("a.b", null))).toEqual({ is: "text" });
  });
});

describe("yaml", () => {
  it("keeps texts texts and numbers numbers", () => {
    expect(yaml("4", { is: "number" })).toBe("4");
    expect(yaml("4", { is: "text" })).toBe('"4"');
    expect(yaml("yes: no", { is: "text" })).toBe('"yes: no"');
    expect(yaml(" a \n\n b", { is: "list" })).toBe('["a","b"]');
    expect(yaml("true", { is: "switch" })).toBe("true");
  });

  it("takes away what is empty", () => {
    for (const is of ["number", "text", "list"] as const) expect(yaml(" ", { is })).toBeNull();
    expect(yaml(undefined, { is: "text" })).toBeNull();
  });
});

describe("a draft", () => {
  const max = key("agents.max", 3);
  const number = { is: "number" } as const;

  it("has only what is not as it was", () => {
    expect(noted({}, max, number, "4")).toEqual({ "agents.max": "4" });
    expect(noted({ "agents.max": "4" }, max, number, "3")).toEqual({});
  });

  it("takes a key away only if the file has it", () => {
    expect(noted({}, max, number, undefined)).toEqual({});
    expect(noted({}, { ...max, origin: "file" }, number, undefined)).toEqual({ "agents.max": undefined });
  });

  it("changes a secret only if something was typed", () => {
    const secret = key("supabase.key", true, { secret: true });
    expect(noted({}, secret, { is: "text" }, "")).toEqual({});
    expect(noted({}, secret, { is: "text" }, "true")).toEqual({ "supabase.key": "true" });
  });

  it("becomes changes, as YAML", () => {
    const widgets = new Map([["agents.max", number]]);
    expect(changes({ "agents.max": "4", log: undefined }, widgets)).toEqual([
      { key: "agents.max", value: "4" },
      { key: "log", value: null },
    ]);
  });
});

it("shows lists a line each", () => {
  expect(text(["a", "b"], { is: "list" })).toBe("a\nb");
  expect(text(null, { is: "text" })).toBe("");
});

it("finds what somebody else changed", () => {
  expect(differences([key("a", 1), key("b", [1])], [key("a", 2), key("b", [1])])).toEqual([
    { key: "a", from: 1, to: 2 },
  ]);
});

it("groups by section what has all words", () => {
  const keys = [key("profile", 1), key("agents.max", 1, { doc: "runs at once" }), key("agents.idle", 1)];
  expect(grouped(keys, "").map(([section]) => section)).toEqual(["", "agents"]);
  expect(grouped(keys, "Runs agents").flatMap(([, found]) => found.map((one) => one.key))).toEqual(["agents.max"]);
});

it("puts a refusal at its key", () => {
  const problem = { type: "", title: "", status: 422, code: "invalid" as const };
  const sent = [{ key: "a.b", value: "0" }, { key: "c" }];
  expect(blamed({ ...problem, detail: "a.b: expected more" }, sent)).toEqual({ "a.b": "expected more" });
  const errors = [{ pointer: "/changes/1/value", message: "too long" }];
  expect(blamed({ ...problem, detail: "a part is wrong", errors }, sent)).toEqual({ c: "too long" });
});
