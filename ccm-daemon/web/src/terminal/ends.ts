/** How a connection to a terminal ended, for people, and what leads on from there. */
export interface End {
  words: string;
  /** `retry` goes on by itself; `up` as soon as the agent has a window again; the others wait for a person. */
  then: "retry" | "up" | "again" | "look" | "sign-in";
}

/** What the closing handshake of a connection to `docs/terminal.md` says. */
const ENDS: Record<number, End> = {
  1001: { words: "The daemon stops.", then: "retry" },
  1007: { words: "The daemon could not read what this page sent.", then: "again" },
  1008: { words: "This connection was only for looking, but something was typed.", then: "look" },
  1009: { words: "What was sent at once is more than the daemon takes.", then: "again" },
  4001: { words: "The agent's window was closed or moved.", then: "retry" },
  4002: { words: "Somebody stopped the agent or removed its project.", then: "up" },
  4003: { words: "The agent went to sleep. It wakes for its next task.", then: "up" },
  4004: { words: "This browser did not keep up or was out of reach.", then: "retry" },
  4005: { words: "This browser was signed out.", then: "sign-in" },
};

export function end(code: number): End {
  // 1005 and 1006 are the browser's own: nothing was said, because the daemon or the way to it is gone.
  if (code === 1005 || code === 1006) return { words: "The connection broke.", then: "retry" };
  return ENDS[code] ?? { words: `The daemon ended the connection (${code}).`, then: "again" };
}

/** What must be true of an agent before its terminal can be asked for; asked in vain, a browser only hears "failed". */
export function closed(agent: { state: string; wanted: string; window?: string | null }, runtime?: string): End | null {
  if (runtime === "process") {
    const words = "Agents have no terminals here, because the config says agents.runtime: process.";
    return { words, then: "up" };
  }
  if (agent.window) return null;
  if (agent.wanted === "down") return { words: "The agent was stopped, so it has no terminal.", then: "up" };
  if (agent.wanted === "asleep") return { words: "The agent sleeps. It wakes for its next task.", then: "up" };
  return { words: "The agent has no window yet.", then: "up" };
}
