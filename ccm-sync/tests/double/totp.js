// One-time codes by time (RFC 6238 over RFC 4226): SHA-1, six digits, periods of 30 seconds.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PERIOD = 30;

export function newSecret() {
  return Array.from(randomBytes(32), (byte) => ALPHABET[byte & 31]).join("");
}

function unBase32(text) {
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of text.replace(/=+$/, "").toUpperCase()) {
    const digit = ALPHABET.indexOf(letter);
    if (digit < 0) throw new Error("not base32");
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >>> bits) & 255);
      value &= (1 << bits) - 1;
    }
  }
  return Buffer.from(bytes);
}

/** The code of the period that `at` (milliseconds since 1970) is in, `shift` periods later. */
export function code(secret, at = Date.now(), shift = 0) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 1000 / PERIOD) + shift));
  const mac = createHmac("sha1", unBase32(secret)).update(counter).digest();
  const offset = mac[mac.length - 1] & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Whether it is the code of now, or of one period before or after. */
export function isGood(secret, given) {
  if (!/^\d{6}$/.test(given ?? "")) return false;
  return [0, -1, 1].some((shift) => timingSafeEqual(Buffer.from(code(secret, Date.now(), shift)), Buffer.from(given)));
}
