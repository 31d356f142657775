// Judges the double by the calls that CCM makes, with the genuine client of Supabase.
//
// Usage: node supabase-js.js URL KEY [REST]. What the double answers must be what this client, unchanged, takes for right.
// With REST, the address of another server on the same database, calls of functions go there instead, and
// nothing else is asked.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { createClient } from "@supabase/supabase-js";
import WebSocket from "ws";

const [url, key, rest] = process.argv.slice(2);
const email = `judge-${randomUUID()}@example.com`;
const password = "a password of the judge";

function client() {
  return createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    // Node has none of its own before 22.
    realtime: { transport: WebSocket },
    global: { fetch: (to, options) => fetch(rest ? String(to).replace(`${url}/rest/v1`, rest) : to, options) },
  });
}

async function double(act, body = {}) {
  const answer = await fetch(`${url}/_double/${act}`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200, act);
  return answer.json();
}

function good({ data, error }) {
  assert.equal(error, null);
  return data;
}

const me = { p_device: randomUUID(), p_incarnation: randomUUID(), p_protocol: 1 };
// postrust-server makes an empty text of an argument that is null.
const absent = rest ? randomUUID() : null;
const task = { number: 1, uuid: randomUUID(), kind: "task", id: randomUUID(), hlc_time: 1_700_000_000_000_000, hlc_count: 0 };
task.body = { project_id: randomUUID(), repository: "example.com/x", any_machine: true, title: "größe", unknown: [1, null, { a: 1.5 }] };

