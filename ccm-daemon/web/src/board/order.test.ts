import { expect, test } from "vitest";

import type { Schema } from "../api/client";
import { ordered, tally } from "./order";

const project = (name: string, detail: string | null = null) =>
  ({ id: name, name, detail, queued: 0, running: 0 }) as Schema["Project"];
const agent = (of: string, state: Schema["AgentStateName"]) => ({ id: of, project_id: of, state }) as Schema["Agent"];

test("who needs a person is first, and equals are in the order of their names", () => {
  const projects = ["idle-b", "idle-a", "works", "asks", "silent"].map((name) => project(name));
  projects.push(project("held", "its settings are not trusted"));
  const agents = [
    agent("idle-a", "idle"),
    agent("idle-b", "idle"),
    agent("works", "working"),
    agent("asks", "waiting"),
    agent("silent", "unresponsive"),
    agent("held", "idle"),
  ];
  const names = ordered(projects, agents).map(({ project: { name } }) => name);
  expect(names).toEqual(["asks", "silent", "held", "works", "idle-a", "idle-b"]);
});

test("a project without an agent is there, too", () => {
  expect(ordered([project("bare")], [])).toEqual([{ project: project("bare"), agents: [] }]);
});

test("what agents do is counted, what matters most first", () => {
  const asleep = { ...agent("d", "stopped"), wanted: "asleep" as const };
  const agents = [agent("a", "idle"), agent("b", "waiting"), asleep, agent("c", "waiting"), agent("e", "stopped")];
  expect(tally(agents)).toBe("2 need you, 1 idle, 1 asleep, 1 stopped");
  expect(tally(agents.slice(1, 2))).toBe("1 needs you");
});
