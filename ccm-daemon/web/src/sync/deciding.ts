import type { Schema } from "../api/client";
import { duration, moment } from "../format";

export type Conflict = Schema["Conflict"];
export type Side = Schema["Side"];
type Field = Schema["ConflictField"];

/** What a machine is called where an edit of it is shown. */
export function hostOf({ hostname, system_id }: Schema["ConflictSide"]): string {
  return hostname ?? `machine ${system_id.slice(-12)}`;
}

/** Both machines of a conflict, told apart even if they are called the same. */
export function hosts({ local, remote }: Pick<Conflict, "local" | "remote">): Record<Side, string> {
  const names = { local: hostOf(local), remote: hostOf(remote) };
  if (names.local !== names.remote) return names;
  return { local: `${names.local} (${local.this ? "this machine" : "first"})`, remote: `${names.remote} (other)` };
}

/** Fields of which somebody has to say whose value counts when both edits are to: the ones that both changed. */
export function disputed({ fields }: Pick<Conflict, "fields">): Field[] {
  return fields.filter((field) => field.changed_by == null);
}

/** Whether both edits can count at all. An edit that deleted the task has nothing to merge. */
export function canMerge({ local, remote, fields }: Pick<Conflict, "local" | "remote" | "fields">): boolean {
  return !local.deleted && !remote.deleted && fields.length > 0;
}

/** The request for a merge, or nothing as long as something is not chosen. */
export function mergeOf(
  conflict: Pick<Conflict, "fields">,
  chosen: Record<string, Side | undefined>,
): Schema["ResolveConflict"] | undefined {
  const fields: Schema["ResolveField"][] = [];
  for (const { name } of disputed(conflict)) {
    const keep = chosen[name];
    if (keep === undefined) return undefined;
    fields.push({ name, keep });
  }
  return { keep: "merge", fields };
}

export function other(side: Side): Side {
  return side === "local" ? "remote" : "local";
}

const NAMES: Record<string, string> = {
  title: "Title",
  text: "Text",
  priority: "Priority",
  not_before: "Not before",
  blocked_by: "After which tasks",
  tags: "Tags",
  session: "Conversation",
  system_type: "Kind of machine",
  timeout_s: "Timeout",
  max_retries: "Further attempts",
  any_machine: "Any machine",
  project_id: "Project",
  repository: "Repository",
  pinned: "Only on its project's machine",
};

export function fieldName(name: string): string {
  return NAMES[name] ?? name.replaceAll("_", " ");
}

/** What a field has in an edit, for people. */
export function valueWords(name: string, value: unknown): string {
  if (value == null || value === "" || (Array.isArray(value) && value.length === 0)) return "nothing";
  if (name === "not_before" && typeof value === "string") return moment(value);
  if (name === "timeout_s" && typeof value === "number") return duration(value * 1000);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Whether a field is compared line by line. */
export function isLong({ local, remote, base }: Field): boolean {
  const texts = [local, remote, base].filter((value) => typeof value === "string");
  return texts.some((text) => text.includes("\n") || text.length > 80);
}

/** What became of a decision. */
export function decidedWords(conflict: Conflict): string {
  const { resolution } = conflict;
  if (!resolution) return "nobody decided it";
  const names = hosts(conflict);
  const which = resolution.keep === "merge" ? "both edits count" : `the edit of ${names[resolution.keep]} counts`;
  return `${resolution.by} decided: ${which}`;
}
