import { describe, expect, test } from "vitest";

import { LogLines, readable } from "./loglines";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("a log", () => {
  test("gives the same lines whichever way its bytes come", () => {
    const text = "one\ntwo €uro\n\nfour 🦀 crab\nfive";
    const all = bytes(text);
    for (let size = 1; size <= all.length + 1; size += 1) {
      for (let start = 0; start <= all.length; start += 1) {
        const log = new LogLines(start);
        for (let at = start; at < all.length; at += size) log.append(all.subarray(at, at + size));
        while (log.from > 0) log.prepend(all.subarray(Math.max(0, log.from - size), log.from));
        expect([...log.lines, log.open], `in parts of ${size} from ${start}`).toEqual(text.split("\n"));
        expect([log.from, log.to]).toEqual([0, all.length]);
      }
    }
  });

  test("says how many lines came in front", () => {
    const log = new LogLines(6);
    log.append(bytes("x\nlast\n"));
    expect(log.lines).toEqual(["last"]);
    expect(log.prepend(bytes("a\nb\nyy"))).toBe(3);
    expect(log.lines).toEqual(["a", "b", "yyx", "last"]);
  });

  test("breaks a line that has no end", () => {
    const log = new LogLines(0);
    log.append(new Uint8Array(3_000_000).fill(65));
    expect(log.lines).toHaveLength(2);
    expect(log.lines[0]).toHaveLength(2_002);
  });
});

test("a line is readable whatever is in it", () => {
  expect(readable(bytes("\x1b[31;1mred\x1b[m \x1b]0;title\x07plain\r"))).toBe("red plain");
  expect(readable(bytes("a\u202eb\x08c\td"))).toBe("a\ufffdb\ufffdc\td");
  expect(readable(new Uint8Array([0xff, 0x41]))).toBe("\ufffdA");
});
