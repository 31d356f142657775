import type { Schema } from "../api/client";

/** How a state looks: a tone and a sign, so that nobody needs the colour to tell states apart. */
export interface Look {
  tone: "good" | "bad" | "warn" | "busy" | "rest";
  sign: string;
  words: string;
}

type State =
  | Schema["AgentStateName"]
  | Schema["TaskStateName"]
  | Schema["RunStateName"]
  | Schema["AskStateName"]
  | Schema["InputState"]
  | Schema["ProjectState"];

const LOOKS: Partial<Record<State, Look>> = {
  queued: { tone: "rest", sign: "○", words: "waits" },
  running: { tone: "busy", sign: "▶", words: "running" },
  launching: { tone: "busy", sign: "▷", words: "starting" },
  starting: { tone: "busy", sign: "▷", words: "starting" },
  working: { tone: "busy", sign: "▶", words: "working" },
  waiting: { tone: "warn", sign: "?", words: "needs you" },
  parked: { tone: "warn", sign: "‖", words: "parked" },
  idle: { tone: "rest", sign: "○", words: "idle" },
  stopped: { tone: "rest", sign: "■", words: "stopped" },
  stopping: { tone: "rest", sign: "■", words: "stopping" },
  unresponsive: { tone: "bad", sign: "!", words: "does not answer" },
  succeeded: { tone: "good", sign: "✓", words: "succeeded" },
  failed: { tone: "bad", sign: "✕", words: "failed" },
  cancelled: { tone: "rest", sign: "⊘", words: "cancelled" },
  lost: { tone: "bad", sign: "✕", words: "lost" },
  superseded: { tone: "rest", sign: "⊘", words: "superseded" },
  open: { tone: "warn", sign: "?", words: "open" },
  answered: { tone: "good", sign: "✓", words: "answered" },
  expired: { tone: "rest", sign: "⊘", words: "expired" },
  void: { tone: "rest", sign: "⊘", words: "not asked any more" },
};

export function look(state: State): Look {
  return LOOKS[state] ?? { tone: "rest", sign: "·", words: state.replaceAll("_", " ") };
}

/** What an agent does, for people. One that sleeps is no stopped one: nobody has to start it; one that was taken over is not
 * idle. */
export function doing(agent: Schema["Agent"]): string {
  if (agent.wanted === "taken") return "taken over";
  return agent.state === "stopped" && agent.wanted === "asleep" ? "asleep" : look(agent.state).words;
}
