import type { Event } from "../state/live.svelte";

type Kind = Event["kind"];
type Data = Event["data"];

/** What an event says beside its kind; its shape depends on the kind, and later versions may say more. */
function of(data: Data, name: string): string | undefined {
  const value = (data as Record<string, unknown>)[name];
  if (typeof value === "string" && value !== "") return value;
  return typeof value === "number" ? String(value) : undefined;
}

function said(before: string, text: string | undefined): string {
  return text === undefined ? before : `${before}: ${text}`;
}

function why(before: string, data: Data): string {
  return said(before, of(data, "detail") ?? of(data, "reason")?.replaceAll("_", " "));
}

function by(before: string, data: Data): string {
  const who = of(data, "by");
  return who === undefined ? before : `${before} by ${who}`;
}

function answered(data: Data): string {
  const answer = (data as { answer?: Data }).answer;
  const kind = answer && of(answer, "answer");
  const how = kind === "allow" ? "allowed" : kind === "deny" ? "denied" : "answered";
  return by(`Question ${how}`, data);
}

function observed(data: Data): string {
  switch (of(data, "type")) {
    case "session":
      return "The agent began a conversation";
    case "used": {
      const cost = of(data, "cost_usd");
      return cost === undefined ? "Tokens used" : `Tokens used, $${Number(cost).toFixed(4)} so far`;
    }
    case "parked":
      return (data as { parking?: unknown }).parking ? "The provider lets the agent wait" : "The agent goes on";
    case "skipped":
      return "A line was too long to be looked at";
    default:
      return said("Seen in the output", of(data, "type"));
  }
}

const WANTED: Record<string, string> = {
  up: "Agent called up",
  asleep: "Agent sent to sleep",
  down: "Agent stopped",
  taken: "Agent taken over",
};

/** What other machines tell something of. */
const SHARED: Record<string, string> = {
  system: "a machine",
  project: "a project",
  task: "what a task is",
  wish: "what somebody wants of a task",
  report: "how a task goes",
  run: "a run",
  ask: "a question",
  transcript: "a part of a transcript",
  conflict: "a conflict",
};

function documentChanged(data: Data): string {
  const kind = of(data, "kind") ?? "something";
  return `Heard from another machine: ${SHARED[kind] ?? kind}`;
}

function sharingChanged(data: Data): string {
  return (data as { on?: unknown }).on === true
    ? "Sharing with other machines begins"
    : "Sharing with other machines ends";
}

/** One line for people about each kind of event. */
const WORDS: Record<Kind, (data: Data) => string> = {
  "daemon.started": () => "The daemon started",
  "project.created": (data) => said("Project registered", of(data, "name")),
  "project.updated": (data) => why(said("Project changed", of(data, "state")?.replaceAll("_", " ")), data),
  "project.removed": () => "Project removed",
  "agent.updated": (data) => why(said("Agent is", of(data, "state")).replace("is: ", "is "), data),
  "agent.wanted": (data) => by(WANTED[of(data, "wanted") ?? ""] ?? "Agent is to be something else", data),
  "task.created": (data) => said("Task put in the queue", of(data, "title")),
  "task.updated": (data) => by("Task changed", data),
  "task.started": (data) => `Task started${attempt(data)}`,
  "task.requeued": (data) => why("Task waits again", data),
  "task.stopping": (data) => by(why("Task is being stopped", data), data),
  "task.succeeded": (data) => said("Task succeeded", of(data, "result")),
  "task.failed": (data) => why("Task failed", data),
  "task.cancelled": (data) => by("Task cancelled", data),
  "run.created": (data) => `Run made${attempt(data)}`,
  "run.started": () => "The program was started",
  "run.held": (data) => why("Run is held back", data),
  "run.output": (data) => {
    const size = Number(of(data, "to") ?? 0) - Number(of(data, "from") ?? 0);
    return `${size} bytes of output`;
  },
  "run.observed": observed,
  "ask.created": (data) => said("Question", of(data, "title")),
  "ask.answered": answered,
  "ask.voided": () => "Question not asked any more",
  "input.accepted": (data) => by(of(data, "kind") === "message" ? "Message taken" : "Answer taken", data),
  "input.updated": (data) => said("Message or answer", of(data, "state")?.replaceAll("_", " ")),
  "document.changed": documentChanged,
  "sharing.changed": sharingChanged,
  "run.ended": (data) => why(said("Run ended", of(data, "state")), data),
};

function attempt(data: Data): string {
  const number = of(data, "attempt");
  return number === undefined || number === "1" ? "" : `, attempt ${number}`;
}

/** Longer than any row shows, and short enough for a hundred of them. */
const LONGEST = 300;

export function eventWords({ kind, data }: Event): string {
  const make = WORDS[kind] as ((data: Data) => string) | undefined;
  const line = (make?.(data) ?? kind).replace(/\s+/g, " ");
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}

export const KINDS = Object.keys(WORDS) as Kind[];
export const GROUPS = [...new Set(KINDS.map((kind) => kind.split(".")[0] ?? kind))];

/** How a row looks beside its words, which say the same. */
export function tone(kind: Kind): "good" | "bad" | "warn" | "" {
  if (kind === "task.succeeded") return "good";
  if (kind === "task.failed") return "bad";
  return kind === "ask.created" || kind === "run.held" ? "warn" : "";
}
