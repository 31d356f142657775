import { expect, test, vi } from "vitest";

vi.mock("../api/client", () => ({ api: {}, Refusal: class extends Error {}, sure: () => undefined }));

const { told } = await import("./answer");

test("an answer to another machine's agent is sent until that machine has it", () => {
  const machine = { id: "1", hostname: "server", this: false };
  const ask = { state: "open", machine, sent_answer: { answer: "allow" } } as never;
  expect(told(ask)).toBe("allowed, sent to server");
  expect(told({ state: "open" } as never)).toBe("still open");
  const taken = { state: "answered", machine, answer: { answer: "deny" }, answered_by: "web" } as never;
  expect(told(taken)).toBe("denied by web");
});
