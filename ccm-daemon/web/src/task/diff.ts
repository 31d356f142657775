import { diffArrays } from "diff";

/** A line of a change: where it was, where it is, and what became of it. */
export interface Line {
  mark: " " | "-" | "+";
  text: string;
  old: number | undefined;
  new: number | undefined;
}

/** Lines next to each other; `folded` ones did not change and are far from those that did. */
export interface Part {
  folded: boolean;
  lines: Line[];
}

export interface Change {
  parts: Part[];
  added: number;
  removed: number;
}

/** How many unchanged lines are shown around changed ones. */
const CONTEXT = 3;
/** Folding fewer than these hides less than its button takes. */
const WORTH_FOLDING = 4;
/** Past so many edits a shortest change is not worth the time, and everything was replaced. */
const MOST_EDITS = 400;

/** A text and what it became. `at` is the number of the first line, or nothing if that is not known. */
export interface Piece {
  before: string;
  after: string;
  at?: number;
}

/** What changed, line by line. It takes its time with long texts, so it is for what is looked at. */
export function change(pieces: Piece[]): Change {
  const lines = pieces.map(compare);
  const count = (mark: Line["mark"]) => lines.flat().filter((line) => line.mark === mark).length;
  return { parts: lines.flatMap(fold), added: count("+"), removed: count("-") };
}

/** How much there is to compare, in characters. */
export function size(pieces: Piece[]): number {
  return pieces.reduce((total, { before, after }) => total + before.length + after.length, 0);
}

function compare({ before, after, at }: Piece): Line[] {
  const [from, to] = [linesOf(before), linesOf(after)];
  const changes = diffArrays(from, to, { maxEditLength: MOST_EDITS }) ?? [
    { value: from, removed: true, added: false },
    { value: to, removed: false, added: true },
  ];
  const lines: Line[] = [];
  let old = at;
  let now = at;
  for (const { value, added, removed } of changes) {
    for (const text of value) {
      const mark = added ? "+" : removed ? "-" : " ";
      lines.push({ mark, text, old: added ? undefined : old, new: removed ? undefined : now });
      if (old !== undefined && !added) old += 1;
      if (now !== undefined && !removed) now += 1;
    }
  }
  return lines;
}

function linesOf(text: string): string[] {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

function fold(lines: Line[]): Part[] {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ mark }, at) => {
    if (mark !== " ") near.fill(1, Math.max(0, at - CONTEXT), at + CONTEXT + 1);
  });
  const parts: Part[] = [];
  for (let from = 0; from < lines.length;) {
    let to = from;
    while (to < lines.length && near[to] === near[from]) to += 1;
    const part = { folded: near[from] === 0 && to - from >= WORTH_FOLDING, lines: lines.slice(from, to) };
    const last = parts.at(-1);
    if (last && !last.folded && !part.folded) last.lines.push(...part.lines);
    else parts.push(part);
    from = to;
  }
  return parts;
}

/** What is known of a file's text: all of it, or some lines from `first` on. */
interface Known {
  first: number;
  text: string;
}

/**
 * What a run is known to have seen of its files. With it an edit gets the numbers of its lines, and a file that is written
 * anew is compared with what was there.
 */
export class Files {
  #known = new Map<string, Known>();

  /** Takes in what reading a file gave: lines with their numbers, with a tab or an arrow in between. */
  read(path: string, shown: string): void {
    const lines: string[] = [];
    let first = 0;
    for (const line of linesOf(shown)) {
      const found = /^\s*(\d+)(?:\t|→)(.*)$/s.exec(line);
      if (!found) break;
      const number = Number(found[1]);
      if (lines.length === 0) first = number;
      else if (number !== first + lines.length) break;
      lines.push(found[2] ?? "");
    }
    if (lines.length > 0) this.#known.set(path, { first, text: lines.join("\n") });
  }

  write(path: string, text: string): Piece[] {
    const known = this.#known.get(path);
    this.#known.set(path, { first: 1, text });
    return [trimmed(known?.first === 1 ? known.text : "", text, 1)];
  }

  /** Edits in their order; each is looked for in what the ones before it left. */
  edit(path: string, edits: Edit[]): Piece[] {
    const known = this.#known.get(path);
    const after = edits.reduce<string | undefined>(
      (text, edit) => (text === undefined ? undefined : applied(text, edit)),
      known?.text,
    );
    if (known === undefined || after === undefined) {
      this.forget(path);
      return edits.map(({ old_string, new_string }) => ({ before: old_string, after: new_string }));
    }
    this.#known.set(path, { first: known.first, text: after });
    return [trimmed(known.text, after, known.first)];
  }

  /** Of a file whose change did not come about nothing is known any more. */
  forget(path: string): void {
    this.#known.delete(path);
  }
}

export interface Edit {
  old_string: string;
  new_string: string;
  replace_all: boolean;
}

/** How many lines of a known file are kept around what changed, so that many edits of a long file stay small. */
const AROUND = 12;

function trimmed(before: string, after: string, at: number): Piece {
  const [from, to] = [linesOf(before), linesOf(after)];
  const shorter = Math.min(from.length, to.length);
  let head = 0;
  while (head < shorter && from[head] === to[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && from.at(-1 - tail) === to.at(-1 - tail)) tail += 1;
  const begin = Math.max(0, head - AROUND);
  const end = Math.max(0, tail - AROUND);
  const part = (lines: string[]) => lines.slice(begin, lines.length - end).join("\n");
  return { before: part(from), after: part(to), at: at + begin };
}

function applied(text: string, { old_string, new_string, replace_all }: Edit): string | undefined {
  if (old_string === "" || !text.includes(old_string)) return undefined;
  return replace_all ? text.replaceAll(old_string, () => new_string) : text.replace(old_string, () => new_string);
}
