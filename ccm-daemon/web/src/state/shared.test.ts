import { expect, test } from "vitest";

import { sharedKind } from "./shared";

test("what came from another machine is told by its kind, and nothing else is", () => {
  const event = (kind: string, data: object) => ({ kind, data }) as never;
  expect(sharedKind(event("document.changed", { kind: "report", id: "1" }))).toBe("report");
  expect(sharedKind(event("document.changed", {}))).toBeUndefined();
  expect(sharedKind(event("task.created", { kind: "report" }))).toBeUndefined();
});
