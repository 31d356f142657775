import { expect, test } from "vitest";

import { latest, together } from "./machines";

const system = (id: string, more: object = {}) => ({
  id,
  hostname: id,
  type: "developer",
  tags: [],
  this: false,
  ...more,
});
const device = (id: string, more: object = {}) => ({
  id,
  hostname: id,
  registered_at: "2026-11-01T00:00:00Z",
  last_seen: "2026-11-26T10:00:00Z",
  revoked_at: null,
  this: false,
  ...more,
});

test("a machine is one, whoever knows of it", () => {
  const list = together(
    [system("laptop", { this: true }), system("server", { tags: ["gpu"], last_seen: "2026-11-26T09:00:00Z" })] as never,
    [
      device("server"),
      device("old", { revoked_at: "2026-11-20T00:00:00Z" }),
      device("laptop", { this: true }),
      device("new"),
    ],
    [{ id: "p", name: "shop", system_id: "server" }] as never,
  );
  expect(list.map(({ hostname }) => hostname)).toEqual(["laptop", "new", "server", "old"]);
  expect(list[2]).toMatchObject({ tags: ["gpu"], seen: "2026-11-26T10:00:00Z", registered: true });
  expect(list[2]?.projects.map(({ name }) => name)).toEqual(["shop"]);
  expect(list[3]).toMatchObject({ revoked: "2026-11-20T00:00:00Z" });
});

test("one that only told of itself can't be shut out", () => {
  const [one] = together([system("server")] as never, [], []);
  expect(one).toMatchObject({ registered: false, seen: undefined });
});

test("the later of two times counts", () => {
  expect(latest("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")).toBe("2026-01-02T00:00:00Z");
  expect(latest("2026-01-01T00:00:00Z", null)).toBe("2026-01-01T00:00:00Z");
  expect(latest(undefined, null)).toBeUndefined();
});
