import { describe, expect, it, vi } from "vitest";

import type { Event } from "../state/live.svelte";
import { filterOf, passes } from "./filter";
import { eventWords, KINDS } from "./words";

vi.stubGlobal("location", { origin: "http://localhost", pathname: "/", search: "" });
const { joined, KEPT } = await import("./log.svelte");

function event(seq: number, kind: Event["kind"] = "task.created", data: object = {}): Event {
  return { seq, time: "2026-01-01T00:00:00Z", kind, data: data as Event["data"] };
}

describe("words", () => {
  it("says something of every kind, whatever its data are", () => {
    for (const kind of KINDS) expect(eventWords(event(1, kind))).not.toMatch(/undefined|NaN|\[object/);
  });

  it("tells what there is to tell", () => {
    const failed = event(1, "task.failed", { reason: "agent_error", detail: null });
    expect(eventWords(failed)).toBe("Task failed: agent error");
    const answered = event(1, "ask.answered", { answer: { answer: "deny" }, by: "web" });
    expect(eventWords(answered)).toBe("Question denied by web");
    expect(eventWords(event(1, "agent.updated", { state: "idle" }))).toBe("Agent is idle");
    const heard = event(1, "document.changed", { kind: "report", id: "1" });
    expect(eventWords(heard)).toBe("Heard from another machine: how a task goes");
    expect(eventWords(event(1, "sharing.changed", { on: false }))).toBe("Sharing with other machines ends");
  });

  it("has no answer to kinds of later versions but their names", () => {
    expect(eventWords(event(1, "task.moved" as Event["kind"]))).toBe("task.moved");
  });

  it("keeps to one line of bounded length", () => {
    const long = eventWords(event(1, "task.created", { title: `a\n${"b".repeat(10_000)}` }));
    expect(long).toMatch(/^Task put in the queue: a b/);
    expect(long.length).toBeLessThan(310);
  });
});

describe("filter", () => {
  const all = filterOf(new URLSearchParams());

  it("leaves output out unless it is asked for", () => {
    const output = event(1, "run.output");
    expect(passes(all, output)).toBe(false);
    expect(passes(filterOf(new URLSearchParams("output=yes")), output)).toBe(true);
    expect(passes(filterOf(new URLSearchParams("kind=run.output")), output)).toBe(true);
    expect(passes(filterOf(new URLSearchParams("kind=run")), output)).toBe(false);
  });

  it("leaves out the output of other machines, too, and nothing else of them", () => {
    const told = (kind: string) => event(1, "document.changed", { kind });
    expect(passes(all, told("transcript"))).toBe(false);
    expect(passes(all, told("report"))).toBe(true);
    expect(passes(filterOf(new URLSearchParams("kind=document.changed")), told("transcript"))).toBe(true);
  });

  it("takes a kind or all that begin with a word", () => {
    expect(passes({ output: false, kind: "task" }, event(1, "task.failed"))).toBe(true);
    expect(passes({ output: false, kind: "task.failed" }, event(1, "task.created"))).toBe(false);
    expect(passes({ output: false, kind: "ta" }, event(1, "task.created"))).toBe(false);
  });

  it("takes one project's", () => {
    const here = { ...event(1), project_id: "a" };
    expect(passes({ output: false, project: "a" }, here)).toBe(true);
    expect(passes({ output: false, project: "b" }, here)).toBe(false);
  });
});

describe("joined", () => {
  it("has each event once, in order", () => {
    const seqs = joined([event(1), event(2)], [event(2), event(3)]).map(({ seq }) => seq);
    expect(seqs).toEqual([1, 2, 3]);
  });

  it("keeps the last ones", () => {
    const many = Array.from({ length: KEPT + 5 }, (_, at) => event(at + 1));
    const kept = joined([], many);
    expect(kept).toHaveLength(KEPT);
    expect(kept.at(-1)?.seq).toBe(KEPT + 5);
  });
});
