import { describe, expect, test } from "vitest";

import { revealed, visible } from "../ui/virtual";
import { CHUNK, Chunks, chunksOf } from "./chunks";
import { asked, growsAtTop, isFiltered, read } from "./filter";

const of = (query: string) => read(new URLSearchParams(query));

describe("filters", () => {
  test("come from the address and go to the daemon", () => {
    const filter = of("project=p&state=failed,nonsense,running&tag=gpu&q= two words &by=cli");
    expect(asked(filter)).toEqual({
      machine: "all",
      project_id: "p",
      state: ["failed", "running"],
      tag: "gpu",
      q: "two words",
      created_by: "cli",
    });
    expect(isFiltered(filter)).toBe(true);
    expect(asked(of(""))).toEqual({ machine: "mine" });
    expect(isFiltered(of("order=queue"))).toBe(false);
  });

  test("a queue is one of a project, and lists what waits whatever state is asked for", () => {
    expect(asked(of("project=p&order=queue&state=failed"))).toEqual({ project_id: "p", order: "queue" });
    expect(asked(of("order=queue"))).toEqual({ machine: "mine" });
  });

  test("of a project everything is meant, else what is of this machine, and whoever says which gets that", () => {
    const id = "00000000-0000-7000-8000-00000000000a";
    expect(asked(of("project=p")).machine).toBe("all");
    expect(asked(of("project=p&machine=local")).machine).toBe("local");
    expect(asked(of(`machine=${id}`)).machine).toBe(id);
    expect(isFiltered(of(`machine=${id}`))).toBe(true);
    expect(asked(of("machine=the+server")).machine).toBe("mine");
  });

  test("only without states new tasks come at the top alone", () => {
    expect(growsAtTop(of("q=a"))).toBe(true);
    expect(growsAtTop(of("state=failed"))).toBe(false);
    expect(growsAtTop(of("project=p&order=queue"))).toBe(false);
  });
});

describe("chunks", () => {
  test("are found by the place of a row", () => {
    const chunks = new Chunks<number>();
    chunks.put(
      2,
      Array.from({ length: CHUNK }, (_, at) => 2 * CHUNK + at),
    );
    expect(chunks.get(2 * CHUNK + 7)).toBe(207);
    expect(chunks.get(0)).toBeUndefined();
    expect(chunks.get(3 * CHUNK)).toBeUndefined();
    expect(chunksOf(95, 205)).toEqual([0, 1, 2]);
    expect(chunksOf(100, 200)).toEqual([1]);
    expect(chunksOf(5, 5)).toEqual([]);
  });

  test("that were not looked at for long are let go", () => {
    const chunks = new Chunks<number>();
    for (let at = 0; at < 1_000; at += 1) chunks.put(at, [at]);
    expect(Array.from({ length: 1_000 }, (_, at) => at).filter((at) => chunks.has(at))).toHaveLength(30);
    expect(chunks.has(999)).toBe(true);
    chunks.keepOnly([999, 3]);
    expect([chunks.has(999), chunks.has(998), chunks.has(3)]).toEqual([true, false, false]);
  });
});

describe("rows", () => {
  test("in view are few, however many there are", () => {
    expect(visible(0, 400, 40, 100_000, 5)).toEqual({ from: 0, to: 15 });
    expect(visible(4_000, 400, 40, 100_000, 5)).toEqual({ from: 95, to: 115 });
    expect(visible(9_999_999, 400, 40, 100, 5)).toEqual({ from: 95, to: 100 });
    expect(visible(0, 400, 40, 0)).toEqual({ from: 0, to: 0 });
  });

  test("are scrolled to only when they are not seen whole", () => {
    expect(revealed(3, 40, 0, 400)).toBe(0);
    expect(revealed(10, 40, 0, 400)).toBe(40);
    expect(revealed(10, 40, 0, 400, 36)).toBe(76);
    expect(revealed(2, 40, 200, 400)).toBe(80);
  });
});
