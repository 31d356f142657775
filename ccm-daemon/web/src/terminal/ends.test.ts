import { describe, expect, it } from "vitest";

import { closed, end } from "./ends";

describe("end", () => {
  it("connects again by itself only where that helps", () => {
    const codes = [1001, 1005, 1006, 1007, 1008, 1009, 4001, 4002, 4003, 4004, 4005];
    expect(codes.filter((code) => end(code).then === "retry")).toEqual([1001, 1005, 1006, 4001, 4004]);
  });

  it("has a sentence of its own for every code of the daemon", () => {
    const codes = [1001, 1006, 1007, 1008, 1009, 4001, 4002, 4003, 4004, 4005];
    const words = codes.map((code) => end(code).words);
    expect(new Set(words).size).toBe(codes.length);
    for (const sentence of words) expect(sentence).toMatch(/^[A-Z].*\.$/);
  });

  it("leaves it to a person after what it does not know", () => {
    expect(end(4999)).toEqual({ words: "The daemon ended the connection (4999).", then: "again" });
  });
});

describe("closed", () => {
  it("is nothing while there is a window", () => {
    expect(closed({ state: "idle", wanted: "up", window: "ccm:demo" }, "tmux")).toBeNull();
  });

  it("says why there is none", () => {
    const why = (wanted: string, runtime?: string) => closed({ state: "stopped", wanted }, runtime)?.words;
    expect(why("down")).toMatch(/was stopped/);
    expect(why("asleep")).toMatch(/sleeps/);
    expect(why("up")).toMatch(/no window yet/);
    expect(why("up", "process")).toMatch(/agents\.runtime: process/);
  });
});