const cases = {
  async "sign in, look who it is"() {
    good(await client().auth.signUp({ email, password }));
    const supabase = client();
    const wrong = await supabase.auth.signInWithPassword({ email, password: "not this one" });
    assert.equal(wrong.error.code, "invalid_credentials");
    assert.equal(wrong.error.status, 400);
    const { session, user } = good(await supabase.auth.signInWithPassword({ email, password }));
    assert.equal(user.email, email);
    assert.equal(session.token_type, "bearer");
    assert.ok(session.expires_at > Date.now() / 1000);
    assert.equal(good(await supabase.auth.getUser()).user.id, user.id);
    const level = good(await supabase.auth.mfa.getAuthenticatorAssuranceLevel());
    assert.deepEqual([level.currentLevel, level.nextLevel], ["aal1", "aal1"]);
  },

  async "refresh, and what an old token does"() {
    const supabase = client();
    const { session: first } = good(await supabase.auth.signInWithPassword({ email, password }));
    const { session: second } = good(await supabase.auth.refreshSession());
    assert.notEqual(second.refresh_token, first.refresh_token);
    // Within the interval the old one still leads to the new one.
    const again = good(await client().auth.refreshSession({ refresh_token: first.refresh_token }));
    assert.equal(again.session.refresh_token, second.refresh_token);
    const { session: third } = good(await client().auth.refreshSession({ refresh_token: second.refresh_token }));
    await double("tokens/age", { seconds: 60 });
    // The direct parent of the newest one is good for ever, because an answer may have been lost.
    const parent = good(await client().auth.refreshSession({ refresh_token: second.refresh_token }));
    assert.equal(parent.session.refresh_token, third.refresh_token);
    const used = await client().auth.refreshSession({ refresh_token: first.refresh_token });
    assert.equal(used.error.code, "refresh_token_already_used");
    // That ended all of it.
    const dead = await client().auth.refreshSession({ refresh_token: third.refresh_token });
    assert.equal(dead.error.status, 400);
    const none = await client().auth.refreshSession({ refresh_token: randomUUID() });
    assert.equal(none.error.code, "refresh_token_not_found");
  },

  async "call functions"() {
    const supabase = client();
    good(await supabase.auth.signInWithPassword({ email, password }));
    const stranger = await supabase.rpc("ccm_devices", me);
    assert.deepEqual([stranger.status, stranger.error.code, stranger.error.details], [403, "PT403", "not_registered"]);
    const welcome = good(await supabase.rpc("ccm_register", { ...me, p_previous: absent, p_hostname: "judge" }));
    assert.deepEqual([welcome.last_number, welcome.seq, welcome.schema_version], [0, 0, 1]);
    const push = (operations) => supabase.rpc("ccm_push", { ...me, p_mode: "last_write_wins", p_operations: operations });
    const pushed = good(await push([task]));
    assert.deepEqual(pushed.results, [{ number: 1, status: "taken" }]);
    assert.equal(pushed.rows[0].operation, task.uuid);
    assert.equal(good(await push([task])).results[0].status, "skipped");
    const gap = await push([{ ...task, number: 3 }]);
    assert.deepEqual([gap.status, gap.error.details], [409, "gap"]);
    const nul = { number: 2, uuid: randomUUID(), kind: "wish", id: randomUUID(), body: { a: "\0" }, hlc_time: 1, hlc_count: 0 };
    assert.equal((await push([nul])).status, 400);
    assert.deepEqual(good(await push([{ ...nul, body: [] }])).results[0].code, "invalid");
    const pull = (more) => supabase.rpc("ccm_pull", { ...me, p_after: 0, p_limit: 500, p_nonces: [], p_nonce: absent, ...more });
    const pulled = good(await pull({ p_nonce: randomUUID() }));
    assert.deepEqual([pulled.rows.length, pulled.cursor, pulled.more, pulled.last_number], [1, 1, false, 2]);
    const restored = await pull({ p_after: 1, p_nonces: [randomUUID()] });
    assert.deepEqual([restored.status, restored.error.details], [409, "restored"]);
    const claim = (claim) => supabase.rpc("ccm_claim", { ...me, p_claim: claim, p_task: task.id, p_seconds: 300 });
    const id = randomUUID();
    const lease = good(await claim(id));
    assert.deepEqual({ ...good(await claim(id)), server_time: 0 }, { ...lease, server_time: 0 });
    const held = await claim(randomUUID());
    assert.deepEqual([held.status, held.error.details], [409, "lease_held"]);
    good(await supabase.rpc("ccm_renew", { ...me, p_task: task.id, p_token: lease.token, p_seconds: 300 }));
    good(await supabase.rpc("ccm_finish", { ...me, p_task: task.id, p_token: lease.token }));
    const lost = await supabase.rpc("ccm_renew", { ...me, p_task: task.id, p_token: lease.token, p_seconds: 300 });
    assert.deepEqual([lost.status, lost.error.details], [409, "lease_lost"]);
    assert.equal(good(await supabase.rpc("ccm_devices", me)).devices.length, 1);
    const none = await supabase.rpc("ccm_nothing", {});
    assert.deepEqual([none.status, none.error.code], [404, "PGRST202"]);
  },

  async "no table is anybody's"() {
    const supabase = client();
    good(await supabase.auth.signInWithPassword({ email, password }));
    const rows = good(await supabase.from("ccm_sequences").select("*"));
    assert.equal(rows.length, 1);
    for (const table of ["ccm_entities", "ccm_devices", "ccm_operations", "ccm_leases", "ccm_revoked_sessions", "ccm_meta"]) {
      const read = await supabase.from(table).select("*");
      assert.deepEqual([read.status, read.error.code], [403, "42501"], table);
    }
    const write = await supabase.from("ccm_sequences").update({ seq: 9 }).gt("seq", 0);
    assert.deepEqual([write.status, write.error.code], [403, "42501"]);
    const nobody = await client().from("ccm_sequences").select("*");
    assert.equal(nobody.status, 401);
    const call = await client().rpc("ccm_devices", me);
    assert.equal(call.status, 401);
    const missing = await supabase.from("ccm_nothing").select("*");
    assert.deepEqual([missing.status, missing.error.code], [404, "PGRST205"]);
  },

  async "an expired token"() {
    const supabase = client();
    good(await supabase.auth.signInWithPassword({ email, password }));
    await double("tokens/expire");
    const late = await supabase.rpc("ccm_devices", me);
    assert.deepEqual([late.status, late.error.code], [401, "PGRST303"]);
    const user = await supabase.auth.getUser();
    assert.equal(user.error.code, "bad_jwt");
    good(await supabase.auth.refreshSession());
    good(await supabase.auth.getUser());
  },

  async "realtime tells of an update"() {
    const supabase = client();
    const { session, user } = good(await supabase.auth.signInWithPassword({ email, password }));
    good(await supabase.rpc("ccm_register", { ...me, p_previous: absent, p_hostname: "judge" }));
    await supabase.realtime.setAuth(session.access_token);
    let settled;
    let told;
    const settling = new Promise((resolve) => (settled = resolve));
    const telling = new Promise((resolve) => (told = resolve));
    const wanted = { event: "UPDATE", schema: "public", table: "ccm_sequences" };
    const channel = supabase.channel("sequence").on("postgres_changes", wanted, told);
    channel.on("system", {}, (message) => message.status === "ok" && settled());
    channel.subscribe((status, error) => assert.equal(status === "CHANNEL_ERROR" ? error : undefined, undefined));
    await settling;
    const operation = { number: 3, uuid: randomUUID(), kind: "wish", id: randomUUID(), body: {}, hlc_time: 1, hlc_count: 0 };
    good(await supabase.rpc("ccm_push", { ...me, p_mode: "manual", p_operations: [operation] }));
    const change = await telling;
    assert.equal(change.eventType, "UPDATE");
    assert.equal(change.new.user_id, user.id);
    assert.equal(change.new.seq, 2);
    await supabase.removeAllChannels();
  },

  async "a second factor"() {
    const other = client();
    const { session: elsewhere } = good(await other.auth.signInWithPassword({ email, password }));
    const supabase = client();
    good(await supabase.auth.signInWithPassword({ email, password }));
    const factor = good(await supabase.auth.mfa.enroll({ factorType: "totp", friendlyName: "phone" }));
    assert.match(factor.totp.secret, /^[A-Z2-7]{32}$/);
    const challenge = good(await supabase.auth.mfa.challenge({ factorId: factor.id }));
    const answer = { factorId: factor.id, challengeId: challenge.id };
    const { code } = await double("totp", { secret: factor.totp.secret });
    const wrong = await supabase.auth.mfa.verify({ ...answer, code: String((Number(code) + 1) % 1e6).padStart(6, "0") });
    assert.equal(wrong.error.code, "mfa_verification_failed");
    good(await supabase.auth.mfa.verify({ ...answer, code }));
    const level = good(await supabase.auth.mfa.getAuthenticatorAssuranceLevel());
    assert.deepEqual([level.currentLevel, level.nextLevel], ["aal2", "aal2"]);
    good(await supabase.auth.refreshSession());
    assert.equal(good(await supabase.auth.mfa.getAuthenticatorAssuranceLevel()).currentLevel, "aal2", "kept by a refresh");
    // The others are signed out, and a token that they still have is not enough.
    const out = await other.auth.refreshSession();
    assert.ok(["refresh_token_not_found", "session_not_found"].includes(out.error.code), out.error.code);
    const asBefore = await other.rpc("ccm_devices", me).setHeader("Authorization", `Bearer ${elsewhere.access_token}`);
    assert.equal(asBefore.error.details, "aal_required");

    const late = client();
    good(await late.auth.signInWithPassword({ email, password }));
    const [known] = good(await late.auth.getUser()).user.factors;
    assert.deepEqual([known.id, known.status], [factor.id, "verified"]);
    const low = await late.auth.mfa.enroll({ factorType: "totp" });
    assert.equal(low.error.code, "insufficient_aal");
    const old = good(await late.auth.mfa.challenge({ factorId: factor.id }));
    await double("challenges/age", { seconds: 301 });
    const expired = await late.auth.mfa.verify({ factorId: factor.id, challengeId: old.id, code });
    assert.equal(expired.error.code, "mfa_challenge_expired");
    good(await late.auth.mfa.challengeAndVerify({ factorId: factor.id, code: (await double("totp", { secret: factor.totp.secret })).code }));
    good(await late.auth.mfa.unenroll({ factorId: factor.id }));
  },

  async "sign out here"() {
    const [one, two] = [client(), client()];
    const { session } = good(await one.auth.signInWithPassword({ email, password }));
    good(await two.auth.signInWithPassword({ email, password }));
    assert.equal((await one.auth.signOut({ scope: "local" })).error, null);
    good(await two.auth.getUser());
    const gone = await client().auth.refreshSession({ refresh_token: session.refresh_token });
    assert.equal(gone.error.code, "refresh_token_not_found");
  },
};

const ofRest = ["sign in, look who it is", "call functions"];
for (const [name, run] of Object.entries(cases)) {
  if (rest && !ofRest.includes(name)) continue;
  try {
    await run();
    console.log(`ok    ${name}`);
  } catch (error) {
    console.log(`FAIL  ${name}`);
    console.log(error);
    process.exitCode = 1;
  }
}
process.exit();
