// Auth (/auth/v1). Passwords, refresh tokens and signing out are @supabase/lite's; second factors are done here, and so is
// what they bring into the tokens: `aal` and `amr`.

import { randomUUID } from "node:crypto";

import { authError, json } from "./replies.js";
import { Tokens } from "./tokens.js";
import { isGood, newSecret } from "./totp.js";

/** How long a challenge can be answered, in seconds. */
const CHALLENGE_SECONDS = 300;

// @supabase/lite writes moments as PostgreSQL does; Auth writes them by RFC 3339.
function inTime(value) {
  if (Array.isArray(value)) return value.map(inTime);
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  const entries = Object.entries(value).map(([key, kept]) => {
    const moment = key.endsWith("_at") && typeof kept === "string";
    return [key, moment ? new Date(kept.replace(/([+-]\d\d)$/, "$1:00")).toISOString() : inTime(kept)];
  });
  return Object.fromEntries(entries);
}

export class Auth {
  #sql;
  #lite;
  #tokens;

  /** `lite` answers a request as @supabase/lite does. */
  constructor(sql, lite, tokens) {
    this.#sql = sql;
    this.#lite = lite;
    this.#tokens = tokens;
  }

  async answer(request) {
    const path = request.path.slice("/auth/v1".length);
    const factor = /^\/factors\/([^/]+)(?:\/(challenge|verify))?$/.exec(path);
    if (request.method === "POST" && path === "/factors") return this.#signedIn(request, (me) => this.#enrol(request, me));
    if (factor) {
      return this.#signedIn(request, async (me) => {
        const row = await this.#factor(me, factor[1]);
        if (!row) return authError(request, 404, "mfa_factor_not_found", "Factor not found");
        if (request.method === "DELETE" && !factor[2]) return this.#unenrol(request, me, row);
        if (request.method === "POST" && factor[2] === "challenge") return this.#challenge(row);
        if (request.method === "POST" && factor[2] === "verify") return this.#verify(request, me, row);
        return authError(request, 405, "validation_failed", "Method not allowed");
      });
    }
    if (path === "/user" || path === "/logout") {
      // What the gateway has let expire is still good for @supabase/lite.
      const { error } = this.#tokens.read(Tokens.bearer(request) ?? "");
      if (error === "expired") return this.#expired(request);
    }
    const answer = this.#inShape(request, await this.#lite(request));
    if (answer.status !== 200) return answer;
    if (path === "/token" || path === "/signup") return this.#withLevel(request, answer);
    if (path === "/user") {
      const user = JSON.parse(answer.body);
      return json(200, await this.#withFactors(user));
    }
    return answer;
  }

  // @supabase/lite has one shape of errors; clients that name a version get another.
  #inShape(request, answer) {
    if (answer.status < 400) return answer;
    let body;
    try {
      body = JSON.parse(answer.body);
    } catch {
      return answer;
    }
    if (!body.error_code) return answer;
    return authError(request, answer.status, body.error_code, body.msg);
  }

  #expired(request) {
    const message = "invalid JWT: unable to parse or verify signature, token has invalid claims: token is expired";
    return authError(request, 403, "bad_jwt", message);
  }

  async #signedIn(request, act) {
    const token = Tokens.bearer(request);
    if (!token) return authError(request, 401, "no_authorization", "This endpoint requires a valid Bearer token");
    const { claims, error } = this.#tokens.read(token);
    if (error === "expired") return this.#expired(request);
    if (error) {
      return authError(request, 403, "bad_jwt", `invalid JWT: unable to parse or verify signature, token is unverifiable: ${error}`);
    }
    const [session] = await this.#sql`
      select id, user_id, aal from auth.sessions where id = ${claims.session_id ?? null} and user_id = ${claims.sub ?? null}`;
    if (!session) {
      return authError(request, 403, "session_not_found", "Session from session_id claim in JWT does not exist");
    }
    return act({ claims, session });
  }

  // --- what @supabase/lite's sessions lack ---

  async #withFactors(user) {
    const factors = await this.#sql`
      select id, friendly_name, factor_type, status, created_at, updated_at from auth.mfa_factors
      where user_id = ${user.id} order by created_at, id`;
    return inTime(factors.length ? { ...user, factors } : user);
  }

  async #withLevel(request, answer) {
    const given = JSON.parse(answer.body);
    if (!given.access_token) return answer;
    const claims = JSON.parse(Buffer.from(given.access_token.split(".")[1], "base64url"));
    if (!request.query.get("grant_type")?.startsWith("refresh")) {
      const used = [{ method: "password", timestamp: Math.floor(Date.now() / 1000) }];
      await this.#sql`update auth.sessions set aal = 'aal1', amr = ${this.#sql.json(used)} where id = ${claims.session_id}`;
    }
    return json(200, await this.#session(claims, given.refresh_token, given.user), answer.headers);
  }

  async #session(claims, refreshToken, user) {
    const [{ aal, amr }] = await this.#sql`select aal, amr from auth.sessions where id = ${claims.session_id}`;
    const { token, exp } = this.#tokens.issue({ ...claims, aal, amr, is_anonymous: false });
    return {
      access_token: token,
      token_type: "bearer",
      expires_in: this.#tokens.lifetime,
      expires_at: exp,
      refresh_token: refreshToken,
      user: await this.#withFactors(user),
    };
  }

  // --- second factors ---

  async #factor({ session }, id) {
    if (!/^[0-9a-f-]{36}$/i.test(id)) return undefined;
    const [row] = await this.#sql`select * from auth.mfa_factors where id = ${id} and user_id = ${session.user_id}`;
    return row;
  }

  async #enrol(request, { claims, session }) {
    const { factor_type: type, friendly_name: name, issuer } = request.json();
    if (type !== "totp") return authError(request, 400, "validation_failed", "factor_type needs to be totp");
    const factors = await this.#sql`select * from auth.mfa_factors where user_id = ${session.user_id}`;
    if (session.aal !== "aal2" && factors.some((factor) => factor.status === "verified")) {
      return authError(request, 403, "insufficient_aal", "AAL2 required to enroll a new factor");
    }
    if (name && factors.some((factor) => factor.friendly_name === name)) {
      const message = `A factor with the friendly name "${name}" for this user already exists`;
      return authError(request, 422, "mfa_factor_name_conflict", message);
    }
    const secret = newSecret();
    const [{ id }] = await this.#sql`
      insert into auth.mfa_factors (user_id, friendly_name, factor_type, secret)
      values (${session.user_id}, ${name ?? null}, 'totp', ${secret}) returning id`;
    const from = encodeURIComponent(issuer ?? "supabase-double");
    const uri = `otpauth://totp/${from}:${encodeURIComponent(claims.email)}?algorithm=SHA1&digits=6&issuer=${from}&period=30&secret=${secret}`;
    const picture = `<svg xmlns="http://www.w3.org/2000/svg"><text>${uri.replaceAll("&", "&amp;")}</text></svg>`;
    return json(200, { id, type, friendly_name: name, totp: { qr_code: picture, secret, uri } });
  }

  async #challenge(factor) {
    const [{ id, expires_at }] = await this.#sql`
      insert into auth.mfa_challenges (factor_id) values (${factor.id})
      returning id, floor(extract(epoch from created_at) + ${CHALLENGE_SECONDS})::int as expires_at`;
    return json(200, { id, type: factor.factor_type, expires_at });
  }

  async #verify(request, { claims, session }, factor) {
    const { challenge_id: id, code } = request.json();
    const isId = /^[0-9a-f-]{36}$/i.test(id ?? "");
    const [challenge] = isId
      ? await this.#sql`
          select id, verified_at, created_at < now() - make_interval(secs => ${CHALLENGE_SECONDS}) as expired
          from auth.mfa_challenges where id = ${id} and factor_id = ${factor.id}`
      : [];
    if (!challenge || challenge.verified_at) {
      return authError(request, 422, "mfa_challenge_expired", "MFA challenge is not there any more, verify against another one or create a new one");
    }
    if (challenge.expired) {
      await this.#sql`delete from auth.mfa_challenges where id = ${id}`;
      const message = `MFA challenge ${id} has expired, verify against another challenge or create a new challenge.`;
      return authError(request, 422, "mfa_challenge_expired", message);
    }
    if (!isGood(factor.secret, code)) {
      return authError(request, 422, "mfa_verification_failed", "Invalid TOTP code entered");
    }
    const now = Math.floor(Date.now() / 1000);
    const fresh = randomUUID();
    await this.#sql.begin(async (sql) => {
      await sql`update auth.mfa_challenges set verified_at = now() where id = ${id}`;
      await sql`update auth.mfa_factors set status = 'verified', updated_at = now() where id = ${factor.id}`;
      await sql`delete from auth.mfa_factors where user_id = ${session.user_id} and status = 'unverified'`;
      await sql`
        update auth.sessions set aal = 'aal2', factor_id = ${factor.id}, updated_at = now(),
          amr = ${sql.json([{ method: "totp", timestamp: now }])} || amr
        where id = ${session.id}`;
      // Whoever has signed in with the password alone has to sign in again.
      await sql`delete from auth.sessions where user_id = ${session.user_id} and aal = 'aal1' and id <> ${session.id}`;
      const [parent] = await sql`
        update auth.refresh_tokens set revoked = true, updated_at = now()
        where session_id = ${session.id} and not revoked returning token`;
      await sql`
        insert into auth.refresh_tokens (id, token, user_id, session_id, parent)
        values (${fresh}, ${fresh}, ${session.user_id}, ${session.id}, ${parent?.token ?? null})`;
    });
    const { exp, iat, ...kept } = claims;
    const user = JSON.parse((await this.#lite({ ...request, method: "GET", path: "/auth/v1/user", search: "", body: Buffer.alloc(0) })).body);
    return json(200, await this.#session(kept, fresh, user));
  }

  async #unenrol(request, { session }, factor) {
    if (factor.status === "verified" && session.aal !== "aal2") {
      return authError(request, 422, "insufficient_aal", "AAL2 required to unenroll verified factor");
    }
    await this.#sql`delete from auth.mfa_factors where id = ${factor.id}`;
    await this.#sql`update auth.sessions set aal = 'aal1', factor_id = null where factor_id = ${factor.id}`;
    return json(200, { id: factor.id });
  }
}

