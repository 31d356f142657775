import { expect, test } from "vitest";

import { Once } from "./once";

test("the same content has the same name until it was answered", () => {
  const once = new Once();
  const first = once.for({ text: "a" });
  expect(first).toMatch(/^[0-9a-f]{32}$/);
  expect(once.for({ text: "a" })).toBe(first);
  const other = once.for({ text: "b" });
  expect(other).not.toBe(first);
  once.done();
  expect(once.for({ text: "b" })).not.toBe(other);
});
