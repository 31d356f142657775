import { plain } from "../ui/plain";

/** So much is read at a time. */
export const PART = 131_072;
/** A line is shown up to so many characters; a program's JSON can have a megabyte in one. */
const SHOWN = 2_000;
/** A line without an end is broken after so many bytes, or it would never be shown. */
const LONGEST = 1_048_576;
const NEWLINE = 10;

/**
 * Lines of a log of which a range of bytes is known, which grows at both ends. A line counts when its beginning is known,
 * so characters of several bytes are never torn.
 */
export class LogLines {
  lines: string[] = [];
  /** The bytes of the log that are known: from here ... */
  from: number;
  /** ... to here. */
  to: number;

  #head = new Uint8Array();
  #tail = new Uint8Array();
  /** Whether something was put behind a beginning that is not known. */
  #begun = false;

  constructor(from: number) {
    this.from = from;
    this.to = from;
    this.#begun = from === 0;
  }

  /** The last line as far as it came. */
  get open(): string {
    return this.#begun ? readable(this.#tail) : "";
  }

  append(bytes: Uint8Array): void {
    this.to += bytes.length;
    let all = joined(this.#tail, bytes);
    if (!this.#begun) {
      const first = all.indexOf(NEWLINE);
      if (first === -1) {
        this.#tail = all;
        return;
      }
      this.#head = joined(this.#head, all.slice(0, first + 1));
      all = all.subarray(first + 1);
      this.#begun = true;
    }
    const { lines, rest } = split(all);
    this.#tail = rest.slice();
    this.lines = this.lines.concat(lines);
  }

  /** Puts what is just before `from` in front, and says how many lines that made. */
  prepend(bytes: Uint8Array): number {
    this.from -= bytes.length;
    if (!this.#begun) {
      const waiting = joined(bytes, this.#tail);
      this.#tail = new Uint8Array();
      this.to -= waiting.length;
      this.#begun = this.from === 0;
      this.append(waiting);
      return this.lines.length;
    }
    const all = joined(bytes, this.#head);
    const first = this.from === 0 ? -1 : all.indexOf(NEWLINE);
    this.#head = all.slice(0, first + 1);
    const { lines, rest } = split(all.subarray(first + 1));
    if (rest.length > 0) lines.push(readable(rest));
    this.lines = lines.concat(this.lines);
    return lines.length;
  }
}

function split(bytes: Uint8Array): { lines: string[]; rest: Uint8Array } {
  const lines: string[] = [];
  let from = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, from)) {
    lines.push(readable(bytes.subarray(from, at)));
    from = at + 1;
  }
  while (bytes.length - from > LONGEST) {
    lines.push(readable(bytes.subarray(from, from + LONGEST)));
    from += LONGEST;
  }
  return { lines, rest: bytes.subarray(from) };
}

const UTF8 = new TextDecoder();
/** A line as people can read it, whatever is in it. */
export function readable(bytes: Uint8Array): string {
  const cut = bytes.length > 4 * SHOWN;
  const decoded = UTF8.decode(cut ? bytes.subarray(0, 4 * SHOWN) : bytes);
  const text = plain(decoded.replace(/\r$/, "")).replaceAll("\r", "\ufffd");
  return cut || text.length > SHOWN ? `${text.slice(0, SHOWN)} …` : text;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
