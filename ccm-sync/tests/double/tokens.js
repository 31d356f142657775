// Access tokens: JSON Web Tokens signed with HMAC-SHA256.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export class Tokens {
  #secret;
  #issued = new Set();
  #expired = new Set();
  /** How long a token is good, in seconds. */
  lifetime = 3600;

  constructor(secret) {
    this.#secret = secret;
  }

  #signature(text) {
    return createHmac("sha256", this.#secret).update(text).digest();
  }

  /** A token with these claims, as they are. */
  sign(claims) {
    const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
    return `${text}.${this.#signature(text).toString("base64url")}`;
  }

  /** A token with these claims that is good from now on. */
  issue(claims) {
    const now = Math.floor(Date.now() / 1000);
    const exp = now + this.lifetime;
    // Two of the same second must not be the same.
    const token = this.sign({ ...claims, iat: now, exp, jti: randomUUID() });
    this.#issued.add(token);
    return { token, exp };
  }

  /** From now on no token that was issued until now is good any more. */
  expireAll() {
    for (const token of this.#issued) this.#expired.add(token);
    this.#issued.clear();
  }

  /** `{ claims }`, or `{ error }`: "malformed", "signature" or "expired". */
  read(token) {
    const parts = token.split(".");
    if (parts.length !== 3) return { error: "malformed" };
    let claims;
    try {
      claims = JSON.parse(Buffer.from(parts[1], "base64url"));
    } catch {
      return { error: "malformed" };
    }
    const given = Buffer.from(parts[2], "base64url");
    const right = this.#signature(`${parts[0]}.${parts[1]}`);
    if (given.length !== right.length || !timingSafeEqual(given, right)) return { error: "signature" };
    const over = typeof claims.exp === "number" && claims.exp * 1000 <= Date.now();
    if (over || this.#expired.has(token)) return { error: "expired", claims };
    return { claims };
  }

  /** The token of an `Authorization: Bearer` header. */
  static bearer(request) {
    return /^Bearer (.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  }
}
