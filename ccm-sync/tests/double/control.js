// What tests ask of the double itself, under /_double: all by POST, with JSON.

import { json } from "./replies.js";
import { code } from "./totp.js";

const ACTS = {
  // Faults of requests, see faults.js.
  faults: ({ faults }, body) => faults.add(body),
  "faults/clear": ({ faults, realtime }) => {
    faults.clear();
    realtime.pokes = undefined;
    realtime.refuses = false;
  },
  "faults/left": ({ faults }) => ({ left: faults.left }),

  // Requests that came: { path, at_least, ms }.
  seen: async ({ seen }, { path, at_least: atLeast, ms }) => ({ count: await seen.count(path, atLeast, ms) }),
  "seen/clear": ({ seen }) => seen.clear(),

  // Realtime: { kind, times, ms }, and what becomes of its lines.
  pokes: ({ realtime }, body) => {
    realtime.pokes = body;
  },
  "realtime/cut": ({ realtime }) => realtime.cut(),
  "realtime/refuse": ({ realtime }, { refuse }) => {
    realtime.refuses = refuse;
  },
  "realtime/settle": ({ realtime }, { ms }) => {
    realtime.settleMs = ms;
  },
  "realtime/count": ({ realtime }) => ({ connected: realtime.connected, settled: realtime.settled }),

  // Tokens: how long new ones are good, in seconds; and that those of until now are not any more.
  "tokens/lifetime": ({ tokens }, { seconds }) => {
    tokens.lifetime = seconds;
  },
  "tokens/expire": ({ tokens, realtime }) => {
    tokens.expireAll();
    realtime.expireAll();
  },
  // Lets refresh tokens become so much older.
  "tokens/age": async ({ sql }, { seconds }) => {
    await sql`
      update auth.refresh_tokens set created_at = created_at - make_interval(secs => ${seconds}),
        updated_at = updated_at - make_interval(secs => ${seconds})`;
  },
  // Lets challenges become so much older.
  "challenges/age": async ({ sql }, { seconds }) => {
    await sql`update auth.mfa_challenges set created_at = created_at - make_interval(secs => ${seconds})`;
  },
  // The code of a secret: now, or so many periods later.
  totp: (_, { secret, shift }) => ({ code: code(secret, Date.now(), shift ?? 0) }),
};

export async function control(request, parts) {
  const act = ACTS[request.path.slice("/_double/".length)];
  if (!act || request.method !== "POST") return json(404, { message: "the double can't do that" });
  return json(200, (await act(parts, request.json())) ?? {});
}
