import { expect, test } from "vitest";

import { did, grouped } from "./elsewhere";

const project = (name: string, hostname?: string) =>
  ({ id: name, name, ...(hostname && { machine: { id: hostname, hostname, this: false, last_seen: null } }) }) as never;

test("projects of other machines are grouped by machine, both in the order of their names", () => {
  const groups = grouped([project("own"), project("web", "server"), project("api", "server"), project("shop", "box")], [
    { id: "box", revoked_at: "2026-11-20T00:00:00Z" },
  ] as never);
  expect(groups.map(({ machine, projects }) => [machine.hostname, projects.map(({ name }) => name)])).toEqual([
    ["box", ["shop"]],
    ["server", ["api", "web"]],
  ]);
  expect(groups.map(({ revoked }) => revoked)).toEqual(["2026-11-20T00:00:00Z", undefined]);
});

test("what an agent did is told as over", () => {
  expect([did("waiting"), did("unresponsive"), did("idle")]).toEqual([
    "waited for a person",
    "did not answer",
    "was idle",
  ]);
});
