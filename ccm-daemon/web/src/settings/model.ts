import type { Schema } from "../api/client";

export type Key = Schema["ConfigKey"];
export type Change = Schema["EditKey"];

/** How a key is edited. */
export type Widget =
  | { is: "choice"; options: string[] }
  | { is: "switch" }
  | { is: "number"; min?: number; max?: number }
  | { is: "list" }
  | { is: "yaml" }
  | { is: "text" };

/** What was typed for a key; `undefined` takes away what it is set to. */
export type Draft = Record<string, string | undefined>;

type Part = Record<string, unknown>;

function part(value: unknown): Part | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Part) : undefined;
}

/** What a JSON Schema says of a key with dots in its name. */
function described(schema: unknown, key: string): Part {
  let at = part(schema);
  for (const name of key.split(".")) at = part(part(at?.["properties"])?.[name]);
  return at ?? {};
}

export function widget(schema: unknown, { key, value, secret }: Key): Widget {
  const said = described(schema, key);
  const kinds = [said["type"]].flat();
  const choices = Array.isArray(said["enum"]) ? said["enum"].filter((one) => one !== null) : [];
  if (choices.length > 0) return { is: "choice", options: choices.map(String) };
  if (kinds.includes("object") || part(value)) return { is: "yaml" };
  if (kinds.includes("array") || Array.isArray(value)) return { is: "list" };
  // Texts may be written in YAML as numbers and booleans.
  if (kinds.includes("string") || secret) return { is: "text" };
  if (kinds.includes("boolean") || typeof value === "boolean") return { is: "switch" };
  if (kinds.includes("integer") || kinds.includes("number") || typeof value === "number") {
    const bound = (name: string) => (typeof said[name] === "number" ? said[name] : undefined);
    return { is: "number", min: bound("minimum"), max: bound("maximum") };
  }
  return { is: "text" };
}

/** A value as it stands in its field. */
export function text(value: unknown, how: Widget): string {
  if (value === null || value === undefined) return "";
  if (how.is === "list" && Array.isArray(value)) return value.map(String).join("\n");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** What stands in a field as YAML, of which JSON is a part; null takes the key away, so that its default counts. */
export function yaml(typed: string | undefined, how: Widget): string | null {
  if (typed === undefined || typed.trim() === "") return null;
  switch (how.is) {
    case "number":
    case "switch":
    case "yaml":
      return typed.trim();
    case "list":
      return JSON.stringify(lines(typed));
    case "choice":
    case "text":
      return JSON.stringify(typed);
  }
}

function lines(typed: string): string[] {
  return typed
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** Notes what was typed; what is as it was before is no change. */
export function noted(draft: Draft, key: Key, how: Widget, typed: string | undefined): Draft {
  const next = { ...draft };
  const isOld =
    typed === undefined ? key.origin !== "file" : !key.secret && yaml(typed, how) === yaml(text(key.value, how), how);
  if (isOld || (key.secret && typed === "")) delete next[key.key];
  else next[key.key] = typed;
  return next;
}

export function changes(draft: Draft, widgets: Map<string, Widget>): Change[] {
  return Object.entries(draft).map(([key, typed]) => ({
    key,
    value: yaml(typed, widgets.get(key) ?? { is: "text" }),
  }));
}

/** What is another value than before, as when somebody else was quicker. */
export function differences(before: Key[], after: Key[]): Schema["ConfigChange"][] {
  const old = new Map(before.map((key) => [key.key, key]));
  return after.flatMap((key) => {
    const from = old.get(key.key)?.value ?? null;
    return JSON.stringify(from) === JSON.stringify(key.value) ? [] : [{ key: key.key, from, to: key.value }];
  });
}

export function grouped(keys: Key[], wanted: string): [section: string, keys: Key[]][] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map<string, Key[]>();
  for (const key of keys) {
    const about = `${key.key} ${key.doc} ${key.allowed}`.toLowerCase();
    if (!words.every((word) => about.includes(word))) continue;
    const cut = key.key.indexOf(".");
    const section = cut === -1 ? "" : key.key.slice(0, cut);
    groups.set(section, [...(groups.get(section) ?? []), key]);
  }
  return [...groups];
}

const APPLIED: Record<Schema["ConfigApplied"], string> = {
  now: "counts at once",
  restart: "counts after a restart of the daemon",
  next_run: "counts for runs that begin later",
  next_task: "counts for tasks that are created later",
  registration: "counts when the project is registered",
  later: "kept, but this version does nothing with it",
};

export function applied(when: Schema["ConfigApplied"]): string {
  return APPLIED[when];
}

export function origin({ origin, line, from }: Key): string {
  switch (origin) {
    case "file":
      return line == null ? "set in the file" : `set in line ${line} of the file`;
    case "derived":
      return from == null ? "derived" : `from ${from}`;
    case "default":
      return "the default";
    case "unset":
      return "not set";
  }
}

/** Which key a refusal is about. The daemon names it first. */
export function blamed({ detail, errors }: Schema["Problem"], sent: Change[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { pointer, message } of errors ?? []) {
    const change = sent[Number(/^\/changes\/(\d+)/.exec(pointer)?.[1] ?? -1)];
    if (change) found[change.key] = message;
  }
  const change = sent.find(({ key }) => detail.startsWith(`${key}: `));
  if (change) found[change.key] ??= detail.slice(change.key.length + 2);
  return found;
}
