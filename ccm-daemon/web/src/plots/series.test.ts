import { describe, expect, it } from "vitest";

import type { Agent } from "../state/machine.svelte";
import { Memory } from "./memory";
import { isQuiet, periodOf, PERIODS, plotted, span } from "./series";

type Stats = Parameters<typeof plotted>[0];

function bucket(start: string, more: Partial<Stats["buckets"][number]> = {}): Stats["buckets"][number] {
  return {
    start,
    created: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    started: 0,
    wait_mean_s: null,
    wait_max_s: null,
    runs: 0,
    cost_usd: 0,
    input_tokens: 0,
    output_tokens: 0,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    ...more,
  };
}

function stats(...buckets: Stats["buckets"]): Stats {
  return { from: "", to: "", buckets };
}

describe("span", () => {
  it("ends with the part that is now, and has whole parts", () => {
    const now = Date.parse("2026-01-01T10:07:30Z");
    expect(span("24h", now)).toEqual({
      from: "2025-12-31T10:15:00.000Z",
      to: "2026-01-01T10:15:00.000Z",
      buckets: PERIODS["24h"].parts,
    });
    expect(span("24h", now + 60_000)).toEqual(span("24h", now));
  });

  it("is a day unless the address says another one that is there", () => {
    expect([periodOf("7d"), periodOf(null), periodOf("constructor")]).toEqual(["7d", "24h", "24h"]);
  });
});

describe("plotted", () => {
  const first = bucket("2026-01-01T00:00:00Z", { created: 2, started: 1, wait_mean_s: 10, wait_max_s: 10 });
  const second = bucket("2026-01-01T00:01:00Z", { started: 3, wait_mean_s: 2, wait_max_s: 4, runs: 1, cost_usd: 0.5 });
  const [tasks, waiting, cost, tokens] = plotted(stats(first, second));

  it("has a value for every part of the time", () => {
    for (const plot of [tasks, waiting, cost, tokens]) {
      for (const { values } of plot?.lines ?? []) expect(values).toHaveLength(2);
    }
    expect(tasks?.times).toEqual([1767225600, 1767225660]);
  });

  it("says the whole in words", () => {
    expect(tasks?.sum).toBe("2 created, 0 succeeded, 0 failed, 0 cancelled");
    expect(waiting?.sum).toBe("4 tasks waited 4 s on average, 10 s at most");
    expect(cost?.sum).toBe("$0.50 for 1 run that ended");
  });

  it("leaves a gap where nothing waited", () => {
    const [, gap] = plotted(stats(bucket("2026-01-01T00:00:00Z")));
    expect(gap?.lines[0]?.values).toEqual([null]);
    expect(gap?.sum).toBe("nothing was started");
  });

  it("knows a time in which nothing happened", () => {
    expect(isQuiet(stats(bucket("")))).toBe(true);
    expect(isQuiet(stats(bucket(""), bucket("", { failed: 1 })))).toBe(false);
  });
});

describe("memory", () => {
  function agent(name: string, memory_bytes: number | null): Agent {
    return { name, memory_bytes } as Agent;
  }

  it("has a gap where an agent was not there", () => {
    const memory = new Memory();
    expect(memory.note([agent("a", 1024)], 10_000)).toBe(true);
    expect(memory.note([agent("a", 2048)], 11_000)).toBe(false);
    expect(memory.note([agent("a", null), agent("b", 4096)], 15_000)).toBe(true);
    const { lines, sum } = memory.plotted();
    expect(lines.map(({ name, values }) => [name, values])).toEqual([
      ["b", [null, 4096]],
      ["a", [1024, null]],
    ]);
    expect(sum).toBe("4.0 KiB now");
  });

  it("keeps an hour", () => {
    const memory = new Memory();
    for (let at = 1; at < 1_000; at += 1) memory.note([agent("a", at)], at * 5_000);
    expect(memory.plotted().times).toHaveLength(720);
  });
});
