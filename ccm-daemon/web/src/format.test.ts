import { expect, test } from "vitest";

import { ago, bytes, counted, duration, money, short } from "./format";

test("durations have at most two units", () => {
  expect(duration(-5)).toBe("0 ms");
  expect(duration(999)).toBe("999 ms");
  expect(duration(59_999)).toBe("59 s");
  expect(duration(60_000)).toBe("1 min");
  expect(duration(200_000)).toBe("3 min 20 s");
  expect(duration(7_500_000)).toBe("2 h 5 min");
  expect(duration(90_000_000)).toBe("1 d 1 h");
});

test("what is past and what is to come", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  expect(ago(now - 4_000, now)).toBe("just now");
  expect(ago(now - 61_000, now)).toBe("1 min ago");
  expect(ago(now + 2 * 3_600_000, now)).toBe("in 2 h");
  expect(ago(now - 3 * 86_400_000, now)).toBe("3 d ago");
});

test("sizes, money and counts", () => {
  expect(bytes(0)).toBe("0 B");
  expect(bytes(1_023)).toBe("1023 B");
  expect(bytes(1_536)).toBe("1.5 KiB");
  expect(bytes(200 * 1024 * 1024)).toBe("200 MiB");
  expect(money(0)).toBe("$0");
  expect(money(0.004)).toBe("under $0.01");
  expect(money(1.239)).toBe("$1.24");
  expect(counted(1, "task")).toBe("1 task");
  expect(counted(100_000, "task")).toBe("100,000 tasks");
  expect(short(950)).toBe("950");
  expect(short(12_345)).toBe("12.3k");
  expect(short(999_960)).toBe("1.0M");
});
