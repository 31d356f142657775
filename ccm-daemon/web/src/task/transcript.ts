import type { Schema } from "../api/client";
import { type Given, type Shown, shown } from "./calls";
import { Files } from "./diff";

type Entry = Schema["Entry"];
type Of<T extends Entry["type"]> = Extract<Entry, { type: T }>;

/** What came of a use of a tool. */
export interface Outcome {
  text: string;
  failed: boolean;
}

/** A use of a tool with what came of it, as soon as that is known. */
export interface Call {
  type: "call";
  at: number;
  time: string | null | undefined;
  name: string;
  input: Given;
  shown: Shown;
  outcome: Outcome | undefined;
}

/** A question with its answer. */
export interface Question {
  type: "question";
  at: number;
  time: string | null | undefined;
  title: string;
  choices: Of<"asked">["choices"];
  answer: string | undefined;
}

export type Plain = Of<"session" | "prompt" | "text" | "thinking" | "waiting" | "output" | "note"> & { at: number };
export type Turn = Of<"result"> & { at: number; repeats: boolean };

/** What is shown as one thing. `at` is its place, which never changes. */
export type Item = Plain | Turn | Call | Question;

/**
 * Makes things to show of the entries of a run. A result goes to its call and an answer to its question, however far they
 * are apart; what changes is a new object, so that whoever shows it can tell.
 */
export class Grouping {
  items: Item[] = [];

  /** The place of the first item: what is read later of what came earlier has places below 0. */
  #first = 0;
  #files = new Files();
  #calls = new Map<string, number>();
  #questions = new Map<string, number>();
  #said = "";

  /** Groups anew with entries that came before, so that every item that was there keeps its place. */
  static before(later: Grouping, entries: Entry[]): Grouping {
    const all = new Grouping();
    all.add(entries);
    all.#first = later.#first - (all.items.length - later.items.length);
    all.items = all.items.map((item) => ({ ...item, at: item.at + all.#first }));
    return all;
  }

  add(entries: Entry[]): void {
    const items = this.items.slice();
    for (const entry of entries) this.#take(items, entry);
    this.items = items;
  }

  #take(items: Item[], entry: Entry): void {
    const index = items.length;
    const at = this.#first + index;
    const { time } = entry;
    switch (entry.type) {
      case "tool_use": {
        const input = entry.input as Given;
        this.#calls.set(entry.id, index);
        const { name } = entry;
        items.push({ type: "call", at, time, name, input, shown: shown(name, input, this.#files), outcome: undefined });
        return;
      }
      case "tool_result": {
        const outcome = { text: entry.text, failed: entry.is_error };
        const found = this.#calls.get(entry.id);
        const call = found === undefined ? undefined : items[found];
        if (found === undefined || call?.type !== "call") {
          items.push({ ...orphan(entry), at, outcome });
          return;
        }
        items[found] = { ...call, outcome };
        if (call.shown.kind === "change" && outcome.failed) this.#files.forget(call.shown.path);
        const path = call.input.file_path;
        if (call.name === "Read" && typeof path === "string" && !outcome.failed) this.#files.read(path, outcome.text);
        return;
      }
      case "asked":
        this.#questions.set(entry.request_id, index);
        items.push({ type: "question", at, time, title: entry.title, choices: entry.choices, answer: undefined });
        return;
      case "answered": {
        const found = this.#questions.get(entry.request_id);
        const question = found === undefined ? undefined : items[found];
        if (found !== undefined && question?.type === "question") items[found] = { ...question, answer: entry.answer };
        else items.push({ type: "question", at, time, title: "A question", choices: [], answer: entry.answer });
        return;
      }
      case "result":
        items.push({ ...entry, at, repeats: entry.text === this.#said });
        return;
      default:
        if (entry.type === "text") this.#said = entry.text;
        items.push({ ...entry, at });
    }
  }
}

/** A result whose call is in a part that was not read. */
function orphan({ time }: Of<"tool_result">): Omit<Call, "at" | "outcome"> {
  return { type: "call", time, name: "Earlier call", input: {}, shown: { kind: "other" } };
}

/** Which places are in the page: never more than a few, so that a long transcript costs no more than a short one. */
export interface Window {
  from: number;
  to: number;
}

const MOST = 60;
const STEP = 30;

/** The last ones of the places from `first` to before `end`. */
export function newest(first: number, end: number): Window {
  return { from: Math.max(first, end - MOST), to: end };
}

export function earlier({ from }: Window, first: number, end: number): Window {
  const begin = Math.max(first, from - STEP);
  return { from: begin, to: Math.min(end, begin + MOST) };
}

export function later({ to }: Window, first: number, end: number): Window {
  return newest(first, Math.min(end, to + STEP));
}

/** After more came at the end: a window that showed the end goes on showing it, any other stays. */
export function grown(window: Window, first: number, before: number, end: number): Window {
  return end > before && window.to >= before ? newest(first, end) : window;
}
