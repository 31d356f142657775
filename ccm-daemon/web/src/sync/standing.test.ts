import { describe, expect, test } from "vitest";

import type { Schema } from "../api/client";
import { remedy, roundWords, sentence, standing } from "./standing";

const READY: Schema["SyncState"] = {
  enabled: true,
  backend: "supabase",
  connected: true,
  pending: 0,
  conflicts: 0,
  detail: "everything is exchanged",
  condition: "ready",
  failures: 0,
  live: true,
  interval_s: 10,
  rule: "manual",
  unsettled: 0,
  set_aside: 0,
};
const of = (more: Partial<Schema["SyncState"]>) => standing({ ...READY, ...more });

describe("how sharing is", () => {
  test("is up to date only when nothing waits", () => {
    expect(of({})).toMatchObject({ kind: "good", look: { words: "up to date" }, means: "Everything is exchanged." });
    expect(of({ pending: 3 })).toMatchObject({ kind: "good", look: { words: "sending" } });
    expect(of({ pending: 3 }).means).toBe("3 changes are on the way to the service.");
    expect(of({ pending: 1 }).means).toBe("1 change is on the way to the service.");
  });

  test("does not say that everything is exchanged when something never can be", () => {
    expect(of({ set_aside: 1 }).means).not.toContain("Everything");
  });

  test("tells what passes by itself from what needs a person", () => {
    expect(of({ condition: "offline" }).kind).toBe("waits");
    for (const condition of ["stuck", "signed_out", "revoked", "outdated", "twin"] as const) {
      expect(of({ condition }).kind, condition).toBe("stopped");
    }
    expect(of({ condition: "off", enabled: false }).kind).toBe("off");
  });

  test("one that was switched off is told from one that never shared", () => {
    expect(of({ condition: "off" }).look.words).toBe("off");
    const detail = "sync.enabled is false, so nothing is exchanged for now; what waits is kept";
    const off = of({ condition: "off", detail, to_do: "`ccm config set sync.enabled true` goes on" });
    expect([off.look.words, off.means]).toEqual(["switched off", `${detail}.`]);
  });

  test("of what a later version says, the name is shown", () => {
    expect(of({ condition: "having_lunch" as never })).toMatchObject({
      kind: "waits",
      look: { words: "having lunch" },
    });
  });

  test("where a command helps it is named", () => {
    expect(remedy({ ...READY, condition: "signed_out" })).toBe("ccm supabase connect");
    expect(remedy(READY)).toBeUndefined();
  });
});

test("an exchange says what it came to and what is left", () => {
  expect(roundWords({ sent: 0, received: 0, complete: true, state: READY })).toBe("Nothing to send, nothing new.");
  expect(roundWords({ sent: 2, received: 1, complete: false, state: { ...READY, pending: 4 } })).toBe(
    "2 changes sent, 1 change of other machines received. 4 changes wait still. There is more, and it goes on by itself.",
  );
});

test("what the daemon says becomes a sentence, once", () => {
  expect(sentence("the service can't be reached")).toBe("The service can't be reached.");
  expect(sentence("Sign in again!")).toBe("Sign in again!");
  expect(sentence("sync.enabled is false")).toBe("sync.enabled is false.");
});
