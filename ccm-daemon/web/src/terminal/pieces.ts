/** The daemon takes 64 KiB in one message. Of a text in JSON every unit has at most six bytes. */
const UNITS = 10_000;
const BYTES = 64 * 1024;

/** A text in parts that a message can hold, none of which ends in the middle of a character. */
export function texts(text: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(from + UNITS, text.length);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last < 0xdc00) to -= 1;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}

export function keys(text: string): Uint8Array<ArrayBuffer>[] {
  const all = new TextEncoder().encode(text);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let from = 0; from < all.length; from += BYTES) parts.push(all.slice(from, from + BYTES));
  return parts;
}
