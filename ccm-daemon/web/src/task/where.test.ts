import { describe, expect, test } from "vitest";

import type { Schema } from "../api/client";
import { between, isElsewhere, otherMachine, place, wishWords } from "./where";

const machine = (hostname: string, own = false): Schema["Machine"] => ({
  id: hostname,
  hostname,
  this: own,
  last_seen: null,
});
const shared = (more: Partial<Schema["TaskSharing"]>, state: Schema["TaskStateName"] = "queued") => ({
  state,
  sharing: {
    created_on: machine("laptop", true),
    runs_on: machine("server"),
    any_machine: false,
    heard: true,
    sent: true,
    wished: [],
    ...more,
  },
});

describe("where a task is", () => {
  test("one of this machine alone is here", () => {
    expect(isElsewhere({ sharing: undefined })).toBe(false);
    expect(place({ sharing: undefined })).toBe("");
  });

  test("one that came from another machine and runs here is here", () => {
    const task = shared({ created_on: machine("server"), runs_on: machine("laptop", true) });
    expect(isElsewhere(task)).toBe(false);
    expect(otherMachine(task)).toBeUndefined();
  });

  test("one that nobody has taken is nowhere yet", () => {
    const task = shared({ runs_on: null, any_machine: true, heard: false });
    expect([isElsewhere(task), place(task)]).toEqual([true, "any machine"]);
    expect(between(task)).toMatch(/^No machine has taken it yet/);
  });

  test("how it stands says what is known, and no more", () => {
    expect(between(shared({ heard: false, sent: false }))).toBe(
      "It waits for server to hear of it. What was done here is not sent yet.",
    );
    expect(between(shared({}, "running"))).toBe("server runs it, and this is what it said last.");
    expect(between(shared({}, "queued"))).toBe("server has it in its queue, by what it said last.");
    expect(between(shared({}, "succeeded"))).toBe("It was done on server.");
    expect(between(shared({}, "cancelled"))).toBe("It was called off on server.");
  });

  test("a wish is one until its machine says that it did it", () => {
    expect(wishWords("cancel", "server")).toContain("has not said yet");
  });
});
