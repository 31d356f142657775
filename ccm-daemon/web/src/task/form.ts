import type { Schema } from "../api/client";

type Task = Schema["Task"];
type CreateTask = Schema["CreateTask"];
type EditTask = Schema["EditTask"];

/** What a person can say of a task, as it stands in the fields. */
export interface Fields {
  title: string;
  text: string;
  priority: string;
  /** As a wall clock here has it. */
  notBefore: string;
  after: string[];
  tags: string;
  session: "" | Schema["SessionMode"];
  machine: "" | Schema["SystemKind"];
  /** In minutes. */
  timeout: string;
  retries: string;
}

export type Field = keyof Fields;
export type Errors = Partial<Record<Field | "project" | "template", string>>;

/** Empty ones are left to the project's settings. */
export function empty(): Fields {
  return {
    title: "",
    text: "",
    priority: "",
    notBefore: "",
    after: [],
    tags: "",
    session: "",
    machine: "",
    timeout: "",
    retries: "",
  };
}

export function of(task: Task): Fields {
  return {
    title: task.title,
    text: task.text,
    priority: String(task.priority),
    notBefore: task.not_before ? local(task.not_before) : "",
    after: task.blocked_by,
    tags: task.tags.join(" "),
    session: task.session,
    machine: task.system_type ?? "",
    timeout: task.timeout_s == null ? "" : String(task.timeout_s / 60),
    retries: String(task.max_retries),
  };
}

/** A moment as `datetime-local` wants it. */
export function local(time: string): string {
  const date = new Date(time);
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** What is wrong with fields, as far as that can be known here; the daemon has the last word. */
export function wrong(fields: Fields): Errors {
  const errors: Errors = {};
  if (fields.text.trim() === "") errors.text = "The agent needs a text.";
  if (!whole(fields.priority, -2_147_483_648, 2_147_483_647)) errors.priority = "A whole number, such as 0 or 5.";
  if (!whole(fields.retries, 0, 100)) errors.retries = "A whole number from 0 to 100.";
  const minutes = Number(fields.timeout);
  if (fields.timeout.trim() !== "" && !(minutes * 60 >= 1 && minutes * 60 <= 31_622_400)) {
    errors.timeout = "Minutes, at most a year of them.";
  }
  if (fields.notBefore !== "" && Number.isNaN(Date.parse(fields.notBefore))) errors.notBefore = "A date and a time.";
  return errors;
}

function whole(text: string, least: number, most: number): boolean {
  if (text.trim() === "") return true;
  const number = Number(text);
  return Number.isInteger(number) && number >= least && number <= most;
}

/** The request for a new task. */
export function toCreate(project: string, fields: Fields, anyMachine = false): CreateTask {
  return {
    project_id: project,
    text: fields.text,
    ...(anyMachine && { any_machine: true }),
    ...(fields.title.trim() !== "" && { title: fields.title.trim() }),
    ...(fields.priority.trim() !== "" && { priority: Number(fields.priority) }),
    ...(fields.notBefore !== "" && { not_before: new Date(fields.notBefore).toISOString() }),
    ...(fields.after.length > 0 && { blocked_by: fields.after }),
    ...(tagsOf(fields).length > 0 && { tags: tagsOf(fields) }),
    ...(fields.session !== "" && { session: fields.session }),
    ...(fields.machine !== "" && { system_type: fields.machine }),
    ...(fields.timeout.trim() !== "" && { timeout_s: seconds(fields) }),
    ...(fields.retries.trim() !== "" && { max_retries: Number(fields.retries) }),
  };
}

/** The request for an edit: only what is different from what its person saw. */
export function toEdit(fields: Fields, seen: Fields): EditTask {
  const edit: EditTask = {};
  const changed = changes(fields, seen);
  if (changed.has("title")) edit.title = fields.title.trim() === "" ? null : fields.title.trim();
  if (changed.has("text")) edit.text = fields.text;
  if (changed.has("priority")) edit.priority = Number(fields.priority);
  if (changed.has("notBefore"))
    edit.not_before = fields.notBefore === "" ? null : new Date(fields.notBefore).toISOString();
  if (changed.has("after")) edit.blocked_by = fields.after;
  if (changed.has("tags")) edit.tags = tagsOf(fields);
  if (changed.has("session") && fields.session !== "") edit.session = fields.session;
  if (changed.has("machine")) edit.system_type = fields.machine === "" ? null : fields.machine;
  if (changed.has("timeout")) edit.timeout_s = fields.timeout.trim() === "" ? null : seconds(fields);
  if (changed.has("retries")) edit.max_retries = Number(fields.retries);
  return edit;
}

/** Which fields differ. */
export function changes(fields: Fields, seen: Fields): Set<Field> {
  const names = Object.keys(seen) as Field[];
  return new Set(names.filter((name) => JSON.stringify(fields[name]) !== JSON.stringify(seen[name])));
}

/** What a person changed of `seen`, put on what the task is `now`. */
export function rebased(fields: Fields, seen: Fields, now: Fields): Fields {
  const mine = [...changes(fields, seen)].map((name) => [name, fields[name]]);
  return { ...now, ...Object.fromEntries(mine) };
}

function tagsOf({ tags }: Fields): string[] {
  return tags.split(/[\s,]+/).filter((tag) => tag !== "");
}

function seconds({ timeout }: Fields): number {
  return Math.round(Number(timeout) * 60);
}

const PLACES: Record<string, Field | "project" | "template"> = {
  project_id: "project",
  any_machine: "project",
  template: "template",
  title: "title",
  text: "text",
  input: "text",
  priority: "priority",
  not_before: "notBefore",
  blocked_by: "after",
  tags: "tags",
  session: "session",
  system_type: "machine",
  timeout_s: "timeout",
  max_retries: "retries",
};

/** What the daemon found wrong, at the fields; `rest` is of no field. */
export function placed(problem: Schema["Problem"] | undefined): { errors: Errors; rest: string[] } {
  const errors: Errors = {};
  const rest: string[] = [];
  for (const { pointer, message } of problem?.errors ?? []) {
    const field = PLACES[pointer.split("/")[1] ?? ""];
    if (field === undefined) rest.push(message);
    else errors[field] ??= message;
  }
  return { errors, rest };
}
