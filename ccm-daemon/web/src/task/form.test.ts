import { expect, test } from "vitest";

import type { Schema } from "../api/client";
import { changes, empty, type Fields, local, of, placed, rebased, toCreate, toEdit, wrong } from "./form";

const with_ = (some: Partial<Fields>): Fields => ({ ...empty(), ...some });

test("what is left empty is left to the project's settings", () => {
  expect(toCreate("p", with_({ text: "do it", title: "  " }))).toEqual({ project_id: "p", text: "do it" });
});

test("what is filled in is asked for", () => {
  const fields = with_({
    text: "do it",
    title: " It ",
    priority: "-2",
    notBefore: "2026-11-30T08:05",
    after: ["a"],
    tags: "gpu, eu:west  linux",
    session: "continue",
    timeout: "1.5",
    retries: "0",
  });
  expect(toCreate("p", fields)).toEqual({
    project_id: "p",
    text: "do it",
    title: "It",
    priority: -2,
    not_before: new Date(2026, 10, 30, 8, 5).toISOString(),
    blocked_by: ["a"],
    tags: ["gpu", "eu:west", "linux"],
    session: "continue",
    timeout_s: 90,
    max_retries: 0,
  });
});

test("a moment comes back as it was", () => {
  const time = new Date(2026, 0, 3, 4, 5).toISOString();
  expect(local(time)).toBe("2026-01-03T04:05");
  expect(new Date(local(time)).toISOString()).toBe(time);
});

test("an edit says what changed and nothing else", () => {
  const seen = with_({ text: "a", title: "A", priority: "0", timeout: "5", notBefore: "2026-01-03T04:05" });
  expect(toEdit(seen, seen)).toEqual({});
  expect(toEdit({ ...seen, timeout: "", notBefore: "", title: "" }, seen)).toEqual({
    timeout_s: null,
    not_before: null,
    title: null,
  });
  expect([...changes({ ...seen, after: ["x"] }, seen)]).toEqual(["after"]);
});

test("after somebody else's change the own words stay and the rest is theirs", () => {
  const seen = with_({ text: "a", priority: "0" });
  const mine = { ...seen, text: "mine" };
  const theirs = { ...seen, text: "theirs", priority: "9" };
  expect(rebased(mine, seen, theirs)).toEqual({ ...seen, text: "mine", priority: "9" });
});

test("fields are looked at before anything is sent", () => {
  expect(wrong(with_({ text: "x" }))).toEqual({});
  const bad = wrong(with_({ text: " ", priority: "1.5", retries: "101", timeout: "-1", notBefore: "soon" }));
  expect(Object.keys(bad).sort()).toEqual(["notBefore", "priority", "retries", "text", "timeout"]);
});

test("what the daemon found wrong goes to its field", () => {
  const problem = {
    errors: [
      { pointer: "/blocked_by/0", message: "no such task" },
      { pointer: "/blocked_by/1", message: "no such task either" },
      { pointer: "/else", message: "odd" },
    ],
  } as Schema["Problem"];
  expect(placed(problem)).toEqual({ errors: { after: "no such task" }, rest: ["odd"] });
  expect(placed(undefined)).toEqual({ errors: {}, rest: [] });
});

test("a task as it is fills the form", () => {
  const task = {
    title: "T",
    text: "x",
    priority: 3,
    blocked_by: [],
    tags: ["a", "b"],
    session: "fresh",
    max_retries: 1,
  };
  expect(of({ ...task, timeout_s: 90 } as unknown as Schema["Task"])).toMatchObject({
    tags: "a b",
    timeout: "1.5",
    machine: "",
    notBefore: "",
  });
});
