import { describe, expect, it } from "vitest";

import { keys, texts } from "./pieces";

const MESSAGE = 64 * 1024;

describe("a text to be pasted", () => {
  it("is one message if it is short, and none if it is empty", () => {
    expect(texts("hello")).toEqual(["hello"]);
    expect(texts("")).toEqual([]);
  });

  it("fits its messages, whatever is in it", () => {
    for (const character of ["a", "é", "漢", "😀", "\u0001", '"']) {
      const text = character.repeat(50_001);
      const parts = texts(text);
      expect(parts.join("")).toBe(text);
      for (const part of parts) {
        const message = JSON.stringify({ type: "paste", text: part });
        expect(new TextEncoder().encode(message).length).toBeLessThanOrEqual(MESSAGE);
      }
    }
  });

  it("is never cut in the middle of a character", () => {
    const whole = (text: string) => new TextDecoder().decode(new TextEncoder().encode(text)) === text;
    expect(texts(`x${"😀".repeat(20_000)}`).every(whole)).toBe(true);
  });
});

it("sends keys as bytes, in messages that the daemon takes", () => {
  const parts = keys("é".repeat(40_000));
  expect(parts.map((part) => part.length)).toEqual([MESSAGE, 80_000 - MESSAGE]);
});
